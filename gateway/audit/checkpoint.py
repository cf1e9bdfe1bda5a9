"""Checkpoints (C2SP tlog-checkpoint): the signed size and root of a log, and witnesses' cosignatures on them."""

import base64
from collections.abc import Iterable
from typing import Final, Self

from msgspec import Struct

from gateway.audit.merkle import HASH_BYTES
from gateway.audit.note import KeyType, Note, NoteError, Signature, SigningKey, VerifierKey, decode_base64, parse_note

_TIME_BYTES: Final = 8
_MAX_TIME: Final = 2**63 - 1
_MAX_SIZE: Final = 2**63 - 1


class Checkpoint(Struct, frozen=True):
    """The state of a log: its name, its number of events, and the root over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `NoteError`. Extension lines are allowed and ignored; signatures cover them."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise NoteError("a checkpoint has three lines at least, none of them empty")
        root = decode_base64(lines[2])
        if len(root) != HASH_BYTES:
            raise NoteError("the root of a checkpoint has 32 bytes")
        return cls(lines[0], parse_size(lines[1]), root)


class SignedCheckpoint(Struct, frozen=True):
    """A checkpoint with the note it came in. Nothing is verified yet."""

    checkpoint: Checkpoint
    note: Note

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Raises `NoteError`."""
        note = parse_note(content)
        return cls(Checkpoint.parse(note.text), note)

    def __str__(self) -> str:
        return str(self.note)

    def with_signatures(self, *more: Signature) -> Self:
        return type(self)(self.checkpoint, self.note.with_signatures(*more))

    def is_signed_by(self, key: VerifierKey) -> bool:
        """Whether a log's key signed the text. A line of that key that does not verify counts as none at all."""
        made = [signature for signature in self.note.signatures if key.made(signature)]
        return bool(made) and all(key.verify(self.note.text.encode(), signature.value) for signature in made)

    def cosigned_at(self, key: VerifierKey) -> int | None:
        """When a witness cosigned (POSIX seconds), or `None`."""
        for signature in self.note.signatures:
            if key.made(signature):
                return cosignature_time(self.note.text, signature, key)
        return None

    def witnesses(self, keys: Iterable[VerifierKey]) -> dict[str, int]:
        """Which of the keys cosigned, and when."""
        found = {str(key): self.cosigned_at(key) for key in keys}
        return {key: moment for key, moment in found.items() if moment is not None}


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> SignedCheckpoint:
    """Sign as the log. The caller has made sure that the checkpoint extends every one signed before."""
    text = checkpoint.text()
    return SignedCheckpoint(checkpoint, Note(text, (key.sign(text.encode()),)))


def cosign(text: str, key: SigningKey, now: int) -> Signature:
    """A witness's timestamped signature (`cosignature/v1`). `now` in POSIX seconds."""
    return key.sign(_cosigned(text, now), now.to_bytes(_TIME_BYTES, "big"))


def cosignature_time(text: str, signature: Signature, key: VerifierKey) -> int | None:
    """The time of a cosignature that verifies, or `None`."""
    moment = int.from_bytes(signature.value[:_TIME_BYTES], "big")
    if key.type is not KeyType.COSIGNATURE or moment > _MAX_TIME:
        return None
    return moment if key.verify(_cosigned(text, moment), signature.value[_TIME_BYTES:]) else None


def parse_size(text: str) -> int:
    """A number of leaves in decimal, without leading zeros. Raises `NoteError`."""
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or str(int(text)) != text or int(text) > _MAX_SIZE:
        raise NoteError("the size of a tree is a decimal number without leading zeros")
    return int(text)


def _cosigned(text: str, moment: int) -> bytes:
    return f"cosignature/v1\ntime {moment}\n{text}".encode()
