"""The folder `checkpoints` beside a log, written by the signer alone and read by the boot and by verifiers.

    checkpoints.jsonl    every signed checkpoint, one JSON string a line, appended and synced
    latest               the last of them as a plain note, for whoever wants a copy
    latest.tlog-proof    that the last event it covers stands in it: what a boot needs to check it in no time
    log.vkey             the public key of the signer
    signer.lock          held by the signer while it runs
    tiles.db             the tree's kept nodes; a cache

A last line without its newline is a torn write of a crash: it was never acknowledged and does not count.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.database import sync_folder
from gateway.audit.note import MAX_NOTE_BYTES, NoteError, VerifierKey
from gateway.audit.proof import TlogProof
from gateway.domain.errors import AuditUnavailable

FOLDER: Final = "checkpoints"
_LINE_BYTES: Final = 2 * MAX_NOTE_BYTES


class CheckpointFolder:
    """Reads, and for the signer writes. Errors of the disk stay `OSError`; one writer at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "checkpoints.jsonl"
        self.latest = path / "latest"
        self.proof = path / "latest.tlog-proof"
        self.key = path / "log.vkey"
        self.tiles = path / "tiles.db"

    def read(self) -> Iterator[SignedCheckpoint]:
        """All checkpoints, the oldest first. Raises `AuditUnavailable` for a file that the signer did not write."""
        try:
            lines = self.file.open("rb")
        except FileNotFoundError:
            return
        with lines:
            for line in lines:
                if line.endswith(b"\n"):
                    yield self._parse(line)

    def last(self) -> SignedCheckpoint | None:
        """The last checkpoint, found from the end of the file. Raises `AuditUnavailable`."""
        return next(iter(self.recent(1)), None)

    def recent(self, most: int) -> list[SignedCheckpoint]:
        """The last checkpoints, the oldest of them first, found from the end of the file. Raises `AuditUnavailable`."""
        try:
            with self.file.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - (most + 1) * _LINE_BYTES))
                tail = file.read()
        except FileNotFoundError:
            return []
        whole = tail[: tail.rfind(b"\n") + 1].splitlines(keepends=True)
        return [self._parse(line) for line in whole[-most:]]

    def last_proof(self) -> TlogProof | None:
        """The proof of the last covered event, if there is a readable one."""
        try:
            return TlogProof.parse(self.proof.read_bytes())
        except (FileNotFoundError, NoteError):
            return None

    def verifier_key(self) -> VerifierKey | None:
        """The key that lies beside the log: whoever can write here can replace it."""
        try:
            return VerifierKey.parse(self.key.read_text())
        except (FileNotFoundError, NoteError, UnicodeDecodeError):
            return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """For the signer: the folder, made if it is missing, held by this process alone. Raises `AuditUnavailable`
        while another signer runs."""
        self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = os.open(self.path / "signer.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise AuditUnavailable(f"another signer writes `{self.path}`: run one for each log") from None
        finally:
            os.close(lock)

    def publish(self, key: VerifierKey) -> None:
        """Put the signer's public key beside its checkpoints."""
        replace_file(self.key, f"{key}\n".encode())

    def drop_torn_line(self) -> None:
        """For the signer, at its start."""
        descriptor = os.open(self.file, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            size = os.lseek(descriptor, 0, os.SEEK_END)
            tail = os.pread(descriptor, _LINE_BYTES, max(0, size - _LINE_BYTES))
            torn = len(tail) - (tail.rfind(b"\n") + 1)
            if torn:
                os.ftruncate(descriptor, size - torn)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(self.path)

    def append(self, signed: SignedCheckpoint, proof: TlogProof) -> None:
        """Durable on return. The line comes first: what follows it can be made anew from it."""
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND)
        try:
            write_all(descriptor, json.dumps(str(signed), ensure_ascii=False).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        replace_file(self.latest, str(signed).encode())
        replace_file(self.proof, str(proof).encode())

    def _parse(self, line: bytes) -> SignedCheckpoint:
        try:
            return SignedCheckpoint.parse(json.loads(line).encode())
        except (NoteError, ValueError, AttributeError):
            raise AuditUnavailable(
                f"the checkpoints `{self.file}` are damaged: restore the file, or break the glass",
                code="checkpoints_damaged",
            ) from None


def folder_of(log: Path) -> CheckpointFolder:
    """Where the checkpoints of a log lie."""
    return CheckpointFolder(log.parent / FOLDER)


def replace_file(path: Path, content: bytes) -> None:
    """Give a file new content at once, never half of it."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(path)


def write_all(descriptor: int, content: bytes) -> None:
    """`os.write` until nothing is left."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
