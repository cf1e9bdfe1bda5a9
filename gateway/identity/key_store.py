"""API keys at rest: one SQLite file, shared by all processes of a node.

Only a SHA-256 of the secret is stored. A slow password hash would add nothing: it slows down guessing, and 160
random bits cannot be guessed at any speed; it would cost every request milliseconds and give an attacker a way to
burn them. Nothing is deleted: a revoked key stays listed, so that old audit events keep their explanation.
"""

import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gateway.domain.errors import ConfigurationError, GuardUnavailable, RequestError
from gateway.domain.text import Secret
from gateway.identity.key_format import new_key

MAX_NAME_CHARS: Final = 200
MAX_NAMES: Final = 200
_BUSY_TIMEOUT_S: Final = 2.0
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
create table if not exists keys (
  id text primary key,
  secret_sha256 blob not null,
  tenant text not null,
  app text not null,
  user text not null,
  groups text not null,
  roles text not null,
  models text not null,
  requests_per_minute integer not null,
  label text not null,
  created text not null,
  expires text,
  revoked text
) strict
"""
_COLUMNS: Final = (
    "id, secret_sha256, tenant, app, user, groups, roles, models, requests_per_minute, label, created, expires, revoked"
)


class KeyRecord(Struct, frozen=True, kw_only=True):
    """What may be shown of a key. Times are UTC and aware; `requests_per_minute` 0 means the configured default."""

    id: str
    tenant: str
    app: str
    user: str
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    models: tuple[str, ...] = ("*",)
    requests_per_minute: int = 0
    label: str = ""
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def usable(self, now: datetime) -> bool:
        return self.revoked is None and (self.expires is None or now < self.expires)


class StoredKey(Struct, frozen=True, kw_only=True):
    record: KeyRecord
    secret_sha256: bytes

    def __repr__(self) -> str:
        return f"StoredKey({self.record.id!r})"


class CreatedKey(Struct, frozen=True, kw_only=True):
    """`key` is the whole key, to be shown once; it cannot be read back."""

    record: KeyRecord
    key: Secret


class StoreVersion(Struct, frozen=True):
    """Differs from the last one whenever a key may have changed, in this process or in another."""

    own_writes: int
    data_version: int


class KeyStore:
    """Opened once a process. Safe for threads; calls take microseconds to milliseconds and block.

    Every method raises `GuardUnavailable` when the file cannot be read or written: without it nobody's identity
    is known, so nobody is let in.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._own_writes = 0

    @classmethod
    def open(cls, path: Path) -> "KeyStore":
        """Open or create the file, readable by its owner alone. Raises `ConfigurationError`."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            try:
                cls._prepare(connection, path)
            except BaseException:
                connection.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"key store `{path}` cannot be opened: {_reason(error)}; check that the folder is writable"
            ) from None
        return cls(connection)

    @staticmethod
    def _prepare(connection: sqlite3.Connection, path: Path) -> None:
        (version,) = connection.execute("pragma user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise ConfigurationError(f"key store `{path}` was written by a newer gateway; upgrade this one")
        connection.execute("pragma journal_mode = wal")  # readers never wait for a writer
        connection.execute("pragma synchronous = full")  # a revocation survives a crash
        connection.execute(_SCHEMA)
        connection.execute(f"pragma user_version = {_SCHEMA_VERSION}")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def create(
        self,
        *,
        tenant: str,
        app: str,
        user: str,
        groups: Sequence[str] = (),
        roles: Sequence[str] = (),
        models: Sequence[str] = ("*",),
        requests_per_minute: int = 0,
        label: str = "",
        expires: datetime | None = None,
        now: datetime,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> CreatedKey:
        """A new key. Raises `RequestError` for names that are empty, too long or hold control characters."""
        parts, text = new_key(random_bytes)
        record = KeyRecord(
            id=parts.id,
            tenant=_name("tenant", tenant),
            app=_name("app", app),
            user=_name("user", user),
            groups=_names("group", groups),
            roles=_names("role", roles),
            models=_names("model", models),
            requests_per_minute=requests_per_minute,
            label=_name("label", label) if label else "",
            created=now.astimezone(UTC),
            expires=None if expires is None else expires.astimezone(UTC),
        )
        if requests_per_minute < 0:
            raise RequestError("requests per minute must be 0 (the default) or more", param="requests_per_minute")
        if not record.models:
            raise RequestError("a key needs a model; `*` stands for all", param="model")
        if record.expires is not None and record.expires <= record.created:
            raise RequestError("the key would expire before it is created; give a later time", param="expires")
        with self._locked() as connection:
            connection.execute(
                f"insert into keys ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constant
                _to_row(record, secret_hash(parts.secret)),
            )
            self._own_writes += 1
        return CreatedKey(record=record, key=text)

    def revoke(self, key_id: str, *, now: datetime) -> KeyRecord | None:
        """Revoke a key for good; the first time counts. `None` if there is no such key."""
        with self._locked() as connection:
            connection.execute(
                "update keys set revoked = ? where id = ? and revoked is null", (_to_text(now.astimezone(UTC)), key_id)
            )
            self._own_writes += 1
        found = self.find(key_id)
        return None if found is None else found.record

    def find(self, key_id: str) -> StoredKey | None:
        with self._locked() as connection:
            row = connection.execute(f"select {_COLUMNS} from keys where id = ?", (key_id,)).fetchone()  # noqa: S608 - constant
        return None if row is None else _from_row(row)

    def list(self) -> tuple[KeyRecord, ...]:
        """All keys, oldest first."""
        with self._locked() as connection:
            rows = connection.execute(f"select {_COLUMNS} from keys order by created, id").fetchall()  # noqa: S608 - constant
        return tuple(_from_row(row).record for row in rows)

    def version(self) -> StoreVersion:
        """A few microseconds: SQLite counts the commits of other connections (`pragma data_version`)."""
        with self._locked() as connection:
            (data_version,) = connection.execute("pragma data_version").fetchone()
            return StoreVersion(self._own_writes, data_version)

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise GuardUnavailable(f"the key store cannot be used: {_reason(error)}") from None


def secret_hash(secret: Secret) -> bytes:
    return hashlib.sha256(secret.reveal().encode("ascii")).digest()


def _name(what: str, value: str) -> str:
    if not value or len(value) > MAX_NAME_CHARS or value != value.strip() or not value.isprintable():
        raise RequestError(
            f"{what} must be 1 to {MAX_NAME_CHARS} printable characters without space at either end", param=what
        )
    return value


def _names(what: str, values: Sequence[str]) -> tuple[str, ...]:
    if len(values) > MAX_NAMES:
        raise RequestError(f"a key takes at most {MAX_NAMES} of `{what}`", param=what)
    return tuple(sorted({_name(what, value) for value in values}))


def _reason(error: Exception) -> str:
    """A stable reason; the texts of SQLite hold statements, not values, and of the system hold paths."""
    return getattr(error, "sqlite_errorname", "") or type(error).__name__


def _to_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _to_moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _to_row(record: KeyRecord, digest: bytes) -> tuple[str | bytes | int | None, ...]:
    return (
        record.id,
        digest,
        record.tenant,
        record.app,
        record.user,
        msgspec.json.encode(record.groups).decode(),
        msgspec.json.encode(record.roles).decode(),
        msgspec.json.encode(record.models).decode(),
        record.requests_per_minute,
        record.label,
        _to_text(record.created),
        _to_text(record.expires),
        _to_text(record.revoked),
    )


def _from_row(row: tuple[str, bytes, str, str, str, str, str, str, int, str, str, str | None, str | None]) -> StoredKey:
    key_id, digest, tenant, app, user, groups, roles, models, rpm, label, created, expires, revoked = row
    return StoredKey(
        secret_sha256=digest,
        record=KeyRecord(
            id=key_id,
            tenant=tenant,
            app=app,
            user=user,
            groups=msgspec.json.decode(groups, type=tuple[str, ...]),
            roles=msgspec.json.decode(roles, type=tuple[str, ...]),
            models=msgspec.json.decode(models, type=tuple[str, ...]),
            requests_per_minute=rpm,
            label=label,
            created=datetime.fromisoformat(created),
            expires=_to_moment(expires),
            revoked=_to_moment(revoked),
        ),
    )
