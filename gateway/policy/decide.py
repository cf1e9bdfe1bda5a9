"""Evidence -> verdict. Pure, and the only evaluator: serving, tests, replay and shadow call it.

Laws, each a property in the tests: the strictest effect wins; the order of files, rules and findings has no meaning;
adding a rule only tightens; a detector that fails never loosens.
"""

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from gateway.domain.signal import DetectorRun, SignalValue
from gateway.domain.verdict import (
    NO_OBLIGATIONS,
    Escalation,
    Evidence,
    FieldValue,
    Obligations,
    Redaction,
    RuleOutcome,
    Verdict,
)
from gateway.domain.vocabulary import Effect, Provenance, RuleMode, RuleStatus, SignalStatus, strictest
from gateway.policy.compiled import CompiledRule
from gateway.policy.condition import FALSE, TRUE, UNKNOWN, Failure, Sight
from gateway.policy.view import View

Judged = tuple[CompiledRule, RuleOutcome, bool]
"""A rule, how it ended, and whether what was seen is enough for a match (so that `then` applies)."""


def decide(evidence: Evidence, *, view: View, policy: str, now: dt.datetime) -> Verdict:
    """The decision on one phase.

    1. a detector that is missing, failed or too old is `failed`
    2. only rules that the evidence can make true, or that need something failed, are visited
    3. each visited rule ends in matched, error, not_run or not_matched; an exception in force lifts it
    4. points of the enforced outcomes above allow add up, and a score reached is one more outcome
    5. the strictest enforced effect wins, obligations of all enforced outcomes unite
    """
    failed = failed_detectors(evidence.runs, view)
    candidates = view.candidates(evidence, failed)
    if not candidates:  # no points, so no score either
        return Verdict(phase=evidence.phase, effect=Effect.ALLOW, policy=policy, evaluated=view.evaluated)
    merge = merger(evidence.values)
    judged: list[Judged] = []
    for index in sorted(candidates):
        rule = view.rules[index]
        sight = Sight(merge(rule.provenances), evidence.fields, failed)
        found = _judge(rule, sight, now, None if index in view.observed else evidence.shares)
        if found is not None:
            judged.append(found)
    points = sum(
        rule.severity.points
        for rule, outcome, _ in judged
        if outcome.mode is not RuleMode.SHADOW and outcome.effect is not Effect.ALLOW
    )
    scores = _scores(view, evidence, points)
    outcomes = tuple(sorted((*(outcome for _, outcome, _ in judged), *scores), key=_by_rule))
    effect = strictest(*(outcome.effect for outcome in outcomes if outcome.mode is not RuleMode.SHADOW))
    return Verdict(
        phase=evidence.phase,
        effect=effect,
        policy=policy,
        outcomes=outcomes,
        evaluated=view.evaluated,
        obligations=_obligations(judged, scores, view, merge) if outcomes else NO_OBLIGATIONS,
        message=_message(judged, effect),
    )


def _judge(rule: CompiledRule, sight: Sight, now: dt.datetime, shares: Mapping[str, bool] | None) -> Judged | None:
    """How one rule ends; `None` for not matched. Without `shares` the rule is only observed."""
    truth = rule.test(sight)
    if truth == FALSE:
        return None
    mode = RuleMode.SHADOW if shares is None else _mode(rule, sight.fields, shares)
    exception = next((one.id for one in rule.exceptions if one.lifts(sight.fields, now)), "")
    seen = True
    if truth == TRUE:
        status, effect, why = RuleStatus.MATCHED, rule.effect, _why_matched(rule, sight)
    else:
        status, why = _why_unknown(rule, sight)
        # A failed detector may still have seen enough in one text: that its other texts are unknown lifts nothing.
        seen = rule.settled(sight) == TRUE
        effect = strictest(rule.on_error, rule.effect) if seen else rule.on_error
    if exception:
        effect = Effect.ALLOW
    outcome = RuleOutcome(
        rule=rule.id,
        status=status,
        effect=effect,
        mode=mode,
        severity=rule.severity.value,
        why=why,
        exception=exception,
    )
    return rule, outcome, seen


def failed_detectors(runs: Mapping[str, DetectorRun], view: View) -> dict[str, Failure]:
    """The detectors that the rules need and that did not end in `ok`, or are older than a set asks for."""
    failed: dict[str, Failure] = {}
    for detector, minimum in view.detectors:
        run = runs.get(detector)
        if run is None:
            failed[detector] = Failure(RuleStatus.NOT_RUN, f"{detector}: not_run")
        elif run.status is not SignalStatus.OK:
            status = RuleStatus.NOT_RUN if run.status is SignalStatus.NOT_RUN else RuleStatus.ERROR
            failed[detector] = Failure(status, f"{detector}: {run.status.value} {run.reason}".rstrip())
        elif minimum and older(run.version, minimum):
            failed[detector] = Failure(RuleStatus.ERROR, f"{detector}: version")
    return failed


@lru_cache(maxsize=256)
def older(version: str, minimum: str) -> bool:
    """Whether the leading numbers of a version are below the minimum; a version without numbers is."""
    numbers = re.match(r"[0-9]+(\.[0-9]+)*", version)
    have = [int(part) for part in numbers.group().split(".")] if numbers else []
    need = [int(part) for part in minimum.split(".")]
    width = max(len(have), len(need))
    return not have or have + [0] * (width - len(have)) < need + [0] * (width - len(need))


def _mode(rule: CompiledRule, fields: Mapping[str, FieldValue], shares: Mapping[str, bool]) -> RuleMode:
    """A canary is enforced for its share and shadow for the rest: the same caller always falls alike."""
    if rule.share is None:
        return rule.mode
    known = shares.get(rule.id)
    if known is not None:
        return RuleMode.CANARY if known else RuleMode.SHADOW
    names = {"tenant": ("principal.tenant",), "app": ("principal.tenant", "principal.app")}.get(
        rule.share.by, ("principal.tenant", "principal.app", "principal.user")
    )
    key = "\0".join([rule.id, *(str(fields.get(name, "")) for name in names)])
    bucket = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8]) % 100
    return RuleMode.CANARY if bucket < rule.share.percent else RuleMode.SHADOW


def _why_matched(rule: CompiledRule, sight: Sight) -> tuple[str, ...]:
    """The atoms that argued for the match; a match without any is one by what was absent."""
    true = tuple(leaf.text for leaf in rule.leaves if leaf.argues and leaf.test(sight) == TRUE)
    return true or (("absence",) if rule.leaves else ("always",))


def _why_unknown(rule: CompiledRule, sight: Sight) -> tuple[RuleStatus, tuple[str, ...]]:
    """What was missing; `not_run` if all that was missing is detectors that nobody ran."""
    reasons: set[str] = set()
    status = RuleStatus.NOT_RUN
    for leaf in rule.leaves:
        failure = sight.failed.get(leaf.detector)
        if failure is not None:
            reasons.add(failure.why)
            if failure.status is RuleStatus.ERROR:
                status = RuleStatus.ERROR
        elif leaf.test(sight) == UNKNOWN:
            status = RuleStatus.ERROR
            missing = not leaf.detector and sight.fields.get(leaf.atom.name) is None
            reasons.add(f"{leaf.atom.name}: {'missing' if missing else 'malformed'}")
    return status, tuple(sorted(reasons))


def merger(
    values: Mapping[Provenance, Mapping[str, SignalValue]],
) -> Callable[[frozenset[Provenance]], Mapping[str, Any]]:
    """Signal values over the provenances a rule looks at (none named: all), merged once per set of them."""
    merged: dict[frozenset[Provenance], Mapping[str, Any]] = {}

    def merge(provenances: frozenset[Provenance]) -> Mapping[str, Any]:
        found = merged.get(provenances)
        if found is None:
            parts = [part for source, part in values.items() if not provenances or source in provenances]
            found = merged[provenances] = parts[0] if len(parts) == 1 else _merged(parts)
        return found

    return merge


def _merged(parts: list[Mapping[str, SignalValue]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = _join(total[name], value) if name in total else value
    return total


def _join(one: Any, other: Any) -> Any:
    """Scores by maximum, counts by sum, flags by disjunction, kinds by union. Values of no common type join to
    `...`, which is no value of any type and so unknown to every atom."""
    match one, other:
        case bool(), bool():
            return one or other
        case frozenset(), frozenset():
            return one | other
        case int(), int():
            return one + other
        case int() | float(), int() | float():
            return max(one, other) if one == one and other == other else float("nan")  # noqa: PLR0124
        case _:
            return ...


def _scores(view: View, evidence: Evidence, points: int) -> list[RuleOutcome]:
    return [
        RuleOutcome(
            rule=scoring.id,
            status=RuleStatus.MATCHED,
            effect=scoring.effect,
            why=(f"score={points}>={scoring.thresholds[evidence.phase]}",),
        )
        for scoring in view.scorings
        if points >= scoring.thresholds[evidence.phase]
    ]


def _obligations(
    judged: list[Judged],
    scores: list[RuleOutcome],
    view: View,
    merge: Callable[[frozenset[Provenance]], Mapping[str, Any]],
) -> Obligations:
    redactions: list[Redaction] = []
    escalations: list[Escalation] = [
        scoring.escalation
        for scoring in view.scorings
        if scoring.effect is Effect.ESCALATE and any(score.rule == scoring.id for score in scores)
    ]
    cite = False
    disclaimers: set[str] = set()
    notify: set[str] = set()
    for rule, outcome, seen in judged:
        if outcome.exception or outcome.mode is RuleMode.SHADOW:
            continue
        if outcome.effect is Effect.ESCALATE or (seen and rule.effect is Effect.ESCALATE):
            escalations.append(rule.escalation)
        if not seen:
            continue
        if rule.redact is not None:
            redactions.append(_redaction(rule, merge(rule.provenances)))
        cite = cite or rule.cite
        disclaimers |= {rule.disclaimer} - {""}
        notify |= set(rule.notify)
    return Obligations(
        redactions=tuple(redactions),
        escalations=tuple(sorted(escalations, key=lambda one: one.rule)),
        cite=cite,
        disclaimers=tuple(sorted(disclaimers)),
        notify=tuple(sorted(notify)),
    )


def _redaction(rule: CompiledRule, values: Mapping[str, Any]) -> Redaction:
    plan = rule.redact
    assert plan is not None
    kinds = plan.kinds
    for signal in plan.of:
        present = values.get(signal)
        if isinstance(present, frozenset):
            kinds |= present
    return Redaction(rule=rule.id, kinds=kinds, operator=plan.operator, provenances=rule.provenances)


def _message(judged: list[Judged], effect: Effect) -> str:
    """The client text of the first of the rules that made the effect what it is and have one."""
    return next(
        (
            rule.client_message
            for rule, outcome, _ in judged
            if outcome.status is RuleStatus.MATCHED
            and outcome.mode is not RuleMode.SHADOW
            and outcome.effect is effect
            and rule.client_message
        ),
        "",
    )


def _by_rule(outcome: RuleOutcome) -> str:
    return outcome.rule
