"""Data keys: one for each caller and month, wrapped, in a file of their own. Destroying one erases what it encrypts.

Rows have a fixed length but for the wrapped key, are appended, and are overwritten in place, so that a destroyed key
leaves no copy in the file. Rotation makes wrapped keys anew and therefore rewrites the whole file (`VACUUM`).
"""

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from msgspec import Struct

from gateway.audit.secure_file import forget, open_secure, unavailable_on_error
from gateway.audit.wrapping import Wrappers
from gateway.domain.sealing import KEY_BYTES, UnsealError
from gateway.transaction import transaction

WHAT: Final = "key store"
_APPLICATION_ID: Final = 0x61756B79  # "auky"
_STATEMENTS: Final = (
    """CREATE TABLE data_keys (
      ref TEXT NOT NULL, tenant TEXT NOT NULL, app TEXT NOT NULL, subject TEXT NOT NULL, month TEXT NOT NULL,
      destroyed TEXT NOT NULL, wrapped_by TEXT NOT NULL, wrapped BLOB NOT NULL
    ) STRICT""",
    "CREATE UNIQUE INDEX by_ref ON data_keys (ref)",
    f"CREATE UNIQUE INDEX in_use ON data_keys (tenant, subject, month) WHERE destroyed = '{'-' * 20}'",
    "CREATE INDEX by_app ON data_keys (app, month)",
)
_NEVER: Final = "-" * 20
"""As long as a time, so that a row keeps its length when its key is destroyed."""

_REF_BYTES: Final = 16
_REMEMBERED: Final = 4_096  # unwrapped keys; some 300 bytes each
_COLUMNS: Final = "ref, tenant, app, subject, month, destroyed, wrapped_by"


class KeyOwner(Struct, frozen=True):
    """Whose texts a data key encrypts: `subject` is `Principal.ref`."""

    tenant: str
    app: str
    subject: str


class KeyRecord(Struct, frozen=True, kw_only=True):
    """What may be shown of a data key. `month` is `YYYY-MM`; `destroyed` a time, "" for one in use."""

    ref: str
    owner: KeyOwner
    month: str
    destroyed: str
    wrapped_by: str


class DataKey(Struct, frozen=True):
    """An unwrapped data key."""

    ref: str
    key: bytes

    def __repr__(self) -> str:
        return f"DataKey({self.ref})"


class KeyDestroyedError(UnsealError):
    """The data key was destroyed at `when`, and with it everything that it encrypts."""

    code = "erased"

    def __init__(self, when: str) -> None:
        super().__init__(f"the text was erased on {when[:10]}")
        self.when = when


class DataKeys:
    """Used by one thread at a time, beside other processes; a key that another process destroyed is used no more
    from the next look on. Methods raise `AuditUnavailable`."""

    def __init__(
        self, db: sqlite3.Connection, path: Path, wrappers: Wrappers, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._db = db
        self._path = path
        self._wrappers = wrappers
        self._entropy = entropy
        self._version = -1
        self._in_use: OrderedDict[tuple[KeyOwner, str], DataKey] = OrderedDict()

    @classmethod
    def open(cls, path: Path, wrappers: Wrappers, *, entropy: Callable[[int], bytes] = os.urandom) -> Self:
        """Open or create the store; its folder exists."""
        db = open_secure(path, what=WHAT, application_id=_APPLICATION_ID, statements=_STATEMENTS)
        return cls(db, path, wrappers, entropy)

    def current(self, owner: KeyOwner, now: datetime) -> DataKey:
        """The key of this caller for this month, durable; made if there is none. Raises `UnsealError` for one that
        does not unwrap."""
        month = month_of(now)
        with unavailable_on_error(self._path, WHAT):
            self._forget_changes()
            known = self._in_use.get((owner, month))
            if known is None:
                known = self._find(owner, month) or self._make(owner, month)
                self._in_use[owner, month] = known
                if len(self._in_use) > _REMEMBERED:
                    self._in_use.popitem(last=False)
        return known

    def record(self, ref: str) -> KeyRecord | None:
        with unavailable_on_error(self._path, WHAT):
            return next(self._records("WHERE ref = ?", (ref,)), None)

    def unwrap(self, ref: str) -> DataKey:
        """Raises `KeyDestroyedError`, and `UnsealError` for a key that is missing or does not unwrap."""
        record = self.record(ref)
        if record is None:
            raise UnsealError("the data key is not in the key store: restore `keys.db`", code="key_missing")
        if record.destroyed:
            raise KeyDestroyedError(record.destroyed)
        with unavailable_on_error(self._path, WHAT):
            return self._unwrapped(record)

    def of_subject(self, tenant: str, subject: str) -> list[KeyRecord]:
        """All keys of a caller, destroyed ones included, oldest first."""
        with unavailable_on_error(self._path, WHAT):
            return list(self._records("WHERE tenant = ? AND subject = ? ORDER BY month, rowid", (tenant, subject)))

    def older_than(self, app: str, month: str) -> list[KeyRecord]:
        """Keys in use of an app for months before `month`."""
        clause = "WHERE app = ? AND month < ? AND destroyed = ? ORDER BY month, rowid"
        with unavailable_on_error(self._path, WHAT):
            return list(self._records(clause, (app, month, _NEVER)))

    def apps(self) -> list[str]:
        with unavailable_on_error(self._path, WHAT):
            return [row[0] for row in self._db.execute("SELECT DISTINCT app FROM data_keys ORDER BY app")]

    def destroy(self, refs: Iterable[str], now: datetime) -> int:
        """Overwrite wrapped keys; how many were in use. Durable on return; call `forget` then."""
        when = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        done = 0
        with unavailable_on_error(self._path, WHAT), transaction(self._db):
            for ref in refs:
                # The secret first and in place: the second statement touches an index.
                self._db.execute("UPDATE data_keys SET wrapped = zeroblob(length(wrapped)) WHERE ref = ?", (ref,))
                sql = "UPDATE data_keys SET destroyed = ? WHERE ref = ? AND destroyed = ?"
                done += self._db.execute(sql, (when, ref, _NEVER)).rowcount
        self._in_use.clear()
        return done

    def forget(self) -> bool:
        """Empty the write-ahead log; false if somebody who reads prevented it."""
        with unavailable_on_error(self._path, WHAT):
            return forget(self._db)

    def rotate(self) -> tuple[int, int]:
        """Wrap anew with the current wrapping key what another has wrapped, or an older version of it at a key
        service; how many keys were wrapped, and how many could not be unwrapped. Rewrites the file."""
        done = failed = 0
        with unavailable_on_error(self._path, WHAT):
            for record in list(self._records("WHERE destroyed = ?", (_NEVER,))):
                try:
                    key = self._unwrapped(record).key
                except UnsealError:
                    failed += 1
                    continue
                wrapped = self._wrappers.current.wrap(key, _context(record.owner, record.month, record.ref))
                sql = "UPDATE data_keys SET wrapped = ?, wrapped_by = ? WHERE ref = ? AND destroyed = ?"
                values = (wrapped, self._wrappers.current.name, record.ref, _NEVER)
                done += self._db.execute(sql, values).rowcount
            self._db.execute("VACUUM")
            self._in_use.clear()
            forget(self._db)
        return done, failed

    def close(self) -> None:
        self._db.close()

    def _forget_changes(self) -> None:
        """Another process may have destroyed keys."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._in_use.clear()
            self._version = version

    def _find(self, owner: KeyOwner, month: str) -> DataKey | None:
        clause = "WHERE tenant = ? AND subject = ? AND month = ? AND destroyed = ?"
        record = next(self._records(clause, (owner.tenant, owner.subject, month, _NEVER)), None)
        return self._unwrapped(record) if record else None

    def _make(self, owner: KeyOwner, month: str) -> DataKey:
        made = DataKey("k:" + self._entropy(_REF_BYTES).hex(), self._entropy(KEY_BYTES))
        wrapped = self._wrappers.current.wrap(made.key, _context(owner, month, made.ref))
        values = (made.ref, owner.tenant, owner.app, owner.subject, month, _NEVER, self._wrappers.current.name, wrapped)
        try:
            with transaction(self._db):
                self._db.execute("INSERT INTO data_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        except sqlite3.IntegrityError:  # another process was faster
            found = self._find(owner, month)
            if found is None:
                raise
            return found
        return made

    def _unwrapped(self, record: KeyRecord) -> DataKey:
        row = self._db.execute("SELECT wrapped FROM data_keys WHERE ref = ?", (record.ref,)).fetchone()
        context = _context(record.owner, record.month, record.ref)
        key = self._wrappers.unwrap(record.wrapped_by, row[0], context)
        if len(key) != KEY_BYTES:
            raise UnsealError("a data key has another length: the key store was altered")
        return DataKey(record.ref, key)

    def _records(self, clause: str, values: tuple[str, ...]) -> Iterator[KeyRecord]:
        for row in self._db.execute(f"SELECT {_COLUMNS} FROM data_keys {clause}", values):  # noqa: S608 clauses of ours
            yield KeyRecord(
                ref=row[0],
                owner=KeyOwner(row[1], row[2], row[3]),
                month=row[4],
                destroyed="" if row[5] == _NEVER else row[5],
                wrapped_by=row[6],
            )


def month_of(now: datetime) -> str:
    """`YYYY-MM` in UTC."""
    return now.astimezone(UTC).strftime("%Y-%m")


def _context(owner: KeyOwner, month: str, ref: str) -> bytes:
    parts = ("audit-data-key", owner.tenant, owner.app, owner.subject, month, ref)
    return b"".join(len(part).to_bytes(4, "big") + part for part in (text.encode() for text in parts))
