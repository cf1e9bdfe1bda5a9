"""The figures of the overview: from the counts of the audit index and the store of cases; none is sampled."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from gateway.audit.search_tally import Counts, RuleCount
from gateway.cases.case import Case, CaseState, Operator
from gateway.cases.machine import OPEN
from gateway.cases.quality import QualityReport, quality_report
from gateway.cases.store import CaseStore
from gateway.console.overview_chart import WIDE, Columns, Lines, columns, lines
from gateway.domain.event import EventType
from gateway.domain.vocabulary import Effect, RuleMode, RuleStatus, SignalStatus
from gateway.settings import ModelSettings, QualitySettings

MOST_DAYS: Final = 366
_TOP_RULES: Final = 10
_MOST_CASES: Final = 1_000
_MILLION: Final = 1_000_000
_FAILED: Final = "error"
WAITING: Final = OPEN | {CaseState.APPEALED}
EFFECTS: Final = (*(effect.value for effect in Effect), _FAILED)


class Day(Struct, frozen=True, kw_only=True):
    """A day of the charts and their tables. Times in milliseconds, `None` on days without exchanges."""

    date: dt.date
    effects: dict[str, int]
    p50_ms: float | None
    p95_ms: float | None
    tokens_in: int
    tokens_out: int


class RuleLine(Struct, frozen=True, kw_only=True):
    """A rule that matched; `share` of the rule that matched most often, 0..1."""

    id: str
    enforced: int
    shadow: int
    share: float


class Failure(Struct, frozen=True, order=True):
    """Something that did not end well, how, and how often."""

    kind: str
    name: str
    how: str
    count: int


class ModelCost(Struct, frozen=True, kw_only=True):
    """`cost` is `None` for a model whose price the settings do not give."""

    model: str
    tokens_in: int
    tokens_out: int
    cost: float | None


class Figures(Struct, frozen=True, kw_only=True):
    """Everything that is counted over the days."""

    days: tuple[Day, ...]
    effects: dict[str, int]
    exchanges: int
    p50_ms: float
    p95_ms: float
    rules: tuple[RuleLine, ...]
    failures: tuple[Failure, ...]
    models: tuple[ModelCost, ...]
    cost: float | None
    feedback: dict[str, int]
    rejected: int
    decisions: Columns
    latency: Lines
    tokens: Columns


class CaseFigures(Struct, frozen=True, kw_only=True):
    """`capped` says that there are more cases than are counted here."""

    open: int
    overdue: int
    oldest: dt.datetime | None
    by_queue: tuple[tuple[str, int, int], ...]
    capped: bool


def figures(
    daily: Sequence[Counts], whole: Sequence[Counts], first: dt.date, last: dt.date, models: Iterable[ModelSettings]
) -> Figures:
    """`daily` are the counts day by day, `whole` those of all days together (one or none)."""
    by_day = {one.day: one for one in daily}
    dates = [first + dt.timedelta(days=at) for at in range((last - first).days + 1)]
    days = tuple(_day(date, by_day.get(date.isoformat())) for date in dates)
    total = whole[0] if whole else None
    names = [f"{date:%d %b}" for date in dates]
    effects = dict(total.effects) if total else {}
    costs = _costs(total, {model.name: model for model in models}) if total else ()
    known = [one.cost for one in costs if one.cost is not None]
    return Figures(
        days=days,
        effects=effects,
        exchanges=total.latency.exchanges if total else 0,
        p50_ms=total.latency.p50_us / 1_000 if total else 0.0,
        p95_ms=total.latency.p95_us / 1_000 if total else 0.0,
        rules=_rules(total.rules) if total else (),
        failures=_failures(total) if total else (),
        models=costs,
        cost=sum(known) if known else None,
        feedback=dict(total.feedback) if total else {},
        rejected=total.events.get(EventType.REJECTED.value, 0) if total else 0,
        decisions=columns(names, {name: [day.effects.get(name, 0) for day in days] for name in EFFECTS}, WIDE),
        latency=lines(names, {"p50": [day.p50_ms for day in days], "p95": [day.p95_ms for day in days]}, "ms"),
        tokens=columns(names, {"in": [day.tokens_in for day in days], "out": [day.tokens_out for day in days]}),
    )


async def case_figures(store: CaseStore, tenants: Iterable[str], now: dt.datetime) -> CaseFigures:
    """Of cases that wait for somebody. Only counts leave here, so whoever may see the overview may see them. Raises
    `GuardUnavailable`."""
    cases: list[Case] = []
    capped = False
    for tenant in tenants:
        found = await store.list_cases(Operator(), tenant=tenant, states=WAITING, limit=_MOST_CASES)
        cases += found
        capped = capped or len(found) == _MOST_CASES
    late = [case for case in cases if case.due < now]
    waiting, overdue = Counter(case.queue for case in cases), Counter(case.queue for case in late)
    return CaseFigures(
        open=len(cases),
        overdue=len(late),
        oldest=min((case.opened for case in cases), default=None),
        by_queue=tuple((queue, waiting[queue], overdue[queue]) for queue in sorted(waiting)),
        capped=capped,
    )


async def quality_figures(
    store: CaseStore, settings: QualitySettings, tenants: Iterable[str], now: dt.datetime
) -> tuple[tuple[str, QualityReport], ...]:
    """The report of each tenant. Raises `GuardUnavailable`."""
    return tuple([(tenant, await quality_report(store, settings, now=now, tenant=tenant)) for tenant in tenants])


def _day(date: dt.date, counts: Counts | None) -> Day:
    timed = counts is not None and counts.latency.exchanges > 0
    return Day(
        date=date,
        effects=dict(counts.effects) if counts else {},
        p50_ms=counts.latency.p50_us / 1_000 if counts and timed else None,
        p95_ms=counts.latency.p95_us / 1_000 if counts and timed else None,
        tokens_in=counts.tokens_in if counts else 0,
        tokens_out=counts.tokens_out if counts else 0,
    )


def _rules(counts: Iterable[RuleCount]) -> tuple[RuleLine, ...]:
    enforced: Counter[str] = Counter()
    shadow: Counter[str] = Counter()
    for one in counts:
        if one.status == RuleStatus.MATCHED.value:
            (shadow if one.mode == RuleMode.SHADOW.value else enforced)[one.id] += one.events
    order = sorted({*enforced, *shadow}, key=lambda rule: (-enforced[rule], -shadow[rule], rule))[:_TOP_RULES]
    most = max((enforced[rule] + shadow[rule] for rule in order), default=1)
    return tuple(
        RuleLine(id=rule, enforced=enforced[rule], shadow=shadow[rule], share=(enforced[rule] + shadow[rule]) / most)
        for rule in order
    )


def _failures(counts: Counts) -> tuple[Failure, ...]:
    found = [Failure("error", code, "exchange or request", count) for code, count in counts.errors.items()]
    found += [
        Failure("detector", run.name, run.status, run.runs)
        for run in counts.detectors
        if run.status != SignalStatus.OK.value
    ]
    found += [Failure("rule", one.id, one.status, one.events) for one in counts.rules if one.status == _FAILED]
    return tuple(sorted(found, key=lambda one: (-one.count, one)))


def _costs(counts: Counts, models: Mapping[str, ModelSettings]) -> tuple[ModelCost, ...]:
    found = []
    for used in counts.models:
        priced: Any = models.get(used.model)
        known = priced is not None and (priced.price_in or priced.price_out)
        cost = (used.tokens_in * priced.price_in + used.tokens_out * priced.price_out) / _MILLION if known else None
        found.append(ModelCost(model=used.model, tokens_in=used.tokens_in, tokens_out=used.tokens_out, cost=cost))
    return tuple(found)
