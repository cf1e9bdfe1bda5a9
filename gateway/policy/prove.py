"""Proofs about policies: `yes`, `no` with a counterexample, or `unknown`.

A search over the finite quotient of `gateway.policy.space` in the manner of DPLL (M. Davis, G. Logemann, D. Loveland,
"A machine program for theorem-proving", 1962): assign a variable, bound both verdicts, cut the branch when the bounds
already answer. Every counterexample is confirmed by the evaluator that serves requests before it is reported; a
search that runs out of its budget, or in a space that is not exact, claims nothing. Effects are compared; texts and
obligations are the business of the difference. Fields of a phase are taken to be there, as the evaluator asks.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from gateway.domain.signal import DetectorRun
from gateway.domain.verdict import Evidence, FieldValue
from gateway.domain.vocabulary import Effect, Phase, Provenance, RuleStatus, SignalStatus, strictest
from gateway.policy.bounds import Bounds, phase_rules
from gateway.policy.bundle import Bundle, canonical_rule
from gateway.policy.compiled import CompiledRule, as_json
from gateway.policy.condition import TRUE, atoms
from gateway.policy.fields import FIELDS
from gateway.policy.space import DOWN, UP, Space, Variable
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
    doubts: list[str] = []
    for phase in Phase:
        space = Space([old, new], phase, now)
        goals = _Goals(old, new, space, now)
        for rule in goals.rules():
            search = _Search(space, budget - tried)
            found = search.run(*goals.weaker_than(rule))
            tried += search.tried
            if isinstance(found, Witness):
                return Proof(answer=Answer.NO, witness=found, tried=tried)
            if search.exhausted:
                return Proof(answer=Answer.UNKNOWN, reason=f"gave up after {tried} assignments", tried=tried)
            if search.unconfirmed or not space.exact:
                doubts.append(f"{rule.id} in phase {phase.value}: the cases cannot all be told apart")
        if not _scores_kept(old, new, phase):
            doubts.append(f"scores in phase {phase.value} were changed: compare them with `diff`")
    if doubts:
        return Proof(answer=Answer.UNKNOWN, reason=doubts[0], tried=tried)
    return Proof(answer=Answer.YES, tried=tried)


def can_match(bundle: Bundle, rule_id: str, *, now: dt.datetime, budget: int = BUDGET) -> Proof:
    """Whether some evidence makes a rule match. Pure, CPU-bound. `rule_id` MUST be a rule of the bundle."""
    rule = next(one for one in bundle.rules if one.id == rule_id)
    alone = Bundle(rules=[rule], signals=bundle.signals)
    tried, inexact = 0, False
    for phase in sorted(rule.phases):
        space = Space([alone], phase, now)
        bounds = Bounds(alone, space)

        def undecided(known: Mapping[Variable, Any], bounds: Bounds = bounds) -> bool:
            return bounds.truth(rule, known)[1] == TRUE and bounds.applies(rule.scopes, known)[1]

        def confirm(known: Mapping[Variable, Any], space: Space = space) -> Witness | None:
            evidence, when = evidence_of(space, known)
            for outcome in alone.decide(evidence, now=when).outcomes:
                if outcome.status is RuleStatus.MATCHED:
                    return _witness(rule, evidence, when, outcome.status, outcome.effect)
            return None

        search = _Search(space, budget - tried)
        found = search.run(tuple(bounds.variables(rule)), undecided, confirm, lambda _: ())
        tried += search.tried
        if found is not None:
            return Proof(answer=Answer.YES, witness=found, tried=tried)
        if search.exhausted:
            return Proof(answer=Answer.UNKNOWN, reason=f"gave up after {tried} assignments", tried=tried)
        inexact = inexact or not space.exact
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


class _Goals:
    """The question of `no_weaker`, one old rule at a time: does the rule reach an effect that the new ones do not?"""

    def __init__(self, old: Bundle, new: Bundle, space: Space, now: dt.datetime) -> None:
        self._old, self._new, self._space, self._now = old, new, space, now
        self._new_rules = phase_rules(new, space.phase)
        self._old_bounds, self._new_bounds = Bounds(old, space), Bounds(new, space)
        self._same = {_form(rule) for rule in self._new_rules} if _versions_kept(old, new) else set()

    def rules(self) -> Iterator[CompiledRule]:
        """The old rules that are not in the new bundle word for word."""
        for rule in phase_rules(self._old, self._space.phase):
            if _form(rule) not in self._same:
                yield rule

    def weaker_than(
        self, rule: CompiledRule
    ) -> tuple[
        tuple[Variable, ...],
        Callable[[Mapping[Variable, Any]], bool],
        Callable[[Mapping[Variable, Any]], Witness | None],
        Callable[[Mapping[Variable, Any]], Iterable[Variable]],
    ]:
        old_bounds, new_bounds = self._old_bounds, self._new_bounds

        def undecided(known: Mapping[Variable, Any]) -> bool:
            most = old_bounds.effects(rule, known)[1]
            least = strictest(*(new_bounds.effects(one, known)[0] for one in self._new_rules))
            return most.rank > least.rank

        def confirm(known: Mapping[Variable, Any]) -> Witness | None:
            for user in self._users(known):
                evidence, when = evidence_of(self._space, known, user=user)
                before = self._old.decide(evidence, now=when)
                if before.effect.rank > self._new.decide(evidence, now=when).effect.rank:
                    status = next((one.status for one in before.outcomes if one.rule == rule.id), RuleStatus.MATCHED)
                    return _witness(rule, evidence, when, status, before.effect)
            return None

        def more(known: Mapping[Variable, Any]) -> Iterable[Variable]:
            """Variables of the new rules that may still reach the effect."""
            goal = old_bounds.effects(rule, known)[1].rank
            for one in self._new_rules:
                least, most = new_bounds.effects(one, known)
                if least is not most and most.rank >= goal:
                    yield from new_bounds.variables(one)

        return tuple(old_bounds.variables(rule)), undecided, confirm, more

    def _users(self, known: Mapping[Variable, Any]) -> Iterator[str]:
        yield ""
        if any(variable[0] == "bucket" for variable in known):
            yield from (f"user-{number}" for number in range(_USERS))


class _Search:
    def __init__(self, space: Space, budget: int) -> None:
        self._space = space
        self._budget = budget
        self.tried = 0
        self.exhausted = False
        self.unconfirmed = False

    def run(
        self,
        first: tuple[Variable, ...],
        undecided: Callable[[Mapping[Variable, Any]], bool],
        confirm: Callable[[Mapping[Variable, Any]], Witness | None],
        more: Callable[[Mapping[Variable, Any]], Iterable[Variable]],
    ) -> Witness | None:
        """Depth first: the variables of the rule in question, then those that `more` asks for."""
        stack: list[dict[Variable, Any]] = [{}]
        while stack:
            known = stack.pop()
            self.tried += 1
            if self.tried > self._budget:
                self.exhausted = True
                return None
            if not undecided(known):
                continue
            variable = next((one for one in (*first, *more(known)) if one not in known), None)
            if variable is None:
                witness = confirm(known)
                if witness is not None:
                    return witness
                self.unconfirmed = True
                continue
            stack += ({**known, variable: value} for value in reversed(self._space.domains[variable]))
        return None


def evidence_of(space: Space, known: Mapping[Variable, Any], *, user: str = "") -> tuple[Evidence, dt.datetime]:
    """The evidence and moment that an assignment stands for; what is not assigned is harmless."""
    fields: dict[str, FieldValue] = {
        name: EMPTY_FIELDS[field.type] for name, field in FIELDS.items() if space.phase in field.phases
    }
    values: dict[Provenance, dict[str, Any]] = {}
    runs: dict[str, DetectorRun] = {}
    for variable, default in ((one, domain[0]) for one, domain in space.domains.items()):
        value = known.get(variable, default)
        match variable:
            case ("run", detector):
                status = SignalStatus.ERROR if value == DOWN else SignalStatus.OK
                version = UP if value == DOWN else value
                runs[detector] = DetectorRun(
                    detector=detector, version=version, status=status, reason="test" if value == DOWN else ""
                )
            case ("value", source, name) if variable in known:
                values.setdefault(Provenance(source), {})[name] = value
            case ("word", source, name, word) if value:
                mine = values.setdefault(Provenance(source), {})
                mine[name] = mine.get(name, frozenset()) | {word}
            case ("field", name):
                fields[name] = value
            case ("in", name, word) if value:
                present = fields[name]
                assert isinstance(present, frozenset)
                fields[name] = present | {word}
            case _:
                pass
    if user:
        fields["principal.user"] = user
    now = known.get(("now",), space.domains["now",][0])
    return Evidence(phase=space.phase, fields=fields, values=values, runs=runs), now


def _witness(rule: CompiledRule, evidence: Evidence, now: dt.datetime, status: RuleStatus, effect: Effect) -> Witness:
    down = {name for name, run in evidence.runs.items() if run.status is not SignalStatus.OK}
    failed = {atom.detector: atom.name for atom in atoms(rule.condition) if atom.detector in down}
    return Witness(
        rule=rule.id, evidence=evidence, now=now, status=status, effect=effect, failed=tuple(sorted(failed.values()))
    )


def _form(rule: CompiledRule) -> str:
    return json.dumps([canonical_rule(rule), as_json(rule.exceptions)], sort_keys=True)


def _versions_kept(old: Bundle, new: Bundle) -> bool:
    return old.min_versions == new.min_versions


def _scores_kept(old: Bundle, new: Bundle, phase: Phase) -> bool:
    """Whether the scores of a phase are those of the new bundle, and so are the rules whose points they add."""
    mine = [one for one in old.scorings if phase in one.thresholds]
    if not mine:
        return True
    theirs = {json.dumps(as_json(one), sort_keys=True) for one in new.scorings}
    if any(json.dumps(as_json(one), sort_keys=True) not in theirs for one in mine):
        return False
    known = {_form(rule) for rule in phase_rules(new, phase)}
    return all(_form(rule) in known for rule in phase_rules(old, phase))
