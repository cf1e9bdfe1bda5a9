"""Rules and exceptions that do nothing: proved, never guessed, so that a finding is no false alarm.

A rule is idle if its condition can never hold, or if others in the same phase always reach at least what it does. An
exception is idle if it never lifts anything, and suspect if it lifts everything. What a search cannot settle within
its budget is not reported.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Final, assert_never

from msgspec import Struct, structs

from gateway.domain.vocabulary import Effect, Phase, RuleMode
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledException, CompiledRule, Scope
from gateway.policy.prove import Answer, can_lift, can_match, lifts_all, no_weaker

BUDGET: Final = 400
"""Assignments a question may try: a question of the packs needs a tenth of it."""

_RIVALS: Final = 24
"""How many rules are asked whether they make another one idle: those that share most with it."""


class Idle(Struct, frozen=True):
    """A rule or exception by its id, with the code and the words of what is wrong with it."""

    id: str
    code: str
    message: str


def idle(bundle: Bundle, *, now: dt.datetime) -> Iterator[Idle]:
    """What is idle in a bundle. Pure, CPU-bound: milliseconds a rule."""
    dead = set()
    for rule in bundle.rules:
        if can_match(bundle, rule.id, now=now, budget=BUDGET).answer is Answer.NO:
            dead.add(rule.id)
            message = f"rule `{rule.id}` can never match: its conditions exclude each other, correct or remove it"
            yield Idle(rule.id, "POL012", message)
    for rule in bundle.rules:
        if rule.id in dead:
            continue
        rivals = _rivals(bundle, rule)
        if rivals and _covered(bundle, rule, rivals, now):
            alone = next((one.id for one in rivals if _covered(bundle, rule, [one], now)), "")
            by = f"`{alone}` always reaches" if alone else "others together always reach"
            yield Idle(rule.id, "POL107", f"rule `{rule.id}` never decides: {by} its effect, remove or narrow it")
    for rule in bundle.rules:
        if rule.id not in dead:
            yield from _exceptions(bundle, rule, now)


def _rivals(bundle: Bundle, rule: CompiledRule) -> list[CompiledRule]:
    """The rules that can take the place of another in all that it does, not only in its effect."""
    duties = rule.cite or rule.disclaimer or rule.notify
    if rule.mode is not RuleMode.ENFORCE or rule.effect is Effect.ALLOW or duties:
        return []
    names = _names(rule)
    counted = any(scoring.thresholds.keys() & rule.phases for scoring in bundle.scorings)
    shared: list[tuple[int, str, CompiledRule]] = []
    for one in bundle.rules:
        if one is rule or not rule.phases <= one.phases or one.mode is not RuleMode.ENFORCE:
            continue
        common = names & _names(one)
        if (common or not one.leaves) and _replaces(one, rule, counted=counted):
            shared.append((-len(common), one.id, one))
    return [one for _, _, one in sorted(shared, key=lambda entry: entry[:2])[:_RIVALS]]


def _names(rule: CompiledRule) -> frozenset[str]:
    return frozenset(leaf.atom.name for leaf in rule.leaves)


def _replaces(one: CompiledRule, rule: CompiledRule, *, counted: bool) -> bool:
    if one.level > rule.level or (rule.whole and not one.whole):
        return False
    if one.effect is Effect.REFUSE and rule.effect is not Effect.REFUSE:
        # Nobody sees texts, spans, queues and points of what is refused anyway; a passage may be let in by a person.
        return Phase.PASSAGE not in rule.phases
    if counted or rule.client_message or rule.reviewer_message:
        return False
    match rule.effect:
        case Effect.FLAG:
            return one.effect in {Effect.FLAG, Effect.REDACT}  # a person may lift an escalation, and a flag stays
        case Effect.ESCALATE:
            return one.effect is Effect.ESCALATE and _terms(one) == _terms(rule)
        case Effect.REFUSE:
            return one.effect is Effect.REFUSE
        case Effect.REDACT | Effect.ALLOW:
            return False  # other spans, or the same ones with what remains when a person has lifted the rest
        case _:
            assert_never(rule.effect)


def _terms(rule: CompiledRule) -> tuple[str, int, int]:
    return rule.escalation.queue, rule.escalation.sla_s, rule.escalation.approvals


def _covered(bundle: Bundle, rule: CompiledRule, rivals: Iterable[CompiledRule], now: dt.datetime) -> bool:
    mine = Bundle(rules=[rule], signals=bundle.signals, min_versions=bundle.min_versions)
    theirs = Bundle(rules=list(rivals), signals=bundle.signals, min_versions=bundle.min_versions)
    return no_weaker(mine, theirs, now=now, budget=BUDGET).answer is Answer.YES


def _exceptions(bundle: Bundle, rule: CompiledRule, now: dt.datetime) -> Iterator[Idle]:
    current = [one for one in rule.exceptions if one.until > now]
    for one in current:
        alone = structs.replace(rule, exceptions=(one,))
        if can_lift(bundle, alone, one, now=now, budget=BUDGET) is Answer.NO:
            message = f"exception `{one.id}` never lifts `{rule.id}`: no request fits both, correct or remove it"
            yield Idle(one.id, "POL108", message)
        elif lifts_all(bundle, alone, one, now=now, budget=BUDGET) is Answer.YES:
            message = f"exception `{one.id}` lifts every match of `{rule.id}`: narrow it, or put the rule into shadow"
            yield Idle(one.id, "POL109", message)
        else:
            wider = next((other for other in current if other is not one and _covers(other, one)), None)
            if wider is not None:
                yield Idle(one.id, "POL110", f"exception `{one.id}` is covered by `{wider.id}`: remove it")


def _covers(wide: CompiledException, narrow: CompiledException) -> bool:
    """Whether everything that one exception lifts, another does; of two that are alike the first counts."""
    same = (wide.matches, wide.scopes, wide.until) == (narrow.matches, narrow.scopes, narrow.until)
    if same:
        return wide.id < narrow.id
    scopes = Scope() in wide.scopes or narrow.scopes <= wide.scopes
    return (
        wide.until >= narrow.until
        and scopes
        and all(
            any(mine.field == its.field and mine.words <= its.words for mine in narrow.matches) for its in wide.matches
        )
    )
