"""Against the recursive definition of RFC 6962, and the test vectors of its reference implementation."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit.entry import leaf_hash
from gateway.audit.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_proof,
    hash_children,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from gateway.audit.tree import TILE, Tree

VECTOR_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
VECTOR_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaves(count: int, salt: str = "") -> list[bytes]:
    return [leaf_hash(f"{salt}{number}".encode()) for number in range(count)]


def defined(nodes: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, as it is written there."""
    if not nodes:
        return hashlib.sha256(b"").digest()
    if len(nodes) == 1:
        return nodes[0]
    k = 1
    while k * 2 < len(nodes):
        k *= 2
    return hash_children(defined(nodes[:k]), defined(nodes[k:]))


def defined_path(m: int, nodes: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.1."""
    if len(nodes) == 1:
        return []
    k = 1
    while k * 2 < len(nodes):
        k *= 2
    if m < k:
        return [*defined_path(m, nodes[:k]), defined(nodes[k:])]
    return [*defined_path(m - k, nodes[k:]), defined(nodes[:k])]


def defined_subproof(m: int, nodes: list[bytes], *, known: bool = True) -> list[bytes]:
    """SUBPROOF of section 2.1.2."""
    if m == len(nodes):
        return [] if known else [defined(nodes)]
    k = 1
    while k * 2 < len(nodes):
        k *= 2
    if m <= k:
        return [*defined_subproof(m, nodes[:k], known=known), defined(nodes[k:])]
    return [*defined_subproof(m - k, nodes[k:], known=False), defined(nodes[:k])]


@pytest.mark.parametrize(("size", "root"), list(enumerate(VECTOR_ROOTS)))
def test_roots_are_those_of_the_reference_vectors(size: int, root: str) -> None:
    assert root_of(map(leaf_hash, VECTOR_LEAVES[:size])).hex() == root


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert CompactRange().root() == EMPTY_ROOT == defined([])


@pytest.mark.parametrize("size", range(1, 34))
def test_every_leaf_has_the_proof_of_the_definition_and_no_other(size: int) -> None:
    nodes = leaves(size)
    root = defined(nodes)
    assert root_of(nodes) == root
    for index in range(size):
        path = inclusion_proof(index, size, lambda low, high: defined(nodes[low:high]))
        assert path == defined_path(index, nodes)
        assert verify_inclusion(nodes[index], index, size, path, root)
        assert not verify_inclusion(leaf_hash(b"other"), index, size, path, root)
        assert not verify_inclusion(nodes[index], index, size, [*path, root], root)
        if size > 1:
            assert not verify_inclusion(nodes[index], index, size, path[:-1], root)
            assert not verify_inclusion(nodes[index], (index + 1) % size, size, path, root)


@pytest.mark.parametrize("new", range(1, 20))
def test_every_prefix_has_the_proof_of_the_definition(new: int) -> None:
    nodes, forged = leaves(new), leaves(new, "x")
    for old in range(1, new + 1):
        path = consistency_proof(old, new, lambda low, high: defined(nodes[low:high]))
        assert path == defined_subproof(old, nodes)
        roots = defined(nodes[:old]), defined(nodes)
        assert verify_consistency(old, new, *roots, path)
        assert not verify_consistency(old, new, defined(forged[:old]), roots[1], path)
        assert not verify_consistency(old, new, roots[0], defined(forged), path)
        assert not verify_consistency(old, new, *roots, [*path, roots[0]])
        if path:
            assert not verify_consistency(old, new, *roots, path[:-1])


def test_every_tree_extends_the_empty_one_and_none_shrinks() -> None:
    root = root_of(leaves(5))
    assert consistency_proof(0, 5, lambda low, high: b"") == []
    assert verify_consistency(0, 5, EMPTY_ROOT, root, [])
    assert not verify_consistency(0, 5, EMPTY_ROOT, root, [root])
    assert not verify_consistency(5, 4, root, root, [])
    with pytest.raises(ValueError, match="does not extend"):
        consistency_proof(5, 4, lambda low, high: b"")
    with pytest.raises(ValueError, match="has no leaf 5"):
        inclusion_proof(5, 5, lambda low, high: b"")


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3000), st.data())
def test_proofs_of_a_stored_tree_verify(size: int, data: st.DataObject) -> None:
    nodes = leaves(size)
    with Tree(lambda low, high: nodes[low:high]) as tree:
        root = tree.root(size)
        assert root == root_of(nodes)
        index = data.draw(st.integers(0, size - 1))
        assert verify_inclusion(nodes[index], index, size, tree.inclusion(index, size), root)
        old = data.draw(st.integers(0, size))
        assert verify_consistency(old, size, root_of(nodes[:old]), root, tree.consistency(old, size))


def test_kept_tiles_make_a_later_root_cheap(tmp_path) -> None:
    nodes = leaves(40 * TILE + 7)
    asked: list[int] = []

    def counted(low: int, high: int) -> list[bytes]:
        asked.append(high - low)
        return nodes[low:high]

    with Tree(counted, tmp_path / "tiles.db") as tree:
        tree.root(40 * TILE)
    asked.clear()
    with Tree(counted, tmp_path / "tiles.db") as tree:
        assert tree.root(len(nodes)) == root_of(nodes)
        assert sum(asked) == 7
        asked.clear()
        path = tree.inclusion(300, len(nodes))
    assert verify_inclusion(nodes[300], 300, len(nodes), path, root_of(nodes))
    assert sum(asked) < 2 * TILE + 7
