"""Encrypted texts of exchanges, in a file beside the log."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self

from msgspec import Struct

from gateway.audit.secure_file import forget, open_secure, unavailable_on_error
from gateway.domain.sealing import Sealer
from gateway.transaction import transaction

WHAT: Final = "body store"
_APPLICATION_ID: Final = 0x61756264  # "aubd"
_STATEMENTS: Final = (
    """CREATE TABLE bodies (
      request TEXT NOT NULL, field TEXT NOT NULL, key TEXT NOT NULL, sealed BLOB NOT NULL
    ) STRICT""",
    "CREATE UNIQUE INDEX by_place ON bodies (request, field)",
    "CREATE INDEX by_key ON bodies (key)",
)


class SealedBody(Struct, frozen=True):
    """An encrypted text of an exchange. `field` says which, `key` is the data key."""

    request: str
    field: str
    key: str
    sealed: bytes

    def __repr__(self) -> str:
        return f"SealedBody({self.request}, {self.field}, {len(self.sealed)} bytes)"


class BodyStore:
    """Used by one thread at a time, beside other processes. Methods raise `AuditUnavailable`."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the store; its folder exists."""
        return cls(open_secure(path, what=WHAT, application_id=_APPLICATION_ID, statements=_STATEMENTS), path)

    def add(self, bodies: Sequence[SealedBody]) -> None:
        """Store all or none; on disk when this returns. A text that was stored before is replaced: its event was
        never written, since one exchange names a field once."""
        with unavailable_on_error(self._path, WHAT), transaction(self._db):
            self._db.executemany(
                "INSERT OR REPLACE INTO bodies VALUES (?, ?, ?, ?)",
                [(body.request, body.field, body.key, body.sealed) for body in bodies],
            )

    def get(self, request: str, field: str) -> SealedBody | None:
        sql = "SELECT key, sealed FROM bodies WHERE request = ? AND field = ?"
        with unavailable_on_error(self._path, WHAT):
            row = self._db.execute(sql, (request, field)).fetchone()
        return SealedBody(request, field, row[0], row[1]) if row else None

    def delete(self, keys: Iterable[str]) -> int:
        """Delete all texts of these data keys; how many there were. Call `forget` then."""
        with unavailable_on_error(self._path, WHAT), transaction(self._db):
            return sum(self._db.execute("DELETE FROM bodies WHERE key = ?", (key,)).rowcount for key in keys)

    def forget(self) -> bool:
        """Empty the write-ahead log; false if somebody who reads prevented it."""
        with unavailable_on_error(self._path, WHAT):
            return forget(self._db)

    def close(self) -> None:
        self._db.close()


def seal(text: str, key: bytes, *, request: str, field: str, ref: str) -> SealedBody:
    """Encrypt a text for one place only."""
    content = text.encode("utf-8", "surrogatepass")
    return SealedBody(request, field, ref, Sealer(key).seal(content, _context(request, field, ref)))


def unseal(body: SealedBody, key: bytes) -> str:
    """Raises `UnsealError` for what was altered or moved."""
    content = Sealer(key).open(body.sealed, _context(body.request, body.field, body.key))
    return content.decode("utf-8", "surrogatepass")


def _context(request: str, field: str, ref: str) -> bytes:
    parts = ("audit-body", request, field, ref)
    return b"".join(len(part).to_bytes(4, "big") + part for part in (text.encode() for text in parts))
