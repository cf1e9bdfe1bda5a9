"""What an escalation hands to the humans who decide it."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from gateway.domain.passage import Passage
from gateway.domain.text import outline
from gateway.domain.verdict import Escalation, FieldValue
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
    user: str = ""  # who asks, so that nobody reviews a request of their own; only a keyed digest is kept
    request: str = ""  # the request body as JSON
    fields: Mapping[str, FieldValue] = {}  # the facts that policies decide by
    lifts: frozenset[str] = frozenset()  # `phase:rule` that an approval lifts besides those of `rules` in `phase`
    completion: str = ""  # the held answer as the model gave it (JSON): all its choices with their tool calls
    redeliver_since: datetime | None = None  # a case of this request that was delivered since then is found as well
    authors: frozenset[str] = frozenset()  # users, and `team:` with a name, whose rules and exceptions this is about

    def __repr__(self) -> str:
        return f"CaseDraft({self.exchange!r}, {self.phase.value})"


class CaseReceipt(Struct, frozen=True, kw_only=True):
    """Proof that a case is durable."""

    id: str
    due: datetime
    expires: datetime
    existing: bool = False  # an open case of the same request was found instead


class Approval(Struct, frozen=True, kw_only=True):
    """A human's approval as delivery needs it. `revision` is compared when the approval is consumed.

    `lifts` are the `phase:rule` whose escalation it lifts. `answer` is the held or edited answer, `None` if the
    query itself had escalated. `delivered` is the answer (JSON) if the approval was consumed before.
    """

    case: str
    revision: int
    fingerprint: str
    policy: str
    phase: Phase
    expires: datetime
    lifts: frozenset[str]
    answer: str | None = None
    edited: bool = False
    passages: tuple[Passage, ...] = ()
    request: str = ""
    completion: str = ""  # as in `CaseDraft`; "" for an answer that a human wrote
    delivered: bytes | None = None

    def __repr__(self) -> str:
        return f"Approval({self.case}, {outline(self.answer or '')})"
