"""Events of cases."""

from typing import Annotated

from msgspec import field

from gateway.audit.schema.envelope import Envelope
from gateway.audit.schema.members import CaseText, Count, Vote, about
from gateway.domain.vocabulary import Phase


class CaseOpened(Envelope, frozen=True, kw_only=True):
    """An escalated exchange waits for a human."""

    case: Annotated[str, about("the case")]
    phase: Annotated[Phase, about("which text escalated")]
    queue: Annotated[str, about("who decides")]
    approvals: Annotated[int, about("how many people must approve")]
    rules: Annotated[list[str], about("rules that escalated")]
    policy: Annotated[str, about("digest of the policies that decided")]
    due: Annotated[str, about("when it must be decided")]
    expires: Annotated[str, about("after this nothing of it is delivered")]
    binding: Annotated[str, about("keyed digest of all that a decision is for")]


class DrillOpened(CaseOpened, frozen=True, kw_only=True):
    """A case that measures the review was put into a queue; it is never delivered."""

    kind: Annotated[str, about("`seed` with a known answer, or `blind` for a second reviewer")]
    about: Annotated[str, about("name of the seed, or the case that is looked at again")]


class CaseMoved(Envelope, frozen=True, kw_only=True):
    """A case changed its state; `principal` is who did it, `gateway` for the clock."""

    case: Annotated[str, about("the case")]
    from_: Annotated[str, about("state before")] = field(name="from")
    to: Annotated[str, about("state after")]
    revision: Annotated[int, about("counts the writes of a case")]
    queue: Annotated[str, about("who decides now")]
    tier: Annotated[Count, about("how often it was passed on for being late")]
    due: Annotated[str, about("when it must be decided")]
    binding: Annotated[str, about("keyed digest of all that a decision is for")]
    policy: Annotated[str, about("digest of the policies it is bound to")]
    person: Annotated[str, about("keyed digest of the person who acted")]
    reason: Annotated[str, about("why: a code, a ticket or a few plain words")]
    text: Annotated[Count, about("version of the answer that the last decision is about, 0 as held")]
    votes: Annotated[list[Vote], about("decisions of the present round")]
    delivery: Annotated[str, about("the exchange that delivered the answer")]
    texts: Annotated[list[CaseText], about("texts that came with this step")]


class CaseViewed(Envelope, frozen=True, kw_only=True):
    """What a reviewer thought of a case before they saw its answer."""

    case: Annotated[str, about("the case")]
    revision: Annotated[int, about("the revision that they saw")]
    view: Annotated[str, about("a code from a closed list")]
    person: Annotated[str, about("keyed digest of the person")]


class CaseRedelivered(Envelope, frozen=True, kw_only=True):
    """A delivered answer went to its requester again."""

    case: Annotated[str, about("the case")]
    binding: Annotated[str, about("keyed digest of what was approved")]
    delivery: Annotated[str, about("the exchange that delivered first")]


class ReviewAlarm(Envelope, frozen=True, kw_only=True):
    """A reviewer approves nearly everything, faster than anybody reads. Once per reviewer and day."""

    person: Annotated[str, about("keyed digest of the reviewer")]
    decisions: Annotated[Count, about("decisions in the window")]
    approvals: Annotated[Count, about("how many of them approved")]
    dwell_ms: Annotated[Count, about("median time from seeing the case to deciding it, in milliseconds")]
    window_days: Annotated[Count, about("how far the figures look back")]


class CaseRead(Envelope, frozen=True, kw_only=True):
    """Someone opened the content of a case; written before it was shown."""

    case: Annotated[str, about("the case")]
    binding: Annotated[str, about("keyed digest of what the case is about")]
    reason: Annotated[str, about("why")]
