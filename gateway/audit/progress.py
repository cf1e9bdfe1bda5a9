"""How far a reader that keeps its own position has come in a log: an index, a sink, a roll-up."""

import sqlite3
from typing import Final

from msgspec import Struct


class Progress(Struct, frozen=True):
    """The last event that was taken in, and its hash."""

    seq: int
    hash: bytes


NOTHING: Final = Progress(0, bytes(32))


def fits(log: sqlite3.Connection, progress: Progress) -> bool:
    """Whether that event still stands in the log. If not, the log is another one, was restored, or was changed."""
    if progress.seq == 0:
        return True
    row = log.execute("SELECT hash FROM events WHERE seq = ?", (progress.seq,)).fetchone()
    return row is not None and bytes(row[0]) == progress.hash
