"""The Merkle tree over the events of a log (RFC 6962 section 2.1, RFC 9162 section 2.1): roots and proofs.

Leaves are given as their hashes, SHA-256(0x00 ‖ event) (`entry.leaf_hash`). All functions are pure. What a prover
needs of the tree is a function `subtree(start, end)`: the root over the leaves from `start` up to but not `end`.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Subtree = Callable[[int, int], bytes]


def hash_children(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(width: int) -> int:
    """The largest power of two below `width` (at least 2): how many leaves the left child has."""
    return 1 << (width - 1).bit_length() - 1


class CompactRange:
    """The roots of the complete subtrees that a tree's leaves fall into: at most 64 hashes whatever its size, and
    enough to append and to tell the root. Not thread-safe."""

    __slots__ = ("_roots", "size")

    def __init__(self) -> None:
        self._roots: list[bytes] = []  # one for each set bit of `size`, the highest first
        self.size = 0

    def append(self, leaf: bytes) -> None:
        node, rest = leaf, self.size
        while rest & 1:
            node = hash_children(self._roots.pop(), node)
            rest >>= 1
        self._roots.append(node)
        self.size += 1

    def root(self) -> bytes:
        if not self._roots:
            return EMPTY_ROOT
        node = self._roots[-1]
        for left in self._roots[-2::-1]:
            node = hash_children(left, node)
        return node


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    tree = CompactRange()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The audit path (RFC 6962 section 2.1.1) of the leaf `index` in the tree of `size` leaves, its sibling first.
    Raises `ValueError` for a leaf that the tree does not have."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    low, high, path = 0, size, []
    while high - low > 1:
        middle = low + split(high - low)
        if index < middle:
            path.append(subtree(middle, high))
            high = middle
        else:
            path.append(subtree(low, middle))
            low = middle
    return path[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """The proof (RFC 6962 section 2.1.2) that the tree of `new` leaves begins with that of `old`; empty for an
    `old` of 0 or `new`. Raises `ValueError` for an `old` beyond `new`."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves does not extend one of {old}")
    if old in (0, new):
        return []
    low, high, path, known = 0, new, [], True
    while high != old:
        middle = low + split(high - low)
        if old <= middle:
            path.append(subtree(middle, high))
            high = middle
        else:
            path.append(subtree(low, middle))
            low, known = middle, False
    if not known:
        path.append(subtree(low, high))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` leads from a leaf hash at `index` to the root of `size` leaves (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = hash_children(sibling, node)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = hash_children(node, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and hmac.compare_digest(node, root)


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` shows that the tree of `new` leaves begins with that of `old` (RFC 9162 section 2.1.4.2).
    Every tree begins with the empty one."""
    if not 0 <= old <= new:
        return False
    if old in (0, new):
        expected = EMPTY_ROOT if old == 0 else new_root
        return not path and hmac.compare_digest(old_root, expected)
    nodes = list(path) if old & (old - 1) else [old_root, *path]
    if not nodes:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            before, after = hash_children(sibling, before), hash_children(sibling, after)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            after = hash_children(after, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and hmac.compare_digest(before, old_root) and hmac.compare_digest(after, new_root)
