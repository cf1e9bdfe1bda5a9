"""The database of cases in PostgreSQL, for any number of nodes.

The tables stand in a schema of their own, `gateway_cases`. A commit is on the server's disk before it is acknowledged,
whatever the server's default. A connection is bound to its schema when it is made, so a pooler between must give whole
sessions. Errors name their kind alone: PostgreSQL's texts quote values.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, LiteralString, Self, TypeVar

import psycopg
from psycopg_pool import ConnectionPool

from gateway.cases.database import AlreadyThere, Row, Session, Value
from gateway.cases.rows import UNDECIDED_SQL
from gateway.domain.errors import GuardUnavailable
from gateway.domain.text import Secret

_SCHEMA: Final = "gateway_cases"
_CONNECTIONS: Final = 4
_TIMEOUT_S: Final = 5.0
_LOCK_OF_FORMAT: Final = 0x6761_7465_6361_7301
_LOCK_OF_CLOCK: Final = 0x6761_7465_6361_7302
_TABLES: Final = (
    """CREATE TABLE cases (
      id text PRIMARY KEY, state text NOT NULL, tenant text NOT NULL, app text NOT NULL, principal text NOT NULL,
      exchange text NOT NULL, phase text NOT NULL, queue text NOT NULL, approvals integer NOT NULL,
      rules text NOT NULL, policy text NOT NULL, opened timestamptz NOT NULL, due timestamptz NOT NULL,
      expires timestamptz NOT NULL, fingerprint text NOT NULL, binding text NOT NULL, revision integer NOT NULL,
      course text NOT NULL, leased timestamptz, reserved timestamptz, review_by timestamptz, content bytea
    )""",
    f"CREATE UNIQUE INDEX undecided_request ON cases (fingerprint) WHERE state IN ({UNDECIDED_SQL})",
    "CREATE INDEX by_binding ON cases (binding)",
    "CREATE INDEX by_queue ON cases (tenant, state, due)",
    "CREATE INDEX by_fingerprint ON cases (fingerprint, opened)",
    "CREATE INDEX post_review ON cases (review_by) WHERE review_by IS NOT NULL",
    """CREATE TABLE history (
      case_id text NOT NULL, revision integer NOT NULL, at timestamptz NOT NULL, command text NOT NULL,
      before text NOT NULL, after text NOT NULL, actor text NOT NULL, reason text NOT NULL, event text NOT NULL,
      person text NOT NULL DEFAULT '', PRIMARY KEY (case_id, revision)
    )""",
    "CREATE INDEX history_at ON history (at)",
    """CREATE TABLE texts (
      case_id text NOT NULL, kind text NOT NULL, number integer NOT NULL, sealed bytea NOT NULL,
      PRIMARY KEY (case_id, kind, number)
    )""",
    """CREATE TABLE outbox (
      id text PRIMARY KEY, target text NOT NULL, payload text NOT NULL, attempts integer NOT NULL,
      next_at timestamptz NOT NULL
    )""",
    "CREATE INDEX outbox_next ON outbox (next_at)",
    """CREATE TABLE views (
      case_id text NOT NULL, actor text NOT NULL, at timestamptz NOT NULL, PRIMARY KEY (case_id, actor)
    )""",
    """CREATE TABLE drills (
      case_id text PRIMARY KEY, kind text NOT NULL, about text NOT NULL, expected text NOT NULL,
      at timestamptz NOT NULL, UNIQUE (kind, about)
    )""",
)
MIGRATIONS: Final = (_TABLES,)
"""`MIGRATIONS[n]` makes format `n + 1` from format `n`; 0 is an empty schema."""
VERSION: Final = len(MIGRATIONS)

T = TypeVar("T")


class PostgresDatabase:
    """Implements `Database`; up to four pieces of work at a time."""

    def __init__(self, pool: ConnectionPool[psycopg.Connection[Row]]) -> None:
        self._pool = pool
        self._threads = ThreadPoolExecutor(max_workers=_CONNECTIONS, thread_name_prefix="cases")

    @classmethod
    def open(cls, url: Secret) -> Self:
        """Connect, and make or bring up to date the tables. `url` is a PostgreSQL connection string. Raises
        `GuardUnavailable`."""
        pool: ConnectionPool[psycopg.Connection[Row]] = ConnectionPool(
            url.reveal(),
            connection_class=psycopg.Connection[Row],
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=_TIMEOUT_S,
            kwargs={"connect_timeout": int(_TIMEOUT_S), "application_name": "answer-gateway"},
            configure=_configure,
            check=ConnectionPool.check_connection,
            open=False,
        )
        try:
            with _unavailable_on_error():
                with psycopg.connect(url.reveal(), connect_timeout=int(_TIMEOUT_S)) as connection:
                    _create_or_check(connection)
                pool.open(wait=True, timeout=_TIMEOUT_S)
        except BaseException:
            pool.close()
            raise
        return cls(pool)

    async def read(self, work: Callable[[Session], T]) -> T:
        return await self.write(work)

    async def write(self, work: Callable[[Session], T]) -> T:
        def within() -> T:
            with _unavailable_on_error(), self._pool.connection() as connection:
                return work(_PostgresSession(connection))

        return await asyncio.get_running_loop().run_in_executor(self._threads, within)

    async def scrub(self) -> bool:
        """What the server's own log and backups hold of it goes when they do."""

        def within() -> bool:
            with _unavailable_on_error(), self._pool.connection() as connection:
                connection.rollback()
                connection.set_autocommit(True)
                try:
                    connection.execute("VACUUM (FULL) cases, texts")
                finally:
                    connection.set_autocommit(False)
                return True

        return await asyncio.get_running_loop().run_in_executor(self._threads, within)

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        self._pool.close()


class _PostgresSession:
    skip_locked = " FOR UPDATE SKIP LOCKED"

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        if any(isinstance(value, str) and "\0" in value for value in values):
            return []  # PostgreSQL keeps no such text, so none equals it; asked for one, it fails
        return self._connection.execute(_query(sql), values).fetchall()

    def change(self, sql: str, values: Sequence[Value] = ()) -> int:
        try:
            return self._connection.execute(_query(sql), values).rowcount
        except psycopg.errors.UniqueViolation as error:
            raise AlreadyThere from error


class PostgresClockLock:
    """Held by one process of all nodes at a time (`ClockLock`), for as long as its connection lives."""

    def __init__(self, url: Secret) -> None:
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None
        self._mine = False

    def held(self) -> bool:
        """Whether this process has it, taking it if it is free. A connection that broke has lost it: the lock is then
        asked for anew."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(
                    self._url.reveal(),
                    autocommit=True,
                    connect_timeout=int(_TIMEOUT_S),
                    application_name="gateway-clock",
                )
                self._mine = False
            if self._mine:
                self._connection.execute("SELECT 1")
            else:
                row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK_OF_CLOCK,)).fetchone()
                self._mine = row is not None and bool(row[0])
        except psycopg.Error:
            self.close()
            return False
        return self._mine

    def close(self) -> None:
        """Give it back."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._mine = None, False


def _configure(connection: psycopg.Connection[Any]) -> None:
    connection.execute(f"SET search_path TO {_SCHEMA}")
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute("SET synchronous_commit TO on")
    connection.execute("SET statement_timeout TO '10s'")
    connection.commit()


def _query(sql: str) -> LiteralString:
    """The statement with PostgreSQL's place holders. None of ours holds a `?` or `%` otherwise."""
    return sql.replace("?", "%s")


@contextmanager
def _unavailable_on_error() -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, OSError) as error:
        state = getattr(error, "sqlstate", None) or "no connection"
        raise GuardUnavailable(
            f"the case store in PostgreSQL cannot be used: {type(error).__name__} ({state}): look at the server's log"
        ) from None


def _create_or_check(connection: psycopg.Connection[Any]) -> None:
    """Bring the schema to `VERSION` in one transaction; nodes that start together wait for each other."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_OF_FORMAT,))
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
        connection.execute(f"SET LOCAL search_path TO {_SCHEMA}")
        connection.execute("CREATE TABLE IF NOT EXISTS format (version integer NOT NULL)")
        row = connection.execute("SELECT max(version) FROM format").fetchone()
        version = int(row[0] or 0) if row else 0
        for step in MIGRATIONS[version:]:
            for statement in step:
                connection.execute(statement)
        if version < VERSION:
            connection.execute("DELETE FROM format")
            connection.execute("INSERT INTO format VALUES (%s)", (VERSION,))
    if version > VERSION:
        raise GuardUnavailable(
            f"the case store in PostgreSQL has format {version}, not {VERSION}: use a gateway that knows it"
        )
