"""What the policies say of a text."""

from collections.abc import Mapping

from msgspec import Struct

from gateway.domain.signal import DetectorRun, SignalValue
from gateway.domain.vocabulary import Effect, Phase, Provenance, RedactOperator, RuleMode, RuleStatus

FieldValue = str | int | bool | frozenset[str]


class Evidence(Struct, frozen=True, kw_only=True):
    """The whole input of a decision besides the clock.

    `fields` are facts that no detector produces: `principal.tenant`, `principal.app`, `principal.user`,
    `principal.groups`, `principal.roles`, `request.model`, `request.stream`, `request.route`,
    `request.tools` (kinds), `request.unscanned` (kinds: `image`, `audio`, `file`), `passage.doc`,
    `passage.access`, `passage.classification`, `tool.name`, `retrieval.status`, `retrieval.passages` (count).
    `values` and `runs` are those of the `Inspection`. A detector that `runs` does not name was not run.
    `shares` says of canary rules, by id, whether they are enforced here; of others the caller decides, as always.
    """

    phase: Phase
    fields: Mapping[str, FieldValue]
    values: Mapping[Provenance, Mapping[str, SignalValue]] = {}
    runs: Mapping[str, DetectorRun] = {}
    shares: Mapping[str, bool] = {}


class RuleOutcome(Struct, frozen=True, kw_only=True):
    """The evaluation of one rule. `why` names the atoms that made it match, or what made it fail, never content."""

    rule: str
    status: RuleStatus
    effect: Effect  # the effect that counts: `then` for a match, `on_error` for an error, allow otherwise
    mode: RuleMode = RuleMode.ENFORCE
    severity: str = "medium"
    why: tuple[str, ...] = ()
    exception: str = ""  # id of the exception that lifted the match


class Redaction(Struct, frozen=True, kw_only=True):
    """An obligation: replace the spans of these kinds. `provenances` empty means all."""

    rule: str
    kinds: frozenset[str]
    operator: RedactOperator
    provenances: frozenset[Provenance] = frozenset()


class Escalation(Struct, frozen=True, kw_only=True):
    """An obligation: a human decides."""

    rule: str
    queue: str
    sla_s: int
    approvals: int = 1


class Obligations(Struct, frozen=True, kw_only=True):
    """What enforcement must do besides the effect; united over all matched rules, in canonical order."""

    redactions: tuple[Redaction, ...] = ()
    escalations: tuple[Escalation, ...] = ()
    cite: bool = False
    disclaimers: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()


NO_OBLIGATIONS = Obligations()


class Verdict(Struct, frozen=True, kw_only=True):
    """The decision on one phase.

    `outcomes` lists the rules that matched, erred or were not run, sorted by id; every other applicable rule of
    the bundle was evaluated and did not match (`evaluated` counts them all). `message` is the client text of
    the strictest matched rule, "" for the default notice.
    """

    phase: Phase
    effect: Effect
    policy: str  # digest of the bundle, `sha256:…`
    outcomes: tuple[RuleOutcome, ...] = ()
    evaluated: int = 0
    obligations: Obligations = NO_OBLIGATIONS
    message: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Ids of the enforced rules that made the effect what it is or tightened it above allow, sorted."""
        return tuple(
            outcome.rule
            for outcome in self.outcomes
            if outcome.effect is not Effect.ALLOW and outcome.mode is not RuleMode.SHADOW
        )
