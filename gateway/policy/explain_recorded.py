"""A recorded exchange in full: each of its verdicts explained by a bundle, beside what was recorded."""

from msgspec import Struct

from gateway.domain.vocabulary import Effect, Phase
from gateway.policy.bundle import Bundle
from gateway.policy.explain import Explanation, explain
from gateway.policy.recorded import Judgement, Recording
from gateway.policy.replay import likely_evidence


class ExplainedJudgement(Struct, frozen=True, kw_only=True):
    """One verdict. `policy` and `effect` are as recorded; `same_policy` says whether the same policies explain it;
    `explanation` is `None` where `missing` says what the event lacks. `lifted` are rules whose stop a person had
    lifted."""

    phase: Phase
    policy: str
    effect: Effect
    same_policy: bool
    explanation: Explanation | None
    missing: str
    lifted: tuple[str, ...]


def explain_recording(bundle: Bundle, recording: Recording) -> tuple[ExplainedJudgement, ...]:
    """Every verdict of an exchange, in order. Pure. Who the person was is not recorded: where rules ask for it, the
    explanation takes one of the persons they name that fits what was decided."""
    return tuple(_explained(bundle, recording, judgement) for judgement in recording.judgements)


def _explained(bundle: Bundle, recording: Recording, judgement: Judgement) -> ExplainedJudgement:
    evidence = likely_evidence(bundle, judgement, recording.at)
    return ExplainedJudgement(
        phase=judgement.phase,
        policy=judgement.policy,
        effect=judgement.effect,
        same_policy=judgement.policy == bundle.digest,
        explanation=None if evidence is None else explain(bundle, evidence, now=recording.at),
        missing=judgement.missing,
        lifted=tuple(sorted(judgement.lifts)),
    )
