"""Who is told of a case, and when. What is told is stored with the transition, so that nothing is lost and nothing told
of what did not happen; it holds no content."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from gateway.cases.case import Case, CaseState
from gateway.cases.drill import is_drill, is_sampled
from gateway.cases.store import Notice
from gateway.domain.event import EventType

BLIND_REVIEW: Final = "gateway:blind-review"
"""The target of the gateway's own notice that a case is to be decided once more, unseen."""

_PRIVATE: Final = frozenset({EventType.CASE_CLAIMED, EventType.CASE_RELEASED, EventType.CASE_RELEASABLE})
"""Who has a case on their desk is nobody's business outside."""
_WAITS: Final = frozenset(
    {
        EventType.CASE_OPENED,
        EventType.CASE_REPLIED,
        EventType.CASE_OVERDUE,
        EventType.CASE_REQUEUED,
        EventType.CASE_APPEALED,
        EventType.CASE_APPROVED,
        EventType.CASE_EDITED,
        EventType.CASE_REFUSED,
    }
)
_FOR_REVIEWERS: Final = frozenset(
    {CaseState.QUEUED, CaseState.AWAIT_SECOND, CaseState.ADJUDICATION, CaseState.APPEALED}
)
_DECISIONS: Final = frozenset({EventType.CASE_APPROVED, EventType.CASE_EDITED, EventType.CASE_REFUSED})


class Audience(Protocol):
    """Somebody who is told. `target` is unique."""

    @property
    def target(self) -> str: ...

    def hears(self, case: Case, kind: EventType, *, drill: bool) -> bool: ...


class Interest(Struct, frozen=True, kw_only=True):
    """Apps and queues that somebody hears of; `*` stands for all."""

    apps: tuple[str, ...] = ("*",)
    queues: tuple[str, ...] = ("*",)

    def includes(self, case: Case) -> bool:
        return bool({"*", case.app} & set(self.apps)) and bool({"*", case.queue} & set(self.queues))


def is_change(kind: EventType, *, drill: bool) -> bool:
    """Whether a program that follows cases is told: of every change, but of no drill, which is nobody's request."""
    return not drill and kind not in _PRIVATE


def needs_reviewer(case: Case, kind: EventType) -> bool:
    """Whether people are told: the case now waits for one of them, or the glass was broken. Drills wait like any."""
    return kind is EventType.CASE_BREAK_GLASS or (kind in _WAITS and case.state in _FOR_REVIEWERS)


class Announcer:
    """Makes the notices of a transition. `ids` gives unique ids. `key` (for bindings) tells drills from other cases;
    `blind_share` of the decided cases (0..1) are put before a second reviewer."""

    def __init__(
        self, audiences: Sequence[Audience], ids: Callable[[], str], *, key: bytes, blind_share: float = 0.0
    ) -> None:
        self._audiences = audiences
        self._ids = ids
        self._key = key
        self._blind_share = blind_share

    def __call__(self, case: Case, kind: EventType, now: datetime) -> Iterator[Notice]:
        drill = is_drill(case, self._key)
        for audience in self._audiences:
            if audience.hears(case, kind, drill=drill):
                yield self._notice(audience.target, case, kind, now)
        decided = kind in _DECISIONS and case.state in (CaseState.APPROVED, CaseState.REFUSED)
        if decided and not drill and is_sampled(case.id, self._blind_share, self._key):
            yield self._notice(BLIND_REVIEW, case, kind, now)

    def _notice(self, target: str, case: Case, kind: EventType, now: datetime) -> Notice:
        return Notice(id=f"msg_{self._ids()}", target=target, payload=payload_of(case, kind, now), next_at=now)


class Told(Struct, frozen=True, kw_only=True):
    """What a notice says of its case."""

    case: str
    state: str
    revision: int
    tenant: str
    app: str
    queue: str
    phase: str
    due: datetime
    expires: datetime


class Payload(Struct, frozen=True, kw_only=True):
    """The body of a webhook, and what mails and chats are made from."""

    type: str
    timestamp: datetime
    data: Told


def payload_of(case: Case, kind: EventType, now: datetime) -> str:
    told = Told(
        case=case.id,
        state=case.state.value,
        revision=case.revision,
        tenant=case.tenant,
        app=case.app,
        queue=case.queue,
        phase=case.phase.value,
        due=case.due,
        expires=case.expires,
    )
    return msgspec.json.encode(Payload(type=kind.value, timestamp=now, data=told)).decode()


def read_payload(payload: str) -> Payload:
    return msgspec.json.decode(payload, type=Payload)


_TEXTS: Final[dict[str, str]] = {
    EventType.CASE_OVERDUE.value: "A case is late and was passed on",
    EventType.CASE_BREAK_GLASS.value: "A case was approved by breaking the glass and needs a second look",
    EventType.CASE_APPEALED.value: "A decision was appealed and needs another reviewer",
    EventType.CASE_REPLIED.value: "A requester has replied",
}


def sentence(payload: Payload) -> str:
    """One line for people: what waits, where, until when."""
    told = payload.data
    what = _TEXTS.get(payload.type, "A case waits for a decision")
    return f"{what}: queue {told.queue}, due {told.due:%Y-%m-%d %H:%M} UTC"


def link(console_url: str, case: str) -> str:
    """The page of the case, "" without a console."""
    return f"{console_url.rstrip('/')}/cases/{case}" if console_url else ""
