"""Why policies decide as they do: a sample text through the real detectors, and verdicts of the past."""

from datetime import datetime
from typing import Final

from msgspec import Struct

from gateway.console.caller import Caller
from gateway.console.shown_text import ShownText, narrow_findings, shown_text
from gateway.domain.segment import Segment
from gateway.domain.signal import DetectorRun
from gateway.domain.text import outline
from gateway.domain.verdict import Evidence, FieldValue
from gateway.domain.vocabulary import Phase, Provenance
from gateway.exchange import Rulebook
from gateway.policy.bundle import Bundle
from gateway.policy.explain import Explanation, RuleExplanation, explain
from gateway.policy.fields import FIELDS, FieldType

SPEAKERS: Final = {
    Phase.QUERY: Provenance.USER,
    Phase.PASSAGE: Provenance.PASSAGE,
    Phase.ANSWER: Provenance.ASSISTANT,
}
"""Whose text a sample is, for the phases that a sample can be of."""

MOST_CHARS: Final = 20_000


class Sample(Struct, frozen=True, kw_only=True):
    """A text that somebody typed, and the request that it stands for."""

    text: str
    phase: Phase
    caller: Caller

    def __repr__(self) -> str:
        return f"Sample({self.phase.value}, {outline(self.text)})"


class ExplainedSample(Struct, frozen=True, kw_only=True):
    """`text` has the places that detectors found marked; `about` are kinds of longer stretches. `rules` are those that
    did something, matched or failed; `others` apply and did not match; `elsewhere` do not apply to this caller."""

    policy: str
    explanation: Explanation
    text: ShownText
    about: tuple[str, ...]
    runs: tuple[DetectorRun, ...]
    rules: tuple[RuleExplanation, ...]
    others: tuple[RuleExplanation, ...]
    elsewhere: int


async def explain_sample(
    rulebook: Rulebook, sample: Sample, *, user: str, timeout_s: float, now: datetime
) -> ExplainedSample:
    """Every detector that the rules need runs over the text, and every rule is evaluated in full. Nothing is kept."""
    bundle = rulebook.policy
    assert isinstance(bundle, Bundle)
    fields = _fields(sample, user)
    seen = await rulebook.inspector.inspect(
        [Segment(index=0, text=sample.text, provenance=SPEAKERS[sample.phase])],
        detectors=bundle.required(sample.phase, fields),
        timeouts=bundle.timeouts(fields),
        default_timeout_s=timeout_s,
        keep=False,
    )
    evidence = Evidence(phase=sample.phase, fields=fields, values=seen.values, runs=seen.runs)
    explanation = explain(bundle, evidence, now=now)
    rules, others = spoken(explanation)
    narrow, about = narrow_findings(sample.text, seen.findings)
    return ExplainedSample(
        policy=bundle.digest,
        explanation=explanation,
        text=shown_text(sample.text, narrow, masked=False),
        about=about,
        runs=tuple(run for _, run in sorted(seen.runs.items())),
        rules=rules,
        others=others,
        elsewhere=sum(not rule.applies for rule in explanation.rules),
    )


def spoken(explanation: Explanation) -> tuple[tuple[RuleExplanation, ...], tuple[RuleExplanation, ...]]:
    """The rules that matched or failed, the strictest first, and the others that apply."""
    told = {outcome.rule for outcome in explanation.verdict.outcomes}
    rules = sorted((one for one in explanation.rules if one.rule in told), key=lambda one: (-one.effect.rank, one.rule))
    return tuple(rules), tuple(one for one in explanation.rules if one.applies and one.rule not in told)


def _fields(sample: Sample, user: str) -> dict[str, FieldValue]:
    """Every fact of the phase: those of the caller, and the plainest of all others."""
    plain: dict[FieldType, FieldValue] = {
        FieldType.TEXT: "",
        FieldType.KINDS: frozenset[str](),
        FieldType.COUNT: 0,
        FieldType.FLAG: False,
    }
    fields = {name: plain[field.type] for name, field in FIELDS.items() if sample.phase in field.phases}
    caller = sample.caller
    fields |= {
        "principal.tenant": caller.tenant,
        "principal.app": caller.app,
        "principal.user": user,
        "principal.groups": frozenset(caller.groups),
        "request.model": caller.model,
        "request.route": "/v1/chat/completions",
    }
    if "retrieval.status" in fields:
        fields["retrieval.status"] = "ok"
    return fields
