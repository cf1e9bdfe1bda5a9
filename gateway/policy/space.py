"""The finite quotient of all evidence that some rules can tell apart.

Thresholds cut a number line into points and open intervals, one representative each; kinds are one boolean per word
that a rule names, and one for all others; texts are the words named and one other; a detector ran, or did not, or was
too old; provenances that every rule treats alike are one. Two pieces of evidence with the same representatives get
the same verdict, so a search over representatives is a search over everything. Where that is not so (an optional
signal of which nobody knows the type, counts over provenances with huge thresholds), `exact` is false and no proof
is claimed.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

from gateway.domain.vocabulary import Phase, Provenance, SignalType
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledRule, CompiledScoring
from gateway.policy.condition import Atom, atoms
from gateway.policy.fields import FIELDS, FieldType
from gateway.policy.globs import representatives

Variable = tuple[str, ...]
"""`("run", detector)`, `("value", provenance, signal)`, `("word", provenance, signal, word)`, `("field", name)`,
`("in", field, word)`, `("bucket", rule)`, `("now",)`."""

OTHER: Final = "something-else"
UP: Final = "999999"  # newer than any minimum
DOWN: Final = ""
MOST_SUMMANDS: Final = 64  # beyond this a space grows too large to search

SCOPED: Final = (("tenants", "principal.tenant"), ("apps", "principal.app"), ("models", "request.model"))


class Space:
    """Variables with their domains, the harmless value first. Immutable after construction."""

    def __init__(self, bundles: Sequence[Bundle], phase: Phase, now: dt.datetime) -> None:
        self.phase = phase
        self.exact = True
        self.domains: dict[Variable, tuple[Any, ...]] = {}
        rules = [rule for bundle in bundles for rule in bundle.rules if phase in rule.phases]
        scorings = [one for bundle in bundles for one in bundle.scorings if phase in one.thresholds]
        self._classes = _classes(rules)
        self._seen = {
            names: tuple(one for one in self._classes if not names or one in names)
            for names in {rule.provenances for rule in rules}
        }
        every = {(atom, rule.provenances) for rule in rules for atom in atoms(rule.condition)}
        self.words: dict[str, tuple[str, ...]] = {}
        self._signals([(atom, names) for atom, names in every if atom.is_signal])
        self._fields([atom for atom, _ in every if not atom.is_signal], rules, scorings)
        for detector in sorted({atom.detector for atom, _ in every if atom.is_signal}):
            minima = {bundle.min_versions.get(detector, "") for bundle in bundles}
            old = sorted({"0", *minima} - {""}) if len(minima) > 1 else []
            self.domains["run", detector] = (UP, DOWN, *old)
        for rule in rules:
            if rule.share is not None:
                known = self.domains.get(("bucket", rule.id), ())
                self.domains["bucket", rule.id] = tuple(sorted({*known, 0, rule.share.percent} - {100}))
        ends = {one.until for rule in rules for one in rule.exceptions if one.until > now}
        self.domains["now",] = (now, *sorted(ends))

    def sources(self, provenances: frozenset[Provenance]) -> tuple[Provenance, ...]:
        """The provenances that stand for all that a rule looks at."""
        return self._seen[provenances]

    def _signals(self, pairs: Sequence[tuple[Atom, frozenset[Provenance]]]) -> None:
        by_name: dict[str, list[Atom]] = {}
        for atom, _ in pairs:
            by_name.setdefault(atom.name, []).append(atom)
        for name, found in sorted(by_name.items()):
            types = {atom.type for atom in found}
            if len(types) > 1:  # an optional signal whose type was guessed in two ways
                self.exact = False
            type_ = found[0].type
            if type_ is SignalType.KINDS:
                self.words[name] = _words(found, frozenset())
                for source in self._classes:
                    for word in self.words[name]:
                        self.domains["word", source.value, name, word] = (False, True)
                continue
            domain = (False, True) if type_ is SignalType.FLAG else numbers(found, score=type_ is SignalType.SCORE)
            if type_ is SignalType.COUNT and any(
                len(self._seen[names]) > 1 for atom, names in pairs if atom.name == name
            ):
                domain = self._summands(domain[-1])
            for source in self._classes:
                self.domains["value", source.value, name] = domain

    def _summands(self, most: int) -> tuple[int, ...]:
        """Counts add up over provenances, so every one up to the first that passes all thresholds can matter."""
        if most > MOST_SUMMANDS:
            self.exact = False
        return tuple(range(min(most, MOST_SUMMANDS) + 1))

    def _fields(
        self, named: Sequence[Atom], rules: Sequence[CompiledRule], scorings: Sequence[CompiledScoring]
    ) -> None:
        texts: dict[str, set[str]] = {}
        globs: dict[str, set[str]] = {}
        by_name: dict[str, list[Atom]] = {}
        for atom in named:
            by_name.setdefault(atom.name, []).append(atom)
            if isinstance(atom.operand, frozenset):
                texts.setdefault(atom.name, set()).update(atom.operand)
        scopes = {scope for rule in rules for scope in rule.scopes}
        scopes |= {scope for one in scorings for scope in one.scopes}
        for rule in rules:
            for exception in rule.exceptions:
                scopes |= exception.scopes
                for match in exception.matches:
                    texts.setdefault(match.field, set()).update(match.words)
        for scope in scopes:
            pairs = [(field, getattr(scope, key)) for key, field in SCOPED]
            for field, names in (*pairs, ("principal.groups", scope.groups)):
                for name in set(names) - {"*"}:
                    (globs if "*" in name else texts).setdefault(field, set()).add(name)
        for field in sorted({*texts, *globs, *by_name}):
            if self.phase in FIELDS[field].phases:
                self._field(field, texts.get(field, set()), globs.get(field, set()), by_name.get(field, []))

    def _field(self, name: str, texts: set[str], globs: set[str], named: Sequence[Atom]) -> None:
        field = FIELDS[name]
        fitting = self._fitting(texts, globs) if globs else set()
        if field.type is FieldType.KINDS:
            closed = bool(field.values)
            words = sorted({*texts, *fitting} | (set(field.values) if closed else {OTHER}))
            self.words[name] = tuple(words)
            for word in words:
                self.domains["in", name, word] = (False, True)
        elif field.type is FieldType.TEXT:
            open_ = field.values or {OTHER}
            self.domains["field", name] = tuple(sorted({*open_, *(() if field.values else texts), *fitting}, key=_rank))
        elif field.type is FieldType.FLAG:
            self.domains["field", name] = (False, True)
        else:
            self.domains["field", name] = numbers(named, score=False)

    def _fitting(self, texts: set[str], globs: set[str]) -> set[str]:
        """A text for each way in which texts can fit the globs and be named or not."""
        likely = [OTHER, *(glob.replace("*", OTHER) for glob in sorted(globs)), *sorted(texts)]
        found = representatives(texts | globs, likely)
        if found is None:
            self.exact = False
        return set(found if found is not None else likely)


def _rank(word: str) -> tuple[bool, str]:
    return word != OTHER, word


def _classes(rules: Iterable[CompiledRule]) -> tuple[Provenance, ...]:
    """One provenance for each class of those that every rule treats alike; the user's words first."""
    sets = sorted({tuple(sorted(rule.provenances)) for rule in rules})
    found: dict[tuple[bool, ...], Provenance] = {}
    for one in sorted(Provenance, key=lambda name: (name is not Provenance.USER, name)):
        found.setdefault(tuple(not names or one in names for names in sets), one)
    return tuple(one for signature, one in found.items() if any(signature))


def _words(found: Iterable[Atom], closed: frozenset[str]) -> tuple[str, ...]:
    named = frozenset[str]().union(*(atom.operand for atom in found if isinstance(atom.operand, frozenset)))
    return tuple(sorted(named | closed | {OTHER}))


def numbers(found: Iterable[Atom], *, score: bool) -> tuple[Any, ...]:
    """Representatives of the points and open intervals into which the thresholds cut 0..1, or the whole numbers."""
    cuts = sorted({atom.operand for atom in found if isinstance(atom.operand, (int, float))})
    if not score:
        return tuple(sorted({0, *(n for cut in cuts for n in (int(cut) - 1, int(cut), int(cut) + 1) if n >= 0)}))
    points = sorted({0.0, 1.0, *map(float, cuts)})
    between = [(low + high) / 2 for low, high in pairwise(points)]
    return tuple(sorted({*points, *between}))
