"""How well a unit answers a question: a few overlaps, weighed by a logistic regression.

The weights were fitted on questions over encyclopedia paragraphs (XQuAD, English), each with the paragraph that
holds the answer, its neighbours and strangers, and are checked on articles that were not used for fitting. They
know no domain. Scores lie in 0..1, rank, and say "no answer" below a threshold; they are not probabilities.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.ports import Embedder
from gateway.upstream.terms import terms
from gateway.upstream.units import Unit

EMBEDDED_UNITS: Final = 6  # nearness is computed for the lexically best units only: 2-15 ms each

_ASKS_NUMBER: Final = re.compile(
    r"\b(?:how (?:many|much|long|old|far|often|high|large|big|fast|soon|late|early)|percent(?:age)?"
    r"|what (?:number|amount)|(?:fees?|costs?|price|limit|rate|charge[ds]?|minimum|maximum|deadline))\b",
    re.IGNORECASE,
)
_ASKS_DATE: Final = re.compile(
    r"\b(?:when|(?:what|which|in what) (?:year|date|day|month|century|decade))\b", re.IGNORECASE
)
_ASKS_NAME: Final = re.compile(
    r"\b(?:who|whose|whom|where|(?:what|which) (?:person|city|country|place|company|team|state))\b", re.IGNORECASE
)
_SPARE: Final = 0.5  # as if every term were in half a unit more than it is


class Question(Struct, frozen=True):
    """What is compared: distinct terms in order, pairs of neighbours, names and numbers."""

    text: str
    terms: tuple[str, ...]
    pairs: frozenset[tuple[str, str]]
    marks: frozenset[str]  # terms written with a capital or a digit: names, numbers

    def __repr__(self) -> str:
        return f"Question({len(self.terms)} terms)"


class Weights(Struct, frozen=True, kw_only=True):
    """One weight per feature of `features`, and the score from which a unit answers."""

    bias: float
    own: float
    context: float
    neighbours: float
    passage: float
    pairs: float
    marks: float
    asked: float
    length: float
    near: float
    threshold: float


class Ranked(Struct, frozen=True):
    """`passage` and `unit` are indexes into what was ranked."""

    passage: int
    unit: int
    score: float


def read_question(text: str) -> Question:
    found = terms(text)
    capitals = re.findall(r"(?<=\s)[\"“‘(]?([A-Z][\w'’-]*|\d[\d.,]*)", text)
    marks = frozenset(term for word in capitals for term in terms(word))
    return Question(text, tuple(dict.fromkeys(found)), frozenset(pairwise(found)), marks)


def rank(
    question: Question, passages: Sequence[Sequence[Unit]], embedder: Embedder | None
) -> tuple[list[Ranked], Weights]:
    """All units, best first; ties keep the order of the passages. Blocking if there is an embedder; deterministic."""
    found = [(index, number) for index, units in enumerate(passages) for number in range(len(units))]
    if not found or not question.terms:
        return [], LEXICAL
    rows = features(question, passages)
    weights = LEXICAL
    scores = _logistic(rows @ _vector(LEXICAL) + LEXICAL.bias)
    if embedder is not None:
        weights = SEMANTIC
        best = np.argsort(-scores, kind="stable")[:EMBEDDED_UNITS]
        chosen = [passages[found[at][0]][found[at][1]] for at in best]
        vectors = embedder.embed([question.text, *(f"{unit.lead} {unit.text}".strip() for unit in chosen)])
        near = vectors[1:] @ vectors[0]
        semantic = np.zeros(len(found))  # a unit that was not embedded answers nothing
        semantic[best] = _logistic(rows[best] @ _vector(SEMANTIC) + SEMANTIC.near * near + SEMANTIC.bias)
        scores = semantic
    order = np.argsort(-scores, kind="stable")
    return [Ranked(found[at][0], found[at][1], float(scores[at])) for at in order], weights


def features(question: Question, passages: Sequence[Sequence[Unit]]) -> NDArray[np.float64]:
    """One row per unit in order, one column per lexical weight in the order of `Weights`."""
    units = [unit for passage in passages for unit in passage]
    own = np.array([[unit.own.match(term) for term in question.terms] for unit in units])
    rarity = np.log((len(units) + 1) / (_SPARE + np.count_nonzero(own, axis=0)))
    rarity = np.maximum(rarity, _LEAST_RARITY)
    share = rarity / rarity.sum()
    around = np.maximum(own, [[_CONTEXT * unit.context.match(term) for term in question.terms] for unit in units])
    beside = _beside(around, [len(passage) for passage in passages])
    whole = _whole(around, [len(passage) for passage in passages])
    marked = np.array([term in question.marks for term in question.terms])
    marks_share = np.where(marked, share, 0.0)
    pairs = np.array([len(question.pairs.intersection(pairwise(unit.terms))) for unit in units])
    return np.column_stack(
        [
            own @ share,
            (around - own) @ share,
            np.maximum(beside - around, 0.0) @ share,
            whole @ share,
            pairs / max(1, len(question.pairs)),
            around @ marks_share - marks_share.sum(),
            [_asked(question.text, unit) for unit in units],
            [math.log1p(len(unit.terms)) for unit in units],
        ]
    )


def _beside(matches: NDArray[np.float64], sizes: Sequence[int]) -> NDArray[np.float64]:
    """The better match of the unit before and the unit after, within a passage."""
    result = np.zeros_like(matches)
    start = 0
    for size in sizes:
        part, target = matches[start : start + size], result[start : start + size]
        if size > 1:
            target[1:] = part[:-1]
            target[:-1] = np.maximum(target[:-1], part[1:])
        start += size
    return result


def _whole(matches: NDArray[np.float64], sizes: Sequence[int]) -> NDArray[np.float64]:
    """The best match within the passage, for each of its units."""
    parts = np.split(matches, np.cumsum(sizes)[:-1])
    return np.concatenate([np.broadcast_to(part.max(axis=0), part.shape) if len(part) else part for part in parts])


def _asked(question: str, unit: Unit) -> float:
    """1 if the unit holds what the question asks for (a number, a date, a name), -1 if not, 0 if nobody knows."""
    if _ASKS_DATE.search(question):
        return 1.0 if unit.date or unit.number else -1.0
    if _ASKS_NUMBER.search(question):
        return 1.0 if unit.number else -1.0
    if _ASKS_NAME.search(question):
        return 1.0 if unit.name else -1.0
    return 0.0


def _logistic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-values)))


def _vector(weights: Weights) -> NDArray[np.float64]:
    return np.array(
        [
            weights.own,
            weights.context,
            weights.neighbours,
            weights.passage,
            weights.pairs,
            weights.marks,
            weights.asked,
            weights.length,
        ]
    )


_CONTEXT: Final = 0.8  # a heading says what its text is about, less surely than the text itself
_LEAST_RARITY: Final = 0.1  # a term that is everywhere still counts a little

# `context` is 0.6 of `own`, chosen and not fitted: the paragraphs of the fit have no headings.
LEXICAL: Final = Weights(
    bias=-6.37,
    own=6.17,
    context=3.70,
    neighbours=0.90,
    passage=2.16,
    pairs=2.47,
    marks=1.27,
    asked=0.40,
    length=0.14,
    near=0.0,
    threshold=0.10,
)
SEMANTIC: Final = Weights(
    bias=-8.85,
    own=4.77,
    context=2.86,
    neighbours=0.75,
    passage=1.84,
    pairs=1.61,
    marks=0.58,
    asked=0.33,
    length=0.32,
    near=5.38,
    threshold=0.13,
)
