"""Offline proofs that an event stands in a log (C2SP tlog-proof): index, inclusion proof, checkpoint, in one text."""

import base64
from typing import Final, Self

from msgspec import Struct

from gateway.audit.checkpoint import SignedCheckpoint, parse_size
from gateway.audit.entry import leaf_hash
from gateway.audit.merkle import HASH_BYTES, verify_inclusion
from gateway.audit.note import NoteError, decode_base64

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_MAX_HASHES: Final = 63


class TlogProof(Struct, frozen=True):
    """`index` counts from 0: it is one less than the event's `seq`. `path` begins with the leaf's sibling."""

    index: int
    path: tuple[bytes, ...]
    signed: SignedCheckpoint

    def __str__(self) -> str:
        hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in self.path)
        return f"{_HEADER}\nindex {self.index}\n{hashes}\n{self.signed}"

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Raises `NoteError`."""
        head, _, note = content.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise NoteError("a proof is not text") from None
        if lines[0] != _HEADER:
            raise NoteError(f"a proof begins with `{_HEADER}`")
        rest = lines[2:] if len(lines) > 1 and lines[1].startswith("extra ") else lines[1:]
        if not rest or not rest[0].startswith("index "):
            raise NoteError("a proof lacks its index")
        return cls(parse_size(rest[0].removeprefix("index ")), parse_hashes(rest[1:]), SignedCheckpoint.parse(note))

    def proves(self, body: bytes) -> bool:
        """Whether the proof leads from these bytes to the checkpoint's root. Says nothing of signatures."""
        checkpoint = self.signed.checkpoint
        return verify_inclusion(leaf_hash(body), self.index, checkpoint.size, self.path, checkpoint.root)


def parse_hashes(lines: list[str]) -> tuple[bytes, ...]:
    """Hashes of a proof, one a line. Raises `NoteError`."""
    hashes = tuple(map(decode_base64, lines))
    if len(hashes) > _MAX_HASHES or any(len(one) != HASH_BYTES for one in hashes):
        raise NoteError(f"a proof has at most {_MAX_HASHES} hashes of {HASH_BYTES} bytes")
    return hashes
