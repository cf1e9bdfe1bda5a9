"""What loads and is still not right: rules and exceptions that do nothing, reminders, and missing tests. Faults that
keep a bundle from loading are found by loading it."""

import datetime as dt
from collections.abc import Iterator
from typing import Final

from gateway.domain.errors import Fault
from gateway.domain.vocabulary import RuleStatus
from gateway.policy.bundle import Bundle
from gateway.policy.controls import renamed, unknown_family
from gateway.policy.idle import idle
from gateway.policy.schema import Expected, Rule
from gateway.policy.source import Source
from gateway.strict_yaml import Node, quoted

EXPIRY_NOTICE: Final = dt.timedelta(days=30)
"""How long before its expiry an exception is reported."""

_NOBODY: Final = frozenset(
    {
        "",
        "?",
        "-",
        "anyone",
        "me",
        "n/a",
        "na",
        "nobody",
        "none",
        "owner",
        "someone",
        "tba",
        "tbd",
        "todo",
        "unknown",
        "xxx",
    }
)
"""What people write where nobody is meant."""


def lint(bundle: Bundle, *, now: dt.datetime) -> tuple[Fault, ...]:
    """All findings (`POL012` and `POL1xx`), sorted by place. Pure, CPU-bound: milliseconds a rule."""
    places: dict[str, Node] = {}
    found: list[Fault] = []
    for source in bundle.sources:
        for rule in source.set.rules:
            places[rule.id] = source.document.node(rule, "id")
            found += _untested(source, rule, bundle)
        for exception in source.set.exceptions:
            places[exception.id] = source.document.node(exception, "id")
        found += _reminders(source, now)
        found += _owners(source)
        found += _controls(source)
    found += [places[one.id].fault(one.code, one.message) for one in idle(bundle, now=now)]
    return tuple(sorted(found))


def _owners(source: Source) -> Iterator[Fault]:
    metadata = source.set.metadata
    if _is_nobody(metadata.owner):
        node = source.document.node(metadata, "owner")
        message = f"nobody owns `{metadata.id}`, {quoted(metadata.owner)} is no name: name a team or person"
        yield node.fault("POL113", message)
    for exception in source.set.exceptions:
        for index, name in enumerate(exception.approved_by):
            if _is_nobody(name):
                node = source.document.node(exception, "approved_by", index)
                message = f"nobody approved `{exception.id}`, {quoted(name)} is no name: name a person"
                yield node.fault("POL113", message)


def _is_nobody(name: str) -> bool:
    return name.rpartition(":")[2].strip().lower() in _NOBODY


def _controls(source: Source) -> Iterator[Fault]:
    metadata = source.set.metadata
    for index, control in enumerate(metadata.controls):
        node = source.document.node(metadata, "controls", index)
        unknown, moved = unknown_family(control), renamed(control)
        if unknown:
            yield node.fault("POL112", unknown)
        elif moved:
            yield node.fault("POL111", moved)


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


def _untested(source: Source, rule: Rule, bundle: Bundle) -> Iterator[Fault]:
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
    compiled = next(one for one in bundle.rules if one.id == rule.id)
    if compiled.detectors and not {RuleStatus.ERROR, RuleStatus.NOT_RUN} & set(ends):
        yield node.fault("POL114", f"rule `{rule.id}` has no test of a detector that fails: add one")


def _end(expected: str | Expected) -> RuleStatus:
    if isinstance(expected, Expected):
        return expected.status
    return RuleStatus.MATCHED if expected == "match" else RuleStatus.NOT_MATCHED
