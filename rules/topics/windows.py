"""Pieces of a text that are compared with examples: sentences, and windows of what is longer than one."""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from gateway.domain.text import outline

WINDOW_WORDS: Final = 40  # of a sentence that is longer; half of it is the step
WHOLE_WORDS: Final = 64  # a text up to this length is also compared as a whole
_FRAGMENT_WORDS: Final = 4  # "Hello." says nothing alone, so it is read with what follows

_SENTENCE: Final = re.compile(
    r"[^.!?\u2026\u3002\uff01\uff1f\n]+(?:[.!?\u2026\u3002\uff01\uff1f]+(?!\s)[^.!?\u2026\u3002\uff01\uff1f\n]+)*[.!?\u2026\u3002\uff01\uff1f]*"
)
_WORD: Final = re.compile(r"\S+")


class Window(Struct, frozen=True):
    """`[start, end)` of the text in code points, and the words there."""

    start: int
    end: int
    text: str

    def __repr__(self) -> str:
        return f"Window({self.start}, {self.end}, {outline(self.text)})"


def windows(text: str) -> list[Window]:
    """All windows, without two of the same place. They cover every word of the text, however long it is."""
    words = [match.span() for match in _WORD.finditer(text)]
    if not words:
        return []
    spans = [span for first, last in _sentences(text, words) for span in _steps(words[first:last])]
    if len(words) <= WHOLE_WORDS:
        spans.append((words[0][0], words[-1][1]))
    return [Window(start, end, text[start:end]) for start, end in dict.fromkeys(spans)]


def _sentences(text: str, words: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Sentences as ranges of words; fragments are joined to what follows, at the end to what is before."""
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    ranges: list[tuple[int, int]] = []
    first = last = 0
    for end in ends:
        while last < len(words) and words[last][0] < end:
            last += 1
        if last - first >= _FRAGMENT_WORDS:
            ranges.append((first, last))
            first = last
    if first < len(words):
        before = ranges.pop()[0] if ranges and len(words) - first < _FRAGMENT_WORDS else first
        ranges.append((before, len(words)))
    yield from ranges


def _steps(words: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    step = WINDOW_WORDS // 2
    for first in range(0, max(1, len(words) - step), step):
        part = words[first : first + WINDOW_WORDS]
        yield part[0][0], part[-1][1]
