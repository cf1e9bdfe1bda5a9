"""How well a unit answers a question: a few overlaps, weighed by a logistic regression.

The weights were fitted on questions over encyclopedia paragraphs (XQuAD in three languages), questions over two joined
sources (HaluEval) and questions about a bank's documents (Rho-Bank: bullet points, and questions of our own), each with
passages that hold the answer and others that speak of the same subject and do not, and are checked on articles and
documents that were not used for fitting. `order` is a conditional logit over the units of a question that has an
answer (D. McFadden, "Conditional logit analysis of qualitative choice behavior", 1974), `answers` a logistic
regression on the best unit of every question. What they give lies in 0..1 and is no probability.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from gateway.domain.ports import Embedder
from gateway.upstream.asking import Kind
from gateway.upstream.languages import Language
from gateway.upstream.question import Question
from gateway.upstream.units import Unit, UnitKind

EMBEDDED_UNITS: Final = 6  # nearness is computed for the lexically best units only: 2-15 ms each

_SPARE: Final = 0.5  # as if every term were in half a unit more than it is
_CONTEXT: Final = 0.8  # a heading says what its text is about, less surely than the text itself
_IMPLIED: Final = 0.6
_LEAST_RARITY: Final = 0.1  # a term that is everywhere still counts a little
_LOOSE: Final = frozenset({Kind.NUMBER, Kind.DATE, Kind.TIME, Kind.DURATION, Kind.MONEY, Kind.PERCENT, Kind.CONTACT})


class Weights(Struct, frozen=True, kw_only=True):
    """One weight per feature of `features`, in their order."""

    own: float
    context: float
    neighbours: float
    passage: float
    pairs: float
    marks: float
    asked: float
    exact: float
    length: float
    covered: float
    gap: float = 0.0
    terms: float = 0.0  # alike for all units of one question: no matter of order
    near: float = 0.0
    bias: float = 0.0


class Model(Struct, frozen=True, kw_only=True):
    """`order` says which unit is best, `answers` whether it answers: it does from `threshold` on."""

    order: Weights
    answers: Weights
    threshold: float


class Ranked(Struct, frozen=True):
    """`passage` and `unit` are indexes into what was ranked. `score` compares units of one question: 1 for the best,
    less for each other one, as odds. `answers` lies in 0..1."""

    passage: int
    unit: int
    score: float
    answers: float


class Ranking(Struct, frozen=True):
    """All units, best first. `shares[i]` is the part of the question that term i makes up, rare terms more;
    `threshold` is the value of `answers` from which a unit answers."""

    units: tuple[Ranked, ...] = ()
    shares: tuple[float, ...] = ()
    threshold: float = 1.0

    @property
    def margin(self) -> float:
        """The best unit's `answers` as a part of the threshold; 0 without units."""
        return self.units[0].answers / self.threshold if self.units else 0.0


def rank(question: Question, passages: Sequence[Sequence[Unit]], embedder: Embedder | None) -> Ranking:
    """Ties keep the order of the passages. Blocking if there is an embedder; deterministic."""
    found = [(index, number) for index, units in enumerate(passages) for number in range(len(units))]
    if not found or not question.terms:
        return Ranking()
    rows, shares = features(question, passages)
    model = LEXICAL
    at = np.argsort(-(rows @ _vector(model.order)), kind="stable")
    if embedder is not None and question.language is Language.ENGLISH:  # the packaged model reads English
        model = SEMANTIC
        at = at[:EMBEDDED_UNITS]  # a unit that was not embedded answers nothing
        chosen = [passages[found[index][0]][found[index][1]] for index in at]
        vectors = embedder.embed([question.text, *(f"{unit.lead} {unit.text}".strip() for unit in chosen)])
        rows[at, -1] = vectors[1:] @ vectors[0]
    order = rows[at] @ _vector(model.order)
    answers = rows[at] @ _vector(model.answers) + model.answers.bias
    best_first = np.argsort(-order, kind="stable")
    top = order[best_first[0]]
    ranked = tuple(
        Ranked(
            found[at[index]][0],
            found[at[index]][1],
            math.exp(order[index] - top),
            1.0 / (1.0 + math.exp(-answers[index])),
        )
        for index in best_first
    )
    return Ranking(ranked, tuple(shares.tolist()), model.threshold)


def features(question: Question, passages: Sequence[Sequence[Unit]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One row per unit in order, one column per weight (nearness left 0); and the share of each term."""
    units = [unit for passage in passages for unit in passage]
    sizes = [len(passage) for passage in passages]
    own = np.array([[_match(question, term, unit) for term in question.terms] for unit in units])
    around = np.maximum(own, [[_CONTEXT * unit.context.match(term) for term in question.terms] for unit in units])
    rarity = np.log((len(units) + 1) / (_SPARE + np.count_nonzero(around, axis=0)))
    rarity = np.maximum(rarity, _LEAST_RARITY) * np.array(question.weights)
    share = rarity / rarity.sum()
    beside = _beside(around, sizes)
    whole = _whole(around, sizes)
    marked = np.array([term in question.marks for term in question.terms])
    marks_share = np.where(marked, share, 0.0)
    pairs = np.array([len(question.pairs.intersection(pairwise(unit.terms))) for unit in units])
    rows = np.column_stack(
        [
            own @ share,
            (around - own) @ share,
            np.maximum(beside - around, 0.0) @ share,
            whole @ share,
            pairs / max(1, len(question.pairs)),
            around @ marks_share - marks_share.sum(),
            [_asked(question.kinds, unit) for unit in units],
            [_exact(question.kinds, unit) for unit in units],
            [math.log1p(len(unit.terms)) for unit in units],
            (np.maximum(around, beside) > 0).mean(axis=1),
            np.array([unit.kind is UnitKind.ROW for unit in units]) * float(share @ (around.max(axis=0) == 0.0)),
            np.full(len(units), math.log1p(len(question.terms))),
            np.zeros(len(units)),
        ]
    )
    return rows, share


def _match(question: Question, term: str, unit: Unit) -> float:
    """What a question asks by ("rate", "fee") need not be said where the text holds it (a percentage)."""
    found = unit.own.match(term)
    if term in question.implied and _exact(question.kinds, unit) > 0:
        return max(found, _IMPLIED)
    return found


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


def _asked(kinds: frozenset[Kind], unit: Unit) -> float:
    """1 if the unit holds what the question asks for, loosely (any number for an amount), -1 if not, 0 if nobody
    knows."""
    if not kinds:
        return 0.0
    wanted = kinds | {Kind.NUMBER} if kinds & _LOOSE else kinds
    return 1.0 if wanted & unit.kinds else -1.0


def _exact(kinds: frozenset[Kind], unit: Unit) -> float:
    """As `_asked`, but an amount of money must be one; 0 where only a number or a name is asked for."""
    exact = kinds - {Kind.NUMBER, Kind.NAME}
    if not exact:
        return 0.0
    return 1.0 if exact & unit.kinds else -1.0


def _vector(weights: Weights) -> NDArray[np.float64]:
    return np.array(structs.astuple(weights)[:-1])  # the last one, the bias, has no feature


LEXICAL: Final = Model(
    order=Weights(
        own=4.57,
        context=2.74,
        neighbours=-1.57,
        passage=6.81,
        pairs=0.62,
        marks=-2.07,
        asked=1.38,
        exact=0.77,
        length=-0.08,
        covered=5.37,
    ),
    answers=Weights(
        own=2.20,
        context=1.32,
        neighbours=-0.79,
        passage=0.15,
        pairs=0.81,
        marks=1.75,
        asked=-0.19,
        exact=0.50,
        length=0.59,
        covered=3.10,
        gap=-1.25,
        terms=0.73,
        bias=-6.20,
    ),
    threshold=0.30,
)
SEMANTIC: Final = Model(
    order=Weights(
        own=2.99,
        context=1.80,
        neighbours=-1.40,
        passage=5.63,
        pairs=0.77,
        marks=-3.06,
        asked=1.18,
        exact=0.76,
        length=-0.15,
        covered=5.03,
        near=2.59,
    ),
    answers=Weights(
        own=1.20,
        context=0.72,
        neighbours=-0.86,
        passage=0.21,
        pairs=0.75,
        marks=1.00,
        asked=-0.20,
        exact=0.53,
        length=0.72,
        covered=2.40,
        gap=-0.91,
        terms=0.31,
        near=2.80,
        bias=-6.56,
    ),
    threshold=0.36,
)
