"""What a model held for a name or a place, before our own judgement; and how long texts are cut for models."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

_BREAKS: Final = ("\n", ". ", " ")


class Mention(Struct, frozen=True, order=True):
    """`[start, end)` in code points of the text that the model read; `score` in 0..1, not a probability."""

    start: int
    end: int
    kind: str
    score: float


def windows(text: str, length: int, overlap: int = 0) -> Iterator[tuple[int, int]]:
    """Spans of at most `length` that cover `text`, cut at a line, a sentence or a word where one ends in the second
    half; each begins `overlap` before the end of the last one, at a word."""
    start = 0
    while start < len(text):
        end = min(len(text), start + length)
        if end < len(text):
            for mark in _BREAKS:
                cut = text.rfind(mark, start + length // 2, end)
                if cut > 0:
                    end = cut + len(mark)
                    break
        yield start, end
        if end == len(text):
            return
        start = max(start + 1, _word_start(text, end - overlap) if overlap else end)


def _word_start(text: str, place: int) -> int:
    space = text.find(" ", max(0, place), place + 32)
    return space + 1 if space >= 0 else place
