"""Parts that several events share. Each member has its meaning, its unit where it has one, and since when it is there.

Every struct forbids unknown members: an event that holds one is not what is published here.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from gateway.domain.vocabulary import Effect, Phase, RuleMode, RuleStatus, SignalStatus

FIRST: Final = "0.1"
"""The release whose logs have all members that name no other."""

MICROSECONDS: Final = "µs"
MILLIONTHS: Final = "millionths"
BYTES: Final = "bytes"
CHARS: Final = "code points"


def about(text: str, *, unit: str = "", since: str = FIRST) -> Meta:
    """The meaning of a member, as the schema and the dictionary tell it."""
    more = {"x-since": since} | ({"x-unit": unit} if unit else {})
    return Meta(description=text, extra_json_schema=more)


Text = Annotated[str, Meta(max_length=100_000)]
Hash = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=0)]


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of an event."""


class Committed(Part, frozen=True, kw_only=True):
    """A text that the log can prove and does not hold."""

    c: Annotated[str, Meta(pattern="^c:[0-9a-f]{64}$"), about("salted commitment to the text")]
    len_bucket: Annotated[int, Meta(ge=64), about("padded length of the text: the next power of two", unit=BYTES)]


class BodyRef(Committed, frozen=True, kw_only=True):
    """A text that is kept encrypted beside the log."""

    field: Annotated[str, about("which text of the exchange")]
    key: Annotated[
        str, Meta(pattern="^k:[0-9a-f]{32}$"), about("the data key it is encrypted with; erasure destroys the key")
    ]


class Score(Part, frozen=True, kw_only=True):
    """A score in 0..1."""

    e6: Annotated[int, about("the score, rounded down; -1 for one that is no number", unit=MILLIONTHS)]
    over: Annotated[Literal[0, 1], about("1 if the score was more than these whole millionths")] = 0


class Detector(Part, frozen=True, kw_only=True):
    """How one detector's run over the texts of a phase ended."""

    name: Annotated[str, about("the detector")]
    version: Annotated[str, about("moves whenever the same text could give another result")]
    status: Annotated[SignalStatus, about("the worst status over all texts")]
    reason: Annotated[str, about("code for any status but `ok`")]
    us: Annotated[Count, about("time it took", unit=MICROSECONDS)]
    cached: Annotated[Count, about("texts whose result was remembered")]
    scanned: Annotated[Count, about("texts that were looked at")]


SignalValue = bool | int | list[str] | Score


class Signals(Part, frozen=True, kw_only=True):
    """What the detectors saw."""

    detectors: Annotated[list[Detector], about("one entry a detector that ran or should have run")]
    values: Annotated[
        dict[str, dict[str, SignalValue]],
        about("values that differ from their defaults, by provenance of the text and name of the signal"),
    ]
    rules: Annotated[
        list["Rule"] | None,
        about("of a text of the answer: its rules that matched, failed or were not run; null for one not judged"),
    ] = None


class Run(Part, frozen=True, kw_only=True):
    """A detector's run, in few bytes."""

    version: Annotated[str, about("moves whenever the same text could give another result")]
    status: Annotated[SignalStatus, about("the worst status over all texts")] = SignalStatus.OK


class Seen(Part, frozen=True, kw_only=True):
    """What a verdict was made on."""

    runs: Annotated[dict[str, Run], about("the detectors that ran or should have run, by name")]
    values: Annotated[
        dict[str, dict[str, SignalValue]],
        about("values that differ from their defaults, by provenance of the text and name of the signal"),
    ]


class NotOk(Part, frozen=True, kw_only=True):
    """A detector that did not end well."""

    name: Annotated[str, about("the detector")]
    status: Annotated[SignalStatus, about("how it ended")]
    reason: Annotated[str, about("code: `deadline`, `exception:…`, `not_requested`, …")]


class Coverage(Part, frozen=True, kw_only=True):
    """What was inspected, and what was not and why."""

    required: Annotated[list[str], about("detectors that the applicable rules ask for")]
    ran: Annotated[list[str], about("those of them that ended `ok`")] = []
    not_ok: Annotated[list[NotOk], about("those of them that did not, with the reason")] = []
    unscanned: Annotated[list[str], about("kinds of content that no detector reads: `image`, `audio`, `file`")] = []


class Rule(Part, frozen=True, kw_only=True):
    """The evaluation of one rule. Applicable rules that are not listed were evaluated and did not match."""

    id: Annotated[str, about("the rule")]
    status: Annotated[RuleStatus, about("how its evaluation ended")]
    effect: Annotated[Effect, about("the effect that counted")]
    mode: Annotated[RuleMode, about("whether its effect was enforced")]
    why: Annotated[list[str], about("the conditions that made it match, or what made it fail; never content")] = []
    exception: Annotated[str, about("the exception, or the case of a human's approval, that lifted the match")] = ""


class Decision(Part, frozen=True, kw_only=True):
    """The verdict on one text or group of texts."""

    phase: Annotated[Phase, about("which text was judged")]
    effect: Annotated[Effect, about("the strictest effect of its rules")]
    policy: Annotated[str, about("digest of the policies that decided")]
    evaluated: Annotated[Count, about("how many rules applied")]
    rules: Annotated[list[Rule], about("rules that matched, failed or were not run")]
    notify: Annotated[list[str], about("who is to be told")] = []
    signals: Annotated[Signals | None, about("what the detectors saw")] = None


class WouldBe(Part, frozen=True, kw_only=True):
    """What would have become of the exchange so far, had more been enforced than was."""

    would: Annotated[Effect, about("the strictest effect on the exchange")]
    rules: Annotated[list[str], about("rules that would have tightened it")]


class CandidateVerdict(WouldBe, frozen=True, kw_only=True):
    """What policies that are evaluated beside those in force would have made of the exchange so far."""

    policy: Annotated[str, about("digest of the candidate")]
    errors: Annotated[list[str], about("codes of what went wrong with it")]


class PassageFacts(Part, frozen=True, kw_only=True):
    """What rules can ask about a passage besides its text."""

    doc: Annotated[str, about("the document")]
    access: Annotated[list[str], about("groups that may see it")]
    classification: Annotated[str, about("its classification")]


class Passage(Part, frozen=True, kw_only=True):
    """One passage that retrieval returned."""

    id: Annotated[str, about("`<document>#<passage>`")]
    rev: Annotated[str, about("content hash of the document it is from")]
    content: Annotated[Committed | None, about("its text, as the model was shown it or as it was dropped")] = None
    score_e6: Annotated[int, about("rank score", unit=MILLIONTHS)]
    kept: Annotated[bool, about("whether the model was shown it")]
    effect: Annotated[Effect, about("verdict on it")]
    rules: Annotated[list[Rule], about("rules that matched, failed or were not run")]
    facts: Annotated[PassageFacts | None, about("what else rules can ask about it; not when a stream opens")] = None
    seen: Annotated[Seen | None, about("what the detectors saw in it; not when a stream opens")] = None


class ToolCall(Part, frozen=True, kw_only=True):
    """One tool call of an answer as it was judged."""

    tool: Annotated[str, about("name of the tool; `?` for one that is no identifier")]
    effect: Annotated[Effect, about("verdict on it")]
    rules: Annotated[list[Rule], about("rules that matched, failed or were not run")]
    seen: Annotated[Seen, about("what the detectors saw in its arguments")]


class Facts(Part, frozen=True, kw_only=True):
    """What rules can ask about a request besides the members beside it."""

    roles: Annotated[list[str], about("the caller's roles")]
    tools: Annotated[list[str], about("names of the tools that the model may call; `?` for one that is no identifier")]


class Retrieval(Part, frozen=True, kw_only=True):
    """One search."""

    status: Annotated[Literal["ok", "off", "error", "timeout"], about("how it ended")]
    reason: Annotated[str, about("code for `error` and `timeout`")]
    store: Annotated[str, about("kind of store")]
    index_rev: Annotated[str, about("revision of the index")]
    filter: Annotated[str, about("digest of the access filter inside the search")]
    access_dropped: Annotated[Count, about("passages that the store returned although the caller may not see them")]
    us: Annotated[Count, about("time it took", unit=MICROSECONDS)]
    passages: Annotated[list[Passage], about("what it found, best first")]


class Model(Part, frozen=True, kw_only=True):
    """Who answered."""

    name: Annotated[str, about("the name that the client used")]
    provider: Annotated[str, about("who answered, after routing and fallbacks; empty if nobody did")]
    answered_by: Annotated[str, about("the model's name at its provider")]
    response_id: Annotated[str, about("the provider's id of the answer")]
    tokens_in: Annotated[int | None, about("as the provider reports it", unit="tokens")] = None
    tokens_out: Annotated[int | None, about("as the provider reports it", unit="tokens")] = None


class Redacted(Part, frozen=True, kw_only=True):
    """How many spans of each kind were replaced."""

    query: Annotated[dict[str, int], about("in the query, by kind")]
    answer: Annotated[dict[str, int], about("in the answer, by kind")]


class Release(Part, frozen=True, kw_only=True):
    """What left the gateway."""

    kind: Annotated[
        Literal["answer", "redacted", "notice", "hold", "vectors", "none"],
        about("an answer; one with replaced spans; a notice of a refusal or of a hold; embeddings; nothing"),
    ] = "answer"
    chars: Annotated[Count, about("length of the text that left", unit=CHARS)]
    bytes: Annotated[Count, about("length of the same text in UTF-8", unit=BYTES)] = 0
    content: Annotated[Committed | None, about("the text that left")] = None
    finish: Annotated[str, about("why the model ended, or `content_filter`")]


class Operator(Part, frozen=True, kw_only=True):
    """A person who acts for the operator."""

    key: Annotated[str, about("public id of their API key")]
    ref: Annotated[str, about("their pseudonym")]


class NamedCheckpoint(Part, frozen=True, kw_only=True):
    """A signed checkpoint."""

    origin: Annotated[str, about("the log")]
    size: Annotated[Count, about("events it covers")]
    root: Annotated[str, about("root of the tree, hex")]


class PolicySource(Part, frozen=True, kw_only=True):
    """A policy file that is in force."""

    set: Annotated[str, about("name of the policy set")]
    rules: Annotated[Count, about("rules in it")]


class Vote(Part, frozen=True, kw_only=True):
    """One person's decision on a case."""

    person: Annotated[str, about("keyed digest of the person")]
    agrees: Annotated[bool, about("whether they approve")]
    text: Annotated[Count, about("the version of the answer that it is about, 0 as held")]


class CaseText(Part, frozen=True, kw_only=True):
    """A text that came to a case."""

    kind: Annotated[str, about("`edit`, `question`, `reply` or `delivery`")]
    number: Annotated[int, about("counts the texts of a kind from 1")]
    content: Annotated[Committed, about("the text")]


class PolicyChange(Part, frozen=True, kw_only=True):
    """One difference between two bundles of policies."""

    what: Annotated[str, about("what changed")]
    direction: Annotated[str, about("whether it is stricter, looser or neither")]
    text: Annotated[str, about("the difference in words of the policies")]


class PolicyFault(Part, frozen=True, kw_only=True):
    """A fault of a policy file."""

    file: Annotated[str, about("the file")]
    line: Annotated[int, about("from 1; 0 for none")]
    column: Annotated[int, about("from 1; 0 for none")]
    code: Annotated[str, about("stable code")]


class Acknowledged(Part, frozen=True, kw_only=True):
    """What one place that could hold something of a caller answers to an erasure."""

    place: Annotated[str, about("the place")]
    status: Annotated[
        Literal["erased", "holds_none", "incomplete", "failed"],
        about("destroyed; never holds such a thing; destroyed but an old page may still be on disk; not destroyed"),
    ]
    count: Annotated[Count, about("how many entries were destroyed")] = 0
    reason: Annotated[str, about("code, where it is not plain")] = ""
