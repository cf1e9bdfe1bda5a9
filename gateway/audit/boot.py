"""What happens before a log takes its first event of a boot: the tail is checked, lost exchanges are settled."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.audit import database
from gateway.audit.anchor import Rollback, find_rollback, was_accepted
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.entry import Entry, chain, prepare
from gateway.audit.integrity import check_links
from gateway.audit.liveness import live_boots
from gateway.audit.row import Row
from gateway.audit.text_tag import TextTags
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType

TAIL_EVENTS: Final = 1_000  # checked at boot: about 20 ms; the whole log is the verifier's task

CRASHED: Final = {"effect": "unknown", "reason": "unknown_after_crash"}
"""The outcome of an exchange whose process ended before it was known what the client received."""


class Author(Struct, frozen=True):
    """What turns drafts into entries of one boot."""

    log_name: str
    boot: str
    ids: Callable[[], str]
    salts: Callable[[], bytes]
    tags: TextTags | None = None

    def entry(self, draft: EventDraft) -> Entry:
        return prepare(draft, log_name=self.log_name, boot=self.boot, ids=self.ids, salts=self.salts, tags=self.tags)


Accept = Callable[[Rollback], EventDraft]
"""Makes the event by which people accept a log that its last checkpoint does not fit."""


def record_boot(db: Connection, path: Path, author: Author, now: datetime, accept: Accept | None = None) -> None:
    """Append `log.boot`, what `accept` says of a rollback, an outcome for each lost exchange, and `log.recovered` if
    there was one; durable on return. The caller holds the write lock (`BEGIN IMMEDIATE`), so that no two boots
    settle the same exchange.

    Raises `AuditUnavailable` for a tail that is not a valid chain of this log, and for a log that its last signed
    checkpoint does not fit unless people accept or accepted that.
    """
    fault = check_links(_tail(db), author.log_name)
    if fault is not None:
        raise AuditUnavailable(
            f"the audit log `{path}` is damaged: {fault}; run `gateway audit verify` and restore the log",
            code="audit_damaged",
        )
    accepted = _accepted_rollback(db, path, accept)
    tip = database.read_tip(db)
    lost = _lost_intents(db, path)
    drafts = [EventDraft(type=EventType.LOG_BOOT, body={"after_seq": tip.seq, "checked": min(tip.seq, TAIL_EVENTS)})]
    drafts += accepted
    drafts += [_crashed(intent) for intent in lost]
    if lost:
        body = {"exchanges": len(lost), "first_seq": lost[0]["seq"], "last_seq": lost[-1]["seq"]}
        drafts.append(EventDraft(type=EventType.LOG_RECOVERED, body=body))
    database.insert(db, chain([author.entry(draft) for draft in drafts], tip, now))
    db.execute("COMMIT")


def _accepted_rollback(db: Connection, path: Path, accept: Accept | None) -> list[EventDraft]:
    rollback = find_rollback(db, folder_of(path))
    if rollback is None or was_accepted(db, rollback.checkpoint):
        return []
    if accept is not None:
        return [accept(rollback)]
    raise AuditUnavailable(
        f"the audit log `{path}` was rolled back or changed: {rollback.what}; restore the log, or let two people "
        "accept the loss with `gateway audit break-glass`",
        code="audit_rolled_back",
    )


def _tail(db: Connection) -> list[Row]:
    return list(database.rows(db, "ORDER BY seq DESC LIMIT ?", (TAIL_EVENTS,)))[::-1]


def _lost_intents(db: Connection, path: Path) -> list[dict[str, Any]]:
    """Intents that have no end and whose boot is over, oldest first."""
    rows = db.execute("SELECT e.body FROM open_intents o JOIN events e ON e.seq = o.seq ORDER BY o.seq").fetchall()
    alive = live_boots(path)
    intents = [msgspec.json.decode(body) for (body,) in rows]
    return [intent for intent in intents if intent["boot"] not in alive]


def _crashed(intent: dict[str, Any]) -> EventDraft:
    return EventDraft(
        type=EventType.OUTCOME,
        request=intent["request"],
        tenant=intent["tenant"],
        app=intent["app"],
        principal=intent["principal"],
        body={**CRASHED, "intent_seq": intent["seq"]},
    )
