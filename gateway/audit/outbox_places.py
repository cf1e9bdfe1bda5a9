"""How far each sink has come, durably: the log itself is the outbox, and this is all that is kept beside it."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from msgspec import Struct

from gateway.audit import database
from gateway.audit.entry import parse_timestamp
from gateway.audit.progress import NOTHING, Progress
from gateway.audit.read import AuditReader, Filter
from gateway.domain.errors import AuditUnavailable

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS places (
  sink TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL, failures INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT, WITHOUT ROWID
"""


class SinkPlace(Struct, frozen=True):
    """`failures` in a row since the last delivery, and the `reason` of the last of them."""

    progress: Progress
    failures: int = 0
    reason: str = ""


class SinkLag(Struct, frozen=True, kw_only=True):
    """How far a sink is behind: events, and seconds between the last event of the log and the last delivered one."""

    sink: str
    delivered: int
    behind: int
    behind_s: int
    failures: int
    reason: str


class Places:
    """The file. One thread at a time. Raises `AuditUnavailable`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with database.unavailable_on_error(path):
            self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute(_SCHEMA)
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def of(self, sink: str) -> SinkPlace:
        """Where a sink is; at the beginning if it is new."""
        with database.unavailable_on_error(self._path):
            row = self._db.execute("SELECT seq, hash, failures, reason FROM places WHERE sink = ?", (sink,)).fetchone()
        return SinkPlace(Progress(row[0], bytes(row[1])), row[2], row[3]) if row else SinkPlace(NOTHING)

    def delivered(self, sink: str, progress: Progress) -> None:
        """Durable on return."""
        self._put(sink, SinkPlace(progress))

    def failed(self, sink: str, reason: str) -> None:
        before = self.of(sink)
        self._put(sink, SinkPlace(before.progress, before.failures + 1, reason))

    def _put(self, sink: str, place: SinkPlace) -> None:
        row = (sink, place.progress.seq, place.progress.hash, place.failures, place.reason)
        with database.unavailable_on_error(self._path):
            self._db.execute("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?)", row)


def sink_lags(log: Path, places: Path, sinks: Iterable[str]) -> list[SinkLag]:
    """How far these sinks are behind the log now. Raises `AuditUnavailable`."""
    with AuditReader(log) as reader, Places(places) as kept:
        _, end = reader.bounds(Filter())
        newest = _time(reader, end - 1)
        lags = []
        for sink in sinks:
            place = kept.of(sink)
            seq = place.progress.seq
            behind = max(0, end - 1 - seq)
            seconds = newest - _time(reader, seq + 1) if behind else 0.0
            lags.append(
                SinkLag(
                    sink=sink,
                    delivered=seq,
                    behind=behind,
                    behind_s=round(max(0.0, seconds)),
                    failures=place.failures,
                    reason=place.reason,
                )
            )
    return lags


def place_at(log: Path, seq: int) -> Progress:
    """The position of a sink that has everything up to an event, or (0) nothing. Raises `AuditUnavailable` if there is
    no such event."""
    if seq == 0:
        return NOTHING
    with AuditReader(log) as reader:
        return Progress(seq, bytes.fromhex(reader.checked(seq).hash))


def _time(reader: AuditReader, seq: int) -> float:
    try:
        return parse_timestamp(str(reader.checked(seq).members["ts"])).timestamp() if seq else 0.0
    except (AuditUnavailable, ValueError, KeyError):
        return 0.0
