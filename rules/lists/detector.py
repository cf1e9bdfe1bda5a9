"""The detector `lists`: one flag per word list of the policies."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, assert_never

import msgspec
import re2

from gateway.domain.definition import ListDefinition, ListMatch
from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import EMPTY_SCAN, Finding, Scan
from gateway.domain.vocabulary import Placement, SignalType
from rules.expressions import EXPRESSIONS_VERSION, ExpressionSet, Reading, bounded_findings, readings
from rules.growing import all_beginnings
from rules.normalise import View, fold_case, normalise

LISTS_VERSION: Final = "1"
_BETWEEN_WORDS: Final = r"[\s\pZ]+"
_NOT_WORD: Final = r"[^\pL\pN\pM_]"


class ListDetector:
    """Signals `list.<id>` (flag) and findings of that kind.

    Raises `ConfigurationError`, naming the list, for an id that is used twice, and a list without values or with
    an empty one.
    """

    name = "lists"
    placement = Placement.INLINE

    def __init__(self, definitions: Sequence[ListDefinition]) -> None:
        if len({definition.id for definition in definitions}) < len(definitions):
            raise ConfigurationError("two lists have the same id: rename one")
        for definition in definitions:
            if not definition.values or not all(value.strip() for value in definition.values):
                raise ConfigurationError(f"list `{definition.id}` is empty or holds an empty value: add or remove it")
        # Lists that heed case read the text as it is; the others read it folded, and need one set of their own.
        self._sets = tuple(
            (folded, ExpressionSet(_expressions(members), captures=True))
            for folded in (False, True)
            if (members := [definition for definition in definitions if definition.fold_case is folded])
        )
        self.growing = _growing(definitions)
        self.signals: Mapping[str, SignalType] = {f"list.{d.id}": SignalType.FLAG for d in definitions}
        canonical = sorted((d.id, sorted(d.values), d.match.value, d.fold_case) for d in definitions)
        digest = hashlib.sha256(msgspec.json.encode(canonical)).hexdigest()
        self.version = f"{LISTS_VERSION}+{EXPRESSIONS_VERSION}+{digest[:16]}"

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        return [self._scan(text) for text in texts]

    def _scan(self, text: str) -> Scan:
        findings: dict[Finding, None] = {}
        seen: set[str] = set()
        for reading in readings(text):
            for folded, expressions in self._sets:
                searched = _folded(reading) if folded else reading
                hits = expressions.hits(searched)
                case = fold_case(reading.text) if folded and hits else View(reading.text)
                for kind in hits:
                    spans = (
                        reading.view.span(*case.span(match.start, match.end))
                        for match in expressions.matches(kind, searched)
                    )
                    found = bounded_findings(kind, spans, length=len(text), detector=self.name, evidence="list")
                    findings.update(dict.fromkeys(found))
                seen.update(hits)
        if not seen:
            return EMPTY_SCAN
        return Scan(tuple(sorted(findings)), dict.fromkeys(sorted(seen), True))


def _folded(reading: Reading) -> Reading:
    """The reading in folded case. Its view leads to itself: where characters expanded is found out after a hit."""
    folded = reading.text.casefold()
    return reading if folded == reading.text else Reading(View(folded))


def _growing(definitions: Sequence[ListDefinition]) -> tuple[str, ...] | None:
    """Case is ignored throughout: folding a text would move its places. `exact` asks for the whole text."""
    if any(definition.match is ListMatch.EXACT for definition in definitions):
        return None
    found = all_beginnings(_expressions(definitions).values())
    return None if found is None else tuple(f"(?i:{expression})" for expression in found)


def _expressions(definitions: Iterable[ListDefinition]) -> dict[str, str]:
    return {f"list.{definition.id}": _expression(definition) for definition in definitions}


def _expression(definition: ListDefinition) -> str:
    """The list as one expression. RE2 prefers earlier alternatives, as Perl does, and shares the beginnings of
    neighbours: in reverse order a longer value stands before its own beginning, and beside those most like it."""
    values = {normalise(value).text for value in definition.values} | set(definition.values)
    if definition.fold_case:
        values = {value.casefold() for value in values}
    phrases = sorted((value.split() for value in values), key=" ".join, reverse=True)
    choice = "|".join(_BETWEEN_WORDS.join(map(re2.escape, words)) for words in phrases)
    match definition.match:
        case ListMatch.WORD:
            return f"(?:^|{_NOT_WORD})({choice})(?:$|{_NOT_WORD})"
        case ListMatch.SUBSTRING:
            return f"({choice})"
        case ListMatch.EXACT:
            return rf"^[\s\pZ]*({choice})[\s\pZ]*$"
        case _ as unreachable:
            assert_never(unreachable)
