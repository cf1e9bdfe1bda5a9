"""Signs checkpoints of a log: a process of its own, with a key that no web worker can read.

The log is opened for reading only. A checkpoint is signed when the log has grown by `every_events`, or after
`every_s` when it has grown at all, and only if the log still holds all that was signed before.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from gateway.audit import database
from gateway.audit.anchor import find_rollback, was_accepted
from gateway.audit.checkpoint import Checkpoint, SignedCheckpoint, sign_checkpoint
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.copies import Copies
from gateway.audit.integrity import check_links
from gateway.audit.note import SigningKey
from gateway.audit.proof import TlogProof
from gateway.audit.row import Row
from gateway.audit.tree import Tree, leaves_of
from gateway.audit.witness_client import WitnessClient, WitnessUnreachable
from gateway.domain.errors import GatewayError

_CHUNK: Final = 1_000


class SigningRefused(GatewayError):
    """The log is not what was signed before: a signature now would vouch for a changed history."""

    code = "signing_refused"


class Signer:
    """Used by one thread; one signer a log. Close it after use (context manager)."""

    def __init__(
        self,
        log: Path,
        key: SigningKey,
        *,
        every_events: int,
        every_s: float,
        witnesses: Sequence[WitnessClient],
        copies: Copies,
        clock: Callable[[], float],
        warn: Callable[[str], object],
    ) -> None:
        """The name of `key` is the origin of the checkpoints. `clock` is monotonic, in seconds. Raises
        `AuditUnavailable` for a file that is no log, `SigningRefused` for one that does not fit its checkpoints."""
        self._log = log
        self._key = key
        self._every_events = every_events
        self._every_s = every_s
        self._witnesses = witnesses
        self._copies = copies
        self._clock = clock
        self._warn = warn
        self._folder = folder_of(log)
        self._since = clock() - every_s
        with ExitStack() as opened:
            opened.enter_context(database.unavailable_on_error(self._folder.path))
            self._db = database.open_reader(log)
            opened.callback(self._db.close)
            opened.enter_context(self._folder.locked())
            self._folder.drop_torn_line()
            self._last = self._continued()
            self._tree = self._open_tree()
            opened.push(self._tree)
            self._folder.publish(key.verifier)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._opened:
            if self._last is not None:
                self._copies.offer(self._last, final=True)

    def step(self) -> SignedCheckpoint | None:
        """Sign if it is time to. Raises `SigningRefused`, `WitnessRefused`, and `AuditUnavailable` when a file
        cannot be used."""
        with database.unavailable_on_error(self._log):
            size, signed_size = database.read_tip(self._db).seq, self._size()
            due = self._clock() - self._since >= self._every_s
            if size == signed_size or (size - signed_size < self._every_events and size > signed_size and not due):
                return None
            self._check(size)
            signed = self._sign(size)
        self._last, self._since = signed, self._clock()
        self._copies.offer(signed)
        return signed

    def _size(self) -> int:
        return self._last.checkpoint.size if self._last else 0

    def _check(self, size: int) -> None:
        """Whether the events since the last checkpoint, and the last it covers, form a chain on what it signed."""
        if self._last is not None:
            rollback = find_rollback(self._db, self._folder)
            if rollback is not None:
                raise SigningRefused(
                    f"the audit log `{self._log}` was rolled back or changed: {rollback.what}; nothing more is signed"
                )
        bad = check_links(self._rows(max(1, self._size()), size), "")
        if bad is not None:
            raise SigningRefused(f"the audit log `{self._log}` is damaged: {bad}; nothing more is signed")

    def _sign(self, size: int) -> SignedCheckpoint:
        checkpoint = Checkpoint(self._key.verifier.name, size, self._tree.root(size))
        signed = sign_checkpoint(checkpoint, self._key)
        lines = []
        for witness in self._witnesses:
            try:
                lines.append(witness.cosign(signed, self._tree.consistency))
            except WitnessUnreachable as error:
                self._warn(f"checkpoint {size} is not cosigned: {error}")
        signed = signed.with_signatures(*lines)
        proof = TlogProof(size - 1, tuple(self._tree.inclusion(size - 1, size)), signed)
        self._folder.append(signed, proof)
        return signed

    def _rows(self, first: int, last: int) -> Iterator[Row]:
        """Read in portions: a long read would keep the gateway from trimming its write-ahead log."""
        for start in range(first, last + 1, _CHUNK):
            end = min(start + _CHUNK - 1, last)
            yield from database.rows(self._db, "WHERE seq >= ? AND seq <= ? ORDER BY seq", (start, end))

    def _continued(self) -> SignedCheckpoint | None:
        """The checkpoint that the next one extends; `None` for the first of a name."""
        last = self._folder.last()
        if last is None:
            return None
        rollback = find_rollback(self._db, self._folder)
        origin = self._key.verifier.name
        if last.checkpoint.origin == origin:
            if rollback is not None:
                raise SigningRefused(
                    f"the audit log `{self._log}` was rolled back or changed: {rollback.what}; restore it, or break "
                    "the glass and sign under a new name"
                )
            if not last.is_signed_by(self._key.verifier):
                raise SigningRefused(f"the last checkpoint of `{origin}` was signed with another key: use that key")
            return last
        if rollback is None or not was_accepted(self._db, last.checkpoint):
            raise SigningRefused(
                f"the checkpoints of this log are signed as `{last.checkpoint.origin}`, not as `{origin}`: a new name "
                "is for a log that two people accepted after a loss"
            )
        return None

    def _open_tree(self) -> Tree:
        """The kept tiles if they give the root of the last checkpoint, else new ones."""
        tree = Tree(leaves_of(self._db), self._folder.tiles)
        if self._last is not None and tree.root(self._size()) == self._last.checkpoint.root:
            return tree
        tree.forget()
        if self._last is not None and tree.root(self._size()) != self._last.checkpoint.root:
            tree.__exit__()
            raise SigningRefused(
                f"the audit log `{self._log}` was changed: its first {self._size()} events are not those that were "
                "signed; nothing more is signed"
            )
        return tree
