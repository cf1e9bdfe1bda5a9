"""Every type of event with its members: the one declaration behind the JSON Schema and the dictionary.

An event that another module writes must be declared here before a test of it passes.
"""

from collections.abc import Mapping
from typing import Final

from gateway.audit.schema import cases, exchanges, index, operations
from gateway.audit.schema.envelope import Envelope
from gateway.domain.event import EventType

Shapes = tuple[type[Envelope], ...]

EVENTS: Final[Mapping[EventType, Shapes]] = {
    EventType.INTENT: (exchanges.Intent,),
    EventType.OUTCOME: (exchanges.Outcome, exchanges.Crashed),
    EventType.STREAM_OPEN: (exchanges.StreamOpen,),
    EventType.STREAM_CLOSE: (exchanges.Outcome,),
    EventType.REJECTED: (exchanges.Rejected,),
    EventType.CASE_OPENED: (cases.CaseOpened,),
    EventType.CASE_DRILL_OPENED: (cases.DrillOpened,),
    EventType.CASE_CLAIMED: (cases.CaseMoved,),
    EventType.CASE_RELEASED: (cases.CaseMoved,),
    EventType.CASE_ASKED: (cases.CaseMoved,),
    EventType.CASE_REPLIED: (cases.CaseMoved,),
    EventType.CASE_VIEWED: (cases.CaseViewed,),
    EventType.CASE_APPROVED: (cases.CaseMoved,),
    EventType.CASE_EDITED: (cases.CaseMoved,),
    EventType.CASE_REFUSED: (cases.CaseMoved,),
    EventType.CASE_WITHDRAWN: (cases.CaseMoved,),
    EventType.CASE_OVERDUE: (cases.CaseMoved,),
    EventType.CASE_REQUEUED: (cases.CaseMoved,),
    EventType.CASE_RELEASABLE: (cases.CaseMoved,),
    EventType.CASE_DELIVERED: (cases.CaseMoved,),
    EventType.CASE_REDELIVERED: (cases.CaseRedelivered,),
    EventType.CASE_APPEALED: (cases.CaseMoved,),
    EventType.CASE_BREAK_GLASS: (cases.CaseMoved,),
    EventType.CASE_POST_REVIEWED: (cases.CaseMoved,),
    EventType.CASE_CLOSED: (cases.CaseMoved,),
    EventType.CASE_CONFLICT: (cases.CaseMoved,),
    EventType.REVIEW_ALARM: (cases.ReviewAlarm,),
    EventType.FEEDBACK: (exchanges.Feedback,),
    EventType.POLICY_ACTIVATE: (operations.PolicyActivated,),
    EventType.POLICY_REJECTED: (operations.PolicyRejected,),
    EventType.KEY_CREATED: (operations.KeyChanged,),
    EventType.KEY_REVOKED: (operations.KeyChanged,),
    EventType.CONSOLE_SIGNED_IN: (operations.ConsoleSignedIn,),
    EventType.CONSOLE_SIGNED_OUT: (operations.ConsoleSignedOut,),
    EventType.CONSOLE_SIGN_IN_FAILED: (operations.ConsoleSignInFailed,),
    EventType.CONSOLE_ACCOUNT_CHANGED: (operations.ConsoleAccountChanged,),
    EventType.INGEST: (operations.Ingested,),
    EventType.SOURCE_DELETED: (operations.SourceDeleted,),
    EventType.SOURCE_ALLOWED: (operations.SourceAllowed,),
    EventType.PASSAGE_RELEASED: (operations.PassageReleased,),
    EventType.INDEX_SWITCHED: (index.IndexSwitched,),
    EventType.INDEX_DRIFT: (index.IndexDrifted,),
    EventType.ACCESS_MISMATCH: (exchanges.AccessMismatch,),
    EventType.AUDIT_READ: (operations.AuditRead,),
    EventType.EXPORT: (operations.Exported,),
    EventType.BODY_READ: (cases.CaseRead, operations.BodyRead, operations.PassageRead),
    EventType.ERASURE: (operations.Erased,),
    EventType.HOLD_SET: (operations.HoldSet,),
    EventType.HOLD_CLEAR: (operations.HoldCleared,),
    EventType.RETENTION_PURGE: (operations.Purged,),
    EventType.SCHEDULE_RUN: (operations.ScheduleRun,),
    EventType.KEYS_ROTATED: (operations.KeysRotated,),
    EventType.BREAK_GLASS: (operations.BrokenGlass,),
    EventType.LOG_BOOT: (operations.LogBoot,),
    EventType.LOG_RECOVERED: (operations.LogRecovered,),
    EventType.LOG_HEARTBEAT: (operations.Heartbeat,),
    EventType.LOG_RETIRED: (operations.Retired,),
    EventType.LOG_CHECKPOINT: (operations.NodeCheckpoint,),
    EventType.LOG_SILENT: (operations.NodeSilent,),
    EventType.LOG_STOPPED: (operations.LogStopped,),
}
"""The shapes that an event of each type may have."""
