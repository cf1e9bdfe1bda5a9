"""An escalated exchange that waits for a human, and who may see what of it."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from gateway.domain.principal import Principal
from gateway.domain.text import outline
from gateway.domain.vocabulary import Phase

REVIEWER: Final = "reviewer"
REASON: Final = re.compile(r"\w[\w .:/#-]{1,79}")
"""Why somebody acts: a code, a ticket or a few plain words. It stays readable in the log, so it is no free text."""


class CaseState(StrEnum):
    QUEUED = "queued"
    IN_REVIEW = "in_review"
    WAITING_INFO = "waiting_info"
    AWAIT_SECOND = "await_second"
    ADJUDICATION = "adjudication"
    APPROVED = "approved"
    RELEASABLE = "releasable"
    DELIVERED = "delivered"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    APPEALED = "appealed"
    UPHELD = "upheld"
    OVERTURNED = "overturned"
    CLOSED = "closed"


UNDECIDED: Final = frozenset(
    {
        CaseState.QUEUED,
        CaseState.IN_REVIEW,
        CaseState.WAITING_INFO,
        CaseState.AWAIT_SECOND,
        CaseState.ADJUDICATION,
        CaseState.APPROVED,
        CaseState.RELEASABLE,
    }
)
"""States in which the same request, sent again, finds its case instead of opening another."""


class Vote(Struct, frozen=True, kw_only=True):
    """One person's decision in the present round. `text` is the version of the answer it is about, 0 as held."""

    person: str
    agrees: bool
    reason: str
    text: int = 0


class Course(Struct, frozen=True, kw_only=True):
    """How far a case has come. Persons are keyed digests of tenant and user, so that a reviewer is known again
    whichever app the key is for.

    `holder` has the case until `leased` (advisory: writes compare revisions). `votes` are those of this round,
    `deciders` all who ever decided. `text` is the version of the answer that the last approval or edit is about.
    `lifts` are `phase:rule` that an earlier approval had lifted when the case opened. `delivery` is the exchange that
    consumed the approval. `review_by` is when a break-glass approval must have been looked at, `post_review` what came
    of it (`upheld`, `contested`). `barred` are who may not decide because rules or exceptions of the case are theirs:
    persons, and `group:` with a group's name. `whole` says that the held answer is kept with all its choices and tool
    calls. `decided` is when it was last decided or delivered, from which the time to appeal counts.
    """

    person: str = ""
    origin: str = ""  # the binding at opening, which the sealed texts belong to
    sla_s: int = 0
    lifts: tuple[str, ...] = ()
    holder: str = ""
    leased: datetime | None = None
    votes: tuple[Vote, ...] = ()
    deciders: tuple[str, ...] = ()
    text: int = 0
    reason: str = ""
    tier: int = 0
    delivery: str = ""
    appealed: CaseState | None = None  # the state that an appeal is about
    review_by: datetime | None = None
    post_review: str = ""
    barred: tuple[str, ...] = ()
    whole: bool = False
    decided: datetime | None = None


class Case(Struct, frozen=True, kw_only=True):
    """What may be shown of a case without its content.

    `binding` is a keyed digest of tenant, app, principal, request, passage revisions, candidate answer, policy and
    expiry: a decision holds for exactly this. `revision` counts writes from 1; each write names the one it read.
    Times are aware UTC. After `due` the queue is late; after `expires` nothing is delivered any more.
    """

    id: str
    state: CaseState
    tenant: str
    app: str
    principal: str  # Principal.ref of the requester
    exchange: str
    phase: Phase
    queue: str
    approvals: int
    rules: tuple[str, ...]
    policy: str
    opened: datetime
    due: datetime
    expires: datetime
    fingerprint: str
    binding: str
    revision: int
    course: Course = Course()


class SealedPassage(Struct, frozen=True, kw_only=True):
    """A passage as the model would have seen it."""

    id: str
    revision: str
    title: str
    section: str
    source: str
    text: str
    access: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"SealedPassage({self.id}@{self.revision}, {outline(self.text)})"


class CaseContent(Struct, frozen=True, kw_only=True):
    """What a reviewer needs to decide; encrypted at rest. `candidate` is the held answer, "" if the query itself
    escalated. `request` is the body as the requester sent it (JSON), `fields` the facts that policies decide by."""

    question: str
    candidate: str
    passages: tuple[SealedPassage, ...]
    request: str = ""
    fields: dict[str, bool | int | str | tuple[str, ...]] = {}
    completion: str = ""  # the whole held answer as the model gave it (JSON), with all choices and tool calls

    def __repr__(self) -> str:
        return f"CaseContent({outline(self.question)}, {outline(self.candidate)}, {len(self.passages)} passages)"


class Operator:
    """Reads as the owner of the data folder, on the command line; sees every tenant."""

    __slots__ = ()

    def __reduce__(self) -> Any:
        raise TypeError("an Operator is not serialised: it must not come from outside")


Reader = Principal | Operator


def may_see(case: Case, reader: Reader) -> bool:
    """Whether the reader may know of the case: its requester, or a reviewer of its tenant."""
    if isinstance(reader, Operator):
        return True
    return reader.tenant == case.tenant and (REVIEWER in reader.roles or is_requester(case, reader))


def may_open(case: Case, reader: Reader) -> bool:
    """Whether the reader may see the content. A requester may not, not even as a reviewer: the held answer is
    theirs only once somebody else has approved it."""
    if isinstance(reader, Operator):
        return True
    return reader.tenant == case.tenant and REVIEWER in reader.roles and not is_requester(case, reader)


def is_requester(case: Case, reader: Principal) -> bool:
    """Whether the reader asks through the very app that the case came from; only then is its answer theirs."""
    return (reader.tenant, reader.app, reader.ref) == (case.tenant, case.app, case.principal)
