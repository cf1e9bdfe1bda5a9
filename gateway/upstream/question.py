"""A question as it is compared with units: its terms, what it asks for, and its parts.

"What does it cost, and when is it due?" asks twice. Each part is answered by itself; what the first part names is
carried to the parts that leave it out.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from msgspec import Struct

from gateway.upstream.asking import IMPLIED, Kind, asked_kinds
from gateway.upstream.languages import Language, language_of
from gateway.upstream.terms import terms
from gateway.upstream.units import split_sentences

MAX_PARTS: Final = 4
MAX_CHARS: Final = 4_000  # of a question; the time to read it grows with its terms
_CARRIED: Final = 0.5  # the weight of a term that another part of the question names
_FEW_TERMS: Final = 2  # a part with no more of its own depends on the part before
_PREPOSITIONS: Final = (
    "(?:(?:about|after|at|by|for|from|in|on|to|until|up to|with|within|um|bis|ab|von|in|a|de|en|hasta|desde) )?"
)
_INTERROGATIVES: Final = {
    Language.ENGLISH: "how|what|when|where|which|who|whom|whose|why",
    Language.GERMAN: "wie|was|wann|wo|woher|wohin|welche[mnrs]?|wer|wem|wen|wessen|warum|wieso",
    Language.SPANISH: "cómo|qué|cuál(?:es)?|cuándo|cuánt[oa]s?|dónde|quién(?:es)?|por qué",
}
_AND: Final = {Language.ENGLISH: "and|as well as", Language.GERMAN: "und|sowie", Language.SPANISH: "y|e"}
_JOINT: Final = {
    language: re.compile(
        rf"\s*[,;]?\s+(?:{_AND[language]})(?:,? also)?,?\s+(?={_PREPOSITIONS}(?:{words})\b)", re.IGNORECASE
    )
    for language, words in _INTERROGATIVES.items()
}
_POINTS_BACK: Final = {
    Language.ENGLISH: re.compile(
        r"\b(?:it|its|they|them|their|this|that|these|those|one|he|she|his|her)\b", re.IGNORECASE
    ),
    Language.GERMAN: re.compile(r"\b(?:es|er|sie|ihn|ihr|ihm|davon|dafür|damit|dies\w*|das)\b", re.IGNORECASE),
    Language.SPANISH: re.compile(r"\b(?:lo|la|los|las|ello|esto|eso|este|esta|ese|esa|él|ella)\b", re.IGNORECASE),
}
_MARK: Final = re.compile(r"(?<=\s)[\"“‘(]?([^\W\d_a-zäöüßáéíóúñ][\w'’-]*|\d[\d.,]*)")


class Question(Struct, frozen=True):
    """What is compared: distinct terms in order with the weight of each (1, less for a carried one), pairs of
    neighbours, terms written with a capital or a digit, the kinds of which an answer should hold one, and the terms
    that name those kinds."""

    text: str
    language: Language
    terms: tuple[str, ...]
    weights: tuple[float, ...]
    pairs: frozenset[tuple[str, str]]
    marks: frozenset[str]
    kinds: frozenset[Kind]
    implied: frozenset[str]

    def __repr__(self) -> str:
        return f"Question({self.language.value}, {len(self.terms)} terms)"


def read_question(text: str, language: Language | None = None, before: "Question | None" = None) -> Question:
    """`before` is the part of the question that this one needs to be understood."""
    spoken = language_of(text) if language is None else language
    found = terms(text, spoken)
    # German nouns have capitals too, so only numbers stand out there
    words = [word for word in _MARK.findall(text) if spoken is not Language.GERMAN or word[0].isdigit()]
    own = tuple(dict.fromkeys(found))
    more = tuple(term for term in before.terms if term not in own) if before else ()
    return Question(
        f"{before.text} {text}" if before else text,
        spoken,
        own + more,
        (1.0,) * len(own) + (_CARRIED,) * len(more),
        frozenset(pairwise(found)),
        frozenset(term for word in words for term in terms(word, spoken)),
        asked_kinds(text, spoken),
        IMPLIED[spoken].intersection(found),
    )


def readings(text: str) -> tuple[tuple[Question, ...], ...]:
    """The parts of a question that each want an answer; for each part the ways to read it, of which the best counts.

    A single question is read with all that is told around it, and by itself: what else a person tells should not hide
    it.
    """
    flat = " ".join(text.split())
    if len(flat) > MAX_CHARS:
        flat = f"{flat[: MAX_CHARS // 2]} {flat[-MAX_CHARS // 2 :]}"  # people ask first or last
    language = language_of(flat)
    sentences = split_sentences(flat)
    asking = [sentence for sentence in sentences if sentence.endswith("?")] if len(sentences) > 1 else []
    parts = list(_parts(asking or [flat], language))[:MAX_PARTS]
    if len(parts) == 1:
        whole = (read_question(flat, language),)
        return ((*whole, parts[0]) if asking else whole,)
    return tuple((part,) for part in parts)


def _parts(sentences: list[str], language: Language) -> Iterator[Question]:
    first: Question | None = None
    for sentence in sentences:
        for text in _JOINT[language].split(sentence):
            own = terms(text, language)
            depends = len(own) <= _FEW_TERMS or _POINTS_BACK[language].search(text) is not None
            part = read_question(text, language, first if depends else None)
            first = first or part
            yield part
