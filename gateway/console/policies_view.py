"""The policies in force as a page shows them: only what can apply to a tenant of the person who looks."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledException, CompiledRule, Scope
from gateway.policy.coverage import Coverage, Goal, coverage
from gateway.policy.difference import Change, difference
from gateway.policy.load import PolicyFile
from gateway.policy.schema import PolicySet
from gateway.policy.source import Source

_SOON: Final = dt.timedelta(days=14)
_ELSEWHERE: Final = "where it applies changed"


class RuleCoverage(Struct, frozen=True, kw_only=True):
    """Goals of a rule's unit tests: how many are reached, how many there are, and which are not."""

    reached: int
    goals: int
    missing: tuple[Goal, ...]


class ExceptionLine(Struct, frozen=True, kw_only=True):
    """An exception with its deadline; `urgency` is `late` for one that is over, `soon` for one that ends within two
    weeks, or ""."""

    id: str
    rule: str
    reason: str
    approved_by: tuple[str, ...]
    until: dt.datetime
    urgency: str


class SetView(Struct, frozen=True, kw_only=True):
    """A policy set with its rules. `late` says that its day of review has passed; `tenants` are those of the person
    that it is for, empty for all."""

    source: Source
    rules: tuple[CompiledRule, ...]
    late: bool
    tenants: tuple[str, ...]

    @property
    def set(self) -> PolicySet:
        return self.source.set


def fits_tenants(scopes: Iterable[Scope], tenants: Iterable[str]) -> bool:
    """Whether any of the scopes can hold a request of any of these tenants."""
    asked = [{"principal.tenant": tenant} for tenant in tenants]
    return any(scope.fits(fields) for scope in scopes for fields in asked)


def sets_of(bundle: Bundle, tenants: Sequence[str], today: dt.date) -> tuple[SetView, ...]:
    """The sets that concern these tenants, by id; a set without rules counts by where it says it applies."""
    rules: dict[str, list[CompiledRule]] = {}
    for rule in visible_rules(bundle, tenants):
        rules.setdefault(rule.set_id, []).append(rule)
    found: list[SetView] = []
    for source in sorted(bundle.sources, key=lambda one: one.set.metadata.id):
        own = tuple(rules.get(source.set.metadata.id, ()))
        if own or fits_tenants([_scope(source)], tenants):
            review_by = source.set.metadata.review_by
            found.append(
                SetView(
                    source=source,
                    rules=own,
                    late=review_by is not None and review_by < today,
                    tenants=_named(source, tenants),
                )
            )
    return tuple(found)


def visible_rules(bundle: Bundle, tenants: Sequence[str]) -> tuple[CompiledRule, ...]:
    return tuple(rule for rule in bundle.rules if fits_tenants(rule.scopes, tenants))


def exceptions_of(bundle: Bundle, tenants: Sequence[str], now: dt.datetime) -> tuple[ExceptionLine, ...]:
    """Exceptions that can lift a match for these tenants, the next to end first; those that are over come first."""
    written = {one.id: one for source in bundle.sources for one in source.set.exceptions}
    lines = [
        ExceptionLine(
            id=one.id,
            rule=one.rule,
            reason=written[one.id].reason,
            approved_by=written[one.id].approved_by,
            until=one.until,
            urgency="late" if one.until <= now else "soon" if one.until - now < _SOON else "",
        )
        for one in bundle.exceptions
        if one.id in written and _lifts_for(one, tenants)
    ]
    return tuple(sorted(lines, key=lambda line: (line.until, line.id)))


def rule_text(source: Source, rule: str, files: Iterable[PolicyFile]) -> str:
    """The YAML of a rule as its author wrote it, "" where the file is not at hand."""
    content = next((one.content for one in files if one.name == source.name and one.content is not None), None)
    written = next((one for one in source.set.rules if one.id == rule), None)
    if content is None or written is None:
        return ""
    node = source.document.node(written)
    indent = node.column - 1
    lines = content.decode("utf-8", "replace").splitlines()[node.line - 1 :]
    taken: list[str] = []
    for index, line in enumerate(lines):
        if index and line.strip() and len(line) - len(line.lstrip()) < indent:
            break
        taken.append(line if index else line[indent:])
    return "\n".join([taken[0], *(line[indent:] for line in taken[1:])]).rstrip() if taken else ""


@lru_cache(maxsize=2)
def _coverage(bundle: Bundle, day: dt.date) -> Coverage:
    return coverage(bundle, now=dt.datetime.combine(day, dt.time(), dt.UTC))


def rule_coverage(bundle: Bundle, day: dt.date) -> dict[str, RuleCoverage]:
    """The coverage of every rule by its unit tests. Blocking for as long as the tests take, once a bundle and day."""
    reached: dict[str, int] = {}
    goals: dict[str, int] = {}
    missing: dict[str, list[Goal]] = {}
    for goal, covered in _coverage(bundle, day).goals.items():
        goals[goal.of] = goals.get(goal.of, 0) + 1
        reached[goal.of] = reached.get(goal.of, 0) + covered
        if not covered:
            missing.setdefault(goal.of, []).append(goal)
    return {
        rule: RuleCoverage(reached=reached[rule], goals=count, missing=tuple(missing.get(rule, ())))
        for rule, count in goals.items()
    }


def visible_changes(old: Bundle, new: Bundle, tenants: Sequence[str]) -> tuple[Change, ...]:
    """What a candidate changes, without what is about rules, exceptions and definitions of other tenants alone."""
    seen = {name for bundle in (old, new) for name in _names(bundle, tenants)}
    hidden = {name for bundle in (old, new) for name in _all_names(bundle)} - seen
    return tuple(
        Change(one.what, one.direction, _plain(one.text)) for one in difference(old, new) if one.what not in hidden
    )


def _plain(text: str) -> str:
    return _ELSEWHERE if text.startswith("applies to ") and "tenants " in text else text


def _names(bundle: Bundle, tenants: Sequence[str]) -> Iterator[str]:
    yield from (f"rule {rule.id}" for rule in visible_rules(bundle, tenants))
    yield from (f"exception {one.id}" for one in bundle.exceptions if _lifts_for(one, tenants))
    for source in bundle.sources:
        if fits_tenants([_scope(source)], tenants):
            yield from _definitions(source)


def _all_names(bundle: Bundle) -> Iterator[str]:
    yield from (f"rule {rule.id}" for rule in bundle.rules)
    yield from (f"exception {one.id}" for one in bundle.exceptions)
    for source in bundle.sources:
        yield from _definitions(source)


def _definitions(source: Source) -> Iterator[str]:
    own = source.set
    for family, names in (("list", own.lists), ("topic", own.topics), ("pattern", own.patterns)):
        yield from (f"{family} {name}" for name in names)
    if own.scoring is not None:
        yield f"scoring scoring:{own.metadata.id}"


def _lifts_for(exception: CompiledException, tenants: Sequence[str]) -> bool:
    bound = [match for match in exception.matches if match.field == "principal.tenant"]
    return any(
        all(match.fits({"principal.tenant": tenant}) for match in bound) and fits_tenants(exception.scopes, [tenant])
        for tenant in tenants
    )


def _named(source: Source, tenants: Sequence[str]) -> tuple[str, ...]:
    names = source.set.applies_to.tenants
    return () if "*" in names else tuple(one for one in tenants if Scope(tenants=names).fits({"principal.tenant": one}))


def _scope(source: Source) -> Scope:
    return Scope(tenants=source.set.applies_to.tenants)
