"""The tree of a stored log, with the roots of its full tiles kept so that no proof reads the log from its start.

A tile is 256 leaves. The hash of each complete subtree of one tile or more (1/128 of the number of events) is kept
in a SQLite file of its own; what is smaller is computed from the events when it is asked for. The file is a cache:
nothing that it says is believed by a verifier, and it may be removed at any time.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from gateway.audit import database
from gateway.audit.entry import leaf_hash
from gateway.audit.merkle import EMPTY_ROOT, consistency_proof, hash_children, inclusion_proof, root_of, split
from gateway.domain.errors import AuditUnavailable
from gateway.transaction import transaction

_TILE_LEVEL: Final = 8
TILE: Final = 1 << _TILE_LEVEL
_TILES_A_COMMIT: Final = 64

Leaves = Callable[[int, int], list[bytes]]
"""The hashes of the leaves from a first up to but not an end, counted from 0."""


def leaves_of(db: sqlite3.Connection) -> Leaves:
    """The leaves of an open log: leaf n is event n + 1. Raises `AuditUnavailable` where events are missing."""

    def leaves(start: int, end: int) -> list[bytes]:
        rows = db.execute("SELECT body FROM events WHERE seq > ? AND seq <= ? ORDER BY seq", (start, end)).fetchall()
        if len(rows) != end - start:
            raise AuditUnavailable(
                f"the audit log lacks events between {start + 1} and {end}: run `gateway audit verify`",
                code="audit_damaged",
            )
        return [leaf_hash(body) for (body,) in rows]

    return leaves


class Tree:
    """Roots and proofs for any size up to that of the log. Used by one thread at a time."""

    def __init__(self, leaves: Leaves, file: Path | None = None) -> None:
        """Keeps tiles in `file`, or in memory. Raises `AuditUnavailable` if the file cannot be used."""
        self._leaves = leaves
        path = file or Path(":memory:")
        with database.unavailable_on_error(path):
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS nodes (level INTEGER, place INTEGER, hash BLOB NOT NULL, "
                "PRIMARY KEY (level, place)) STRICT, WITHOUT ROWID"
            )
            row = self._db.execute("SELECT max(place) FROM nodes WHERE level = ?", (_TILE_LEVEL,)).fetchone()
        self._tiles = 0 if row[0] is None else int(row[0]) + 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def forget(self) -> None:
        """Drop what is kept."""
        self._db.execute("DELETE FROM nodes")
        self._tiles = 0

    def root(self, size: int) -> bytes:
        self._take_in(size)
        return self.subtree(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        self._take_in(size)
        return inclusion_proof(index, size, self.subtree)

    def consistency(self, old: int, new: int) -> list[bytes]:
        self._take_in(new)
        return consistency_proof(old, new, self.subtree)

    def subtree(self, start: int, end: int) -> bytes:
        """The root over leaves that form a node of the tree, or its right edge."""
        width = end - start
        if width <= TILE:
            return root_of(self._leaves(start, end))
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self._node(level, start >> level)
        middle = start + split(width)
        return hash_children(self.subtree(start, middle), self.subtree(middle, end))

    def _node(self, level: int, place: int) -> bytes:
        row = self._db.execute("SELECT hash FROM nodes WHERE level = ? AND place = ?", (level, place)).fetchone()
        if row is None:
            raise AuditUnavailable("the file of tree tiles is damaged: remove it, it is made anew")
        return bytes(row[0])

    def _take_in(self, size: int) -> None:
        """Keep the tiles that `size` leaves fill."""
        while self._tiles < size >> _TILE_LEVEL:
            end = min(size >> _TILE_LEVEL, self._tiles + _TILES_A_COMMIT)
            with transaction(self._db):
                for tile in range(self._tiles, end):
                    self._add_tile(tile)
            self._tiles = end

    def _add_tile(self, tile: int) -> None:
        level, place = _TILE_LEVEL, tile
        node = root_of(self._leaves(tile << level, (tile + 1) << level))
        self._db.execute("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", (level, place, node))
        while place & 1:
            node = hash_children(self._node(level, place - 1), node)
            level, place = level + 1, place >> 1
            self._db.execute("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", (level, place, node))
