"""Whether a log still holds what its last checkpoint signed: asked at every boot and before every signature."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.audit import database
from gateway.audit.checkpoint import Checkpoint
from gateway.audit.checkpoint_folder import CheckpointFolder
from gateway.audit.tree import Tree, leaves_of
from gateway.domain.event import EventDraft, EventType

BREAK_GLASS_EVENTS: Final = f"WHERE type = '{EventType.BREAK_GLASS.value}' ORDER BY seq"


class Rollback(Struct, frozen=True):
    """A signed checkpoint that the log does not fit, and how."""

    checkpoint: Checkpoint
    what: str


def find_rollback(db: sqlite3.Connection, folder: CheckpointFolder) -> Rollback | None:
    """What is wrong between an open log and its last checkpoint; `None` if nothing is, or there is none.

    The last covered event is proven to stand under the signed root (O(log n)); through `prev` it holds all before
    it, of which the caller checks the links it can afford. A missing proof costs one reading of the log.
    Raises `AuditUnavailable` for checkpoints that cannot be read.
    """
    signed = folder.last()
    if signed is None:
        return None
    point = signed.checkpoint
    tip = database.read_tip(db)
    if tip.seq < point.size:
        return Rollback(point, f"it ends at event {tip.seq}, and a checkpoint of {point.size} events was signed")
    if _holds(db, folder, point):
        return None
    return Rollback(point, f"its first {point.size} events are not those of the checkpoint that was signed")


def break_glass(rollback: Rollback, operators: Sequence[dict[str, Any]], reason: str) -> EventDraft:
    """The event by which people take the log as it is. `reason` is a code."""
    body = {"operators": list(operators), "reason": reason, "checkpoint": _named(rollback.checkpoint)}
    return EventDraft(type=EventType.BREAK_GLASS, body=body)


def was_accepted(db: sqlite3.Connection, checkpoint: Checkpoint) -> bool:
    """Whether the log records that two people accepted exactly this checkpoint as lost."""
    return any(accepts(msgspec.json.decode(row.body), checkpoint) for row in database.rows(db, BREAK_GLASS_EVENTS))


def accepts(event: dict[str, Any], checkpoint: Checkpoint) -> bool:
    """Whether a break-glass event names this checkpoint."""
    return event["type"] == EventType.BREAK_GLASS and event.get("checkpoint") == _named(checkpoint)


def _holds(db: sqlite3.Connection, folder: CheckpointFolder, point: Checkpoint) -> bool:
    proof = folder.last_proof()
    if proof is None or proof.signed.checkpoint != point or proof.index != point.size - 1:
        with Tree(leaves_of(db)) as tree:
            return tree.root(point.size) == point.root
    row = db.execute("SELECT body FROM events WHERE seq = ?", (point.size,)).fetchone()
    return row is not None and proof.proves(row[0])


def _named(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
