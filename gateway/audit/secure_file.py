"""SQLite files that forget: what is overwritten or deleted in them is nowhere in the file afterwards.

`secure_delete` zeroes what is deleted. Rows that hold a secret have a fixed length and are only appended, so that they
never move and an overwritten one leaves no copy. `forget` empties the write-ahead log, which would hold the old pages.
What the disk itself keeps of overwritten blocks is beyond a program: encrypt the disk.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gateway.audit.database import reason_of, sync_folder
from gateway.domain.errors import AuditUnavailable
from gateway.transaction import transaction

_BUSY_S: Final = 5.0
_PAUSE_S: Final = 0.02


def open_secure(path: Path, *, what: str, application_id: int, statements: Sequence[str]) -> sqlite3.Connection:
    """Open or create a file (mode 0600) whose every commit waits for the disk. `what` names it in errors. Used by one
    thread at a time, beside other processes. Raises `AuditUnavailable`."""
    with unavailable_on_error(path, what):
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            sync_folder(path.parent)
        db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "fullfsync = ON", "secure_delete = ON"):
                db.execute(f"PRAGMA {pragma}")
            _create_or_check(db, path, what, application_id, statements)
        except BaseException:
            db.close()
            raise
    return db


def _create_or_check(
    db: sqlite3.Connection, path: Path, what: str, application_id: int, statements: Sequence[str]
) -> None:
    with transaction(db):
        if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            for statement in statements:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {application_id}")
        if db.execute("PRAGMA application_id").fetchone()[0] != application_id:
            raise AuditUnavailable(f"the file `{path}` is no {what} that this gateway knows: restore it")


@contextmanager
def unavailable_on_error(path: Path, what: str) -> Iterator[None]:
    """Turn errors of the file into `AuditUnavailable`, naming the file and the cause."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise AuditUnavailable(f"the {what} `{path}` cannot be used: {reason_of(error)}: {error}") from error


def forget(db: sqlite3.Connection, *, timeout_s: float = _BUSY_S) -> bool:
    """Move all pages out of the write-ahead log and empty it. False if somebody who reads kept it from ending within
    `timeout_s`: then old pages may still be in it, and it is to be tried again."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError as error:
            if reason_of(error) != "locked":
                raise
            busy = 1
        if not busy:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_S)
