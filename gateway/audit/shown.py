"""Whether events that somebody looks at are those that were signed: in milliseconds, however long the log is.

Steps: 1 the log still holds what its last checkpoint signed; 2 that checkpoint extends the one before it; 3 each
event has its stored hash and fits its neighbours in the chain; 4 an inclusion proof leads from its bytes to the signed
root. The signer's kept tiles shorten the proofs; they are not believed: a proof holds or it does not.

What it cannot show is in the rest of the log: `verify_log` reads all of it.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from gateway.audit import database
from gateway.audit.anchor import find_rollback, was_accepted
from gateway.audit.anchoring import Trust
from gateway.audit.checkpoint import Checkpoint, SignedCheckpoint
from gateway.audit.checkpoint_folder import CheckpointFolder, folder_of
from gateway.audit.integrity import check_links
from gateway.audit.merkle import consistency_proof, hash_children, inclusion_proof, root_of, split, verify_consistency
from gateway.audit.proof import TlogProof
from gateway.audit.tree import TILE, leaves_of
from gateway.audit.verify import Outcome
from gateway.domain.errors import AuditUnavailable

_ORDER: Final = tuple(Outcome)  # from best to worst
_NEWER: Final = "it is newer than the last checkpoint: the chain holds, and nothing signed covers it yet"

Subtree = Callable[[int, int], bytes]


class EventCheck(Struct, frozen=True, kw_only=True):
    """What is known of one event. `proof` leads from its bytes to the signed root, if it could be made and holds."""

    seq: int
    outcome: Outcome
    what: str
    proof: TlogProof | None = None


class ShownCheck(Struct, frozen=True, kw_only=True):
    """What is known of all of them: `outcome` is the worst. `witnesses` are trusted ones that cosigned `checkpoint`;
    `trusted` says that the trust asked for is met. `events` is the number of events in the log now."""

    outcome: Outcome
    what: str
    events: int
    checks: dict[int, EventCheck]
    checkpoint: SignedCheckpoint | None = None
    trusted: bool = False
    witnesses: tuple[str, ...] = ()


def check_shown(log: Path, events: Iterable[int], trust: Trust) -> ShownCheck:
    """Check the events at these places of a log, which may grow meanwhile; none at all checks the checkpoint alone.
    Raises `AuditUnavailable` for a file that is no log."""
    folder = folder_of(log)
    signed = folder.recent(2)  # before the log is read: events are durable before they are signed
    seqs = tuple(dict.fromkeys(events))
    db = database.open_reader(log)
    with ExitStack() as closing, database.unavailable_on_error(log):
        closing.callback(db.close)
        if signed and _is_accepted_as_lost(db, folder):
            signed = []
        kept = _kept(folder, closing)
        opened = _Opened(db, folder, signed, trust, _subtree(db, kept))
        found = _checked(opened, seqs)
        if found.outcome is Outcome.DIVERGED and kept is not None:  # the tiles may be what is wrong
            found = _checked(structs.replace(opened, subtree=_subtree(db, None)), seqs)
    return found


class _Opened(Struct, frozen=True):
    """A log and what it is compared with; `signed` are its last checkpoints."""

    db: sqlite3.Connection
    folder: CheckpointFolder
    signed: Sequence[SignedCheckpoint]
    trust: Trust
    subtree: Subtree

    @property
    def last(self) -> SignedCheckpoint | None:
        return self.signed[-1] if self.signed else None


def _checked(opened: _Opened, seqs: Sequence[int]) -> ShownCheck:
    last, trust = opened.last, opened.trust
    outcome, what = _state(last, trust, _fault(opened))
    checks = {seq: _check(opened, seq) for seq in seqs}
    for check in checks.values():
        if _ORDER.index(check.outcome) > _ORDER.index(outcome):
            outcome, what = check.outcome, f"event {check.seq}: {check.what}"
    return ShownCheck(
        outcome=outcome,
        what=what,
        events=database.read_tip(opened.db).seq,
        checks=checks,
        checkpoint=last,
        trusted=last is not None and trust.anchors(last),
        witnesses=_cosigners(last, trust) if last else (),
    )


def _state(last: SignedCheckpoint | None, trust: Trust, fault: str) -> tuple[Outcome, str]:
    """What the checkpoint by itself says."""
    if fault:
        return Outcome.DIVERGED, fault
    if last is None:
        return Outcome.VERIFIED_UNANCHORED, "no checkpoint covers this log: run `gateway signer`"
    if not trust.anchors(last):
        return Outcome.VERIFIED_UNANCHORED, "the checkpoint is signed by no key that the settings trust"
    return Outcome.VERIFIED_ANCHORED, f"checkpoint {last.checkpoint.size} is signed by a trusted key"


def _fault(opened: _Opened) -> str:
    """How the log or its checkpoints contradict each other, "" if they do not."""
    if opened.last is None:
        return ""
    last = opened.last.checkpoint
    rollback = find_rollback(opened.db, opened.folder)  # 1
    if rollback is not None:
        return rollback.what
    before = opened.signed[0].checkpoint
    if before.origin == last.origin and not _extends(before, last, opened.subtree):  # 2
        return f"checkpoint {last.size} does not extend checkpoint {before.size}"
    return ""


def _is_accepted_as_lost(db: sqlite3.Connection, folder: CheckpointFolder) -> bool:
    """Whether two people took the log as it is, against its last checkpoint, and no new one was signed since."""
    rollback = find_rollback(db, folder)
    return rollback is not None and was_accepted(db, rollback.checkpoint)


def _extends(old: Checkpoint, new: Checkpoint, subtree: Subtree) -> bool:
    if old.size > new.size:
        return False
    try:
        path = consistency_proof(old.size, new.size, subtree)
    except AuditUnavailable:
        return False
    return verify_consistency(old.size, new.size, old.root, new.root, path)


def _check(opened: _Opened, seq: int) -> EventCheck:
    last = opened.last
    rows = list(database.rows(opened.db, "WHERE seq BETWEEN ? AND ? ORDER BY seq", (seq - 1, seq + 1)))
    shown = next((row for row in rows if row.seq == seq), None)
    if shown is None:
        return EventCheck(seq=seq, outcome=Outcome.INVALID, what="it is not in the log any more")
    bad = check_links(rows, "")  # 3
    if bad is not None:
        where = "" if bad.seq == seq else f"event {bad.seq} beside it: "
        return EventCheck(seq=seq, outcome=Outcome.INVALID, what=f"{where}{bad.what}")
    if last is None or seq > last.checkpoint.size:
        return EventCheck(seq=seq, outcome=Outcome.VERIFIED_UNANCHORED, what=_NEWER)
    try:
        proof = TlogProof(seq - 1, tuple(inclusion_proof(seq - 1, last.checkpoint.size, opened.subtree)), last)  # 4
    except AuditUnavailable:
        proof = None
    if proof is None or not proof.proves(shown.body):
        what = f"it, or an event stored near it, is not what checkpoint {last.checkpoint.size} was signed over"
        return EventCheck(seq=seq, outcome=Outcome.DIVERGED, what=what)
    if not opened.trust.anchors(last):
        what = f"proven under checkpoint {last.checkpoint.size}, which no key that the settings trust has signed"
        return EventCheck(seq=seq, outcome=Outcome.VERIFIED_UNANCHORED, what=what, proof=proof)
    what = f"proven under checkpoint {last.checkpoint.size}"
    return EventCheck(seq=seq, outcome=Outcome.VERIFIED_ANCHORED, what=what, proof=proof)


def _cosigners(signed: SignedCheckpoint, trust: Trust) -> tuple[str, ...]:
    times = signed.witnesses(trust.witness_keys)
    return tuple(key.name for key in trust.witness_keys if str(key) in times)


def _subtree(db: sqlite3.Connection, kept: sqlite3.Connection | None) -> Subtree:
    """Roots of subtrees, from kept tiles where there are some and else from the events."""
    leaves = leaves_of(db)

    def node(level: int, place: int) -> bytes | None:
        if kept is None:
            return None
        try:
            row = kept.execute("SELECT hash FROM nodes WHERE level = ? AND place = ?", (level, place)).fetchone()
        except sqlite3.Error:
            return None
        return bytes(row[0]) if row else None

    def subtree(start: int, end: int) -> bytes:
        width = end - start
        if width >= TILE and width & (width - 1) == 0:
            level = width.bit_length() - 1
            found = node(level, start >> level)
            if found is not None:
                return found
        if width <= TILE:
            return root_of(leaves(start, end))
        middle = start + split(width)
        return hash_children(subtree(start, middle), subtree(middle, end))

    return subtree


def _kept(folder: CheckpointFolder, closing: ExitStack) -> sqlite3.Connection | None:
    if not folder.tiles.is_file():
        return None
    try:
        kept = sqlite3.connect(f"{folder.tiles.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
    except sqlite3.Error:
        return None
    closing.callback(kept.close)
    return kept
