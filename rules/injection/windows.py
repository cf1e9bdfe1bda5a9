"""Cutting long texts into overlapping windows, so that a sentence is not drowned by the pages around it."""

import re
from typing import Final

from msgspec import Struct

WIDE_WORDS: Final = 200  # about what the sentence embedding reads
WIDE_STRIDE: Final = 100
NARROW_WORDS: Final = 40  # two or three sentences: the length of most injected passages
NARROW_STRIDE: Final = 20
_LONGEST_WORD: Final = 40  # characters; text without spaces (Chinese, base64) counts a word each so many
_WORD: Final = re.compile(rf"\S{{1,{_LONGEST_WORD}}}")


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
