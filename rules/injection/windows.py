"""Cutting texts into windows and sentences, so that an order is not drowned by the pages around it."""

import re
from typing import Final

from msgspec import Struct

WIDE_WORDS: Final = 200  # about what the sentence embedding reads
WIDE_STRIDE: Final = 100
NARROW_WORDS: Final = 40  # an order with its code or its reasons; longer sentences are cut to it too
NARROW_STRIDE: Final = 20
_SHORTEST_SENTENCE: Final = 16  # bytes of UTF-8: six Chinese characters, or three English words
_LONGEST_WORD: Final = 40  # characters; text without spaces (Chinese, base64) counts a word each so many
_WORD: Final = re.compile(rf"\S{{1,{_LONGEST_WORD}}}")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")


class Window(Struct, frozen=True):
    """`[start, end)` of a text."""

    start: int
    end: int


def windows(text: str, *, words: int, stride: int) -> list[Window]:
    """Windows of at most `words` words, one every `stride` words, covering the text; one for a short text, none for a
    text without words. The last one ends with the last word."""
    places = [match.span() for match in _WORD.finditer(text)]
    if not places:
        return []
    last = max(0, len(places) - words)
    firsts = [*range(0, last, stride), last]
    return [Window(places[first][0], places[min(first + words, len(places)) - 1][1]) for first in firsts]


def sentences(text: str) -> list[Window]:
    """The sentences and lines of a text, long ones in overlapping parts."""
    ends = [match.span() for match in _SENTENCE_END.finditer(text)]
    starts = [0, *(end for _, end in ends)]
    stops = [*(start for start, _ in ends), len(text)]
    return [
        Window(start + part.start, start + part.end)
        for start, stop in zip(starts, stops, strict=True)
        for part in windows(text[start:stop], words=NARROW_WORDS, stride=NARROW_STRIDE)
        if len(text[start + part.start : start + part.end].encode("utf-8", "replace")) >= _SHORTEST_SENTENCE
    ]
