"""The detector `patterns`: one flag per pattern of the policies."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gateway.domain.definition import PatternDefinition
from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import EMPTY_SCAN, Finding, Scan
from gateway.domain.vocabulary import Placement, SignalType
from rules.expressions import EXPRESSIONS_VERSION, ExpressionSet, bounded_findings, compile_expression, readings
from rules.growing import all_beginnings

PATTERNS_VERSION: Final = "1"
_EMPTY_PROBES: Final = (b"", b"ab cd", b"\n")


class PatternDetector:
    """Signals `pattern.<id>` (flag) and findings of that kind.

    Raises `ConfigurationError`, naming the pattern, for an id that is used twice, an expression that is not RE2
    syntax or matches empty text, and an `example` that does not match.
    """

    name = "patterns"
    placement = Placement.INLINE

    def __init__(self, definitions: Sequence[PatternDefinition]) -> None:
        for definition in definitions:
            _check(definition)
        if len({definition.id for definition in definitions}) < len(definitions):
            raise ConfigurationError("two patterns have the same id: rename one")
        self._set = ExpressionSet({f"pattern.{definition.id}": definition.regex for definition in definitions})
        self.growing = all_beginnings(definition.regex for definition in definitions)
        self.signals: Mapping[str, SignalType] = {f"pattern.{d.id}": SignalType.FLAG for d in definitions}
        digest = hashlib.sha256(msgspec.json.encode(sorted((d.id, d.regex) for d in definitions))).hexdigest()
        self.version = f"{PATTERNS_VERSION}+{EXPRESSIONS_VERSION}+{digest[:16]}"

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        return [self._scan(text) for text in texts]

    def _scan(self, text: str) -> Scan:
        findings: dict[Finding, None] = {}
        seen: set[str] = set()
        for reading in readings(text):
            for kind in self._set.hits(reading):
                seen.add(kind)
                spans = (reading.view.span(match.start, match.end) for match in self._set.matches(kind, reading))
                found = bounded_findings(kind, spans, length=len(text), detector=self.name, evidence="pattern")
                findings.update(dict.fromkeys(found))
        if not seen:
            return EMPTY_SCAN
        return Scan(tuple(sorted(findings)), dict.fromkeys(sorted(seen), True))


def _check(definition: PatternDefinition) -> None:
    expression = compile_expression(definition.id, definition.regex)
    for probe in _EMPTY_PROBES:
        if any(match.start() == match.end() for match in expression.finditer(probe)):
            raise ConfigurationError(
                f"pattern `{definition.id}` matches empty text, so it would match everywhere: demand one character"
            )
    if expression.search(definition.example.encode("utf-8", "replace")) is None:
        raise ConfigurationError(f"pattern `{definition.id}` does not match its own example: correct one of the two")
