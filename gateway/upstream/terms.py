"""Words of questions and passages in the form in which they are compared."""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from gateway.upstream.languages import STOP_WORDS, Language, stem

_WORD: Final = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:['’][^\W_]+)?")

PREFIX_CHARS: Final = 6  # shared by two forms of one word that stemming leaves apart: `eligible`, `eligibility`
PART_CHARS: Final = 4  # of a German compound: `Karte` in `Girokarte`
_PREFIX_MATCH: Final = 0.6


class Bag(Struct, frozen=True):
    """Terms of a text without their order. `compounds` are those that may hold another term at an end."""

    terms: frozenset[str]
    prefixes: frozenset[str]
    compounds: frozenset[str] = frozenset()

    def match(self, term: str) -> float:
        """1 for the term itself, less for a word that begins alike or has a part in common, 0 for none."""
        if term in self.terms:
            return 1.0
        if len(term) >= PREFIX_CHARS and term[:PREFIX_CHARS] in self.prefixes:
            return _PREFIX_MATCH
        if self.compounds and len(term) >= PART_CHARS and any(_shares_part(term, other) for other in self.compounds):
            return _PREFIX_MATCH
        return 0.0

    def __repr__(self) -> str:
        return f"Bag({len(self.terms)} terms)"


def bag(found: Iterable[str], language: Language = Language.ENGLISH) -> Bag:
    unique = frozenset(found)
    prefixes = frozenset(term[:PREFIX_CHARS] for term in unique if len(term) >= PREFIX_CHARS)
    german = language is Language.GERMAN
    return Bag(unique, prefixes, frozenset(term for term in unique if german and len(term) >= PART_CHARS))


def words(text: str) -> list[str]:
    """Words as written, without white space and punctuation."""
    return _WORD.findall(text)


def terms(text: str, language: Language = Language.ENGLISH) -> tuple[str, ...]:
    """Stems of the words that carry meaning, in order."""
    stop_words = STOP_WORDS[language]
    return tuple(stem(word, language) for word in (found.lower() for found in words(text)) if word not in stop_words)


def _shares_part(one: str, other: str) -> bool:
    return one.isalpha() and (other.endswith(one) or other.startswith(one) or one.endswith(other))
