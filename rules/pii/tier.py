"""The pattern tier: all recognisers in one pass, spans only for those that hit."""

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.domain.signal import Finding
from rules.expressions import EXPRESSIONS_VERSION, MAX_MATCHES, ExpressionSet, Reading
from rules.growing import UnsupportedExpressionError, beginnings
from rules.pii.pattern import Judge, Pattern

TIER_VERSION: Final = f"1+{EXPRESSIONS_VERSION}"


class PatternTier:
    """Finds what `patterns` describe. Thread-safe; linear in the text but for the work on at most `MAX_MATCHES` matches
    a pattern, behind which the rest of the text counts as one finding."""

    def __init__(self, patterns: Sequence[Pattern], *, detector: str) -> None:
        self._detector = detector
        self.growing = _growing(patterns)
        self._judges = {pattern.name: Judge(pattern) for pattern in patterns}
        self._expressions = ExpressionSet({pattern.name: pattern.regex for pattern in patterns}, captures=True)

    def find(self, reading: Reading) -> list[Finding]:
        """Findings that may overlap, with spans of the text as received."""
        return [
            finding
            for name in self._expressions.hits(reading)
            for finding in self._findings(self._judges[name], reading)
        ]

    def _findings(self, judge: Judge, reading: Reading) -> Iterable[Finding]:
        kind, text = judge.pattern.kind, reading.text
        for looked_at, match in enumerate(self._expressions.matches(judge.pattern.name, reading)):
            if looked_at == MAX_MATCHES:
                start, end = reading.view.span(match.start, len(text))
                yield Finding(start=start, end=end, kind=kind, score=1.0, detector=self._detector, evidence="overflow")
                return
            for value in judge.judge(text, match.start, match.end):
                start, end = reading.view.span(value.start, value.end)
                yield Finding(
                    start=start,
                    end=end,
                    kind=kind,
                    score=value.score,
                    detector=self._detector,
                    evidence=value.evidence.value,
                )


def _growing(patterns: Sequence[Pattern]) -> tuple[str, ...] | None:
    """The beginnings of all matches, with the characters behind them that a judge still looks at."""
    try:
        return tuple(
            beginnings(pattern.regex, context=pattern.after if pattern.context or pattern.unless else 0)
            for pattern in patterns
        )
    except UnsupportedExpressionError:
        return None
