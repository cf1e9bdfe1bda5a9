"""One recogniser of the pattern tier: an RE2 expression, a check of the value, and the words around it."""

import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

LETTERS: Final = r"A-Za-z\x{C0}-\x{24F}\x{370}-\x{1FFF}\x{3040}-\x{D7FF}"
"""Letters of most scripts, for use inside `[]`: a few ranges, where `\\pL` has hundreds."""

CAPITALS: Final = r"A-Z\x{C0}-\x{DE}\x{100}-\x{17F}\x{386}-\x{3AB}\x{400}-\x{42F}"
"""Capital letters of Latin, Greek and Cyrillic; Latin Extended-A is taken whole, small letters included."""

START: Final = r"(?:^|[^0-9A-Za-z])"
END: Final = r"(?:[^0-9A-Za-z]|$)"
"""Edges of a number, put around a group: `\\b` takes an underscore for a letter, and so would miss `card_4111…`."""

Check = Callable[[str], bool]
"""Whether a matched value may be a real one."""

Parts = Callable[[str], Sequence[tuple[int, int]]]
"""The values within a match, as spans relative to it; none rejects the match."""


class Evidence(StrEnum):
    """Why something is held to be personal, strongest first; the order decides between overlapping findings."""

    CHECKSUM = "checksum"
    CONTEXT = "context"
    FORMAT = "format"
    MODEL = "model"


class Pattern(Struct, frozen=True, kw_only=True):
    """What a recogniser looks for.

    `regex` is RE2 over the normalised text; its first group, if it has one, is the value. `parts` then finds the
    values in the match, and `check` judges each. `context` are words (a Python expression over lower-case text, whole
    words) in the `before` characters before and the `after` characters after the value; with them the score is
    `context_score`, without them `score`, and a score of 0 rejects. `unless` are words in the same window that reject.
    """

    name: str  # unique, stable
    kind: str
    regex: str
    check: Check | None = None
    parts: Parts | None = None
    evidence: Evidence = Evidence.FORMAT  # without context; a check digit counts as `checksum` either way
    score: float = 0.0
    context: str = ""
    context_score: float = 0.0
    unless: str = ""
    before: int = 50
    after: int = 20


class Judged(Struct, frozen=True):
    """A value that passed, as a span of the text that was searched."""

    start: int
    end: int
    score: float
    evidence: Evidence


class Judge:
    """A pattern ready to judge matches. Thread-safe."""

    __slots__ = ("_context", "_unless", "pattern")

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self._context = _words(pattern.context)
        self._unless = _words(pattern.unless)

    def judge(self, text: str, start: int, end: int) -> Iterator[Judged]:
        """The values in the match `[start, end)` of `text` that pass."""
        pattern = self.pattern
        parts = ((0, end - start),) if pattern.parts is None else pattern.parts(text[start:end])
        for first, last in parts:
            judged = self._value(text, start + first, start + last)
            if judged is not None:
                yield judged

    def _value(self, text: str, start: int, end: int) -> Judged | None:
        pattern = self.pattern
        if pattern.check is not None and not pattern.check(text[start:end]):
            return None
        evidence, score = pattern.evidence, pattern.score
        if self._context is not None or self._unless is not None:
            around = f"{text[max(0, start - pattern.before) : start]}\0{text[end : end + pattern.after]}".lower()
            if self._unless is not None and self._unless.search(around):
                return None
            if self._context is not None and self._context.search(around):
                score = pattern.context_score
                evidence = evidence if evidence is Evidence.CHECKSUM else Evidence.CONTEXT
        return Judged(start, end, score, evidence) if score > 0 else None


def _words(expression: str) -> re.Pattern[str] | None:
    return re.compile(rf"(?<![^\W_])(?:{expression})(?![^\W\d_])") if expression else None
