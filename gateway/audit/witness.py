"""A witness (C2SP tlog-witness): cosigns checkpoints of logs that only ever grow, and refuses forks.

Another organisation runs it. For each log it keeps the last checkpoint it cosigned, and cosigns a new one only with
a proof that it extends that one. Two histories of a log can therefore not both carry its cosignature.
"""

import base64
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import Final

from msgspec import Struct

from gateway.audit import database
from gateway.audit.checkpoint import SignedCheckpoint, cosign, parse_size
from gateway.audit.merkle import EMPTY_ROOT, verify_consistency
from gateway.audit.note import NoteError, SigningKey, VerifierKey
from gateway.audit.proof import parse_hashes
from gateway.transaction import transaction

SIZE_TYPE: Final = "text/x.tlog.size"
TEXT_TYPE: Final = "text/plain; charset=utf-8"


class Reply(Struct, frozen=True):
    """An HTTP answer."""

    status: int
    body: str
    content_type: str = TEXT_TYPE


class Submission(Struct, frozen=True):
    """The body of `add-checkpoint`."""

    old: int
    path: tuple[bytes, ...]
    signed: SignedCheckpoint

    def __str__(self) -> str:
        hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in self.path)
        return f"old {self.old}\n{hashes}\n{self.signed}"

    @classmethod
    def parse(cls, content: bytes) -> "Submission":
        """Raises `NoteError`."""
        head, gap, note = content.partition(b"\n\n")
        lines = head.decode("ascii", "replace").split("\n")
        if not gap or not lines[0].startswith("old "):
            raise NoteError("the body is not `old SIZE`, proof lines, an empty line and a checkpoint")
        return cls(parse_size(lines[0].removeprefix("old ")), parse_hashes(lines[1:]), SignedCheckpoint.parse(note))


class Witness:
    """Thread-safe within a process; the state file keeps several processes right, too."""

    def __init__(self, state: Path, key: SigningKey, logs: Iterable[VerifierKey], clock: Callable[[], int]) -> None:
        """`logs` are the keys of the logs it serves, each named as its log. `clock` gives POSIX seconds. Raises
        `AuditUnavailable` if the state cannot be used."""
        self._key = key
        self._clock = clock
        self._logs: dict[str, list[VerifierKey]] = {}
        for log in logs:
            self._logs.setdefault(log.name, []).append(log)
        self._lock = Lock()
        with database.unavailable_on_error(state):
            self._db = sqlite3.connect(state, isolation_level=None, timeout=5, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS seen (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, "
                "root BLOB NOT NULL, note TEXT NOT NULL) STRICT"
            )

    def close(self) -> None:
        self._db.close()

    def add_checkpoint(self, content: bytes) -> Reply:
        """Answer one submission as the specification says. 200 holds our cosignature, after it is durable that we
        gave it; 400 a malformed body; 403 no signature of the log; 404 a log not served; 409 another old size or a
        fork at the same size; 422 a proof that does not hold. Raises `sqlite3.Error`: nothing was cosigned."""
        try:
            asked = Submission.parse(content)
        except NoteError as error:
            return Reply(400, f"{error}\n")
        point = asked.signed.checkpoint
        keys = self._logs.get(point.origin)
        if keys is None:
            return Reply(404, "this witness does not serve that log\n")
        if not any(asked.signed.is_signed_by(key) for key in keys):
            return Reply(403, "no signature of a known key of that log\n")
        if asked.old > point.size:
            return Reply(400, "the old size is beyond the checkpoint\n")
        with self._lock, transaction(self._db):
            return self._decide(asked)

    def latest(self, origin: str) -> str | None:
        """The last checkpoint of a log with our cosignature, for whoever compares views."""
        with self._lock:
            row = self._db.execute("SELECT note FROM seen WHERE origin = ?", (origin,)).fetchone()
        return str(row[0]) if row else None

    def _decide(self, asked: Submission) -> Reply:
        point = asked.signed.checkpoint
        row = self._db.execute("SELECT size, root FROM seen WHERE origin = ?", (point.origin,)).fetchone()
        size, root = (row[0], bytes(row[1])) if row else (0, EMPTY_ROOT)
        if asked.old != size:
            return Reply(409, f"{size}\n", SIZE_TYPE)
        if point.size == size and point.root != root:
            return Reply(409, f"{size}\n", SIZE_TYPE)
        if not verify_consistency(size, point.size, root, point.root, asked.path):
            return Reply(422, "the proof does not show that the log only grew\n")
        signature = cosign(asked.signed.note.text, self._key, self._clock())
        cosigned = str(asked.signed.with_signatures(signature))
        self._db.execute(
            "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", (point.origin, point.size, point.root, cosigned)
        )
        return Reply(200, str(signature))
