"""What loads and is still not right: reminders and missing tests. Faults that keep a bundle from loading are found
by loading it."""

import datetime as dt
from collections.abc import Iterator
from typing import Final

from gateway.domain.errors import Fault
from gateway.domain.vocabulary import RuleStatus
from gateway.policy.bundle import Bundle
from gateway.policy.schema import Expected, Rule
from gateway.policy.source import Source

EXPIRY_NOTICE: Final = dt.timedelta(days=30)
"""How long before its expiry an exception is reported."""


def lint(bundle: Bundle, *, now: dt.datetime) -> tuple[Fault, ...]:
    """All warnings (`POL1xx`), sorted by place."""
    found: list[Fault] = []
    for source in bundle.sources:
        found += _reminders(source, now)
        for rule in source.set.rules:
            found += _untested(source, rule)
    return tuple(sorted(found))


def _reminders(source: Source, now: dt.datetime) -> Iterator[Fault]:
    today = now.astimezone(dt.UTC).date()
    for exception in source.set.exceptions:
        node = source.document.node(exception, "expires")
        if exception.expires < today:
            yield node.fault("POL101", f"exception `{exception.id}` has expired: renew or remove it")
        elif exception.expires - today <= EXPIRY_NOTICE:
            days = (exception.expires - today).days
            yield node.fault("POL102", f"exception `{exception.id}` expires in {days} days: renew or let it end")
    review = source.set.metadata.review_by
    if review is not None and review < today:
        node = source.document.node(source.set.metadata, "review_by")
        yield node.fault("POL103", f"review of `{source.set.metadata.id}` is overdue: review it and move the date")


def _untested(source: Source, rule: Rule) -> Iterator[Fault]:
    """A rule needs a hit, a benign near-miss for each hit, and a look at what happens when a detector fails."""
    node = source.document.node(rule, "id")
    ends = [_end(test.expect) for test in rule.tests]
    hits, misses = ends.count(RuleStatus.MATCHED), ends.count(RuleStatus.NOT_MATCHED)
    if not hits:
        yield node.fault("POL104", f"rule `{rule.id}` has no test that matches: add one")
    if not misses:
        yield node.fault("POL105", f"rule `{rule.id}` has no test that does not match: add a near-miss")
    elif misses < hits:
        yield node.fault("POL106", f"rule `{rule.id}` has {hits} hits and {misses} near-misses: add near-misses")


def _end(expected: str | Expected) -> RuleStatus:
    if isinstance(expected, Expected):
        return expected.status
    return RuleStatus.MATCHED if expected == "match" else RuleStatus.NOT_MATCHED
