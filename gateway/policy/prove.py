"""Proofs about policies: `yes`, `no` with a counterexample, or `unknown`.

A search over the finite quotient of `gateway.policy.space`, cut by the bounds of `gateway.policy.bounds`. Every
counterexample is confirmed by the evaluator that serves requests before it is reported; a search that runs out of its
budget, or in a space that is not exact, claims nothing. Effects are compared; texts and obligations are the business
of the difference. Fields of a phase are taken to be there, as the evaluator asks.
"""

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from gateway.domain.verdict import Evidence, RuleOutcome
from gateway.domain.vocabulary import Effect, Phase, RuleStatus, SignalStatus, strictest
from gateway.policy.bounds import Bounds, phase_rules
from gateway.policy.bundle import Bundle, canonical_rule
from gateway.policy.compiled import CompiledException, CompiledRule, CompiledScoring, as_json
from gateway.policy.condition import TRUE, UNKNOWN, atoms
from gateway.policy.fields import FIELDS
from gateway.policy.search import Assignment, Question, Search, evidence_of
from gateway.policy.space import Space, Variable
from gateway.policy.trials import EMPTY_FIELDS

BUDGET: Final = 20_000  # assignments a question may try; some seconds
_USERS: Final = 2_000  # callers tried to find one in the wanted share of a canary


class Answer(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Witness(Struct, frozen=True, kw_only=True):
    """Evidence that shows an answer, the rule it is about, and when. `failed` are signals of the rule whose detector
    fails in it."""

    rule: str
    evidence: Evidence
    now: dt.datetime
    status: RuleStatus
    effect: Effect
    failed: tuple[str, ...] = ()

    def as_test(self, name: str) -> str:
        """The witness as one entry of the rule's `tests`, on one line."""
        evidence = self.evidence
        given: dict[str, Any] = {
            field: as_json(value)
            for field, value in evidence.fields.items()
            if value != EMPTY_FIELDS[FIELDS[field].type]
        }
        used = {source: values for source, values in evidence.values.items() if values}
        for values in used.values():
            given |= {signal: as_json(value) for signal, value in values.items()}
        given |= {signal: {"status": "error"} for signal in self.failed}
        test: dict[str, Any] = {"name": name}
        if len(used) == 1:
            test["provenance"] = next(iter(used)).value
        test |= {"given": given, "expect": {"status": self.status.value, "effect": self.effect.value}}
        return f"- {json.dumps(test, ensure_ascii=False)}"


class Proof(Struct, frozen=True, kw_only=True):
    """`reason` says why nothing is known; `witness` shows a `no` of `no_weaker`, a `yes` of `can_match`."""

    answer: Answer
    witness: Witness | None = None
    reason: str = ""
    tried: int = 0


def no_weaker(old: Bundle, new: Bundle, *, now: dt.datetime, budget: int = BUDGET) -> Proof:
    """Whether no evidence, now or later, gets a looser effect from `new` than from `old`. Pure, CPU-bound."""
    tried = 0
    doubt = ""
    for phase in Phase:
        space = Space([old, new], phase, now)
        goals = _Goals(old, new, space)
        for goal in goals.changed():
            search = Search(space, budget - tried)
            found = search.run(goals.weaker_than(goal))
            tried += search.tried
            if found is not None:
                return Proof(answer=Answer.NO, witness=found, tried=tried)
            if search.exhausted:
                return Proof(answer=Answer.UNKNOWN, reason=f"gave up after {tried} assignments", tried=tried)
            if not search.complete:
                doubt = doubt or f"{goal.id} in phase {phase.value}: the cases cannot all be told apart"
    return Proof(answer=Answer.UNKNOWN if doubt else Answer.YES, reason=doubt, tried=tried)


def can_match(bundle: Bundle, rule_id: str, *, now: dt.datetime, budget: int = BUDGET) -> Proof:
    """Whether some evidence makes a rule match. Pure, CPU-bound. `rule_id` MUST be a rule of the bundle."""
    rule = next(one for one in bundle.rules if one.id == rule_id)
    alone = Bundle(rules=[rule], signals=bundle.signals)
    tried, inexact = 0, False
    for phase in sorted(rule.phases):
        search = Search(Space([alone], phase, now), budget - tried)
        found = search.run(_matches(alone, rule, search.space))
        tried += search.tried
        if found is not None:
            return Proof(answer=Answer.YES, witness=found, tried=tried)
        if search.exhausted:
            return Proof(answer=Answer.UNKNOWN, reason=f"gave up after {tried} assignments", tried=tried)
        inexact = inexact or not search.complete
    if inexact:
        return Proof(answer=Answer.UNKNOWN, reason="the cases cannot all be told apart", tried=tried)
    return Proof(answer=Answer.NO, tried=tried)


def shadowed(bundle: Bundle, *, now: dt.datetime, budget: int = BUDGET) -> dict[str, Proof]:
    """For each rule whether the others always reach at least its effect, so that its own never decides."""
    found = {}
    for rule in bundle.rules:
        alone = Bundle(rules=[rule], signals=bundle.signals, min_versions=bundle.min_versions)
        others = Bundle(
            rules=[one for one in bundle.rules if one is not rule],
            signals=bundle.signals,
            min_versions=bundle.min_versions,
        )
        found[rule.id] = no_weaker(alone, others, now=now, budget=budget)
    return found


def can_lift(
    bundle: Bundle, rule: CompiledRule, exception: CompiledException, *, now: dt.datetime, budget: int = BUDGET
) -> Answer:
    """Whether some evidence gets an exception to lift its rule, whose only one it MUST be. Pure, CPU-bound."""
    return _some_outcome(bundle, rule, exception, now=now, budget=budget, lifted=True)


def lifts_all(
    bundle: Bundle, rule: CompiledRule, exception: CompiledException, *, now: dt.datetime, budget: int = BUDGET
) -> Answer:
    """Whether an exception lifts every match of its rule, whose only one it MUST be, now. Pure, CPU-bound."""
    found = _some_outcome(bundle, rule, exception, now=now, budget=budget, lifted=False)
    return {Answer.YES: Answer.NO, Answer.NO: Answer.YES, Answer.UNKNOWN: Answer.UNKNOWN}[found]


def _some_outcome(
    bundle: Bundle, rule: CompiledRule, exception: CompiledException, *, now: dt.datetime, budget: int, lifted: bool
) -> Answer:
    """Whether some evidence makes the rule end lifted in any way, or match and not be lifted, at this moment."""
    alone = Bundle(rules=[rule], signals=bundle.signals, min_versions=bundle.min_versions)
    least = UNKNOWN if lifted else TRUE
    complete = True
    for phase in sorted(rule.phases):
        space = Space([alone], phase, now)
        space.domains["now",] = (now,)
        bounds = Bounds(alone, space)

        def undecided(known: Assignment, bounds: Bounds = bounds) -> bool:
            lifts = bounds.lifts(exception, known)
            open_ = lifts[1] if lifted else not lifts[0]
            return open_ and bounds.truth(rule, known)[1] >= least and bounds.applies(rule.scopes, known)[1]

        def confirm(known: Assignment, space: Space = space) -> Answer | None:
            evidence, when = evidence_of(space, known)
            for one in alone.decide(evidence, now=when).outcomes:
                if one.exception if lifted else one.status is RuleStatus.MATCHED and not one.exception:
                    return Answer.YES
            return None

        def open_(known: Assignment, bounds: Bounds = bounds) -> Iterator[Variable]:
            yield from bounds.open_match(rule, known)
            yield from bounds.open_exception(exception, known)

        search = Search(space, budget)
        if search.run(Question(undecided=undecided, open_=open_, confirm=confirm)) is not None:
            return Answer.YES
        complete = complete and search.complete
    return Answer.NO if complete else Answer.UNKNOWN


def _matches(alone: Bundle, rule: CompiledRule, space: Space) -> Question[Witness]:
    bounds = Bounds(alone, space)

    def undecided(known: Assignment) -> bool:
        return bounds.truth(rule, known)[1] == TRUE and bounds.applies(rule.scopes, known)[1]

    def confirm(known: Assignment) -> Witness | None:
        evidence, when = evidence_of(space, known)
        for outcome in alone.decide(evidence, now=when).outcomes:
            if outcome.status is RuleStatus.MATCHED:
                return _witness([rule], (evidence, when), outcome)
        return None

    return Question(undecided=undecided, open_=lambda known: bounds.open_match(rule, known), confirm=confirm)


class _Goals:
    """The question of `no_weaker`, one old rule or score at a time: does it reach an effect that the new bundle does
    not?"""

    def __init__(self, old: Bundle, new: Bundle, space: Space) -> None:
        self._old, self._new, self._space = old, new, space
        self._old_rules, self._new_rules = phase_rules(old, space.phase), phase_rules(new, space.phase)
        self._old_scores = [one for one in old.scorings if space.phase in one.thresholds]
        self._new_scores = [one for one in new.scorings if space.phase in one.thresholds]
        self._old_bounds, self._new_bounds = Bounds(old, space), Bounds(new, space)
        kept = old.min_versions == new.min_versions
        self._same = {_form(rule) for rule in self._new_rules} if kept else set()

    def changed(self) -> Iterator[CompiledRule | CompiledScoring]:
        """The old rules that are not in the new bundle word for word, and the scores unless nothing about them or
        the rules that they count has changed."""
        rules = [rule for rule in self._old_rules if _form(rule) not in self._same]
        yield from rules
        theirs = {_form(one) for one in self._new_scores}
        yield from (one for one in self._old_scores if rules or _form(one) not in theirs)

    def weaker_than(self, goal: CompiledRule | CompiledScoring) -> Question[Witness]:
        """Whether the goal reaches an effect that the new bundle stays below."""

        def undecided(known: Assignment) -> bool:
            most = self._old_effects(goal, known)[1]
            if any(self._new_bounds.effects(one, known)[0].rank >= most.rank for one in self._new_rules):
                return False
            least = strictest(*(self._new_score(one, known)[0] for one in self._new_scores))
            return most.rank > least.rank

        def confirm(known: Assignment) -> Witness | None:
            for user in self._users(known):
                evidence, when = evidence_of(self._space, known, user=user)
                before = self._old.decide(evidence, now=when)
                own = next((one for one in before.outcomes if one.rule == goal.id), None)
                if own is not None and before.effect.rank > self._new.decide(evidence, now=when).effect.rank:
                    asked = [goal] if isinstance(goal, CompiledRule) else self._old_rules
                    return _witness(asked, (evidence, when), own)
            return None

        return Question(undecided=undecided, open_=lambda known: self._open(goal, known), confirm=confirm)

    def _open(self, goal: CompiledRule | CompiledScoring, known: Assignment) -> Iterator[Variable]:
        """What may still change the effect of the goal, then what may let the new bundle reach it."""
        if isinstance(goal, CompiledRule):
            yield from self._old_bounds.open(goal, known)
        else:
            yield from self._old_bounds.open_score(goal, self._old_rules, known)
        wanted = self._old_effects(goal, known)[1].rank
        for rule in self._new_rules:
            if self._new_bounds.effects(rule, known)[1].rank >= wanted:
                yield from self._new_bounds.open(rule, known)
        for score in self._new_scores:
            if self._new_score(score, known)[1].rank >= wanted:
                yield from self._new_bounds.open_score(score, self._new_rules, known)

    def _old_effects(self, goal: CompiledRule | CompiledScoring, known: Assignment) -> tuple[Effect, Effect]:
        if isinstance(goal, CompiledRule):
            return self._old_bounds.effects(goal, known)
        return self._old_bounds.score(goal, self._old_rules, known)

    def _new_score(self, scoring: CompiledScoring, known: Assignment) -> tuple[Effect, Effect]:
        return self._new_bounds.score(scoring, self._new_rules, known)

    def _users(self, known: Assignment) -> Iterator[str]:
        yield ""
        if any(variable[0] == "bucket" for variable in known):
            yield from (f"user-{number}" for number in range(_USERS))


def _witness(rules: Iterable[CompiledRule], seen: tuple[Evidence, dt.datetime], outcome: RuleOutcome) -> Witness:
    evidence, now = seen
    down = {detector for detector, run in evidence.runs.items() if run.status is not SignalStatus.OK}
    failed = {atom.detector: atom.name for rule in rules for atom in atoms(rule.condition) if atom.detector in down}
    return Witness(
        rule=outcome.rule,
        evidence=evidence,
        now=now,
        status=outcome.status,
        effect=outcome.effect,
        failed=tuple(sorted(failed.values())),
    )


def _form(one: CompiledRule | CompiledScoring) -> str:
    if isinstance(one, CompiledScoring):
        return json.dumps(as_json(one), sort_keys=True)
    return json.dumps([canonical_rule(one), as_json(one.exceptions)], sort_keys=True)
