"""Why a case waits: the rules that escalated, with their text and what made them match, from policies and audit log."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, structs

from gateway.audit.read import Event
from gateway.cases.case import Case
from gateway.domain.event import EventType
from gateway.domain.vocabulary import Effect
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledRule
from gateway.policy.condition import Condition, Group
from gateway.policy.signals import detector_of

_VERDICTS = frozenset({EventType.INTENT.value, EventType.OUTCOME.value, EventType.STREAM_CLOSE.value})


class ConditionLine(Struct, frozen=True):
    """A line of a rule's condition, `depth` deep."""

    depth: int
    text: str


class RuleEvidence(Struct, frozen=True, kw_only=True):
    """A rule as a reviewer reads it. `why` names what made it match, never content. Text and condition are those of the
    policies in force, empty for a rule that is no longer in them."""

    id: str
    title: str = ""
    guidance: str = ""
    severity: str = ""
    set_id: str = ""
    owner: str = ""
    purpose: str = ""
    controls: tuple[str, ...] = ()
    condition: tuple[ConditionLine, ...] = ()
    status: str = ""
    effect: str = ""
    why: tuple[str, ...] = ()


class DetectorEvidence(Struct, frozen=True, kw_only=True):
    """How a detector's run ended, and the values of its signals."""

    name: str
    version: str
    status: str
    values: tuple[str, ...] = ()


class CaseEvidence(Struct, frozen=True, kw_only=True):
    """`rules` are those that asked for a person, `others` those that applied besides. `changed` says that other
    policies are in force than those that escalated."""

    rules: tuple[RuleEvidence, ...]
    others: tuple[RuleEvidence, ...]
    detectors: tuple[DetectorEvidence, ...]
    changed: bool


def case_evidence(case: Case, events: Sequence[Event], bundle: Bundle) -> CaseEvidence:
    """Of all rules of the exchange those that the case is about."""
    phases = [phase for event in events if event.members.get("type") in _VERDICTS for phase in _phases(event.members)]
    known = {rule.id: rule for rule in bundle.rules}
    rules = [_rule(name, known.get(name), _outcome(name, case, phases), bundle) for name in case.rules]
    asked = tuple(rule for rule in rules if rule.effect == Effect.ESCALATE.value)
    return CaseEvidence(
        rules=asked or tuple(rules),
        others=tuple(rule for rule in rules if asked and rule not in asked),
        detectors=tuple(_detectors([phase for phase in phases if phase.get("phase") == case.phase.value])),
        changed=case.policy != bundle.digest,
    )


def _phases(members: dict[str, Any]) -> Iterable[dict[str, Any]]:
    own = members.get("phase")
    if isinstance(own, dict):
        yield own
    answers = members.get("answer")
    signals = members.get("signals")
    for index, phase in enumerate(answers if isinstance(answers, list) else []):
        seen = signals[index] if isinstance(signals, list) and index < len(signals) else {}
        yield {**phase, "signals": seen}


def _outcome(name: str, case: Case, phases: Iterable[dict[str, Any]]) -> dict[str, Any]:
    found = [
        rule
        for phase in phases
        if phase.get("phase") == case.phase.value
        for rule in phase.get("rules", [])
        if rule.get("id") == name
    ]
    return found[-1] if found else {}


def _rule(name: str, rule: CompiledRule | None, outcome: dict[str, Any], bundle: Bundle) -> RuleEvidence:
    seen = RuleEvidence(
        id=name,
        status=str(outcome.get("status", "")),
        effect=str(outcome.get("effect", "")),
        why=tuple(map(str, outcome.get("why", []))),
    )
    if rule is None:
        return seen
    metadata = next((one.set.metadata for one in bundle.sources if one.set.metadata.id == rule.set_id), None)
    return structs.replace(
        seen,
        title=rule.title,
        guidance=rule.reviewer_message,
        severity=rule.severity.value,
        set_id=rule.set_id,
        owner=metadata.owner if metadata else "",
        purpose=metadata.purpose if metadata else "",
        controls=metadata.controls if metadata else (),
        condition=tuple(condition_lines(rule.condition)),
    )


def condition_lines(condition: Condition, depth: int = 0) -> Iterable[ConditionLine]:
    """A condition line by line, indented by groups."""
    if isinstance(condition, Group):
        yield ConditionLine(depth, f"{condition.junction.value} of")
        for member in condition.members:
            yield from condition_lines(member, depth + 1)
    else:
        yield ConditionLine(depth, condition.text)


def _detectors(phases: Iterable[dict[str, Any]]) -> Iterable[DetectorEvidence]:
    for phase in phases:
        signals = phase.get("signals") or {}
        values: dict[str, list[str]] = {}
        for provenance, own in signals.get("values", {}).items():
            for name, value in own.items():
                values.setdefault(detector_of(name), []).append(f"{name} = {_value(value)} ({provenance})")
        for run in signals.get("detectors", []):
            yield DetectorEvidence(
                name=str(run.get("name", "")),
                version=str(run.get("version", "")),
                status=str(run.get("status", "")),
                values=tuple(values.get(str(run.get("name", "")), ())),
            )


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value.get('e6', 0) / 1_000_000:.3f}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
