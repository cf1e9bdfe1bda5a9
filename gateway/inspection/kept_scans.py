"""Scans of passages, kept in a file from their ingest on, so that serving does not inspect them again.

Keys are those of `ScanCache`: keyed hashes of text, detector and version, so the file tells nothing of the texts and a
new version of a detector finds nothing. Each scan carries a MAC under the same key: a row that another program wrote
is not believed.
"""

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.domain.errors import ConfigurationError, StoreUnavailable
from gateway.domain.signal import Scan
from gateway.transaction import transaction

_MAC_BYTES: Final = 16
_WAIT_S: Final = 10.0
_AT_ONCE: Final = 500  # keys a query; SQLite's bound on parameters was 999 for long

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Scan).decode


class KeptScans:
    """Reads and writes one file. Used by one thread at a time; several processes may have it open. `find` takes some
    ten microseconds for the passages of a request."""

    def __init__(self, path: Path, key: bytes) -> None:
        """`key` is that of the inspection cache, 16 to 64 bytes."""
        if not 16 <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
            raise ConfigurationError(f"the key of kept scans has `{len(key)}` bytes: give 16 to 64")
        self._path = path
        self._mac = hashlib.blake2b(key=key, digest_size=_MAC_BYTES, person=b"kept-scans")
        self._db: sqlite3.Connection | None = None

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Scan]:
        """The scans of those keys that are kept. Never raises: what cannot be read is inspected again."""
        found: dict[bytes, Scan] = {}
        with suppress(OSError, sqlite3.Error):
            if self._db is None:
                if not self._path.exists():
                    return found
                self._db = _connect(self._path)
            for start in range(0, len(keys), _AT_ONCE):
                wanted = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(wanted))
                rows = self._db.execute(f"SELECT key, scan FROM scans WHERE key IN ({marks})", wanted)  # noqa: S608
                found |= {key: scan for key, row in rows if (scan := self._opened(key, row)) is not None}
        return found

    def keep(self, scans: Mapping[bytes, Scan]) -> None:
        """Raises `StoreUnavailable`."""
        try:
            if self._db is None:
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
                self._db = _connect(self._path)
            with transaction(self._db):
                rows = [(key, self._sealed(key, scan)) for key, scan in scans.items()]
                self._db.executemany("INSERT OR REPLACE INTO scans VALUES (?, ?)", rows)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(
                f"scans of passages cannot be kept: {type(error).__name__}: check the data folder and its space",
                code="scans_failed",
            ) from error

    def forget(self, digests: Sequence[bytes]) -> None:
        """Remove what any detector saw of the texts with these digests. Raises `StoreUnavailable`."""
        try:
            if self._db is None:
                if not self._path.exists():
                    return
                self._db = _connect(self._path)
            ranges = [(digest, digest + b"\xff" * _MAC_BYTES) for digest in digests]
            self._db.executemany("DELETE FROM scans WHERE key BETWEEN ? AND ?", ranges)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(
                f"scans of passages cannot be removed: {type(error).__name__}: check the data folder",
                code="scans_failed",
            ) from error

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _sealed(self, key: bytes, scan: Scan) -> bytes:
        encoded = _encode(scan)
        return self._tag(key, encoded) + encoded

    def _opened(self, key: bytes, row: bytes) -> Scan | None:
        tag, encoded = row[:_MAC_BYTES], row[_MAC_BYTES:]
        if not hmac.compare_digest(tag, self._tag(key, encoded)):
            return None
        try:
            return _decode(encoded)
        except msgspec.MsgspecError:
            return None

    def _tag(self, key: bytes, encoded: bytes) -> bytes:
        mac = self._mac.copy()
        mac.update(len(key).to_bytes(2, "big") + key + encoded)
        return mac.digest()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # what a crash takes is inspected again
    connection.execute("CREATE TABLE IF NOT EXISTS scans (key BLOB PRIMARY KEY, scan BLOB NOT NULL) WITHOUT ROWID")
    return connection
