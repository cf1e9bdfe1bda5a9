"""Proof that a run of neighbouring leaves stands in a Merkle tree (RFC 6962): the roots of what lies beside them.

A tree of n leaves is the leaves of the run, the complete subtrees that everything before them falls into, and those
that everything behind them does: at most 2 log n hashes. Whoever has the leaves computes the root from these.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from gateway.audit.merkle import EMPTY_ROOT, Subtree, hash_children


class Beside(Struct, frozen=True):
    """Roots of the complete subtrees before and behind a run of leaves, from left to right."""

    before: tuple[bytes, ...]
    behind: tuple[bytes, ...]


def beside(subtree: Subtree, first: int, end: int, size: int) -> Beside:
    """What lies beside the leaves from `first` up to but not `end` in a tree of `size`, counted from 0."""
    if not 0 <= first < end <= size:
        raise ValueError(f"a tree of {size} leaves has no run from {first} to {end}")
    return Beside(
        tuple(subtree(at, at + width) for at, width in _pieces(0, first)),
        tuple(subtree(at, at + width) for at, width in _pieces(end, size)),
    )


def root_with(proof: Beside, first: int, leaves: Iterable[bytes], size: int) -> bytes | None:
    """The root of the tree of `size` leaves in which the run stands at `first`; `None` if the proof does not fit the
    numbers."""
    tree = _Range()
    before = list(_pieces(0, first))
    if len(before) != len(proof.before):
        return None
    for (_, width), node in zip(before, proof.before, strict=True):
        tree.append(node, width)
    for leaf in leaves:
        tree.append(leaf, 1)
    behind = list(_pieces(tree.size, size)) if tree.size <= size else []
    if len(behind) != len(proof.behind):
        return None
    for (_, width), node in zip(behind, proof.behind, strict=True):
        tree.append(node, width)
    return tree.root() if tree.size == size else None


def _pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Place and width of the widest complete subtrees that the leaves from `start` to `end` fall into."""
    at = start
    while at < end:
        width = at & -at or 1 << (end - at).bit_length() - 1
        while at + width > end:
            width >>= 1
        yield at, width
        at += width


class _Range:
    """Roots of complete subtrees, to which further ones are appended."""

    def __init__(self) -> None:
        self._nodes: list[tuple[bytes, int]] = []
        self.size = 0

    def append(self, node: bytes, width: int) -> None:
        self.size += width
        while self._nodes and self._nodes[-1][1] == width:
            left, _ = self._nodes.pop()
            node, width = hash_children(left, node), 2 * width
        self._nodes.append((node, width))

    def root(self) -> bytes:
        nodes: Sequence[tuple[bytes, int]] = self._nodes
        if not nodes:
            return EMPTY_ROOT
        node = nodes[-1][0]
        for left, _ in nodes[-2::-1]:
            node = hash_children(left, node)
        return node
