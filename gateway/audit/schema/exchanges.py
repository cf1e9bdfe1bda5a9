"""Events of an exchange, and what callers and reviewers do with it afterwards."""

from typing import Annotated, Literal

from gateway.audit.schema.envelope import Envelope, Kept
from gateway.audit.schema.members import (
    MICROSECONDS,
    CandidateVerdict,
    Committed,
    Count,
    Coverage,
    Decision,
    Facts,
    Model,
    Redacted,
    Release,
    Retrieval,
    Signals,
    ToolCall,
    WouldBe,
    about,
)


class Intent(Kept, frozen=True, kw_only=True):
    """Written before anything goes upstream: who asks, what was seen in it, what the policies say."""

    route: Annotated[str, about("path of the request")]
    auth: Annotated[str, about("how the caller was identified")]
    key: Annotated[str, about("public id of the API key")]
    groups: Annotated[list[str], about("the caller's access groups")]
    model: Annotated[str, about("the model that the client named")]
    stream: Annotated[bool, about("whether a stream was asked for")]
    segments: Annotated[Count, about("texts in the request")]
    quarantined: Annotated[Count, about("earlier turns that were taken out because they had been stopped")]
    query: Annotated[Committed | None, about("the last question")] = None
    phase: Annotated[Decision, about("verdict on the query")]
    coverage: Annotated[Coverage, about("what of the query was inspected")]
    facts: Annotated[Facts | None, about("what else rules can ask about the request")] = None
    shadow: Annotated[WouldBe | None, about("if rules that are only observed were enforced; null if none matched")] = (
        None
    )
    candidate: Annotated[CandidateVerdict | None, about("if the candidate were in force; null without one")] = None
    exceptions: Annotated[list[str], about("exceptions and approvals that lifted a match")] = []
    playground: Annotated[bool, about("a trial run from the console: no app asked")] = False


class Outcome(Kept, frozen=True, kw_only=True):
    """Written before an answer leaves: what was retrieved and shown, what the policies said, what leaves."""

    effect: Annotated[
        Literal["allow", "flag", "redact", "escalate", "refuse", "error"],
        about("the strictest effect on the exchange; `error` if it ended by one"),
    ]
    reasons: Annotated[list[str], about("rules that tightened any verdict")]
    policy: Annotated[str, about("digest of the policies that decided")]
    retrieval: Annotated[Retrieval, about("the search for passages")]
    model: Annotated[Model, about("who answered")]
    answer: Annotated[list[Decision], about("verdicts on the answer's texts and tool calls")]
    signals: Annotated[list[Signals], about("what the detectors saw, one entry a text of the answer")] = []
    calls: Annotated[list[ToolCall], about("the answer's tool calls as they were judged")] = []
    coverage: Annotated[Coverage | None, about("what of the answer was inspected; null if there was none")] = None
    redacted: Annotated[Redacted, about("replaced spans")]
    release: Annotated[Release, about("what left")]
    exceptions: Annotated[list[str], about("exceptions and approvals that lifted a match")] = []
    buffered: Annotated[bool, about("whether a rule needed the whole answer before any of it could leave")]
    shadow: Annotated[WouldBe | None, about("if rules that are only observed were enforced; null if none matched")] = (
        None
    )
    candidate: Annotated[CandidateVerdict | None, about("if the candidate were in force; null without one")] = None
    took_us: Annotated[int, about("from the request's arrival to this event", unit=MICROSECONDS)]
    case: Annotated[str, about("the case that was opened or resumed")] = ""
    error: Annotated[str, about("code of the error that ended it")] = ""
    playground: Annotated[bool, about("a trial run from the console: nobody got the answer")] = False


class Crashed(Envelope, frozen=True, kw_only=True):
    """The outcome of an exchange whose process ended first: what its client received is not known."""

    effect: Annotated[Literal["unknown"], about("not known")]
    reason: Annotated[Literal["unknown_after_crash"], about("why")]
    intent_seq: Annotated[int, about("place of its `intent`")]


class StreamOpen(Envelope, frozen=True, kw_only=True):
    """Written before the first byte of a stream."""

    policy: Annotated[str, about("digest of the policies that decide")]
    retrieval: Annotated[Retrieval, about("the search for passages")]
    buffered: Annotated[bool, about("whether a rule needs the whole answer before any of it may leave")]


class Rejected(Envelope, frozen=True, kw_only=True):
    """A request that failed before it had an intent."""

    route: Annotated[str, about("path of the request")]
    code: Annotated[str, about("stable code of the error")]
    status: Annotated[int, about("HTTP status")]


class Feedback(Envelope, frozen=True, kw_only=True):
    """What a caller thinks of an answer."""

    rating: Annotated[str, about("`good` or `bad`")]
    reason: Annotated[str, about("a code from a closed list")]


class AccessMismatch(Envelope, frozen=True, kw_only=True):
    """The store returned passages that the caller may not see; they were dropped."""

    store: Annotated[str, about("kind of store")] = ""
    dropped: Annotated[Count, about("how many")] = 0
