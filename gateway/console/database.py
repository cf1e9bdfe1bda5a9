"""The console's own file: accounts, sessions, failed sign-ins, sign-ins at a provider that are under way, what
reviewers noted before they saw an answer, and saved views. Shared by all worker processes of a node.

Nothing in it opens anything by itself: passwords are argon2id hashes, sessions and states are known by their SHA-256.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from gateway.domain.errors import ConfigurationError, GuardUnavailable
from gateway.transaction import transaction

_BUSY_TIMEOUT_S: Final = 5.0
_VERSION: Final = 2
_SCHEMA: Final = (
    """CREATE TABLE accounts (
      name TEXT PRIMARY KEY, password TEXT NOT NULL, roles TEXT NOT NULL, tenants TEXT NOT NULL, groups TEXT NOT NULL,
      created TEXT NOT NULL, disabled TEXT
    ) STRICT""",
    """CREATE TABLE sessions (
      key BLOB PRIMARY KEY, account TEXT NOT NULL, local INTEGER NOT NULL, roles TEXT NOT NULL, tenants TEXT NOT NULL,
      groups TEXT NOT NULL, csrf TEXT NOT NULL, opened TEXT NOT NULL, seen TEXT NOT NULL, expires TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX sessions_account ON sessions (account)",
    """CREATE TABLE unmasked (
      session BLOB NOT NULL REFERENCES sessions (key) ON DELETE CASCADE, case_id TEXT NOT NULL, reason TEXT NOT NULL,
      until TEXT NOT NULL, PRIMARY KEY (session, case_id)
    ) STRICT""",
    "CREATE TABLE failures (who TEXT PRIMARY KEY, count INTEGER NOT NULL, last TEXT NOT NULL) STRICT",
    """CREATE TABLE sign_ins (
      state BLOB PRIMARY KEY, door BLOB NOT NULL, nonce TEXT NOT NULL, verifier TEXT NOT NULL, back TEXT NOT NULL,
      expires TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE first_views (
      case_id TEXT NOT NULL, account TEXT NOT NULL, view TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (case_id, account)
    ) STRICT""",
)


_SECOND: Final = """CREATE TABLE views (
      account TEXT NOT NULL, name TEXT NOT NULL, query TEXT NOT NULL, PRIMARY KEY (account, name)
    ) STRICT"""
"""What version 2 has besides."""


class ConsoleDatabase:
    """One connection, used by one thread at a time. Calls block for microseconds to milliseconds, and raise
    `GuardUnavailable` when the file cannot be used: without it nobody is let in."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the file, readable by its owner alone; its folder exists. Raises `ConfigurationError`."""
        try:
            path.touch(mode=0o600)
            db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            try:
                _prepare(db, path)
            except BaseException:
                db.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"the console's file `{path}` cannot be opened: {_reason(error)}: check that the folder is writable"
            ) from None
        return cls(db)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._locked() as db:
            return db.execute(sql, values).fetchall()

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        with self._locked() as db:
            row: tuple[Any, ...] | None = db.execute(sql, values).fetchone()
            return row

    def write(self, sql: str, *values: Any) -> int:
        """Run one statement in a transaction of its own; the number of rows it changed."""
        with self._locked() as db:
            return db.execute(sql, values).rowcount

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise GuardUnavailable(f"the console's file cannot be used: {_reason(error)}") from None


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # a session that was ended stays ended
    db.execute("PRAGMA foreign_keys = ON")
    with transaction(db):  # of workers that start together one makes the tables
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA:
                db.execute(statement)
        if version < _VERSION:
            db.execute(_SECOND)
            db.execute(f"PRAGMA user_version = {_VERSION}")
    if version > _VERSION:
        raise ConfigurationError(f"the console's file `{path}` was written by a newer gateway: upgrade this one")


def _reason(error: Exception) -> str:
    return getattr(error, "sqlite_errorname", "") or type(error).__name__
