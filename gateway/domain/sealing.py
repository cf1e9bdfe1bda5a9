"""Encryption at rest with one master key, and keys for other purposes derived from it.

Sealed content is AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce; keys for different purposes come from
the master key by HKDF-SHA256 (RFC 5869), so that no two uses share a key and knowing one reveals no other.
"""

import os
import tempfile
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.domain.errors import ConfigurationError, GatewayError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_VERSION: Final = b"\x01"  # of the sealed form: version, nonce, ciphertext with its 16-byte tag
_OTHERS_BITS: Final = 0o077


class Purpose(StrEnum):
    """What a derived key is for. A value, once used, is never given to another purpose."""

    SEAL = "seal"
    CASE_CONTENT = "case-content"
    CASE_BINDING = "case-binding"
    BODY_KEYS = "body-keys"
    PRINCIPAL_REF = "principal-ref"
    INSPECTION_CACHE = "inspection-cache"
    HASH_REDACTION = "hash-redaction"
    TEXT_TAG = "text-tag"
    SEARCH_COUNTS = "search-counts"


class UnsealError(GatewayError):
    """Sealed bytes were altered, belong to another context, or were sealed with another key."""

    code = "unseal_failed"


class Sealer:
    """Authenticated encryption with one key. Thread-safe; good for 2^32 seals (the bound of random nonces)."""

    __slots__ = ("_aead", "_entropy")

    def __init__(self, key: bytes, *, entropy: Callable[[int], bytes] = os.urandom) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a sealing key has {KEY_BYTES} bytes, not {len(key)}")
        self._aead = AESGCM(key)
        self._entropy = entropy

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt. `context` says what the bytes are (kind and id of the record); only the same context opens
        them, so a sealed value that is moved to another record does not open."""
        nonce = self._entropy(_NONCE_BYTES)
        return _VERSION + nonce + self._aead.encrypt(nonce, plaintext, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt and authenticate, or raise `UnsealError`."""
        if sealed[:1] != _VERSION:
            raise UnsealError("sealed content has an unknown form: it was damaged or written by a newer gateway")
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, ciphertext, context)
        except (InvalidTag, ValueError):
            raise UnsealError("sealed content does not open: it was altered, or the master key is another") from None

    def __repr__(self) -> str:
        return "Sealer(…)"


class MasterKey:
    """The root secret of a node. Neither `repr` nor a log line shows it, and it is not serialised."""

    __slots__ = ("_root", "_sealer")

    def __init__(self, root: bytes) -> None:
        if len(root) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(root)}")
        self._root = root
        self._sealer = Sealer(self.derive(Purpose.SEAL))

    @classmethod
    def load_or_create(cls, path: Path, *, entropy: Callable[[int], bytes] = os.urandom) -> "MasterKey":
        """Read the key from `path` (64 hex digits), or create the file with mode 0600.

        Safe when several processes start at once: the file appears whole or not at all, and all of them use the
        same key. Raises `ConfigurationError` for a file that others may read, that holds anything else, or that
        cannot be read or written.
        """
        try:
            if not path.exists():
                _create(path, entropy(KEY_BYTES))
            mode = path.stat().st_mode
            text = path.read_text("ascii")
        except OSError as error:
            raise ConfigurationError(f"the master key `{path}` cannot be used: {error.strerror or error}") from error
        except UnicodeDecodeError:
            raise ConfigurationError(_malformed(path)) from None
        if mode & _OTHERS_BITS:
            raise ConfigurationError(f"the master key `{path}` may be read by others: run `chmod 600 {path}`")
        try:
            return cls(bytes.fromhex(text))
        except ValueError:
            raise ConfigurationError(_malformed(path)) from None

    def derive(self, purpose: Purpose) -> bytes:
        """The 32-byte key for one purpose; the same in every process that holds this master key."""
        label = b"answer-gateway/" + purpose.encode()
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=label).derive(self._root)

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """`Sealer.seal` with the key for `Purpose.SEAL`."""
        return self._sealer.seal(plaintext, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """`Sealer.open` with the key for `Purpose.SEAL`."""
        return self._sealer.open(sealed, context)

    def __repr__(self) -> str:
        return "MasterKey(…)"

    def __reduce__(self) -> Any:
        raise TypeError("a MasterKey is not serialised")


def _malformed(path: Path) -> str:
    return f"the master key `{path}` is not {KEY_BYTES * 2} hex digits: restore it from its backup"


def _create(path: Path, root: bytes) -> None:
    """Write a new key beside `path`, make it durable, and link it into place; an existing file wins."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(root.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        Path(draft).unlink()
