"""What a candidate changes, in words: compared in compiled form, so that layout, order and comments are no change."""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from gateway.domain.vocabulary import RuleMode
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledRule, as_json
from gateway.policy.condition import atoms, canonical


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
    "redact": "what is redacted",
    "escalation": "queue, time or approvals",
    "cite": "the duty to cite",
    "disclaimer": "the disclaimer",
    "notify": "who is told",
    "whole": "the release of answers",
    "client_message": "the text for clients",
    "reviewer_message": "the text for reviewers",
    "severity": "the severity",
}


def difference(old: Bundle, new: Bundle) -> tuple[Change, ...]:
    """All changes from `old` to `new`, sorted; empty exactly if nothing that decides or is read has changed."""
    before, after = ({rule.id: rule for rule in one.rules} for one in (old, new))
    found: list[Change] = []
    for name in sorted(before.keys() | after.keys()):
        what = f"rule {name}"
        if name not in after:
            found.append(Change(what, Direction.LOOSER, f"is gone (it was `{before[name].effect.value}`)"))
        elif name not in before:
            found.append(Change(what, Direction.TIGHTER, f"is new: {after[name].effect.value}, {after[name].title}"))
        else:
            found += (Change(what, way, text) for way, text in _rule(before[name], after[name]))
    found += _exceptions(old, new)
    for family in ("list", "pattern", "topic", "scoring"):
        found += _definitions(family, getattr(old, f"{family}s"), getattr(new, f"{family}s"))
    if old.min_versions != new.min_versions:
        found.append(Change("versions", Direction.CHANGED, "least versions of detectors differ"))
    if not found and old.digest != new.digest:
        found.append(Change("bundle", Direction.CHANGED, "time limits of detectors or levels of apps differ"))
    return tuple(sorted(found))


def _rule(old: CompiledRule, new: CompiledRule) -> Iterator[tuple[Direction, str]]:
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
        yield Direction.CHANGED, f"condition: {_condition(old, new)}"
    for name, text in (("phases", "phases"), ("provenances", "provenance")):
        one, other = getattr(old, name), getattr(new, name)
        if one != other:
            unbound = name == "provenances"
            wider = (unbound and not other) or (bool(one or not unbound) and other > one)
            narrower = (unbound and not one) or (bool(other or not unbound) and other < one)
            yield _way(int(wider) - int(narrower)), f"{text} {_names(one)} become {_names(other)}"
    if old.scopes != new.scopes:
        step = int(new.scopes > old.scopes) - int(new.scopes < old.scopes)
        yield _way(step), f"applies to {_shown(new.scopes)}, was {_shown(old.scopes)}"
    for name, text in _TEXTS.items():
        if getattr(old, name) != getattr(new, name):
            yield Direction.CHANGED, f"{text} changed"


def _condition(old: CompiledRule, new: CompiledRule) -> str:
    before, after = ({atom.text for atom in atoms(one.condition)} for one in (old, new))
    parts = [f"without {text}" for text in sorted(before - after)] + [f"with {text}" for text in sorted(after - before)]
    return ", ".join(parts) or f"{_shown(canonical(old.condition))} becomes {_shown(canonical(new.condition))}"


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


def _definitions(family: str, old: Any, new: Any) -> Iterator[Change]:
    before, after = ({one.id: one for one in definitions} for definitions in (old, new))
    for name in before.keys() | after.keys():
        what = f"{family} {name}"
        if name not in after:
            yield Change(what, Direction.CHANGED, "is gone")
        elif name not in before:
            yield Change(what, Direction.CHANGED, "is new")
        elif before[name] != after[name]:
            yield Change(what, Direction.CHANGED, _content(before[name], after[name]))


def _content(old: Any, new: Any) -> str:
    changed = [name for name in old.__struct_fields__ if getattr(old, name) != getattr(new, name)]
    return f"{', '.join(changed)} changed"


def _way(step: int) -> Direction:
    return Direction.TIGHTER if step > 0 else Direction.LOOSER if step < 0 else Direction.CHANGED


def _mode(rule: CompiledRule) -> str:
    return rule.mode.value if rule.share is None else f"canary {rule.share.percent} by {rule.share.by}"


def _names(names: frozenset[Any]) -> str:
    return f"[{', '.join(sorted(names)) or 'all'}]"


def _shown(value: Any) -> str:
    return json.dumps(as_json(value), ensure_ascii=False)
