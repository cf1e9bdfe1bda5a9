"""What the audit log says of rules: hits over time, failures, what reviewers made of them, what a candidate would do.

Counts come from the index of the log; decisions and would-be verdicts are read from events, of which a page reads a
bounded number, the newest ones, and says so.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from gateway.audit.read import Filter
from gateway.audit.search import AuditSearch
from gateway.domain.event import EventType
from gateway.domain.vocabulary import RuleMode, RuleStatus
from gateway.policy.reviews import reviews

DAYS: Final = 30
MOST_EVENTS: Final = 5_000
_CASES: Final = frozenset(kind.value for kind in EventType if kind.value.startswith("case."))
_ENDS: Final = frozenset({EventType.OUTCOME.value, EventType.STREAM_CLOSE.value})


class RuleRecord(Struct, frozen=True, kw_only=True):
    """A rule over the last `DAYS` days. `daily` are its hits day by day, the oldest first; `observed` those in shadow;
    `refused` and `approved` what people decided on cases that it opened."""

    daily: tuple[int, ...] = (0,) * DAYS
    observed: int = 0
    failed: int = 0
    refused: int = 0
    approved: int = 0

    @property
    def hits(self) -> int:
        return sum(self.daily)

    @property
    def precision(self) -> float | None:
        """Of the decided cases, the share that people refused as the rule would have."""
        decided = self.refused + self.approved
        return self.refused / decided if decided else None


NOTHING: Final = RuleRecord()


class WouldBe(Struct, frozen=True, kw_only=True):
    """What the candidate would have done on `read` exchanges: how often which effect would have become which, by
    which of its rules, and how often that is not known."""

    read: int
    moved: tuple[tuple[str, str, int], ...]
    rules: tuple[tuple[str, int], ...]
    errors: int

    @property
    def differing(self) -> int:
        return sum(count for _, _, count in self.moved)


class PolicyRecord(Struct, frozen=True, kw_only=True):
    """`exchanges` began in that time; `first` is its first day; `would` is `None` without a candidate. `partial` says
    that more events were there than are read."""

    exchanges: int
    first: dt.date
    rules: Mapping[str, RuleRecord]
    would: WouldBe | None
    partial: bool

    def of(self, rule: str) -> RuleRecord:
        return self.rules.get(rule, NOTHING)


def policy_record(log: Path, tenants: Iterable[str], candidate: str, now: dt.datetime) -> PolicyRecord:
    """Of these tenants alone; `candidate` is the digest of a candidate, "" for none. Blocking. Raises
    `AuditUnavailable`."""
    first = now.date() - dt.timedelta(days=DAYS - 1)
    since = dt.datetime.combine(first, dt.time(), dt.UTC)
    own = frozenset(tenants)
    with AuditSearch(log) as search:
        counts = search.stats(Filter(tenants=own, since=since), by_app=False)
        cases, more_cases = _read(search, Filter(tenants=own, since=since, types=_CASES))
        ends, more_ends = _read(search, Filter(tenants=own, since=since, types=_ENDS)) if candidate else ([], False)
    daily: dict[str, list[int]] = {}
    observed: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    exchanges = 0
    for group in counts:
        exchanges += group.events.get(EventType.INTENT.value, 0)
        at = (dt.date.fromisoformat(group.day) - first).days
        for one in group.rules:
            if one.status != RuleStatus.MATCHED.value:
                failed[one.id] += one.events
            elif one.mode == RuleMode.SHADOW.value:
                observed[one.id] += one.events
            elif 0 <= at < DAYS:
                daily.setdefault(one.id, [0] * DAYS)[at] += one.events
    refused, approved = _decided(cases)
    names = {*daily, *observed, *failed, *refused, *approved}
    return PolicyRecord(
        exchanges=exchanges,
        first=first,
        rules={
            name: RuleRecord(
                daily=tuple(daily.get(name, NOTHING.daily)),
                observed=observed[name],
                failed=failed[name],
                refused=refused[name],
                approved=approved[name],
            )
            for name in names
        },
        would=_would_be(ends, candidate) if candidate else None,
        partial=more_cases or more_ends,
    )


def _read(search: AuditSearch, wanted: Filter) -> tuple[list[dict[str, Any]], bool]:
    """The newest events in the order of the log, and whether there are more."""
    found: list[dict[str, Any]] = []
    for event in search.events(wanted):
        if len(found) == MOST_EVENTS:
            return found[::-1], True
        found.append(event.members)
    return found[::-1], False


def _decided(events: list[dict[str, Any]]) -> tuple[Counter[str], Counter[str]]:
    verdicts = reviews(events).refused
    refused: Counter[str] = Counter()
    approved: Counter[str] = Counter()
    for event in events:
        if event.get("type") == EventType.CASE_OPENED.value and event.get("case") in verdicts:
            (refused if verdicts[event["case"]] else approved).update(map(str, event.get("rules", ())))
    return refused, approved


def _would_be(events: Iterable[Mapping[str, Any]], candidate: str) -> WouldBe:
    moved: Counter[tuple[str, str]] = Counter()
    rules: Counter[str] = Counter()
    read = errors = 0
    for event in events:
        told = event.get("candidate")
        if not isinstance(told, dict) or told.get("policy") != candidate:
            continue
        read += 1
        if told.get("errors"):
            errors += 1
        elif told["would"] != event.get("effect"):
            moved[str(event.get("effect")), str(told["would"])] += 1
            rules.update(map(str, told.get("rules", ())))
    return WouldBe(
        read=read,
        moved=tuple((was, would, count) for (was, would), count in moved.most_common()),
        rules=tuple(rules.most_common(20)),
        errors=errors,
    )
