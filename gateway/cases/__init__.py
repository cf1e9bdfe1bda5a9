from gateway.cases.clock import CaseClock, FileLock, Tier
from gateway.cases.desk import AuditedCaseDesk
from gateway.cases.postgres import PostgresClockLock
from gateway.cases.review import CaseReview
from gateway.cases.store import CaseStore, PostgresCaseStore, SqliteCaseStore
from gateway.cases.transitions import Transitions
from gateway.cases.webhooks import Announcer, Webhook, WebhookCaller

__all__ = [
    "Announcer",
    "AuditedCaseDesk",
    "CaseClock",
    "CaseReview",
    "CaseStore",
    "FileLock",
    "PostgresCaseStore",
    "PostgresClockLock",
    "SqliteCaseStore",
    "Tier",
    "Transitions",
    "Webhook",
    "WebhookCaller",
]
