"""What the unit tests of a bundle exercise: rules, atoms both ways, exceptions both ways, failures of detectors."""

import datetime as dt
from collections.abc import Iterator, Mapping

from msgspec import Struct

from gateway.domain.vocabulary import RuleStatus
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledRule
from gateway.policy.condition import FALSE, TRUE, Sight
from gateway.policy.decide import failed_detectors, merger
from gateway.policy.signals import detector_of
from gateway.policy.trials import trial_evidence

KINDS = ("rule", "atom", "exception", "on_error")


class Goal(Struct, frozen=True, order=True):
    """Something that a test should show: `of` is the rule, `kind` one of `KINDS`, `what` says it to people."""

    of: str
    kind: str
    what: str


class Coverage(Struct, frozen=True):
    """`goals` maps each goal to whether a test reached it."""

    goals: Mapping[Goal, bool]

    def share(self, kind: str = "") -> float:
        """The covered share of one kind of goals, of all without it; 1 where there is nothing to cover."""
        covered, total = self.count(kind)
        return covered / total if total else 1.0

    def count(self, kind: str = "") -> tuple[int, int]:
        """How many goals of a kind are covered, and how many there are."""
        chosen = [covered for goal, covered in self.goals.items() if kind in {"", goal.kind}]
        return sum(chosen), len(chosen)

    def missing(self) -> tuple[Goal, ...]:
        """Goals that no test reached, sorted."""
        return tuple(sorted(goal for goal, covered in self.goals.items() if not covered))


def coverage(bundle: Bundle, *, now: dt.datetime) -> Coverage:
    """The coverage of a bundle by its own unit tests; each test counts for its own rule only. Pure."""
    rules = {rule.id: rule for rule in bundle.rules}
    goals = {goal: False for rule in bundle.rules for goal in _goals(rule)}
    detectors = {detector_of(signal) for signal in bundle.signals}.union(*(rule.detectors for rule in bundle.rules))
    for trial in bundle.trials:
        rule = rules[trial.rule]
        for phase in trial.phases:
            evidence = trial_evidence(trial, phase, detectors)
            view = bundle.view(phase, evidence.fields)
            if rule not in view.rules:
                continue  # out of scope: nothing of the rule is looked at
            failed = failed_detectors(evidence.runs, view)
            sight = Sight(merger(evidence.values)(rule.provenances), evidence.fields, failed)
            for leaf in rule.leaves:
                truth = leaf.test(sight)
                if truth == TRUE:
                    goals[Goal(rule.id, "atom", f"{leaf.text} is true")] = True
                elif truth == FALSE:
                    goals[Goal(rule.id, "atom", f"{leaf.text} is false")] = True
            outcomes = bundle.decide(evidence, now=now).outcomes
            found = next((one for one in outcomes if one.rule == rule.id), None)
            if found is None:
                goals[Goal(rule.id, "rule", "does not match")] = True
                continue
            if found.status is RuleStatus.MATCHED:
                goals[Goal(rule.id, "rule", "matches")] = True
            else:
                goals[Goal(rule.id, "on_error", "a detector fails")] = True
            for exception in rule.exceptions:
                lifts = "lifts" if exception.lifts(evidence.fields, now) else "does not lift"
                goals[Goal(rule.id, "exception", f"{exception.id} {lifts}")] = True
    return Coverage({goal: goals[goal] for goal in sorted(goals)})


def _goals(rule: CompiledRule) -> Iterator[Goal]:
    yield Goal(rule.id, "rule", "matches")
    if rule.leaves:
        yield Goal(rule.id, "rule", "does not match")
    for leaf in rule.leaves:
        yield Goal(rule.id, "atom", f"{leaf.text} is true")
        yield Goal(rule.id, "atom", f"{leaf.text} is false")
    for exception in rule.exceptions:
        yield Goal(rule.id, "exception", f"{exception.id} lifts")
        yield Goal(rule.id, "exception", f"{exception.id} does not lift")
    if rule.detectors:
        yield Goal(rule.id, "on_error", "a detector fails")
