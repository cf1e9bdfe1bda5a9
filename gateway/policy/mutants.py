"""Mutation score of a bundle: small wrong changes to each rule, and whether a test of the rule fails for each.

Method: R. A. DeMillo, R. J. Lipton, F. G. Sayward, "Hints on test data selection", Computer 11(4), 1978. A mutant
that means the same as its rule (equal normal form) is not one. Deterministic: order follows rule ids and atoms.
"""

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from gateway.domain.vocabulary import Effect, RedactOperator, SignalType
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledException, CompiledRule, RedactPlan, Trial
from gateway.policy.condition import Atom, Condition, Group, Junction, Operator, canonical, normal
from gateway.policy.rules import with_condition
from gateway.policy.trials import trial_passes

SCORE_STEP: Final = 0.05
"""How far the threshold of a score is moved: nearer near-misses than this say nothing about a detector."""

_LONG_AGO: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FOREVER: Final = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
_FLIPS: Final = {
    Operator.GT: (Operator.GTE, Operator.LTE),
    Operator.GTE: (Operator.GT, Operator.LT),
    Operator.LT: (Operator.LTE, Operator.GTE),
    Operator.LTE: (Operator.LT, Operator.GT),
    Operator.EQ: (Operator.GTE, Operator.LTE),
    Operator.ANY_OF: (Operator.NONE_OF, Operator.ALL_OF),
    Operator.ALL_OF: (Operator.ANY_OF,),
    Operator.NONE_OF: (Operator.ANY_OF,),
    Operator.ONE_OF: (Operator.NOT_ONE_OF,),
    Operator.NOT_ONE_OF: (Operator.ONE_OF,),
}
_JUNCTIONS: Final = {
    Junction.ALL: (Junction.ANY,),
    Junction.ANY: (Junction.ALL, Junction.NONE),
    Junction.NONE: (Junction.ANY,),
}


class Mutant(Struct, frozen=True, eq=False):
    """A changed rule; `change` says how, in words."""

    rule: CompiledRule
    change: str


class Survivor(Struct, frozen=True):
    """A mutant that no test killed, with the place of its rule."""

    rule: str
    change: str
    file: str
    line: int


class MutationResult(Struct, frozen=True):
    """`tried` of `possible` mutants ran; `survivors` are those of them that no test killed."""

    tried: int
    possible: int
    survivors: tuple[Survivor, ...]

    @property
    def score(self) -> float:
        """The share of mutants that a test killed; 1 where there is none."""
        return 1.0 - len(self.survivors) / self.tried if self.tried else 1.0


def mutate(bundle: Bundle, *, now: dt.datetime, budget: int) -> MutationResult:
    """Run the tests of each rule against its mutants: at most `budget` mutants, spread evenly. Pure, CPU-bound."""
    places = {
        rule.id: (source.file, source.document.node(rule, "id").line)
        for source in bundle.sources
        for rule in source.set.rules
    }
    trials: dict[str, list[Trial]] = {}
    for trial in bundle.trials:
        trials.setdefault(trial.rule, []).append(trial)
    every = [mutant for rule in bundle.rules for mutant in mutants(rule, now=now)]
    step = max(1, math.ceil(len(every) / max(budget, 1)))
    chosen = every[::step]
    survivors = [
        Survivor(mutant.rule.id, mutant.change, *places.get(mutant.rule.id, ("", 0)))
        for mutant in chosen
        if not _killed(bundle, mutant.rule, trials.get(mutant.rule.id, ()), now)
    ]
    return MutationResult(len(chosen), len(every), tuple(survivors))


def _killed(bundle: Bundle, rule: CompiledRule, trials: Sequence[Trial], now: dt.datetime) -> bool:
    alone = Bundle(rules=[rule], signals=bundle.signals)
    return any(not trial_passes(alone, trial, phase, now=now) for trial in trials for phase in trial.phases)


def mutants(rule: CompiledRule, *, now: dt.datetime) -> Iterator[Mutant]:
    """The mutants of one rule."""
    seen = {str(canonical(rule.condition))}
    for changed, change in _conditions(rule.condition):
        reduced = normal(changed)
        key = str(canonical(reduced))
        if key not in seen:
            seen.add(key)
            yield Mutant(with_condition(rule, reduced), change)
    yield from _effects(rule)
    yield from _provenances(rule)
    yield from _exceptions(rule, now)


def _conditions(condition: Condition) -> Iterator[tuple[Condition, str]]:
    if isinstance(condition, Atom):
        yield Group(Junction.ALL, ()), f"drop `{condition.text}`"
        yield from ((one, f"`{condition.text}` becomes `{one.text}`") for one in _atoms(condition))
        return
    for junction in _JUNCTIONS[condition.junction]:
        if condition.members:
            word = f"`{condition.junction.value}` over {_named(condition)} becomes `{junction.value}`"
            yield Group(junction, condition.members), word
    for index, member in enumerate(condition.members):
        rest = condition.members[:index] + condition.members[index + 1 :]
        if rest:
            yield Group(condition.junction, rest), f"drop {_named(member)}"
        else:
            yield Group(Junction.ALL, ()), f"drop {_named(member)}"
        for changed, change in _conditions(member):
            # An atom dropped from its group is the mutant above; what is left is a change inside the member.
            if not (isinstance(member, Atom) and isinstance(changed, Group)):
                around = (*condition.members[:index], changed, *condition.members[index + 1 :])
                yield Group(condition.junction, around), change


def _named(condition: Condition) -> str:
    if isinstance(condition, Atom):
        return f"`{condition.text}`"
    return f"{condition.junction.value}({', '.join(map(_named, condition.members))})"


def _atoms(atom: Atom) -> Iterator[Atom]:
    if isinstance(atom.operand, bool):
        yield Atom(atom.name, atom.type, atom.operator, not atom.operand)
        return
    for operator in _FLIPS.get(atom.operator, ()):
        single = isinstance(atom.operand, frozenset) and len(atom.operand) == 1
        if not (single and {operator, atom.operator} == {Operator.ANY_OF, Operator.ALL_OF}):
            yield Atom(atom.name, atom.type, operator, atom.operand)
    if isinstance(atom.operand, (int, float)):
        step = SCORE_STEP if atom.type is SignalType.SCORE else 1
        for moved in (atom.operand - step, atom.operand + step):
            if atom.type is not SignalType.SCORE and moved >= 0:
                yield Atom(atom.name, atom.type, atom.operator, int(moved))
            elif atom.type is SignalType.SCORE and 0 <= moved <= 1:
                yield Atom(atom.name, atom.type, atom.operator, round(moved, 6))


def _effects(rule: CompiledRule) -> Iterator[Mutant]:
    order = list(Effect)
    for step in (-1, 1):
        index = rule.effect.rank + step
        if 0 <= index < len(order):
            effect = order[index]
            plan = RedactPlan(kinds=frozenset(), of=frozenset(), operator=RedactOperator.MASK)
            redact = (rule.redact or plan) if effect is Effect.REDACT else None
            changed = msgspec.structs.replace(rule, effect=effect, redact=redact)
            yield Mutant(changed, f"effect `{rule.effect.value}` becomes `{effect.value}`")
    if not rule.detectors:
        return
    errors: list[Effect] = [effect for effect in order if effect is not Effect.REDACT]
    for step in (-1, 1):
        index = errors.index(rule.on_error) + step
        if 0 <= index < len(errors):
            changed = msgspec.structs.replace(rule, on_error=errors[index])
            yield Mutant(changed, f"on_error `{rule.on_error.value}` becomes `{errors[index].value}`")


def _provenances(rule: CompiledRule) -> Iterator[Mutant]:
    if not rule.provenances or not rule.detectors:
        return
    yield Mutant(msgspec.structs.replace(rule, provenances=frozenset()), "drop `provenance`")
    if len(rule.provenances) > 1:
        for one in sorted(rule.provenances):
            rest = rule.provenances - {one}
            yield Mutant(msgspec.structs.replace(rule, provenances=rest), f"drop provenance `{one.value}`")


def _exceptions(rule: CompiledRule, now: dt.datetime) -> Iterator[Mutant]:
    """An exception in force ends, one that has ended goes on, and each of its matches is dropped."""
    for exception in rule.exceptions:
        ended = exception.until <= now
        until = _FOREVER if ended else _LONG_AGO
        change = "drop the expiry of" if ended else "end"
        yield _excepted(rule, exception, msgspec.structs.replace(exception, until=until), f"{change} {exception.id}")
        if not ended:
            for match in exception.matches:
                fewer = tuple(one for one in exception.matches if one is not match)
                changed = msgspec.structs.replace(exception, matches=fewer)
                yield _excepted(rule, exception, changed, f"drop `{match.field}` from {exception.id}")


def _excepted(rule: CompiledRule, old: CompiledException, new: CompiledException, change: str) -> Mutant:
    return Mutant(
        msgspec.structs.replace(rule, exceptions=tuple(new if one is old else one for one in rule.exceptions)), change
    )
