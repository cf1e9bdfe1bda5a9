"""Counts over events by day, tenant and application: decisions, rules, detectors, times, tokens, feedback."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from gateway.audit.entry import ENDS
from gateway.audit.search_terms import detectors_of, rules_of
from gateway.domain.event import PLAYGROUND, EventType

SEPARATOR: Final = "\x1f"  # between the parts of a name
_DAY_CHARS: Final = 10
_STEPS: Final = 8  # of the histogram within a doubling: a step is 6 to 13 % wide
_PERCENTILES: Final = (50, 95, 99)


class Measure(StrEnum):
    TYPE = "type"
    EFFECT = "effect"
    ERROR = "error"  # codes of exchanges that ended with one, and of rejected requests
    RULE = "rule"  # id, status, mode
    DETECTOR = "detector"  # name, status
    TOOK = "took"  # a step of the histogram of microseconds
    TOKENS = "tokens"  # model, `in` or `out`: a sum, not a count
    FEEDBACK = "feedback"  # rating of a caller


class Group(Struct, frozen=True, order=True):
    """Whose events are counted: a day (UTC), and a tenant and application, "" for events of the node."""

    day: str
    tenant: str
    app: str


class Tally(Struct, frozen=True):
    """What one count counts."""

    group: Group
    measure: Measure
    name: str


class RuleCount(Struct, frozen=True, order=True):
    """Events in which the rule had this status; an event counts once, however many of its sentences it was."""

    id: str
    status: str
    mode: str
    events: int


class DetectorCount(Struct, frozen=True, order=True):
    """Runs of a detector that ended so; anything but `ok` is a failure."""

    name: str
    status: str
    runs: int


class ModelTokens(Struct, frozen=True, order=True):
    """What a model was used for, by the name that clients call it."""

    model: str
    tokens_in: int
    tokens_out: int


class Latency(Struct, frozen=True, kw_only=True):
    """How long exchanges took at the gateway, in microseconds; percentiles are at most an eighth too high."""

    exchanges: int
    p50_us: int
    p95_us: int
    p99_us: int


class Counts(Struct, frozen=True, kw_only=True):
    """Everything that is counted of one group."""

    day: str
    tenant: str
    app: str
    events: dict[str, int]
    effects: dict[str, int]
    errors: dict[str, int]
    rules: tuple[RuleCount, ...]
    detectors: tuple[DetectorCount, ...]
    latency: Latency
    tokens_in: int
    tokens_out: int
    models: tuple[ModelTokens, ...]
    feedback: dict[str, int]


def tallies_of(event: dict[str, Any]) -> Iterator[tuple[Tally, int]]:
    """What an event adds to the counts; one of a trial run adds nothing."""
    if event.get(PLAYGROUND):
        return
    group = Group(str(event.get("ts"))[:_DAY_CHARS], str(event.get("tenant", "")), str(event.get("app", "")))
    kind = str(event.get("type"))
    yield Tally(group, Measure.TYPE, kind), 1
    for measure, key in ((Measure.EFFECT, "effect"), (Measure.ERROR, "error"), (Measure.ERROR, "code")):
        value = event.get(key)
        if isinstance(value, str) and value:
            yield Tally(group, measure, value), 1
    for name in {_joined(one["id"], one["status"], str(one.get("mode", ""))) for one in rules_of(event)}:
        yield Tally(group, Measure.RULE, name), 1
    for run in detectors_of(event):
        yield Tally(group, Measure.DETECTOR, _joined(run["name"], run["status"])), 1
    if kind in ENDS:
        yield from _of_end(group, event)
    rating = event.get("rating")
    if kind == EventType.FEEDBACK and isinstance(rating, str):
        yield Tally(group, Measure.FEEDBACK, rating), 1


def counted(counts: Mapping[Tally, int]) -> tuple[Counts, ...]:
    """Counts by group, in order of day, tenant and application."""
    groups: dict[Group, dict[Measure, dict[str, int]]] = {}
    for tally, count in counts.items():
        groups.setdefault(tally.group, {}).setdefault(tally.measure, {})[tally.name] = count
    return tuple(_counts(group, groups[group]) for group in sorted(groups))


class Grouping(Struct, frozen=True, kw_only=True):
    """What is counted apart; all days, tenants or applications that are thrown together are "" in their group."""

    day: bool = True
    tenant: bool = True
    app: bool = True

    def of(self, group: Group) -> Group:
        return Group(group.day if self.day else "", group.tenant if self.tenant else "", group.app if self.app else "")


def merged(counts: Iterable[tuple[Tally, int]], by: Grouping) -> Counter[Tally]:
    """Counts with groups thrown together."""
    sums: Counter[Tally] = Counter()
    for tally, count in counts:
        sums[Tally(by.of(tally.group), tally.measure, tally.name)] += count
    return sums


def step_of(microseconds: int) -> int:
    """The step of the histogram that holds a duration: exact below 8, then eight steps a doubling."""
    if microseconds < _STEPS:
        return max(0, microseconds)
    octave = microseconds.bit_length() - _STEPS.bit_length()
    return octave * _STEPS + (microseconds >> octave)


def upper_bound(step: int) -> int:
    """The longest duration of a step, in microseconds."""
    if step < _STEPS:
        return step
    octave = step // _STEPS - 1
    return ((step - octave * _STEPS + 1) << octave) - 1


def _joined(*parts: str) -> str:
    return SEPARATOR.join(part.replace(SEPARATOR, "?") for part in parts)


def _of_end(group: Group, event: dict[str, Any]) -> Iterator[tuple[Tally, int]]:
    took = event.get("took_us")
    if type(took) is int:
        yield Tally(group, Measure.TOOK, str(step_of(took))), 1
    told = event.get("model")
    model: dict[str, Any] = told if isinstance(told, dict) else {}
    for name in ("in", "out"):
        count = model.get(f"tokens_{name}")
        if type(count) is int and count > 0:
            yield Tally(group, Measure.TOKENS, _joined(str(model.get("name", "")), name)), count


def _counts(group: Group, measures: Mapping[Measure, Mapping[str, int]]) -> Counts:
    def of(measure: Measure) -> list[tuple[str, int]]:
        return sorted(measures.get(measure, {}).items())

    models = _models(measures.get(Measure.TOKENS, {}))
    return Counts(
        day=group.day,
        tenant=group.tenant,
        app=group.app,
        events=dict(of(Measure.TYPE)),
        effects=dict(of(Measure.EFFECT)),
        errors=dict(of(Measure.ERROR)),
        rules=tuple(_rule(name, count) for name, count in of(Measure.RULE)),
        detectors=tuple(_detector(name, count) for name, count in of(Measure.DETECTOR)),
        latency=_latency({int(name): count for name, count in of(Measure.TOOK)}),
        tokens_in=sum(model.tokens_in for model in models),
        tokens_out=sum(model.tokens_out for model in models),
        models=models,
        feedback=dict(of(Measure.FEEDBACK)),
    )


def _models(tokens: Mapping[str, int]) -> tuple[ModelTokens, ...]:
    names = sorted({name.split(SEPARATOR)[0] for name in tokens})
    return tuple(
        ModelTokens(name, tokens.get(_joined(name, "in"), 0), tokens.get(_joined(name, "out"), 0)) for name in names
    )


def _rule(name: str, count: int) -> RuleCount:
    rule, status, mode = name.split(SEPARATOR)
    return RuleCount(rule, status, mode, count)


def _detector(name: str, count: int) -> DetectorCount:
    detector, status = name.split(SEPARATOR)
    return DetectorCount(detector, status, count)


def _latency(steps: Mapping[int, int]) -> Latency:
    total = sum(steps.values())
    found = []
    for percent in _PERCENTILES:
        left, bound = -(-total * percent // 100), 0
        for step, count in sorted(steps.items()):
            if left <= 0:
                break
            left, bound = left - count, upper_bound(step)
        found.append(bound)
    return Latency(exchanges=total, p50_us=found[0], p95_us=found[1], p99_us=found[2])
