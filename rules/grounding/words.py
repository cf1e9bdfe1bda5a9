"""Texts as what they claim: content words with their weight, numbers, and the words that turn a statement around.

A word counts by how rare it is in general English (its rank in the vocabulary that BERT was trained with, which is
ordered by frequency): `mitochondria` missing from every passage says much, `important` nothing. Words of other
languages are in no rank and count fully. Inflections fold by a light suffix stripper; scripts without spaces are read
as pairs of characters.
"""

import math
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

from msgspec import Struct

from rules.grounding.lexicon import ENGLISH_FRAME, FRAME, MONTHS, NEGATIONS, NUMERALS, POLES, SCALES, STOP_WORDS

_TOKEN: Final = re.compile(r"\d+(?:[.,'’\u00a0\u202f]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")
_CJK: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")
_MARKER: Final = re.compile(r"\[\d{1,3}(?:\s*[,;]\s*\d{1,3})*\]")
_NO_NEGATION: Final = re.compile(
    r"\bno(?:t)? (?:more|less|fewer|later|earlier|longer|sooner) than\b|\bnot only\b|\bwhether or not\b|\bno matter\b",
    re.IGNORECASE,
)
_SEPARATORS: Final = re.compile(r"['’\u00a0\u202f]")
_THOUSANDS: Final = re.compile(r"[.,](?=\d{3}(?:\D|$))")

_ENGLISH: Final = 0.06  # share of frame words; lists and titles have few, other languages none
_TELLING: Final = 6  # words from which the share says anything

_SUFFIXES: Final = (
    *("ational", "iveness", "fulness", "ousness", "ization", "isation", "ations", "ation", "ments", "ment", "ities"),
    *("ically", "ingly", "edly", "ical", "ance", "ence", "ings", "ions", "ity", "ing", "ion", "ies", "ied", "ive"),
    *("ors", "ers", "ous", "al", "or", "er", "ed", "es", "ly", "ic", "s", "e", "y"),
)
_STEM_CHARS: Final = 4
_KNOWN_WORDS: Final = 16_384  # words whose stem and weight are remembered: the vocabulary of a corpus

_RANK_START: Final = 300.0  # the first words are in nearly every text
_LEAST_WEIGHT: Final = 0.15


class Word(Struct, frozen=True):
    """A content word: its stem, how much it counts (0..1), and whether it is written as a name."""

    stem: str
    weight: float
    named: bool


class Claim(Struct, frozen=True):
    """What a sentence says, as far as it can be looked up. `numbers` are values in one spelling, `implied` those that
    it holds as well for whoever asks it (`March` is a 3); `negated` says whether it denies something; `poles`
    are the directions and modes it names (more or less, must or may). `english` holds unless nothing looks like it."""

    words: tuple[Word, ...]
    stems: frozenset[str]
    names: frozenset[str]
    numbers: frozenset[str]
    implied: frozenset[str]
    negated: bool
    poles: frozenset[str]
    english: bool

    @property
    def empty(self) -> bool:
        """Whether there is nothing to look up."""
        return not self.words and not self.numbers


def load() -> None:
    """Read the vocabulary now (70 ms), so that the first answer does not wait for it."""
    _ranks()


def read(text: str) -> Claim:
    """The claim of a text without its citation markers. Linear."""
    words: list[Word] = []
    numbers: set[str] = set()
    implied: set[str] = set()
    negated = False
    poles: set[str] = set()
    framed = total = 0
    last = ""
    first = True
    for token in _TOKEN.findall(_NO_NEGATION.sub(" ", _MARKER.sub(" ", text))):
        if token[0].isdigit():
            numbers.add(number(token))
            last, first = token, False
            continue
        total += 1
        lower = token.lower().replace("’", "'")
        base = lower.removesuffix("'s")
        framed += lower in ENGLISH_FRAME
        if lower in NEGATIONS or lower.endswith("n't"):
            negated = True
        if (pole := POLES.get(base)) is not None:
            poles.add(pole)
        if (month := MONTHS.get(base)) is not None:
            implied.add(month)
        if base == "one":
            implied.add("1")
        elif base in NUMERALS:
            numbers.add(NUMERALS[base])
        elif base in SCALES and last and last[0].isdigit():
            numbers.discard(number(last))
            numbers.add(_plain(float(number(last)) * SCALES[base]) if _is_number(last) else number(last))
        elif base not in STOP_WORDS and base not in FRAME:
            named = token[0].isupper() and (not first or token[1:].lower() != token[1:])
            words += [Word(part, weight(part), named) for part in _parts(base)]
        last, first = token, False
    return Claim(
        words=tuple(words),
        stems=frozenset(word.stem for word in words),
        names=frozenset(word.stem for word in words if word.named),
        numbers=frozenset(numbers),
        implied=frozenset(implied),
        negated=negated,
        poles=frozenset(poles),
        english=total < _TELLING or framed / total >= _ENGLISH or _in_english(words),
    )


def _in_english(words: list[Word]) -> bool:
    """Whether half of the words are in the general vocabulary."""
    return 2 * sum(word.stem in _ranks() for word in words) >= len(words)


def number(token: str) -> str:
    """A number in one spelling: `1,000`, `1.000`, `1 000` and `1000.0` are one."""
    bare = _THOUSANDS.sub("", _SEPARATORS.sub("", token)).replace(",", ".")
    return _plain(float(bare)) if _is_number(bare) else bare


@lru_cache(maxsize=_KNOWN_WORDS)
def stem(word: str) -> str:
    """A word without the ends that inflection and derivation give it; at least four letters stay."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _STEM_CHARS:
            word = word[: -len(suffix)]
            break
    return word[:-1] if len(word) > _STEM_CHARS and word[-1] == word[-2] else word


@lru_cache(maxsize=_KNOWN_WORDS)
def weight(stemmed: str) -> float:
    """How much a word counts: little for the commonest, 1 for what is in no general vocabulary."""
    rank = _ranks().get(stemmed)
    if rank is None:
        return 1.0
    return max(_LEAST_WEIGHT, math.log((rank + _RANK_START) / _RANK_START) / math.log(_last_rank() / _RANK_START + 1))


def _parts(word: str) -> Iterator[str]:
    if _CJK.search(word) is None:
        yield stem(word)
    else:
        yield from (word[at : at + 2] for at in range(max(1, len(word) - 1)))


@cache
def _ranks() -> dict[str, int]:
    ranks: dict[str, int] = {}
    for rank, word in enumerate((files("rules.grounding") / "common.txt").read_text("ascii").split()):
        ranks.setdefault(stem(word), rank)
    return ranks


@cache
def _last_rank() -> int:
    return max(_ranks().values())


def _is_number(token: str) -> bool:
    try:
        float(token.replace(",", ""))
    except ValueError:
        return False
    return True


def _plain(value: float) -> str:
    return f"{value:.10g}"
