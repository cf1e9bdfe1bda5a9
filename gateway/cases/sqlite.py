"""The database of cases as one SQLite file, for the processes of one machine.

Every write is on disk before it is acknowledged (`synchronous=FULL`). Times are kept in ISO form, all UTC, so that
their order is that of the texts.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from gateway.cases.database import AlreadyThere, Row, Session, Value
from gateway.cases.rows import UNDECIDED_SQL
from gateway.domain.errors import GuardUnavailable
from gateway.transaction import transaction

_BUSY_TIMEOUT_S: Final = 5.0
_CASES: Final = (
    """CREATE TABLE cases (
      id TEXT PRIMARY KEY, state TEXT NOT NULL, tenant TEXT NOT NULL, app TEXT NOT NULL, principal TEXT NOT NULL,
      exchange TEXT NOT NULL, phase TEXT NOT NULL, queue TEXT NOT NULL, approvals INTEGER NOT NULL,
      rules TEXT NOT NULL, policy TEXT NOT NULL, opened TEXT NOT NULL, due TEXT NOT NULL, expires TEXT NOT NULL,
      fingerprint TEXT NOT NULL, binding TEXT NOT NULL, revision INTEGER NOT NULL, content BLOB
    ) STRICT""",
    f"CREATE UNIQUE INDEX undecided_request ON cases (fingerprint) WHERE state IN ({UNDECIDED_SQL})",
    "CREATE INDEX by_binding ON cases (binding)",
    "CREATE INDEX by_queue ON cases (tenant, state, due)",
)
_COURSE: Final = (
    "ALTER TABLE cases ADD COLUMN course TEXT NOT NULL DEFAULT '{}'",
    # The sealed texts belong to the binding at opening; the person behind an older case is not known.
    """UPDATE cases SET course = json_object('origin', binding,
      'sla_s', max(1, CAST(round((julianday(due) - julianday(opened)) * 86400) AS INTEGER)))""",
    """CREATE TABLE history (
      case_id TEXT NOT NULL, revision INTEGER NOT NULL, at TEXT NOT NULL, command TEXT NOT NULL, before TEXT NOT NULL,
      after TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL, event TEXT NOT NULL,
      PRIMARY KEY (case_id, revision)
    ) STRICT""",
    """CREATE TABLE texts (
      case_id TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, sealed BLOB NOT NULL,
      PRIMARY KEY (case_id, kind, number)
    ) STRICT""",
    """CREATE TABLE outbox (
      id TEXT PRIMARY KEY, target TEXT NOT NULL, payload TEXT NOT NULL, attempts INTEGER NOT NULL, next_at TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX outbox_next ON outbox (next_at)",
)
_REVIEWS: Final = (
    "ALTER TABLE cases ADD COLUMN leased TEXT",
    "ALTER TABLE cases ADD COLUMN reserved TEXT",
    "ALTER TABLE cases ADD COLUMN review_by TEXT",
    """UPDATE cases SET leased = strftime('%Y-%m-%dT%H:%M:%f000+00:00', json_extract(course, '$.leased')),
      review_by = strftime('%Y-%m-%dT%H:%M:%f000+00:00', json_extract(course, '$.review_by'))""",
    "ALTER TABLE history ADD COLUMN person TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX history_at ON history (at)",
    "CREATE INDEX by_fingerprint ON cases (fingerprint, opened)",
    "CREATE INDEX post_review ON cases (review_by) WHERE review_by IS NOT NULL",
    """CREATE TABLE views (
      case_id TEXT NOT NULL, actor TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (case_id, actor)
    ) STRICT""",
    """CREATE TABLE drills (
      case_id TEXT PRIMARY KEY, kind TEXT NOT NULL, about TEXT NOT NULL, expected TEXT NOT NULL, at TEXT NOT NULL,
      UNIQUE (kind, about)
    ) STRICT""",
)
MIGRATIONS: Final = (_CASES, _COURSE, _REVIEWS)
"""`MIGRATIONS[n]` makes format `n + 1` from format `n`; 0 is an empty file."""
VERSION: Final = len(MIGRATIONS)

T = TypeVar("T")


class SqliteDatabase:
    """Implements `Database`; one piece of work at a time."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self._session = _SqliteSession(db)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cases")

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the file; its folder exists. Raises `GuardUnavailable`."""
        with _unavailable_on_error(path):
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA fullfsync = ON")
                _create_or_check(db, path)
            except BaseException:
                db.close()
                raise
        return cls(db, path)

    async def read(self, work: Callable[[Session], T]) -> T:
        return await self._run(lambda: work(self._session))

    async def write(self, work: Callable[[Session], T]) -> T:
        def within() -> T:
            with transaction(self._db):
                return work(self._session)

        return await self._run(within)

    async def scrub(self) -> bool:
        def within() -> bool:
            self._db.execute("VACUUM")
            return not self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

        return await self._run(within)

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._db.close()

    async def _run(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            with _unavailable_on_error(self._path):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)


class _SqliteSession:
    skip_locked = ""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        return self._db.execute(sql, _stored(values)).fetchall()

    def change(self, sql: str, values: Sequence[Value] = ()) -> int:
        try:
            return self._db.execute(sql, _stored(values)).rowcount
        except sqlite3.IntegrityError as error:
            raise AlreadyThere from error


def _stored(values: Sequence[Value]) -> list[Any]:
    return [value.isoformat() if isinstance(value, datetime) else value for value in values]


@contextmanager
def _unavailable_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise GuardUnavailable(f"the case store `{path}` cannot be used: {error}") from error


def _migrate(db: sqlite3.Connection) -> int:
    """Bring the file to `VERSION`, inside the caller's transaction; the version it has then. One that is newer, or
    that is no case store at all, is left alone."""
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        return 0
    for step in MIGRATIONS[version:]:
        for statement in step:
            db.execute(statement)
    if version < VERSION:
        db.execute(f"PRAGMA user_version = {VERSION}")
        version = VERSION
    return version


def _create_or_check(db: sqlite3.Connection, path: Path) -> None:
    with transaction(db):
        version = _migrate(db)
    if version != VERSION:
        raise GuardUnavailable(
            f"the case store `{path}` has format {version}, not {VERSION}: use a gateway that knows it"
        )
