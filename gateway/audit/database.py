"""The SQLite file of a log: its schema, how it is opened, and what its errors mean."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from gateway.audit.commitment import SALT_BYTES
from gateway.audit.entry import EMPTY, Chained, Salt, Tip
from gateway.audit.row import Row
from gateway.domain.errors import AuditUnavailable
from gateway.transaction import transaction

SCHEMA_VERSION: Final = 1
DESTROYED_SALT: Final = bytes(SALT_BYTES)
"""What stands in place of a salt that was destroyed."""

_APPLICATION_ID: Final = 1635083380  # "audt" in ASCII

# Salts lie in rows that are only appended, and so never move: what overwrites one leaves no copy of it in the file.
# `open_intents` holds the exchanges that have an intent and no end yet. It can be recomputed from `events`, and
# the verifier does; triggers keep it, so that no extra statement is needed and no writer can forget it.
_SCHEMA: Final = """
CREATE TABLE events (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL, ts TEXT NOT NULL, request TEXT NOT NULL,
  tenant TEXT NOT NULL, app TEXT NOT NULL, hash BLOB NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX events_by_request ON events (request) WHERE request <> '';
CREATE TABLE salts (event_id TEXT NOT NULL, path TEXT NOT NULL, salt BLOB NOT NULL, PRIMARY KEY (event_id, path))
  STRICT;
CREATE TABLE open_intents (request TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER intent_opens AFTER INSERT ON events WHEN new.type = 'intent' BEGIN
  INSERT OR IGNORE INTO open_intents VALUES (new.request, new.seq);
END;
CREATE TRIGGER end_closes AFTER INSERT ON events WHEN new.type IN ('outcome', 'stream.close') BEGIN
  DELETE FROM open_intents WHERE request = new.request;
END;
PRAGMA application_id = 1635083380;
PRAGMA user_version = 1;
"""

# Rows of one INSERT. One statement for many rows keeps a group to few calls: around each call the interpreter
# lock changes hands, which costs up to 5 ms when the event loop is busy. More rows would fill the statement cache.
_ROWS: Final = 32
_CACHED_STATEMENTS: Final = 2 * _ROWS + 16

_REASONS: Final = {
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_IOERR: "io_error",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_CANTOPEN: "cannot_open",
    sqlite3.SQLITE_PERM: "cannot_open",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "not_a_log",
}
_PRIMARY_CODE: Final = 0xFF


def reason_of(error: Exception) -> str:
    """A stable word for what went wrong with the file."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return _REASONS.get(code & _PRIMARY_CODE, "failed") if code is not None else "failed"
    return "io_error" if isinstance(error, OSError) else "failed"


def is_busy(error: sqlite3.Error) -> bool:
    return reason_of(error) == "locked"


@contextmanager
def unavailable_on_error(path: Path) -> Iterator[None]:
    """Turn errors of the file into `AuditUnavailable`, naming the file and the cause."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise AuditUnavailable(f"the audit log `{path}` cannot be used: {reason_of(error)}: {error}") from error


def open_writer(path: Path) -> sqlite3.Connection:
    """Open or create the log for appending: WAL, and every commit waits for the disk (`synchronous=FULL`).

    Used by one thread at a time. Waiting for other processes is the caller's task: a locked file errs at once.
    """
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))  # -wal and -shm take over its mode
        sync_folder(path.parent)
    db = sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=_CACHED_STATEMENTS
    )
    try:
        db.execute("PRAGMA busy_timeout = 5000")  # several workers create the file together
        _require_wal(db, path)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")
        db.execute("PRAGMA secure_delete = ON")  # a page that grows into two leaves no copy of its salts behind
        _create_or_check(db, path)
        db.execute("PRAGMA busy_timeout = 0")
    except BaseException:
        db.close()
        raise
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the log for reading only, while others write. Raises `AuditUnavailable` for a file that is no log."""
    with unavailable_on_error(path):
        if not path.is_file():
            raise AuditUnavailable(f"the audit log `{path}` does not exist: name the data folder of the gateway")
        # A copy on a medium that cannot be written has nobody beside us, and no room for SQLite's lock file.
        alone = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
        mode = "mode=ro&immutable=1" if alone else "mode=ro"
        db = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=5, isolation_level=None)
        try:
            db.text_factory = lambda raw: raw.decode("utf-8", "replace")
            _check_version(db, path)
        except BaseException:
            db.close()
            raise
    return db


def has_our_table(db: sqlite3.Connection) -> bool:
    """Whether `events` is the table that this module created: its key alone keeps places unique."""
    row = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'events'").fetchone()
    return row is not None and f"{row[0]};" == next(_statements()).strip()


def read_tip(db: sqlite3.Connection) -> Tip:
    row = db.execute("SELECT seq, hash, ts FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return Tip(*row) if row else EMPTY


def rows(db: sqlite3.Connection, clause: str, values: Sequence[Any] = ()) -> Iterator[Row]:
    """Stored events, read as they are asked for. `clause` is SQL of ours after `FROM events`, `?` for the values."""
    columns = "seq, id, type, ts, request, tenant, app, hash, body"
    for row in db.execute(f"SELECT {columns} FROM events {clause}", values):  # noqa: S608 see above
        yield Row(*row)


def insert(db: sqlite3.Connection, events: list[Chained]) -> None:
    """Store events and their salts, inside the caller's transaction."""
    _insert_rows(db, "events", 9, [_columns(event) for event in events])
    salts = [(salt.event_id, salt.path, salt.value) for event in events for salt in event.entry.salts]
    _insert_rows(db, "salts", 3, salts)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def salt_of(db: sqlite3.Connection, event_id: str, path: str) -> Salt | None:
    """The salt of a commitment, or `None` once it is destroyed."""
    row = db.execute("SELECT salt FROM salts WHERE event_id = ? AND path = ?", (event_id, path)).fetchone()
    return Salt(event_id, path, row[0]) if row and row[0] != DESTROYED_SALT else None


def _columns(event: Chained) -> tuple[Any, ...]:
    entry = event.entry
    return (
        event.seq,
        entry.id,
        entry.type,
        event.ts,
        entry.request,
        entry.tenant,
        entry.app,
        event.hash,
        event.body,
    )


def _insert_rows(db: sqlite3.Connection, table: str, width: int, rows: list[tuple[Any, ...]]) -> None:
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        places = ",".join([f"({','.join('?' * width)})"] * len(part))
        db.execute(f"INSERT INTO {table} VALUES {places}", [column for row in part for column in row])  # noqa: S608 the table is ours


def _require_wal(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise AuditUnavailable(f"the audit log `{path}` cannot be used: its folder does not support WAL")


def _create_or_check(db: sqlite3.Connection, path: Path) -> None:
    with transaction(db):
        if db.execute("PRAGMA user_version").fetchone()[0] == 0 and not _tables(db):
            for statement in _statements():
                db.execute(statement)
        _check_version(db, path)


def _statements() -> Iterator[str]:
    """The statements of the schema one by one: `executescript` would commit the transaction it runs in."""
    statement = ""
    for line in _SCHEMA.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _tables(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION_ID:
        raise AuditUnavailable(f"the file `{path}` is not an audit log: name another data folder")
    if version != SCHEMA_VERSION:
        raise AuditUnavailable(
            f"the audit log `{path}` has format {version}, not {SCHEMA_VERSION}: use a gateway that knows it"
        )
