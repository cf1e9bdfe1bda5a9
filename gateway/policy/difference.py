"""What a candidate changes, in words: compared in compiled form, so that layout, order and comments are no change."""

import datetime as dt
import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.domain.vocabulary import RuleMode
from gateway.policy.bundle import Bundle
from gateway.policy.changed import changed_condition, changed_members
from gateway.policy.compiled import CompiledRule, Scope, as_json
from gateway.policy.prove import Answer, no_weaker
from gateway.policy.rules import with_condition


class Direction(StrEnum):
    TIGHTER = "tighter"
    LOOSER = "looser"
    CHANGED = "changed"  # neither is plain: `prove no-weaker` may tell


class Change(Struct, frozen=True, order=True):
    """One difference: `what` is `rule R-1`, `exception E-1`, `list terms`; `text` says what became of it."""

    what: str
    direction: Direction
    text: str


_MODES: Final = {RuleMode.SHADOW: 0, RuleMode.CANARY: 1, RuleMode.ENFORCE: 2}
_TEXTS: Final = {
    "cite": "the duty to cite",
    "disclaimer": "the disclaimer",
    "whole": "the release of answers",
    "client_message": "the text for clients",
    "reviewer_message": "the text for reviewers",
}
_PROOF: Final = 500  # assignments that the direction of one condition may cost
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)  # exceptions are left out of that proof, so no clock counts


def difference(old: Bundle, new: Bundle, *, contents: bool = False) -> tuple[Change, ...]:
    """All changes from `old` to `new`, sorted; empty exactly if nothing that decides or is read has changed.

    `contents`: with what lists, topics and patterns are made of, which may be too much for a log: names of people
    and projects stand in them.
    """
    before, after = ({rule.id: rule for rule in one.rules} for one in (old, new))
    found: list[Change] = []
    for name in sorted(before.keys() | after.keys()):
        what = f"rule {name}"
        if name not in after:
            found.append(Change(what, Direction.LOOSER, f"is gone (it was `{before[name].effect.value}`)"))
        elif name not in before:
            found.append(Change(what, Direction.TIGHTER, f"is new: {after[name].effect.value}, {after[name].title}"))
        else:
            found += (Change(what, way, text) for way, text in _rule(before[name], after[name], _EPOCH))
    found += _exceptions(old, new)
    for family in ("list", "pattern", "topic", "scoring"):
        shown = contents or family == "scoring"
        found += _definitions(family, getattr(old, f"{family}s"), getattr(new, f"{family}s"), contents=shown)
    for name in old.min_versions.keys() | new.min_versions.keys():
        one, other = old.min_versions.get(name, "any"), new.min_versions.get(name, "any")
        if one != other:
            found.append(Change(f"detector {name}", Direction.CHANGED, f"least version {one} becomes {other}"))
    if not found and old.digest != new.digest:
        found.append(Change("bundle", Direction.CHANGED, "time limits of detectors or levels of apps differ"))
    return tuple(sorted(found))


def _rule(old: CompiledRule, new: CompiledRule, now: dt.datetime) -> Iterator[tuple[Direction, str]]:
    for name, text in (("effect", "effect"), ("on_error", "effect on error")):
        one, other = getattr(old, name), getattr(new, name)
        if one is not other:
            yield _way(other.rank - one.rank), f"{text} `{one.value}` becomes `{other.value}`"
    if old.level != new.level:
        yield _way(old.level - new.level), f"level {old.level} becomes {new.level}"
    if old.mode is not new.mode or old.share != new.share:
        step = _MODES[new.mode] - _MODES[old.mode]
        if old.share is not None and new.share is not None and old.share.by == new.share.by:
            step = new.share.percent - old.share.percent
        yield _way(step), f"mode `{_mode(old)}` becomes `{_mode(new)}`"
    if old.condition != new.condition:
        yield _condition_way(old, new, now), f"condition: {'; '.join(changed_condition(old.condition, new.condition))}"
    for name, text in (("phases", "phases"), ("provenances", "provenance")):
        one, other = getattr(old, name), getattr(new, name)
        if one != other:
            unbound = name == "provenances"
            wider = (unbound and not other) or (bool(one or not unbound) and other > one)
            narrower = (unbound and not one) or (bool(other or not unbound) and other < one)
            yield _way(int(wider) - int(narrower)), f"{text} {_names(one)} become {_names(other)}"
    if old.scopes != new.scopes:
        step = int(new.scopes > old.scopes) - int(new.scopes < old.scopes)
        yield _way(step), f"applies to {_scopes(new.scopes)}, was {_scopes(old.scopes)}"
    if old.severity is not new.severity:
        step = new.severity.points - old.severity.points
        yield _way(step), f"severity {old.severity.value} becomes {new.severity.value}"
    yield from ((Direction.CHANGED, text) for text in _duties(old, new))


def _condition_way(old: CompiledRule, new: CompiledRule, now: dt.datetime) -> Direction:
    """Whether the new condition alone makes the rule stricter or looser, as far as a short proof can tell."""
    before = Bundle(rules=[msgspec.structs.replace(old, exceptions=(), scopes=frozenset({Scope()}))])
    after = Bundle(rules=[with_condition(before.rules[0], new.condition)])
    if old.mode is RuleMode.SHADOW:
        return Direction.CHANGED
    tighter = no_weaker(before, after, now=now, budget=_PROOF).answer is Answer.YES
    looser = no_weaker(after, before, now=now, budget=_PROOF).answer is Answer.YES
    return _way(int(tighter) - int(looser))


def _duties(old: CompiledRule, new: CompiledRule) -> Iterator[str]:
    one, other = old.escalation, new.escalation
    for name, text in (("queue", "queue"), ("approvals", "approvals"), ("sla_s", "seconds to decide")):
        if getattr(one, name) != getattr(other, name):
            yield f"{text} {getattr(one, name)} becomes {getattr(other, name)}"
    if old.redact is None or new.redact is None:
        if old.redact != new.redact:
            yield "nothing is redacted any more" if new.redact is None else f"redacts {_names(new.redact.kinds)}"
    else:
        if old.redact.operator is not new.redact.operator:
            yield f"redacts with `{new.redact.operator.value}`, was `{old.redact.operator.value}`"
        for part, text in (("kinds", "redacted kinds"), ("of", "signals whose kinds are redacted")):
            if getattr(old.redact, part) != getattr(new.redact, part):
                yield f"{text}: {changed_members(getattr(old.redact, part), getattr(new.redact, part))}"
    if old.notify != new.notify:
        yield f"who is told: {changed_members(frozenset(old.notify), frozenset(new.notify))}"
    for name, text in _TEXTS.items():
        if getattr(old, name) != getattr(new, name):
            yield f"{text} changed"


def _exceptions(old: Bundle, new: Bundle) -> Iterator[Change]:
    before, after = ({one.id: one for one in bundle.exceptions} for bundle in (old, new))
    for name in before.keys() | after.keys():
        what = f"exception {name}"
        if name not in after:
            yield Change(what, Direction.TIGHTER, f"from {before[name].rule} is gone")
        elif name not in before:
            yield Change(what, Direction.LOOSER, f"from {after[name].rule} is new, before {after[name].until:%Y-%m-%d}")
        elif before[name] != after[name]:
            one, other = before[name], after[name]
            if (one.rule, one.matches, one.scopes) == (other.rule, other.matches, other.scopes):
                way = Direction.LOOSER if other.until > one.until else Direction.TIGHTER
                yield Change(what, way, f"ends before {other.until:%Y-%m-%d}, was {one.until:%Y-%m-%d}")
            else:
                yield Change(what, Direction.CHANGED, f"lifts {other.rule} for {_shown(other.matches)}")


def _definitions(family: str, old: Any, new: Any, *, contents: bool) -> Iterator[Change]:
    before, after = ({one.id: one for one in definitions} for definitions in (old, new))
    for name in before.keys() | after.keys():
        what = f"{family} {name}"
        if name not in after:
            yield Change(what, Direction.CHANGED, "is gone")
        elif name not in before:
            yield Change(what, Direction.CHANGED, "is new")
        elif before[name] != after[name]:
            one, other = before[name], after[name]
            text = "; ".join(_content(one, other)) if contents else f"{', '.join(_differing(one, other))} changed"
            yield Change(what, Direction.CHANGED, text)


def _differing(old: Any, new: Any) -> list[str]:
    return [name for name in old.__struct_fields__ if getattr(old, name) != getattr(new, name)]


def _content(old: Any, new: Any) -> Iterator[str]:
    for name in _differing(old, new):
        one, other = getattr(old, name), getattr(new, name)
        if isinstance(one, tuple) and isinstance(other, tuple):
            yield f"{name}: {changed_members(frozenset(one), frozenset(other))}"
        elif isinstance(one, frozenset):
            yield f"{name} becomes {_scopes(other)}, was {_scopes(one)}"
        else:
            yield f"{name} {_shown(one)} becomes {_shown(other)}"


def _way(step: int) -> Direction:
    return Direction.TIGHTER if step > 0 else Direction.LOOSER if step < 0 else Direction.CHANGED


def _mode(rule: CompiledRule) -> str:
    return rule.mode.value if rule.share is None else f"canary {rule.share.percent} by {rule.share.by}"


def _names(names: frozenset[Any]) -> str:
    return f"[{', '.join(sorted(names)) or 'all'}]"


def _scopes(scopes: frozenset[Scope]) -> str:
    """Where something applies, in words."""
    return " or ".join(_scope(scope) for scope in sorted(scopes))


def _scope(scope: Scope) -> str:
    parts = [
        f"{name} {', '.join(names)}" for name in scope.__struct_fields__ if "*" not in (names := getattr(scope, name))
    ]
    return " with ".join(parts) or "everywhere"


def _shown(value: Any) -> str:
    return json.dumps(as_json(value), ensure_ascii=False)
