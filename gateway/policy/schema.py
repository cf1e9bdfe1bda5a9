"""The shape of a policy file. The descriptions are the editor's hover texts and the reference for authors.

Structs hold what the author wrote; meaning (types of signals, defaults by severity, names across files) is given to
it by `gateway.policy.compile`.
"""

import datetime as dt
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.domain.definition import ListMatch
from gateway.domain.vocabulary import Effect, Phase, Provenance, RedactOperator, RuleStatus
from gateway.strict_yaml import Node, Scalar

ID = "^[A-Za-z][A-Za-z0-9_.-]{0,63}$"
NAME = "^[a-z][a-z0-9_]{0,63}$"
SET_ID = "^[a-z][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*$"

RuleId = Annotated[str, Meta(pattern=ID, description="Unique name of the rule in the whole bundle, e.g. `CRD-001`.")]
DefinitionId = Annotated[str, Meta(pattern=NAME)]
Line = Annotated[str, Meta(min_length=1, max_length=300)]
Points = Annotated[int, Meta(ge=1)]
Values = Annotated[tuple[Scalar, ...], Meta(min_length=1, max_length=1000)]


class Severity(StrEnum):
    """How bad a match is; the number of points it adds to a score."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def points(self) -> int:
        return _POINTS[self]


_POINTS = {Severity.CRITICAL: 5, Severity.HIGH: 4, Severity.MEDIUM: 3, Severity.LOW: 2}


class Release(StrEnum):
    """How much of a streamed answer must be judged before any of it is released."""

    SENTENCE = "sentence"
    WHOLE = "whole"


class Form(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything an author writes."""


class Metadata(Form, frozen=True, kw_only=True):
    """What the set is, who answers for it, and which controls it serves."""

    id: Annotated[str, Meta(pattern=SET_ID, description="Name of the set, unique in the bundle.")]
    version: Annotated[str, Meta(min_length=1, description="A label for people; the identity of a set is its digest.")]
    owner: Annotated[str, Meta(min_length=1, description="Who answers for the set, e.g. `team:compliance-credit`.")]
    authors: Annotated[
        tuple[Line, ...],
        Meta(description="Users, and `team:` names, who wrote it; like the owner they do not review what it stops."),
    ] = ()
    purpose: Annotated[str, Meta(min_length=1, description="What the set protects against, in one sentence.")]
    controls: Annotated[
        tuple[str, ...], Meta(description="Controls of regulations and frameworks that the set serves, e.g. `GDPR:22`.")
    ] = ()
    review_by: Annotated[
        dt.date | None, Meta(description="The day by which the owner looks at the set again; lint reminds.")
    ] = None
    longest_exception_days: Annotated[
        Annotated[int, Meta(ge=1, le=3660)] | None,
        Meta(description="How far ahead an exception to a rule of this set may expire."),
    ] = None


class AppliesTo(Form, frozen=True, kw_only=True):
    """All four must fit. `*` stands for any text; a list is a choice."""

    tenants: Annotated[tuple[str, ...], Meta(min_length=1, description="Tenants the set applies to.")] = ("*",)
    apps: Annotated[tuple[str, ...], Meta(min_length=1, description="Applications the set applies to.")] = ("*",)
    models: Annotated[tuple[str, ...], Meta(min_length=1, description="Model names the set applies to.")] = ("*",)
    groups: Annotated[
        tuple[str, ...], Meta(min_length=1, description="The set applies to callers with any of these groups.")
    ] = ("*",)


class Need(Form, frozen=True, kw_only=True):
    """A detector that the set relies on: its least version, its deadline, and whether the set can do without it."""

    detector: Annotated[str, Meta(description="The detector that gives the signals.")]
    min_version: Annotated[
        str, Meta(pattern="^[0-9]+([.][0-9]+)*$", description="An older detector counts as failed.")
    ] = "0"
    required: Annotated[
        bool,
        Meta(description="`false`: the set loads without the detector, and its rules end in `not_run` (`on_error`)."),
    ] = True
    timeout_ms: Annotated[
        Annotated[int, Meta(ge=1, le=600_000)] | None,
        Meta(description="Deadline of the detector for one phase; the smallest counts."),
    ] = None


class WordList(Form, frozen=True, kw_only=True):
    """Gives the signal `list.<name>` (true or false)."""

    values: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=20_000, description="Words or phrases.")]
    match: Annotated[ListMatch, Meta(description="Whole words, any part of the text, or the whole text.")] = (
        ListMatch.WORD
    )
    fold_case: Annotated[bool, Meta(description="Whether upper and lower case are the same.")] = True


class Topic(Form, frozen=True, kw_only=True):
    """Gives the signal `topic.<name>` (0..1)."""

    like: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=500, description="Texts that are on the topic.")]
    unlike: Annotated[tuple[Line, ...], Meta(max_length=500, description="Near texts that are not.")] = ()


class Pattern(Form, frozen=True, kw_only=True):
    """Gives the signal `pattern.<name>` (true or false)."""

    regex: Annotated[str, Meta(min_length=1, max_length=4000, description="RE2 syntax.")]
    example: Annotated[str, Meta(min_length=1, description="A text that the regex finds.")]


class Clause(Form, frozen=True, kw_only=True):
    """One atom (`signal` or `field` with one operator), or a nested group (`all`, `any`, `none`)."""

    signal: Annotated[str | None, Meta(description="Full name of a signal, e.g. `pii.entities`.")] = None
    field: Annotated[str | None, Meta(description="A fact about the request, e.g. `principal.groups`.")] = None
    is_: Annotated[Scalar | None, Meta(description="Flags: `true` or `false`.")] = msgspec.field(
        default=None, name="is"
    )
    eq: Annotated[Scalar | None, Meta(description="Scores, counts, texts: equal to.")] = None
    gt: Annotated[Scalar | None, Meta(description="Scores and counts: more than.")] = None
    gte: Annotated[Scalar | None, Meta(description="Scores and counts: at least.")] = None
    lt: Annotated[Scalar | None, Meta(description="Scores and counts: less than.")] = None
    lte: Annotated[Scalar | None, Meta(description="Scores and counts: at most.")] = None
    any_of: Annotated[Values | None, Meta(description="Kinds: at least one of these is present.")] = None
    all_of: Annotated[Values | None, Meta(description="Kinds: all of these are present.")] = None
    none_of: Annotated[Values | None, Meta(description="Kinds: none of these is present.")] = None
    empty: Annotated[Scalar | None, Meta(description="Kinds: whether there are none at all.")] = None
    one_of: Annotated[Values | None, Meta(description="Texts: equal to one of these.")] = None
    not_one_of: Annotated[Values | None, Meta(description="Texts: equal to none of these.")] = None
    all: Annotated[tuple["Clause", ...] | None, Meta(description="True when all are.")] = None
    any: Annotated[tuple["Clause", ...] | None, Meta(description="True when at least one is.")] = None
    none: Annotated[tuple["Clause", ...] | None, Meta(description="True when none is.")] = None


class When(Form, frozen=True, kw_only=True):
    """The condition: all of its groups that are given must hold."""

    all: Annotated[tuple[Clause, ...] | None, Meta(description="All of these hold.")] = None
    any: Annotated[tuple[Clause, ...] | None, Meta(description="At least one of these holds.")] = None
    none: Annotated[tuple[Clause, ...] | None, Meta(description="None of these holds.")] = None


class Then(Form, frozen=True, kw_only=True):
    """The effect of a match, and the obligations that come with it."""

    effect: Annotated[Effect, Meta(description="`allow < flag < redact < escalate < refuse`; the strictest wins.")]
    operator: Annotated[RedactOperator | None, Meta(description="Redact: how a span is replaced.")] = msgspec.field(
        default=None, name="with"
    )
    entities: Annotated[
        Annotated[tuple[str, ...], Meta(min_length=1)] | None,
        Meta(description="Redact: kinds to replace; without it the kinds that the condition names."),
    ] = None
    queue: Annotated[
        Annotated[str, Meta(pattern=NAME)] | None, Meta(description="Escalate: the queue of the reviewers.")
    ] = None
    sla: Annotated[
        Annotated[str, Meta(pattern="^[1-9][0-9]{0,4}[smhd]$")] | None,
        Meta(description="Escalate: time to decide: `30m`, `4h`, `2d`."),
    ] = None
    approvals: Annotated[
        Annotated[int, Meta(ge=1, le=2)] | None, Meta(description="Escalate: how many people must approve.")
    ] = None
    cite: Annotated[bool, Meta(description="The answer must cite its passages.")] = False
    disclaimer: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1000)] | None, Meta(description="Added to the answer.")
    ] = None
    notify: Annotated[tuple[str, ...], Meta(description="Channels to tell, e.g. `security`.")] = ()


class Message(Form, frozen=True, kw_only=True):
    """What people read: the caller whose request is stopped, and the reviewer of a case."""

    client: Annotated[str, Meta(max_length=500, description="What the caller reads instead of the answer.")] = ""
    reviewer: Annotated[str, Meta(max_length=2000, description="What the reviewer of a case reads.")] = ""


class Canary(Form, frozen=True, kw_only=True):
    """The rule is enforced for a share of the callers and only recorded for the others."""

    canary: Annotated[int, Meta(ge=1, le=100, description="Percentage for which the rule is enforced.")]
    by: Annotated[
        Literal["principal", "app", "tenant"], Meta(description="Whose share it is; the same one always falls alike.")
    ] = "principal"


class Expected(Form, frozen=True, kw_only=True):
    """How a rule must end in a test, in more detail than `match` and `no_match`."""

    status: Annotated[RuleStatus, Meta(description="How the rule must end.")]
    effect: Annotated[Effect | None, Meta(description="The effect that must count.")] = None
    exception: Annotated[str | None, Meta(description="The exception that must lift the match.")] = None


class RuleTest(Form, frozen=True, kw_only=True):
    """Signals that are not given have their default; every detector ran."""

    name: Annotated[Line, Meta(description="What the test shows, unique in its rule.")]
    provenance: Annotated[
        Provenance | None, Meta(description="Where the signals come from; the first the rule looks at if absent.")
    ] = None
    given: Annotated[
        dict[str, Node],
        Meta(
            description="Values of signals and fields. `{status: timeout}` (or `error`, `not_run`) fails the detector."
        ),
    ] = {}
    expect: Annotated[
        Literal["match", "no_match"] | Expected, Meta(description="`match`, `no_match`, or status with effect.")
    ]


class Rule(Form, frozen=True, kw_only=True):
    """One demand on one kind of text: when it holds, what follows, and tests that show both."""

    id: RuleId
    title: Annotated[str, Meta(min_length=1, max_length=200, description="What the rule demands, for people.")]
    severity: Annotated[Severity, Meta(description="Decides the default of `on_error` and adds to scores.")] = (
        Severity.MEDIUM
    )
    level: Annotated[
        int, Meta(ge=1, le=4, description="Apps enforce rules up to one level, observe up to another.")
    ] = 1
    phase: Annotated[Phase | tuple[Phase, ...], Meta(description="Which text the rule looks at; a list for several.")]
    provenance: Annotated[
        tuple[Provenance, ...], Meta(description="Only signals of text from here count; all text if absent.")
    ] = ()
    when: Annotated[When, Meta(description="The condition.")]
    then: Annotated[Then, Meta(description="What a match does.")]
    on_error: Annotated[
        Effect | None,
        Meta(
            description="The effect when a signal is missing. Default: critical `refuse`, high `escalate`, else "
            "`flag`, and never looser than the effect itself (`redact` counts as `refuse`)."
        ),
    ] = None
    mode: Annotated[
        Literal["enforce", "shadow"] | Canary, Meta(description="`shadow` records what it would do and does nothing.")
    ] = "enforce"
    release: Annotated[
        Release | None,
        Meta(description="Streams: judge each sentence, or the whole answer first (always so for `escalate`)."),
    ] = None
    message: Annotated[Message, Meta(description="Texts for people.")] = Message()
    tests: Annotated[tuple[RuleTest, ...], Meta(description="Unit tests, run by `gateway policy test`.")] = ()


class PolicyException(Form, frozen=True, kw_only=True):
    """Lifts the matches of one rule for some callers until a day; named, approved and never permanent."""

    id: Annotated[str, Meta(pattern=ID, description="Unique name of the exception.")]
    rule: Annotated[str, Meta(description="Id of the rule whose match is lifted.")]
    match: Annotated[
        dict[str, Node],
        Meta(
            min_length=1,
            description="Fields that must all fit: `app`, `tenant`, `user`, `groups`, or any.",
        ),
    ]
    reason: Annotated[Line, Meta(description="Why the rule need not count here.")]
    approved_by: Annotated[tuple[Line, ...], Meta(min_length=1, description="Who approved it.")]
    expires: Annotated[dt.date, Meta(description="The last day (UTC) on which it holds.")]


class Over(Form, frozen=True, kw_only=True):
    """What follows when the points of a phase reach their score."""

    effect: Annotated[Literal["flag", "escalate", "refuse"], Meta(description="What reaching the score does.")]
    queue: Annotated[
        Annotated[str, Meta(pattern=NAME)] | None, Meta(description="Escalate: the queue of the reviewers.")
    ] = None
    sla: Annotated[
        Annotated[str, Meta(pattern="^[1-9][0-9]{0,4}[smhd]$")] | None, Meta(description="Escalate: time to decide.")
    ] = None


class Scoring(Form, frozen=True, kw_only=True):
    """Points of all enforced rules that flag or do more (critical 5, high 4, medium 3, low 2) add up per phase."""

    query: Annotated[Points | None, Meta(description="Score of a query from which `over` applies.")] = None
    passage: Annotated[Points | None, Meta(description="Score of a passage.")] = None
    answer: Annotated[Points | None, Meta(description="Score of an answer.")] = None
    tool_call: Annotated[Points | None, Meta(description="Score of a tool call.")] = None
    over: Annotated[Over, Meta(description="What reaching a score does.")]


class ConversationExpected(Form, frozen=True, kw_only=True):
    """What must come out of a conversation."""

    effect: Annotated[Effect, Meta(description="The strictest effect over all its texts.")]
    rules: Annotated[tuple[str, ...], Meta(description="Rules that must be among the reasons.")] = ()
    without: Annotated[
        tuple[str, ...], Meta(description="Rules that must not be among the reasons: the text is their near-miss.")
    ] = ()


class Conversation(Form, frozen=True, kw_only=True):
    """An end-to-end test on real text, run through the real detectors."""

    name: Annotated[Line, Meta(description="What the conversation shows.")]
    query: Annotated[str | None, Meta(description="What the user says.")] = None
    passage: Annotated[str | None, Meta(description="What retrieval finds.")] = None
    answer: Annotated[str | None, Meta(description="What the model says.")] = None
    given: Annotated[dict[str, Node], Meta(description="Fields, e.g. `principal.groups: [staff]`.")] = {}
    expect: Annotated[ConversationExpected, Meta(description="What must come out.")]


class PolicySet(Form, frozen=True, kw_only=True, rename={"api_version": "apiVersion"}):
    """One policy file."""

    api_version: Annotated[Literal["gateway/v1"], Meta(description="The version of the language.")]
    kind: Annotated[Literal["PolicySet"], Meta(description="What the file is.")]
    metadata: Annotated[Metadata, Meta(description="Who answers for the set, and what it is for.")]
    extends: Annotated[
        tuple[str, ...],
        Meta(description="Sets whose rules also apply wherever this set applies, by id or path: `base/personal-data`."),
    ] = ()
    applies_to: Annotated[AppliesTo, Meta(description="Where the set applies; everywhere if absent.")] = AppliesTo()
    needs: Annotated[dict[str, Need], Meta(description="Signals the set relies on, by their first word.")] = {}
    lists: Annotated[dict[DefinitionId, WordList], Meta(description="Word lists.")] = {}
    topics: Annotated[dict[DefinitionId, Topic], Meta(description="Topics named by examples.")] = {}
    patterns: Annotated[dict[DefinitionId, Pattern], Meta(description="Regular expressions.")] = {}
    rules: Annotated[tuple[Rule, ...], Meta(description="The rules; their order has no meaning.")] = ()
    exceptions: Annotated[tuple[PolicyException, ...], Meta(description="Named, approved, expiring.")] = ()
    scoring: Annotated[Scoring | None, Meta(description="Many small findings together.")] = None
    conversations: Annotated[tuple[Conversation, ...], Meta(description="Tests on real text.")] = ()
