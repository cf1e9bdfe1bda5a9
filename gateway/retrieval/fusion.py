"""Reciprocal rank fusion of several rankings into one.

Cormack, Clarke, Buettcher: Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods,
SIGIR 2009. Needs ranks only, so scores of different kinds never have to be made comparable.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

RRF_K: Final = 60  # the paper's constant


class Fused(Struct, frozen=True):
    """An item and its score: 1 for the first of every ranking, falling towards 0."""

    item: int
    score: float


def reciprocal_rank_fusion(rankings: Sequence[Sequence[int]], *, k: int = RRF_K) -> list[Fused]:
    """All items of the rankings, best first. A ranking names an item once. Of equal scores the one that an earlier
    ranking names first comes first, so the ranking to be trusted more goes first.

    The score is the paper's sum of `1 / (k + rank)`, ranks from 1, divided by its greatest possible value.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (k + rank)
    greatest = len(rankings) / (k + 1)
    ordered = sorted(scores.items(), key=lambda entry: -entry[1])  # stable: ties stay in order of appearance
    return [Fused(item, score / greatest) for item, score in ordered]
