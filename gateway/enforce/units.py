"""Cuts an answer into units, sentences as a rule, that are judged and released one by one.

Where the cuts fall is a function of the text alone, never of the chunks in which it arrived: a boundary is decided
once, from the text of its unit and the single code point after it. Streaming and not streaming therefore judge the
same units and release the same text (I5).

A boundary is refused where a match may be growing across it: `growing` knows every beginning of a match that
a detector may still see completed. What it holds back stays in the unit until it can no longer
become a match, so that no detector sees half of one.
"""

import re
from enum import StrEnum
from typing import Final, Protocol, assert_never

MAX_UNIT_CHARS: Final = 8_192
"""A unit never grows beyond this; a private key in PEM form fits. Bounds memory and the delay of a stream."""

_SENTENCE: Final = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+(?=\S)|\n\s*(?=\S)|(?<=[。！？])(?=\S)")
# A full stop after these does not end a sentence. A cut there would only judge two smaller units, but a name
# recogniser does better on whole sentences.
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(\"'“‘.])(?:[A-Za-z]|\d{1,3}|Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|No|Nr|vs|etc|e\.g|i\.e|z\.B|d\.h|bzw|ca|Inc|Ltd|Co|Corp"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|approx|Art|Abs|Sra?|Dra?|p\.ej|M|Mme|Mlle)\.\s+$"
)
_OPEN_PSEUDONYM: Final = re.compile(r"<[A-Z0-9_]{0,48}$")


class Granularity(StrEnum):
    """How much text one judgement covers."""

    SENTENCE = "sentence"
    WHOLE = "whole"  # a rule judges, or a human reads, the answer as a whole


class Growing(Protocol):
    """Knows every beginning of a match that a detector may still see completed."""

    def start(self, text: str) -> int | None:
        """The earliest place from which a match may be growing at the end of `text`; `None` if none is."""
        ...


class UnitSplitter:
    """Text in, whole units out; the units joined are the text. Not thread-safe; one per text."""

    __slots__ = ("_boundary", "_growing", "_pending", "_scan")

    def __init__(self, granularity: Granularity, growing: Growing | None = None) -> None:
        self._growing = growing
        self._pending = ""
        self._scan = 0
        match granularity:
            case Granularity.SENTENCE:
                self._boundary: re.Pattern[str] | None = _SENTENCE
            case Granularity.WHOLE:
                self._boundary = None
            case _:
                assert_never(granularity)

    @property
    def pending(self) -> str:
        """The text of the unit that is not complete yet."""
        return self._pending

    def feed(self, text: str) -> list[str]:
        """The units that `text` completes, possibly none."""
        self._pending += text
        units: list[str] = []
        while self._boundary is not None:
            cut = self._next_cut(self._boundary)
            if not cut:
                break
            units.append(self._pending[:cut])
            self._pending = self._pending[cut:]
            self._scan = 0
        return units

    def finish(self) -> list[str]:
        """The rest of the text as the last unit; empty if nothing is pending."""
        rest, self._pending, self._scan = self._pending, "", 0
        return [rest] if rest else []

    def _next_cut(self, boundary: re.Pattern[str]) -> int:
        while match := boundary.search(self._pending, self._scan):
            end = match.end()
            if end > MAX_UNIT_CHARS:
                break
            if self._accepts(end):
                return end
            self._scan = end
        if len(self._pending) <= MAX_UNIT_CHARS:
            return 0
        unfinished = _OPEN_PSEUDONYM.search(self._pending, 0, MAX_UNIT_CHARS)
        return unfinished.start() if unfinished and unfinished.start() else MAX_UNIT_CHARS

    def _accepts(self, end: int) -> bool:
        # INVARIANT: depends on pending[: end + 1] only, which no later chunk changes.
        if end == 0:
            return False
        if _ABBREVIATION.search(self._pending, max(0, end - 32), end):
            return False
        if self._growing is None:
            return True
        start = self._growing.start(self._pending[: end + 1])
        # Many expressions begin with what stands before a word: white space, the end of a sentence. The next unit
        # begins a text of its own, where they match as well.
        return start is None or not any(map(str.isalnum, self._pending[start:end]))
