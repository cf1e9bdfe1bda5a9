"""Signed notes (C2SP signed-note): a text with Ed25519 signature lines, and the keys in their text forms.

A verifier key is `name+hash+base64(type ‖ public key)`; a signing key, as Go's note tools write it, is
`PRIVATE+KEY+name+hash+base64(type ‖ seed)`. The hash is the key id that signature lines carry.
"""

import base64
import binascii
import hashlib
from enum import IntEnum
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

MAX_NOTE_BYTES: Final = 64 * 1024
_MAX_SIGNATURES: Final = 64  # the format asks for 16 at least
_KEY_ID_BYTES: Final = 4
_SEED_BYTES: Final = 32
_MARK: Final = "— "
_PRIVATE: Final = "PRIVATE+KEY+"


class NoteError(ValueError):
    """A text is not of the form that its specification asks for."""


class KeyType(IntEnum):
    """The first byte of an encoded key: what it signs."""

    NOTE = 0x01  # the text of a note
    COSIGNATURE = 0x04  # the text of a checkpoint together with a time (C2SP tlog-cosignature)


class Signature(Struct, frozen=True):
    """A signature line. `value` is what follows the key id."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{_MARK}{self.name} {_encoded(self.key_id + self.value)}\n"


class Note(Struct, frozen=True):
    """A parsed note. `text` ends in a newline; nothing is verified yet."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    def with_signatures(self, *more: Signature) -> Self:
        return type(self)(self.text, (*self.signatures, *more))


class VerifierKey(Struct, frozen=True):
    """A public key with the name it signs under."""

    name: str
    type: KeyType
    public: bytes

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.type]) + self.public).digest()[:_KEY_ID_BYTES]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `NoteError`."""
        name, key_type, public, key_id = _parse_key(text.strip())
        key = cls(name, key_type, public)
        if key.key_id != key_id:
            raise NoteError(f"the hash in the verifier key of `{name}` is not that of the key: copy it anew")
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_encoded(bytes([self.type]) + self.public)}"

    def made(self, signature: Signature) -> bool:
        """Whether a signature line says that this key made it."""
        return signature.name == self.name and signature.key_id == self.key_id

    def verify(self, message: bytes, value: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(value, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """A private key. Neither `repr` nor a log line shows it."""

    __slots__ = ("_private", "_seed", "verifier")

    def __init__(self, name: str, key_type: KeyType, seed: bytes) -> None:
        """`seed` are 32 random bytes. Raises `NoteError` for a name that no signature line can hold."""
        _check_name(name)
        self._seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(name, key_type, self._private.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `NoteError`, which does not show the text."""
        if not text.startswith(_PRIVATE):
            raise NoteError("the key file does not hold a signing key: it begins with `PRIVATE+KEY+`")
        name, key_type, seed, key_id = _parse_key(text.strip()[len(_PRIVATE) :])
        key = cls(name, key_type, seed)
        if key.verifier.key_id != key_id:
            raise NoteError(f"the hash in the signing key of `{name}` is not that of the key: restore the file")
        return key

    def export(self) -> str:
        """The text form, for a file that nobody else reads."""
        own = self.verifier
        return f"{_PRIVATE}{own.name}+{own.key_id.hex()}+{_encoded(bytes([own.type]) + self._seed)}"

    def sign(self, message: bytes, prefix: bytes = b"") -> Signature:
        """The signature line over `message`; `prefix` stands before the signature proper."""
        return Signature(self.verifier.name, self.verifier.key_id, prefix + self._private.sign(message))

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier.name!r})"


def parse_note(content: bytes) -> Note:
    """Raises `NoteError`."""
    if len(content) > MAX_NOTE_BYTES:
        raise NoteError(f"a note has more than {MAX_NOTE_BYTES} bytes")
    try:
        whole = content.decode("utf-8")
    except UnicodeDecodeError:
        raise NoteError("a note is not UTF-8") from None
    if any(char < " " and char != "\n" for char in whole):
        raise NoteError("a note holds a control character")
    text, gap, block = whole.rpartition("\n\n")
    if not gap or not block.endswith("\n"):
        raise NoteError("a note lacks the blank line before its signatures, or its last newline")
    return Note(text + "\n", parse_signatures(block))


def parse_signatures(block: str) -> tuple[Signature, ...]:
    """Signature lines, one at least, each with its newline. Raises `NoteError`."""
    lines = block.split("\n")[:-1]
    if not block.endswith("\n") or not 1 <= len(lines) <= _MAX_SIGNATURES:
        raise NoteError(f"a note has 1 to {_MAX_SIGNATURES} signature lines")
    return tuple(map(_parse_signature, lines))


def decode_base64(text: str) -> bytes:
    """Standard base64 in its one canonical form. Raises `NoteError`."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("a note holds what is not base64") from None
    if _encoded(content) != text:
        raise NoteError("a note holds base64 that is not canonical")
    return content


def _parse_signature(line: str) -> Signature:
    name, _, value = line.removeprefix(_MARK).partition(" ")
    content = decode_base64(value)
    if not line.startswith(_MARK) or len(content) <= _KEY_ID_BYTES:
        raise NoteError("a signature line is not of the form `— name base64`")
    _check_name(name)
    return Signature(name, content[:_KEY_ID_BYTES], content[_KEY_ID_BYTES:])


def _parse_key(text: str) -> tuple[str, KeyType, bytes, bytes]:
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise NoteError("a key is not of the form `name+hash+base64`")
    name, key_id, encoded = parts
    _check_name(name)
    content = decode_base64(encoded)
    try:
        key_type = KeyType(content[0])
    except (ValueError, IndexError):
        raise NoteError(
            f"the key of `{name}` is of a type that is not known: Ed25519 (1) or its cosignatures (4)"
        ) from None
    if len(content) != 1 + _SEED_BYTES or len(key_id) != 2 * _KEY_ID_BYTES:
        raise NoteError(f"the key of `{name}` has a wrong length")
    try:
        return name, key_type, content[1:], bytes.fromhex(key_id)
    except ValueError:
        raise NoteError(f"the hash in the key of `{name}` is not hexadecimal") from None


def _check_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() for char in name):
        raise NoteError("the name of a key is empty or holds a space or a plus sign")


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
