from gateway.cases.clock import CaseClock, Tier
from gateway.cases.desk import AuditedCaseDesk
from gateway.cases.review import CaseReview
from gateway.cases.store import SqliteCaseStore
from gateway.cases.transitions import Transitions
from gateway.cases.webhooks import Announcer, Webhook, WebhookCaller

__all__ = [
    "Announcer",
    "AuditedCaseDesk",
    "CaseClock",
    "CaseReview",
    "SqliteCaseStore",
    "Tier",
    "Transitions",
    "Webhook",
    "WebhookCaller",
]
