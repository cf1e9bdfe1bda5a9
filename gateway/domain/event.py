"""Entries of the audit log before the log gives them a place."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from gateway.domain.text import outline

PLAYGROUND: Final = "playground"
"""Member of the events of a trial run from the console: no app asked, nobody got the answer; counts leave it out."""


class EventType(StrEnum):
    """Each type has its members declared in `gateway.audit.schema`; an event that differs from them fails tests."""

    INTENT = "intent"
    OUTCOME = "outcome"
    STREAM_OPEN = "stream.open"
    STREAM_CLOSE = "stream.close"
    REJECTED = "rejected"  # a request that failed before it had an intent: bad body, bad key, over a limit
    CASE_OPENED = "case.opened"
    CASE_DRILL_OPENED = "case.drill_opened"  # a case that measures the review: known answer, or a blind second look
    CASE_CLAIMED = "case.claimed"
    CASE_RELEASED = "case.released"  # back to the queue: handed back, or the lease ended
    CASE_ASKED = "case.asked"
    CASE_REPLIED = "case.replied"
    CASE_VIEWED = "case.viewed"  # what a reviewer thought before they saw the answer
    CASE_APPROVED = "case.approved"  # one approval; the body's `to` says whether it was the last that was needed
    CASE_EDITED = "case.edited"
    CASE_REFUSED = "case.refused"
    CASE_WITHDRAWN = "case.withdrawn"
    CASE_OVERDUE = "case.overdue"  # to the next tier, or refused
    CASE_REQUEUED = "case.requeued"  # an approval that no longer fits what it was given for
    CASE_RELEASABLE = "case.releasable"
    CASE_DELIVERED = "case.delivered"
    CASE_REDELIVERED = "case.redelivered"
    CASE_APPEALED = "case.appealed"
    CASE_BREAK_GLASS = "case.break_glass"
    CASE_POST_REVIEWED = "case.post_reviewed"  # another person looked at a broken glass
    CASE_CLOSED = "case.closed"
    REVIEW_ALARM = "review.alarm"  # a reviewer approves nearly all, faster than anybody reads
    CASE_CONFLICT = "case.conflict"  # the transition recorded for this revision lost a race and did not happen
    FEEDBACK = "feedback"
    POLICY_ACTIVATE = "policy.activate"
    POLICY_REJECTED = "policy.rejected"  # changed files that did not come into force; once per node and content
    KEY_CREATED = "admin.key_created"
    KEY_REVOKED = "admin.key_revoked"
    CONSOLE_SIGNED_IN = "admin.console_signed_in"
    CONSOLE_SIGNED_OUT = "admin.console_signed_out"
    CONSOLE_SIGN_IN_FAILED = "admin.console_sign_in_failed"
    CONSOLE_ACCOUNT_CHANGED = "admin.console_account_changed"
    INGEST = "ingest"
    SOURCE_DELETED = "source.deleted"  # written before the document goes
    SOURCE_ALLOWED = "source.allowed"  # a deleted document may be ingested again
    PASSAGE_RELEASED = "passage.released"  # a human lets a passage be found that policies stopped
    INDEX_SWITCHED = "index.switched"  # another edition of the index serves; written before the switch
    INDEX_DRIFT = "index.drift"  # a drift report of a tenant's index
    ACCESS_MISMATCH = "security.access_mismatch"
    BODY_READ = "body.read"  # someone opened sealed content; the body names who, what and why
    ERASURE = "erasure"  # what a person left in the trail was destroyed; written before and after
    HOLD_SET = "hold.set"  # a legal hold: nothing of it is erased or purged
    HOLD_CLEAR = "hold.clear"
    RETENTION_PURGE = "retention.purge"  # texts whose time was over were destroyed; written before and after
    SCHEDULE_RUN = "schedule.run"  # a task that the node does by itself; written before and after
    KEYS_ROTATED = "admin.body_keys_rotated"
    BREAK_GLASS = "admin.break_glass"  # two people accepted a log that its last signed checkpoint does not fit
    LOG_BOOT = "log.boot"
    LOG_RECOVERED = "log.recovered"
    AUDIT_READ = "audit.read"  # someone read events over the network; the body names what was asked for
    EXPORT = "export"  # written before a set of events leaves
    LOG_HEARTBEAT = "log.heartbeat"
    LOG_RETIRED = "log.retired"  # the node is taken out of service: its silence from here on is no finding
    LOG_CHECKPOINT = "log.checkpoint"  # in a roll-up: a node's signed checkpoint
    LOG_SILENT = "log.silent"  # in a roll-up: a node that was not retired gave no new checkpoint for too long
    LOG_STOPPED = "log.stopped"  # the writer gave up; written into space kept free for it


class Commitment(Struct, frozen=True, kw_only=True):
    """A text that the log must be able to prove later without holding it. The log replaces it by a salted
    commitment, so the text itself is never written. `members` stand beside the commitment in the event."""

    text: str
    members: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Commitment(<{len(self.text)} chars>)"


class BodyText(Struct, frozen=True, kw_only=True):
    """A text of an exchange that is to be kept encrypted; `field` says which one it is."""

    field: str
    text: str

    def __repr__(self) -> str:
        return f"BodyText({self.field}, {outline(self.text)})"


class EventDraft(Struct, frozen=True, kw_only=True):
    """An event as its author knows it. `body` holds JSON values only: strings that are not free text,
    integers (scores in millionths), booleans, lists, objects, and `Commitment`s at any depth. `bodies` are kept
    before the event is written, which then names them; a log that keeps none refuses such a draft."""

    type: EventType
    request: str = ""  # exchange id
    tenant: str = ""
    app: str = ""
    principal: str = ""  # Principal.ref
    body: dict[str, Any] = {}
    bodies: tuple[BodyText, ...] = ()


class Receipt(Struct, frozen=True, kw_only=True):
    """Proof that an event is durable: its place in the log, its id, and its SHA-256 (hex)."""

    seq: int
    id: str
    hash: str
