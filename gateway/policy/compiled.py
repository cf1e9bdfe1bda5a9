"""Rules as the evaluator holds them: every default resolved, every name checked."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from gateway.domain.signal import SignalValue
from gateway.domain.verdict import Escalation, FieldValue
from gateway.domain.vocabulary import Effect, Phase, Provenance, RedactOperator, RuleMode, RuleStatus, SignalStatus
from gateway.policy.condition import Condition, Leaf, Test
from gateway.policy.schema import Severity
from gateway.policy.triggers import Triggers


class Scope(Struct, frozen=True, order=True):
    """Where a set applies; in each list `*` stands for any text."""

    tenants: tuple[str, ...] = ("*",)
    apps: tuple[str, ...] = ("*",)
    models: tuple[str, ...] = ("*",)
    groups: tuple[str, ...] = ("*",)

    def fits(self, fields: Mapping[str, FieldValue]) -> bool:
        """A fact that is missing fits every scope: not knowing who asks never takes a rule away."""
        for names, field in (
            (self.tenants, "principal.tenant"),
            (self.apps, "principal.app"),
            (self.models, "request.model"),
        ):
            value = fields.get(field)
            if value is not None and not any(_fits(name, str(value)) for name in names):
                return False
        groups = fields.get("principal.groups")
        if "*" in self.groups or not isinstance(groups, frozenset):
            return True
        return any(_fits(name, group) for name in self.groups for group in groups)


def _fits(name: str, value: str) -> bool:
    """Match with `*` for any text, in linear time and without a regex of the author's."""
    first, *rest = name.split("*")
    if not rest:
        return value == first
    if not value.startswith(first):
        return False
    at = len(first)
    *middle, last = rest
    for part in middle:
        found = value.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(value) - at >= len(last) and value.endswith(last)


class FieldMatch(Struct, frozen=True, order=True):
    """A field of an exception: the text is one of `words`, or the kinds have one of them."""

    field: str
    words: frozenset[str]

    def fits(self, fields: Mapping[str, FieldValue]) -> bool:
        value = fields.get(self.field)
        if isinstance(value, frozenset):
            return not self.words.isdisjoint(value)
        return isinstance(value, str) and value in self.words


class CompiledException(Struct, frozen=True, kw_only=True):
    """Lifts matches of one rule until `until` (exclusive, UTC) in its scopes."""

    id: str
    rule: str
    matches: tuple[FieldMatch, ...]
    until: dt.datetime
    scopes: frozenset[Scope]

    def lifts(self, fields: Mapping[str, FieldValue], now: dt.datetime) -> bool:
        return (
            now < self.until
            and all(match.fits(fields) for match in self.matches)
            and any(scope.fits(fields) for scope in self.scopes)
        )


class RedactPlan(Struct, frozen=True, kw_only=True):
    """Which spans a match replaces: `kinds`, and every kind that the signals `of` report at that moment."""

    kinds: frozenset[str]
    of: frozenset[str]
    operator: RedactOperator


class Share(Struct, frozen=True):
    """A canary: the rule is enforced for `percent` of the values of `by`."""

    percent: int
    by: str


class CompiledRule(Struct, frozen=True, kw_only=True, eq=False):
    """A rule of the bundle. `test`, `settled` and `leaves` are its `condition`, compiled; `on_error` is resolved;
    `escalation` is what an escalation by this rule asks for."""

    id: str
    set_id: str
    title: str
    phases: frozenset[Phase]
    severity: Severity
    level: int
    provenances: frozenset[Provenance]
    condition: Condition
    test: Test
    settled: Test
    leaves: tuple[Leaf, ...]
    triggers: Triggers | None
    detectors: frozenset[str]
    field_names: frozenset[str]
    effect: Effect
    on_error: Effect
    mode: RuleMode
    share: Share | None
    redact: RedactPlan | None
    escalation: Escalation
    cite: bool
    disclaimer: str
    notify: tuple[str, ...]
    whole: bool
    client_message: str
    reviewer_message: str
    scopes: frozenset[Scope]
    exceptions: tuple[CompiledException, ...]


class CompiledScoring(Struct, frozen=True, kw_only=True):
    """The score of a phase from which an effect applies."""

    id: str  # `scoring:<set>`
    thresholds: Mapping[Phase, int]
    effect: Effect
    escalation: Escalation
    scopes: frozenset[Scope]


class Deadline(Struct, frozen=True, kw_only=True):
    """The longest a detector may take where the scopes fit, in seconds."""

    detector: str
    seconds: float
    scopes: frozenset[Scope]


class Trial(Struct, frozen=True, kw_only=True, eq=False):
    """A unit test ready to run. `failures` are detectors that do not end in `ok`; `status` is what must come out,
    `effect` and `exception` too where they are given."""

    rule: str
    name: str
    file: str
    line: int
    phases: tuple[Phase, ...]
    provenance: Provenance | None
    fields: Mapping[str, FieldValue]
    values: Mapping[str, SignalValue]
    failures: Mapping[str, SignalStatus]
    status: RuleStatus
    effect: Effect | None
    exception: str


class Dialogue(Struct, frozen=True, kw_only=True, eq=False):
    """A conversation ready to run: its texts, the facts about it, the strictest effect expected, the `rules` that
    must be reasons of it and those that must not (`without`)."""

    name: str
    file: str
    line: int
    query: str | None
    passage: str | None
    answer: str | None
    fields: Mapping[str, FieldValue]
    effect: Effect
    rules: frozenset[str]
    without: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Dialogue({self.file}:{self.line})"


class Levels(Struct, frozen=True, kw_only=True):
    """How strict an app is: rules up to level `enforce` count, those up to `observe` run in shadow, others rest."""

    enforce: int = 4
    observe: int = 4


ALL_LEVELS = Levels()


def as_json(value: Any) -> Any:
    """Compiled values as JSON values with one spelling, for the digest."""
    if isinstance(value, (frozenset, set)):
        return sorted((as_json(one) for one in value), key=str)
    if isinstance(value, (tuple, list)):
        return [as_json(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, Struct):
        return {name: as_json(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return value
