"""The index of a log: a SQLite file of its own, made from the log, never the other way round.

A follower takes events in after they are on disk, in transactions of its own: no append waits for it. The file may
be removed at any time, and is made anew. It is believed for where to look, and for nothing else: what it finds is
read from the log and compared.

`postings` keeps, for a value that many events have, the places of a block of 4,096 events as one string of 16-bit
numbers in order: few rows, read and intersected in microseconds. `places` keeps values that few events have.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from gateway.audit import database
from gateway.audit.database import unavailable_on_error
from gateway.audit.progress import NOTHING, Progress, fits
from gateway.audit.row import Row
from gateway.audit.search_tally import Group, Grouping, Measure, Tally, tallies_of
from gateway.audit.search_terms import RARE, Facet, facets_of, term
from gateway.audit.text_tag import tag_of
from gateway.transaction import transaction

BLOCK: Final = 4_096
_VERSION: Final = 2
_OFFSET: Final = np.dtype("<u2")
_CACHED_TERMS: Final = 65_536
_CACHE_KIB: Final = 32 * 1024

_SCHEMA: Final = """
CREATE TABLE progress (version INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE postings (term INTEGER, block INTEGER, places BLOB NOT NULL, PRIMARY KEY (term, block))
  STRICT, WITHOUT ROWID;
CREATE TABLE places (term INTEGER, seq INTEGER, PRIMARY KEY (term, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE texts (tag INTEGER, seq INTEGER, PRIMARY KEY (tag, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE tallies (
  day TEXT, tenant TEXT, app TEXT, measure TEXT, name TEXT, count INTEGER NOT NULL,
  PRIMARY KEY (day, tenant, app, measure, name)
) STRICT, WITHOUT ROWID;
INSERT INTO progress VALUES (2, 0, zeroblob(32));
"""
_DAYS: Final = """
WITH RECURSIVE days (day) AS (
  SELECT min(day) FROM tallies WHERE day >= ?
  UNION ALL SELECT (SELECT min(day) FROM tallies WHERE day > days.day AND day >= ? AND day <= ?) FROM days
  WHERE days.day IS NOT NULL
)
"""
"""The days that have counts, found by their key: with them a tenant's counts are found without reading the others'."""
_TABLES: Final = ("progress", "postings", "places", "texts", "tallies")
"""Tables of the file, for a version that another gateway wrote."""


def index_of(log: Path) -> Path:
    """Where the index of a log lies."""
    return log.with_name(log.name + ".index")


class IndexReader:
    """Looks places up. One thread at a time; close it after use. Raises `sqlite3.Error` for a damaged file."""

    def __init__(self, log: Path) -> None:
        """Raises `FileNotFoundError` if there is no index that this gateway can read."""
        path = index_of(log)
        if not path.is_file():
            raise FileNotFoundError(path)
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5, isolation_level=None)
        try:
            self._db.execute("BEGIN")  # one state of the index, however long the search takes
            self.progress = _progress(self._db)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    def places(
        self, groups: list[list[int]], rare: list[list[int]], first: int, end: int, *, newest: bool = True
    ) -> Iterator[int]:
        """Places from `first` up to but not `end` that have one term at least of every group, the newest or the
        oldest first."""
        if rare:
            yield from self._among(rare, groups, first, end, newest=newest)
            return
        blocks = range(first // BLOCK, (end - 1) // BLOCK + 1)
        for block in reversed(blocks) if newest else blocks:
            here = np.flatnonzero(self._block(groups, block)) + block * BLOCK
            yield from (int(place) for place in (here[::-1] if newest else here) if first <= place < end)

    def texts(self, tag: int) -> list[int]:
        """Places of events with a text that has this tag, the newest first."""
        rows = self._db.execute("SELECT seq FROM texts WHERE tag = ? ORDER BY seq DESC", (tag,))
        return [seq for (seq,) in rows]

    def tallies(
        self, by: Grouping, *, tenants: tuple[str, ...] | None, app: str, first: str, last: str
    ) -> dict[Tally, int]:
        """Counts of these tenants (`None`: all) and this application ("": all), from one day to another, inclusive."""
        apart = ", ".join(name if wanted else "''" for name, wanted in structs.asdict(by).items())
        sql, values = _DAYS, [first, first, last, last]
        sql += f"SELECT {apart}, measure, name, sum(count) FROM days CROSS JOIN tallies USING (day) WHERE day <= ?"  # noqa: S608 our names
        if tenants is not None:
            sql += f" AND tenant IN ({','.join('?' * len(tenants))})"
            values += tenants
        if app:
            sql += " AND app = ?"
            values.append(app)
        sql += " GROUP BY 1, 2, 3, 4, 5"
        return {Tally(Group(*row[:3]), Measure(row[3]), row[4]): row[5] for row in self._db.execute(sql, values)}

    def _among(
        self, rare: list[list[int]], groups: list[list[int]], first: int, end: int, *, newest: bool
    ) -> Iterator[int]:
        found: set[int] | None = None
        for terms in rare:
            marks = ",".join("?" * len(terms))
            rows = self._db.execute(
                f"SELECT seq FROM places WHERE term IN ({marks}) AND seq >= ? AND seq < ?",  # noqa: S608 marks only
                (*terms, first, end),
            )
            own = {seq for (seq,) in rows}
            found = own if found is None else found & own
        masks: dict[int, NDArray[np.bool_]] = {}
        for place in sorted(found or (), reverse=newest):
            block = place // BLOCK
            if block not in masks:
                masks[block] = self._block(groups, block)
            if masks[block][place - block * BLOCK]:
                yield place

    def _block(self, groups: list[list[int]], block: int) -> NDArray[np.bool_]:
        """Which events of a block have a term of every group."""
        held = np.ones(BLOCK, dtype=np.bool_)
        for terms in groups:
            own = np.zeros(BLOCK, dtype=np.bool_)
            for one in terms:
                row = self._db.execute("SELECT places FROM postings WHERE term = ? AND block = ?", (one, block))
                for (places,) in row:
                    own[np.frombuffer(places, _OFFSET)] = True
            held &= own
            if not held.any():
                break
        return held


class SearchIndex:
    """Follows a log into its index. One thread at a time; several processes may, one transaction after the other."""

    def __init__(self, log: Path) -> None:
        """Raises `AuditUnavailable` if the log or the folder cannot be used."""
        self._log = log
        self.path = index_of(log)
        self._events = database.open_reader(log)
        try:
            with unavailable_on_error(self.path):
                self._db = self._opened_anew()
        except BaseException:
            self._events.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._events.close()
        self._db.close()

    def take_in(self, most: int) -> int:
        """Take the next `most` events in, and return how many are left then. An index of another history, or of a log
        that was restored, begins anew. Raises `AuditUnavailable`; a damaged index is removed first."""
        with unavailable_on_error(self.path):
            try:
                return self._step(most)
            except sqlite3.DatabaseError as error:
                if database.reason_of(error) in _LOST:
                    self._db.close()
                    self._db = self._opened_anew()
                raise

    def begin_anew(self) -> None:
        """Forget everything."""
        with unavailable_on_error(self.path), transaction(self._db):
            _make(self._db)

    def forget_texts(self, places: Iterable[int]) -> None:
        """Drop the tags of the texts of these events, and take in again those whose salts the log still has. For
        erasure: afterwards the file holds no byte that was made from an erased text."""
        with unavailable_on_error(self.path):
            with transaction(self._db):
                end = _progress(self._db).seq
                for seq in places:
                    self._db.execute("DELETE FROM texts WHERE seq = ?", (seq,))
                    if seq <= end:
                        self._db.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?)", self._tags(seq, seq))
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _step(self, most: int) -> int:
        with transaction(self._db):
            at = _progress(self._db)
            if not fits(self._events, at):
                _make(self._db)
                at = NOTHING
            tip = database.read_tip(self._events).seq
            clause = "WHERE seq > ? AND seq <= ? ORDER BY seq"
            rows = list(database.rows(self._events, clause, (at.seq, min(tip, at.seq + most))))
            if rows:
                _write(self._db, rows)
                tags = self._tags(rows[0].seq, rows[-1].seq)
                self._db.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?)", tags)
                self._db.execute("UPDATE progress SET seq = ?, hash = ?", (rows[-1].seq, rows[-1].hash))
        return max(0, tip - (rows[-1].seq if rows else tip))

    def _tags(self, first: int, last: int) -> list[tuple[int, int]]:
        rows = self._events.execute(
            "SELECT e.seq, s.path, s.salt FROM events e JOIN salts s ON s.event_id = e.id WHERE e.seq BETWEEN ? AND ? "
            "AND s.salt <> ?",
            (first, last, database.DESTROYED_SALT),
        )
        return [(tag_of(salt), seq) for seq, path, salt in rows if "/passages/" not in path]

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # it is made anew after a loss
            db.execute("PRAGMA secure_delete = ON")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            with transaction(db):
                if not _is_current(db):
                    _make(db)
        except BaseException:
            db.close()
            raise
        self.path.chmod(0o600)
        return db

    def _opened_anew(self) -> sqlite3.Connection:
        """The file, or an empty one in the place of a file that is damaged or none of ours."""
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            if database.reason_of(error) not in _LOST:
                raise
        for end in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        return self._open()


_LOST: Final = frozenset({"corrupt", "not_a_log"})
"""What is wrong with a file that only a new one can replace."""


def _progress(db: sqlite3.Connection) -> Progress:
    if not _is_current(db):
        raise FileNotFoundError("the index was written by another version")
    return Progress(*db.execute("SELECT seq, hash FROM progress").fetchone())


def _is_current(db: sqlite3.Connection) -> bool:
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'progress'").fetchone() is None:
        return False
    row = db.execute("SELECT version FROM progress").fetchone()
    return row is not None and row[0] == _VERSION


def _make(db: sqlite3.Connection) -> None:
    """Empty tables, inside the caller's transaction."""
    for table in _TABLES:
        db.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _SCHEMA.strip().split(";\n"):
        db.execute(statement)


def _write(db: sqlite3.Connection, rows: list[Row]) -> None:
    postings: dict[tuple[int, int], list[int]] = {}
    places: set[tuple[int, int]] = set()
    tallies: Counter[Tally] = Counter()
    for row in rows:
        event = _decoded(row)
        if not event:
            continue
        block, offset = divmod(row.seq, BLOCK)
        for facet, value in facets_of(event):
            if facet in RARE:
                places.add((term(facet, value), row.seq))
            else:
                postings.setdefault((_kept_term(facet, value), block), []).append(offset)
        for tally, count in tallies_of(event):
            tallies[tally] += count
    db.executemany(
        "INSERT INTO postings VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET places = CAST(places || excluded.places AS BLOB)",
        ((*key, np.array(offsets, _OFFSET).tobytes()) for key, offsets in sorted(postings.items())),
    )
    db.executemany("INSERT OR IGNORE INTO places VALUES (?, ?)", sorted(places))
    db.executemany(
        "INSERT INTO tallies VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
        (
            (tally.group.day, tally.group.tenant, tally.group.app, tally.measure.value, tally.name, count)
            for tally, count in tallies.items()
        ),
    )


def _decoded(row: Row) -> dict[str, Any]:
    """The event, or nothing for one that is damaged: the verifier tells of it, and a scan names it."""
    try:
        event = msgspec.json.decode(row.body)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


@lru_cache(_CACHED_TERMS)
def _kept_term(facet: Facet, value: str) -> int:
    return term(facet, value)
