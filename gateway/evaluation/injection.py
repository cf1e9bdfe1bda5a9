"""Measures for detectors of attacks: ranking, recall at a budget of false alarms, rates with their uncertainty.

All functions are pure. Scores are higher for attacks; a text is caught when its score reaches the threshold.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

_Z95: Final = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


class Rate(Struct, frozen=True, kw_only=True):
    """A share of `hits` in `total`, with the bounds of its 95 % Wilson interval; `0..1` for no cases at all."""

    hits: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.hits / self.total if self.total else math.nan

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] of {self.total}"


class OperatingPoint(Struct, frozen=True, kw_only=True):
    """A threshold, with the share of attacks caught and of benign texts stopped at it."""

    threshold: float
    recall: Rate
    false_alarms: Rate


def wilson(hits: int, total: int) -> Rate:
    """Wilson (1927) score interval: sound for small samples and for rates near 0 and 1."""
    if not 0 <= hits <= total:
        raise ValueError(f"hits must lie in 0..{total}, not `{hits}`")
    if total == 0:
        return Rate(hits=0, total=0, low=0.0, high=1.0)
    share, square = hits / total, _Z95 * _Z95 / total
    centre = (share + square / 2) / (1 + square)
    half = _Z95 * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    low = 0.0 if hits == 0 else centre - half  # rounding would leave 1e-17
    high = 1.0 if hits == total else centre + half
    return Rate(hits=hits, total=total, low=low, high=high)


def passed(benign: ArrayLike, threshold: float) -> Rate:
    """Share of benign texts whose score stays below the threshold."""
    scores = _finite(benign)
    return wilson(int((scores < threshold).sum()), len(scores))


def caught(attacks: ArrayLike, threshold: float) -> Rate:
    """Share of attacks whose score reaches the threshold."""
    scores = _finite(attacks)
    return wilson(int((scores >= threshold).sum()), len(scores))


def auroc(attacks: ArrayLike, benign: ArrayLike) -> float:
    """Probability that a random attack scores higher than a random benign text, ties counting half (Mann and Whitney
    1947). `nan` if a side is empty. O(n log n)."""
    positive, negative = _finite(attacks), _finite(benign)
    if not len(positive) or not len(negative):
        return math.nan
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    up_to = np.searchsorted(ordered, positive, side="right")
    return float((below + up_to).sum() / 2 / len(positive) / len(negative))


def threshold_for_budget(benign: ArrayLike, budget: float) -> float:
    """The smallest threshold at which at most `budget` (0..1) of the benign texts are stopped."""
    if not 0 <= budget <= 1:
        raise ValueError(f"a budget of false alarms lies in 0..1, not `{budget}`")
    scores = np.sort(_finite(benign))[::-1]
    allowed = math.floor(budget * len(scores) + 1e-9)
    if allowed >= len(scores):
        return -math.inf
    return float(np.nextafter(scores[allowed], np.inf))


def recall_at_budget(attacks: ArrayLike, benign: ArrayLike, budget: float) -> OperatingPoint:
    """The operating point with the highest recall within a budget of false alarms."""
    threshold = threshold_for_budget(benign, budget)
    stopped = caught(benign, threshold)
    return OperatingPoint(threshold=threshold, recall=caught(attacks, threshold), false_alarms=stopped)


def worst(rates: Sequence[Rate]) -> Rate:
    """The rate with the lowest value; a mean over sources hides the one that fails."""
    return min(rates, key=lambda rate: rate.value)


def _finite(scores: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(scores, dtype=np.float64).reshape(-1)
    if not np.isfinite(array).all():
        raise ValueError("scores must be finite numbers")
    return array
