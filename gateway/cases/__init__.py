from gateway.cases.announce import Announcer, Interest
from gateway.cases.blind import BlindReviews
from gateway.cases.chat import Channel, ChatCarrier
from gateway.cases.clock import CaseClock, FileLock, Tier
from gateway.cases.courier import Carrier, Courier
from gateway.cases.desk import AuditedCaseDesk
from gateway.cases.mail import MailCarrier, MailList
from gateway.cases.review import CaseReview
from gateway.cases.store import CaseStore, PostgresCaseStore, SqliteCaseStore
from gateway.cases.transitions import Transitions
from gateway.cases.webhooks import Webhook, WebhookCarrier

__all__ = [
    "Announcer",
    "AuditedCaseDesk",
    "BlindReviews",
    "Carrier",
    "CaseClock",
    "CaseReview",
    "CaseStore",
    "Channel",
    "ChatCarrier",
    "Courier",
    "FileLock",
    "Interest",
    "MailCarrier",
    "MailList",
    "PostgresCaseStore",
    "SqliteCaseStore",
    "Tier",
    "Transitions",
    "Webhook",
    "WebhookCarrier",
]
