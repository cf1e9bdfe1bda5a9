"""The rules that apply to one kind of request in one phase, indexed by what can make them true."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.domain.verdict import Evidence
from gateway.domain.vocabulary import Effect, Phase, RuleMode, SignalType, strictest
from gateway.policy.compiled import CompiledRule, CompiledScoring, Levels
from gateway.policy.condition import Failure, atoms
from gateway.policy.fields import FIELDS, FieldType, ValueType
from gateway.policy.signals import detector_of
from gateway.policy.triggers import ANY_VALUE

_NOBODY: frozenset[int] = frozenset()
_NOTES: Final = (Effect.ALLOW, Effect.FLAG)


class View:
    """Immutable after construction, shared by all threads.

    `rules` are sorted by id; `observed` are the indexes of those that only run in shadow because of their level;
    `detectors` are those the rules need, each with the least version ("" for any); `whole` are the ids that need
    the whole answer before any of it is released, `noted` the detectors whose values can do no more than flag.
    """

    __slots__ = (
        "_always",
        "_by_detector",
        "_by_name",
        "_by_word",
        "_field_names",
        "detectors",
        "evaluated",
        "noted",
        "observed",
        "rules",
        "scorings",
        "whole",
    )

    def __init__(
        self,
        phase: Phase,
        rules: Sequence[CompiledRule],
        scorings: Sequence[CompiledScoring],
        min_versions: Mapping[str, str],
        levels: Levels,
    ) -> None:
        here = [rule for rule in rules if phase in rule.phases and rule.level <= max(levels.enforce, levels.observe)]
        self.rules = tuple(sorted(here, key=lambda rule: rule.id))
        self.evaluated = len(self.rules)
        self.scorings = tuple(one for one in scorings if phase in one.thresholds)
        self.observed = frozenset(i for i, rule in enumerate(self.rules) if rule.level > levels.enforce)
        needed = sorted(frozenset[str]().union(*(rule.detectors for rule in self.rules)))
        self.detectors = tuple((name, min_versions.get(name, "")) for name in needed)
        self.whole = tuple(
            sorted(
                [
                    rule.id
                    for i, rule in enumerate(self.rules)
                    if rule.whole and rule.mode is not RuleMode.SHADOW and i not in self.observed
                ]
                + [one.id for one in self.scorings if one.effect is Effect.ESCALATE]
            )
        )
        acting = [
            rule
            for i, rule in enumerate(self.rules)
            if rule.mode is not RuleMode.SHADOW
            and i not in self.observed
            and strictest(rule.effect, rule.on_error) not in _NOTES
        ]
        held = frozenset[str]().union(*(rule.detectors for rule in acting))
        self.noted = frozenset[str]() if self.scorings else frozenset(needed) - held
        self._index()

    def _index(self) -> None:
        always: set[int] = set()
        by_name: dict[str, set[int]] = {}
        by_word: dict[str, dict[str, set[int]]] = {}
        by_detector: dict[str, set[int]] = {}
        worded: dict[str, type] = {}
        for index, rule in enumerate(self.rules):
            if rule.triggers is None:
                always.add(index)
                continue
            types = {atom.name: atom.type for atom in atoms(rule.condition)}
            for name, word in rule.triggers:
                # Without its triggers a condition is false whatever else is unknown; so a failed detector or a
                # missing field matters to the index only where it could have been the trigger.
                if isinstance(types[name], SignalType):
                    by_detector.setdefault(detector_of(name), set()).add(index)
                if types[name] in _WORDED:
                    worded[name] = _WORDED[types[name]]
                by_name.setdefault(name, set()).add(index)
                by_word.setdefault(name, {}).setdefault(word, set()).add(index)
        self._always = frozenset(always)
        self._by_detector = {name: frozenset(found) for name, found in by_detector.items()}
        self._by_name = {name: frozenset(found) for name, found in by_name.items()}
        self._by_word = {
            name: (kind, {word: frozenset(found) for word, found in by_word[name].items()})
            for name, kind in worded.items()
        }
        self._field_names = tuple(sorted(name for name in by_name if name in FIELDS))

    def candidates(self, evidence: Evidence, failed: Mapping[str, Failure]) -> frozenset[int]:
        """Indexes of the rules that may end in anything but not matched: a superset."""
        found = self._always
        for values in evidence.values.values():
            for name, value in values.items():
                if name in self._by_name:
                    found |= self._touched(name, value)
        for name in self._field_names:
            found |= self._touched(name, evidence.fields.get(name))
        for detector in failed:
            found |= self._by_detector.get(detector, _NOBODY)
        return found

    def _touched(self, name: str, value: Any) -> frozenset[int]:
        kind, words = self._by_word.get(name, (None, {}))
        if kind is str and isinstance(value, str):
            return words.get(value, _NOBODY)
        if kind is not frozenset or not isinstance(value, frozenset):  # a number, or missing, or of a wrong type
            return self._by_name[name]
        some = [words[word] for word in value if word in words]
        if value and ANY_VALUE in words:
            some.append(words[ANY_VALUE])
        return some[0] if len(some) == 1 else _NOBODY.union(*some)


_WORDED: Final[Mapping[ValueType, type]] = {
    SignalType.KINDS: frozenset,
    FieldType.KINDS: frozenset,
    FieldType.TEXT: str,
}
