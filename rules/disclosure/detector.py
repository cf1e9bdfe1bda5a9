"""The detector `disclosure`."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.domain.signal import EMPTY_SCAN, Finding, Scan
from gateway.domain.vocabulary import Placement, SignalType
from rules.disclosure.expressions import MARKINGS, PROMPTS
from rules.expressions import EXPRESSIONS_VERSION, ExpressionSet, Reading, bounded_findings, readings, uncovered
from rules.growing import all_beginnings

DISCLOSURE_VERSION: Final = "1"

MARKING: Final = "disclosure.marking"
PROMPT: Final = "disclosure.prompt"

# "My system prompt is confidential" discloses nothing.
_DENIAL: Final = re.compile(
    r"\s*(?:(?:strictly|kept|a)\s)?(?:not\b|never\b|confidential|private|secret\b|hidden|internal|something\b|unavailable"
    r"|protected|off[ -]limits|vertraulich|geheim|nicht\b|confidentiel|secr\u00e8te?s?\b|confidencial|secret[ao]s?\b)",
    re.IGNORECASE,
)
_DENIABLE: Final = frozenset({"own_prompt", "own_prompt_other"})


class DisclosureDetector:
    """Signal `disclosure.kinds` (`disclosure.marking`, `disclosure.prompt`); a finding covers the marking, or the
    words that introduce or begin the recited instructions."""

    name = "disclosure"
    version = f"{DISCLOSURE_VERSION}+{EXPRESSIONS_VERSION}"
    placement = Placement.INLINE
    signals: Mapping[str, SignalType] = {"disclosure.kinds": SignalType.KINDS}

    def __init__(self) -> None:
        self._set = ExpressionSet(MARKINGS | PROMPTS, captures=True)
        self.growing = all_beginnings((*MARKINGS.values(), *PROMPTS.values()))

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        return [self._scan(text) for text in texts]

    def _scan(self, text: str) -> Scan:
        findings: list[Finding] = []
        for reading in readings(text):
            for name in self._set.hits(reading):
                findings += uncovered(self._findings(name, reading, len(text)), findings)
        if not findings:
            return EMPTY_SCAN
        kinds = frozenset(finding.kind for finding in findings)
        return Scan(tuple(sorted(findings)), {"disclosure.kinds": kinds})

    def _findings(self, name: str, reading: Reading, length: int) -> list[Finding]:
        spans = (
            None
            if name in _DENIABLE and _DENIAL.match(reading.text, match.end)
            else reading.view.span(match.start, match.end)
            for match in self._set.matches(name, reading)
        )
        kind = MARKING if name in MARKINGS else PROMPT
        return bounded_findings(kind, spans, length=length, detector=self.name, evidence=name)
