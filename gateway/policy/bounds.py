"""Least and greatest verdict of rules under a partial assignment: what lets a proof skip whole branches.

Sound because `all`, `any` and `none` are monotone in the truth of their members (an interval in, an interval out).
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gateway.domain.vocabulary import Effect, Phase, RuleMode, SignalType, strictest
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledException, CompiledRule, CompiledScoring, Scope
from gateway.policy.condition import FALSE, TRUE, UNKNOWN, Atom, Condition, Group, Junction, Operator, predicate
from gateway.policy.decide import older
from gateway.policy.space import DOWN, SCOPED, Space, Variable

Assignment = Mapping[Variable, Any]
Interval = tuple[int, int]
_EITHER = (False, True)
_GROWS = frozenset({Operator.GT, Operator.GTE, Operator.ANY_OF, Operator.ALL_OF})
_SHRINKS = frozenset({Operator.LT, Operator.LTE, Operator.NONE_OF})


class Bounds:
    """Bounds of the rules of one bundle in one space. Holds no state of a search."""

    def __init__(self, bundle: Bundle, space: Space) -> None:
        self._space = space
        self._minimum = bundle.min_versions

    def truth(self, rule: CompiledRule, known: Assignment, *, settled: bool = False) -> Interval:
        """Least and greatest truth of a rule's condition; `settled`: what holds whatever a failed detector saw."""
        return self._condition(rule.condition, rule, known, settled=settled)

    def effects(self, rule: CompiledRule, known: Assignment) -> tuple[Effect, Effect]:
        """Least and greatest effect that a rule has on the verdict."""
        if rule.mode is RuleMode.SHADOW:
            return Effect.ALLOW, Effect.ALLOW
        low, high = self.truth(rule, known)
        possible: list[Effect] = []
        if low == FALSE:
            possible.append(Effect.ALLOW)
        if high == TRUE:
            possible.append(rule.effect)
        if low <= UNKNOWN <= high:
            least, most = self.truth(rule, known, settled=True)
            if most == TRUE:
                possible.append(strictest(rule.on_error, rule.effect))
            if least < TRUE:
                possible.append(rule.on_error)
        applies, lifted = self._applies(rule.scopes, known), self._lifted(rule, known)
        enforced = self._enforced(rule, known)
        if not applies[1] or lifted[0] or not enforced[1]:
            return Effect.ALLOW, Effect.ALLOW
        if not applies[0] or lifted[1] or not enforced[0]:
            possible.append(Effect.ALLOW)
        return min(possible, key=lambda one: one.rank), strictest(*possible)

    def score(
        self, scoring: CompiledScoring, rules: Iterable[CompiledRule], known: Assignment
    ) -> tuple[Effect, Effect]:
        """Least and greatest effect of a score over the rules whose points it adds."""
        applies = self._applies(scoring.scopes, known)
        if not applies[1]:
            return Effect.ALLOW, Effect.ALLOW
        low = high = 0
        for rule in rules:
            least, most = self.effects(rule, known)
            low += rule.severity.points if least is not Effect.ALLOW else 0
            high += rule.severity.points if most is not Effect.ALLOW else 0
        threshold = scoring.thresholds[self._space.phase]
        return (
            scoring.effect if applies[0] and low >= threshold else Effect.ALLOW,
            scoring.effect if high >= threshold else Effect.ALLOW,
        )

    def open(self, rule: CompiledRule, known: Assignment) -> Iterator[Variable]:
        """The variables without a value that may still change the effect of a rule, those that decide most first."""
        least, most = self.effects(rule, known)
        if least is most:
            return
        yield from self._open_condition(rule.condition, rule, known)
        yield from self._open_scopes(rule.scopes, known)
        for exception in rule.exceptions:
            low, high = self.lifts(exception, known)
            if low is not high:
                yield from self.open_exception(exception, known)
        if rule.share is not None and ("bucket", rule.id) not in known:
            yield "bucket", rule.id

    def open_match(self, rule: CompiledRule, known: Assignment) -> Iterator[Variable]:
        """The variables without a value that may still change whether a rule matches."""
        yield from self._open_condition(rule.condition, rule, known)
        yield from self._open_scopes(rule.scopes, known)

    def open_score(
        self, scoring: CompiledScoring, rules: Iterable[CompiledRule], known: Assignment
    ) -> Iterator[Variable]:
        """The variables without a value that may still change the effect of a score."""
        rules = tuple(rules)
        least, most = self.score(scoring, rules, known)
        if least is most:
            return
        for rule in rules:
            yield from self.open(rule, known)
        yield from self._open_scopes(scoring.scopes, known)

    def open_exception(self, exception: CompiledException, known: Assignment) -> Iterator[Variable]:
        """The variables without a value that an exception looks at."""
        yield from self._open_scopes(exception.scopes, known)
        for match in exception.matches:
            yield from _unset(_field_variables(match.field, self._space), known)
        yield from _unset([("now",)], known)

    def _open_scopes(self, scopes: Iterable[Scope], known: Assignment) -> Iterator[Variable]:
        scopes = tuple(scopes)
        low, high = self._applies(scopes, known)
        if low is not high:
            yield from _unset(_scope_variables(scopes, self._space), known)

    def _open_condition(self, condition: Condition, rule: CompiledRule, known: Assignment) -> Iterator[Variable]:
        low, high = self._condition(condition, rule, known, settled=False)
        if low == high:
            if low != UNKNOWN:
                return
            low, high = self._condition(condition, rule, known, settled=True)
            if low == high:
                return
        if isinstance(condition, Group):
            for member in condition.members:
                yield from self._open_condition(member, rule, known)
            return
        least, most = self._holds(condition, rule, known)
        if least is not most:
            yield from _unset(self._of_atom(condition, rule), known)
        if condition.is_signal:
            yield from _unset([("run", condition.detector)], known)

    def _of_atom(self, atom: Atom, rule: CompiledRule) -> Iterator[Variable]:
        space = self._space
        if not atom.is_signal:
            yield from _field_variables(atom.name, space)
            return
        for source in space.sources(rule.provenances):
            if atom.type is SignalType.KINDS:
                words = atom.operand if isinstance(atom.operand, frozenset) else space.words[atom.name]
                for word in sorted(words):
                    yield "word", source.value, atom.name, word
            else:
                yield "value", source.value, atom.name

    def _condition(self, condition: Condition, rule: CompiledRule, known: Assignment, *, settled: bool) -> Interval:
        if isinstance(condition, Atom):
            return self._atom(condition, rule, known, settled=settled)
        parts = [self._condition(member, rule, known, settled=settled) for member in condition.members]
        if condition.junction is Junction.ALL:
            return min((low for low, _ in parts), default=TRUE), min((high for _, high in parts), default=TRUE)
        low, high = max((low for low, _ in parts), default=FALSE), max((high for _, high in parts), default=FALSE)
        return (low, high) if condition.junction is Junction.ANY else (TRUE - high, TRUE - low)

    def _atom(self, atom: Atom, rule: CompiledRule, known: Assignment, *, settled: bool) -> Interval:
        low, high = (TRUE if one else FALSE for one in self._holds(atom, rule, known))
        if not atom.is_signal:
            return low, high
        failed = self._failed(atom.detector, known)
        if failed == (False, False):
            return low, high
        unknown = _settle(atom, low, high) if settled else (UNKNOWN, UNKNOWN)
        return unknown if failed == (True, True) else (min(low, unknown[0]), max(high, unknown[1]))

    def _holds(self, atom: Atom, rule: CompiledRule, known: Assignment) -> tuple[bool, bool]:
        """Whether an atom holds of what was seen, whatever became of its detector: certainly, possibly."""
        if not atom.is_signal:
            return self._field(atom, known)
        return self._kinds(atom, rule, known) if atom.type is SignalType.KINDS else self._plain(atom, rule, known)

    def _failed(self, detector: str, known: Assignment) -> tuple[bool, bool]:
        version = known.get(("run", detector))
        if version is None:
            return _EITHER
        minimum = self._minimum.get(detector, "")
        failed = version == DOWN or bool(minimum and older(version, minimum))
        return failed, failed

    def _kinds(self, atom: Atom, rule: CompiledRule, known: Assignment) -> tuple[bool, bool]:
        sources = self._space.sources(rule.provenances)
        words = atom.operand if isinstance(atom.operand, frozenset) else self._space.words[atom.name]
        present = [_some(known.get(("word", one.value, atom.name, word)) for one in sources) for word in words]
        return _over_words(atom, present)

    def _plain(self, atom: Atom, rule: CompiledRule, known: Assignment) -> tuple[bool, bool]:
        holds = predicate(atom.operator, atom.operand)
        keys = [("value", one.value, atom.name) for one in self._space.sources(rule.provenances)]
        given = [known[key] for key in keys if key in known]
        domain: tuple[Any, ...] = (0,) if len(given) == len(keys) else self._space.domains[keys[0]]
        values: Iterable[Any]
        if atom.type is not SignalType.COUNT:
            values = {max([*given, one]) for one in domain}
        elif len(keys) == 1:
            values = given or domain
        else:  # every sum of them, and beyond the last threshold all are alike
            unset = len(keys) - len(given)
            values = range(sum(given), sum(given) + unset * domain[-1] + 1)
        found = {holds(value) for value in values}
        return min(found), max(found)

    def _field(self, atom: Atom, known: Assignment) -> tuple[bool, bool]:
        name = atom.name
        if ("field", name) in self._space.domains:
            key = ("field", name)
            holds = predicate(atom.operator, atom.operand)
            found = {holds(value) for value in ((known[key],) if key in known else self._space.domains[key])}
            return min(found), max(found)
        words = atom.operand if isinstance(atom.operand, frozenset) else self._space.words[name]
        return _over_words(atom, [_some([known.get(("in", name, word))]) for word in words])

    def _applies(self, scopes: Iterable[Scope], known: Assignment) -> tuple[bool, bool]:
        return _some_pair(self._fits(scope, known) for scope in scopes)

    def applies(self, scopes: Iterable[Scope], known: Assignment) -> tuple[bool, bool]:
        """Whether one of the scopes fits: certainly, possibly."""
        return self._applies(scopes, known)

    def _fits(self, scope: Scope, known: Assignment) -> tuple[bool, bool]:
        sure = True
        for key, field in SCOPED:
            names = getattr(scope, key)
            if "*" in names:
                continue
            value = known.get(("field", field))
            if value is None:
                sure = False
            elif not Scope(tenants=names).fits({"principal.tenant": value}):
                return False, False
        if "*" in scope.groups:
            return sure, True
        matching = [
            word
            for word in self._space.words["principal.groups"]
            if Scope(tenants=scope.groups).fits({"principal.tenant": word})
        ]
        low, high = _some(known.get(("in", "principal.groups", word)) for word in matching)
        return low and sure, high

    def _lifted(self, rule: CompiledRule, known: Assignment) -> tuple[bool, bool]:
        return _some_pair(self.lifts(one, known) for one in rule.exceptions)

    def lifts(self, exception: CompiledException, known: Assignment) -> tuple[bool, bool]:
        """Whether an exception lifts: certainly, possibly."""
        now: dt.datetime | None = known.get(("now",))
        latest = max(self._space.domains["now",])
        parts = [_EITHER if now is None and latest >= exception.until else ((now or latest) < exception.until,) * 2]
        parts.append(self._applies(exception.scopes, known))
        for match in exception.matches:
            if ("field", match.field) in self._space.domains:
                value = known.get(("field", match.field))
                parts.append(_EITHER if value is None else (value in match.words,) * 2)
            else:
                words = [word for word in self._space.words.get(match.field, ()) if word in match.words]
                parts.append(_some(known.get(("in", match.field, word)) for word in words))
        return all(low for low, _ in parts), all(high for _, high in parts)

    def _enforced(self, rule: CompiledRule, known: Assignment) -> tuple[bool, bool]:
        if rule.share is None:
            return True, True
        bucket = known.get(("bucket", rule.id))
        return _EITHER if bucket is None else (bucket < rule.share.percent,) * 2


def phase_rules(bundle: Bundle, phase: Phase) -> tuple[CompiledRule, ...]:
    """The rules of a phase that can have an effect at all."""
    return tuple(rule for rule in bundle.rules if phase in rule.phases and rule.mode is not RuleMode.SHADOW)


def _unset(variables: Iterable[Variable], known: Assignment) -> Iterator[Variable]:
    return (one for one in variables if one not in known)


def _scope_variables(scopes: Iterable[Scope], space: Space) -> Iterator[Variable]:
    for scope in sorted(scopes):
        for key, field in SCOPED:
            if "*" not in getattr(scope, key):
                yield "field", field
        if "*" not in scope.groups:
            yield from _field_variables("principal.groups", space)


def _field_variables(name: str, space: Space) -> Iterator[Variable]:
    if ("field", name) in space.domains:
        yield "field", name
    else:
        for word in space.words.get(name, ()):
            yield "in", name, word


def _settle(atom: Atom, low: int, high: int) -> Interval:
    """What is left of an atom on a failed detector: a truth that more text cannot change stays, else unknown."""
    grows = atom.operator in _GROWS or (atom.operator, atom.operand) in {(Operator.IS, True), (Operator.EMPTY, False)}
    shrinks = atom.operator in _SHRINKS or (atom.operator, atom.operand) in {
        (Operator.IS, False),
        (Operator.EMPTY, True),
    }
    if grows:
        return (TRUE if low == TRUE else UNKNOWN), (TRUE if high == TRUE else UNKNOWN)
    if shrinks:
        return (FALSE if low == FALSE else UNKNOWN), (FALSE if high == FALSE else UNKNOWN)
    return UNKNOWN, UNKNOWN


def _over_words(atom: Atom, present: list[tuple[bool, bool]]) -> tuple[bool, bool]:
    if atom.operator is Operator.ALL_OF:
        return all(low for low, _ in present), all(high for _, high in present)
    some = any(low for low, _ in present), any(high for _, high in present)
    absent = not some[1], not some[0]
    if atom.operator is Operator.EMPTY:
        return absent if atom.operand else some
    return absent if atom.operator is Operator.NONE_OF else some


def _some(values: Iterable[bool | None]) -> tuple[bool, bool]:
    """Whether one is true: certainly, possibly (`None` is not known)."""
    found = list(values)
    return any(one is True for one in found), any(one is not False for one in found)


def _some_pair(pairs: Iterable[tuple[bool, bool]]) -> tuple[bool, bool]:
    found = list(pairs)
    return any(low for low, _ in found), any(high for _, high in found)
