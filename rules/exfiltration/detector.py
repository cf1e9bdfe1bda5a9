"""The detector `exfiltration`."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.domain.signal import EMPTY_SCAN, Finding, Scan
from gateway.domain.vocabulary import Placement, SignalType
from rules.exfiltration.constructs import CONSTRUCTS, Surroundings
from rules.expressions import EXPRESSIONS_VERSION, ExpressionSet, Reading, bounded_findings, readings, uncovered
from rules.growing import all_beginnings
from rules.normalise import hidden_runs

EXFILTRATION_VERSION: Final = "1"

_INVISIBLE: Final = "exfiltration.invisible"
EXFILTRATION_KINDS: Final = frozenset({_INVISIBLE, *(construct.kind for construct in CONSTRUCTS.values())})
_SIGNS_OF_AN_ADDRESS: Final = ("//", "](", "]:", "<")  # no construct does without one of them


class ExfiltrationDetector:
    """Signals `exfiltration.kinds` (`exfiltration.image`, `.embed`, `.scheme`, `.placeholder`, `.link`, `.invisible`)
    and `exfiltration.count`. A finding covers the whole image or tag, or the address of a link. A host of
    `allowed_hosts` stands for its subdomains too.
    """

    name = "exfiltration"
    placement = Placement.INLINE
    signals: Mapping[str, SignalType] = {
        "exfiltration.kinds": SignalType.KINDS,
        "exfiltration.count": SignalType.COUNT,
    }

    def __init__(self, allowed_hosts: frozenset[str] = frozenset()) -> None:
        self._allowed = frozenset(host.strip(".").lower() for host in allowed_hosts)
        self._set = ExpressionSet({name: construct.regex for name, construct in CONSTRUCTS.items()})
        self.growing = all_beginnings(construct.regex for construct in CONSTRUCTS.values())
        digest = hashlib.sha256("\n".join(sorted(self._allowed)).encode()).hexdigest()
        self.version = f"{EXFILTRATION_VERSION}+{EXPRESSIONS_VERSION}+{digest[:16]}"

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        return [self._scan(text) for text in texts]

    def _scan(self, text: str) -> Scan:
        received = readings(text)
        # A text with invisible characters has two readings.
        hidden = ((run.start, run.end) for run in (hidden_runs(text) if len(received) > 1 else ()))
        findings = bounded_findings(_INVISIBLE, hidden, length=len(text), detector=self.name, evidence="format")
        for reading in received if any(sign in text for sign in _SIGNS_OF_AN_ADDRESS) else ():
            around = Surroundings(reading.text, self._allowed)
            for name in self._set.hits(reading):
                findings += uncovered(self._findings(name, reading, around, len(text)), findings)
        if not findings:
            return EMPTY_SCAN
        kinds = frozenset(finding.kind for finding in findings)
        return Scan(tuple(sorted(findings)), {"exfiltration.kinds": kinds, "exfiltration.count": len(findings)})

    def _findings(self, name: str, reading: Reading, around: Surroundings, length: int) -> list[Finding]:
        construct = CONSTRUCTS[name]
        spans = (
            reading.view.span(match.start + part[0], match.start + part[1])
            if (part := construct.judge(reading.text[match.start : match.end], around))
            else None
            for match in self._set.matches(name, reading)
        )
        return bounded_findings(construct.kind, spans, length=length, detector=self.name, evidence="format")
