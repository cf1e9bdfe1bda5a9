"""Words of questions and passages in the form in which they are compared."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from msgspec import Struct

_WORD: Final = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:['’][^\W_]+)?")
_DATE: Final = re.compile(
    r"\b(?:1[0-9]|20)\d\d\b|\b(?:jan|febr)uary\b|\b(?:march|april|june|july|august)\b"
    r"|\b(?:septem|octo|novem|decem)ber\b|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\bcentur(?:y|ies)\b",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(
    r"\d|%|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|half|twice|once|hundreds?"
    r"|thousands?|millions?|billions?|daily|weekly|monthly|quarterly|yearly|annual(?:ly)?|free|no|none|unlimited)\b",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"[\w,;:)\"”’]\s[(\"“‘]?[A-Z]")  # a capital that does not begin the text

PREFIX_CHARS: Final = 6  # shared by two forms of one word that stemming leaves apart: `eligible`, `eligibility`
_PREFIX_MATCH: Final = 0.6

_STOP_TEXT: Final = """
a about after all also am an and any are as at be because been before being between both but by can could d did
do does doing done during each either for from get gets give given go got had has have having he her here hers him
his how i if in into is it its itself just ll let many may me might mine more most much must my need needs neither
no nor not of off on once one only onto or other our out over own per please re s same shall she should so some
such t tell than that the their them then there these they this those through to too under until up upon us ve very
want was way we were what when where whether which while who whom whose why will with within without would yes you
your know explain describe say says mean means kind type sort name named call called
"""
STOP_WORDS: Final = frozenset(_STOP_TEXT.split())


class Bag(Struct, frozen=True):
    """Terms of a text without their order."""

    terms: frozenset[str]
    prefixes: frozenset[str]

    def match(self, term: str) -> float:
        """1 for the term itself, less for a word that begins alike, 0 for none."""
        if term in self.terms:
            return 1.0
        return _PREFIX_MATCH if len(term) >= PREFIX_CHARS and term[:PREFIX_CHARS] in self.prefixes else 0.0

    def __repr__(self) -> str:
        return f"Bag({len(self.terms)} terms)"


def bag(found: Iterable[str]) -> Bag:
    unique = frozenset(found)
    return Bag(unique, frozenset(term[:PREFIX_CHARS] for term in unique if len(term) >= PREFIX_CHARS))


def words(text: str) -> list[str]:
    """Words as written, without white space and punctuation."""
    return _WORD.findall(text)


def terms(text: str) -> tuple[str, ...]:
    """Stems of the words that carry meaning, in order."""
    return tuple(stem(word) for word in (found.lower() for found in words(text)) if word not in STOP_WORDS)


def has_number(text: str) -> bool:
    return _NUMBER.search(text) is not None


def has_date(text: str) -> bool:
    return _DATE.search(text) is not None


def has_name(text: str) -> bool:
    return _NAME.search(text) is not None


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """A lower-case English word without its inflection; other languages mostly pass through.

    The first step of M. F. Porter, "An algorithm for suffix stripping" (1980), with a final `e` dropped: enough to
    bring `fees` to `fee` and `charged`, `charges`, `charging` to one form, too little to join distinct words.
    """
    word = word.replace("’", "'").removesuffix("'s")
    if len(word) <= 3 or not word.isalpha():
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("sses"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for suffix in ("ing", "ed"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and re.search("[aeiouy]", word[: -len(suffix)]):
            word = word.removesuffix(suffix)
            if word[-1] == word[-2] and word[-1] not in "aeiouylsz":
                word = word[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word
