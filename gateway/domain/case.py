"""What an escalation hands to the humans who decide it."""

from datetime import datetime

from msgspec import Struct

from gateway.domain.passage import Passage
from gateway.domain.verdict import Escalation
from gateway.domain.vocabulary import Phase


class CaseDraft(Struct, frozen=True, kw_only=True):
    """An escalation before it has an id. `fingerprint` is a keyed digest of tenant, app, principal and request:
    the same request sent again finds the case it opened before. `escalations` are those of the verdict that
    escalated; the strictest terms count (earliest due, most approvals). Texts are sealed by the store.
    """

    exchange: str
    fingerprint: str
    tenant: str
    app: str
    principal: str  # Principal.ref
    phase: Phase
    policy: str  # digest of the bundle
    rules: tuple[str, ...]
    escalations: tuple[Escalation, ...]
    opened: datetime
    question: str
    candidate: str = ""  # the answer that was held, "" if the query itself escalated
    passages: tuple[Passage, ...] = ()

    def __repr__(self) -> str:
        return f"CaseDraft({self.exchange!r}, {self.phase.value})"


class CaseReceipt(Struct, frozen=True, kw_only=True):
    """Proof that a case is durable."""

    id: str
    due: datetime
    expires: datetime
    existing: bool = False  # an open case of the same request was found instead
