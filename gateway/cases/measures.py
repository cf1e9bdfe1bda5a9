"""Figures with their uncertainty: shares with Wilson's interval, agreement as Cohen's kappa. Pure."""

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

_Z95: Final = 1.959963984540054


class Share(Struct, frozen=True, kw_only=True):
    """`hits` of `total`, with the 95 % interval of Wilson (1927), which is sound for few and for extreme cases.
    `value` is 0 where there is nothing to count, and the interval then is 0..1."""

    hits: int
    total: int
    value: float
    low: float
    high: float


def share(hits: int, total: int) -> Share:
    if not total:
        return Share(hits=0, total=0, value=0.0, low=0.0, high=1.0)
    value = hits / total
    scale = 1 + _Z95**2 / total
    middle = (value + _Z95**2 / (2 * total)) / scale
    spread = _Z95 * math.sqrt(value * (1 - value) / total + _Z95**2 / (4 * total**2)) / scale
    return Share(hits=hits, total=total, value=value, low=max(0.0, middle - spread), high=min(1.0, middle + spread))


class Agreement(Struct, frozen=True, kw_only=True):
    """How far two reviewers of the same cases agree beyond chance. `kappa` is `None` where it is not defined: no
    cases, or only one verdict was ever given. The interval is the 95 % one of the large-sample error."""

    cases: int
    agreed: int
    kappa: float | None = None
    low: float | None = None
    high: float | None = None


def agreement(pairs: Sequence[tuple[str, str]]) -> Agreement:
    """Cohen (1960); standard error of Fleiss, Cohen and Everitt (1969), equation 13."""
    total = len(pairs)
    agreed = sum(first == second for first, second in pairs)
    kinds = sorted({verdict for pair in pairs for verdict in pair})
    if not total or len(kinds) < 2:
        return Agreement(cases=total, agreed=agreed)
    cell = {(i, j): sum(pair == (i, j) for pair in pairs) / total for i in kinds for j in kinds}
    rows = {i: sum(cell[i, j] for j in kinds) for i in kinds}
    columns = {j: sum(cell[i, j] for i in kinds) for j in kinds}
    observed = sum(cell[i, i] for i in kinds)
    expected = sum(rows[i] * columns[i] for i in kinds)
    rest = 1 - expected
    kappa = (observed - expected) / rest
    same = sum(cell[i, i] * (rest - (rows[i] + columns[i]) * (1 - observed)) ** 2 for i in kinds)
    apart = (1 - observed) ** 2 * sum(cell[i, j] * (columns[i] + rows[j]) ** 2 for i in kinds for j in kinds if i != j)
    variance = (same + apart - (observed * expected - 2 * expected + observed) ** 2) / (total * rest**4)
    spread = _Z95 * math.sqrt(max(0.0, variance))
    return Agreement(
        cases=total, agreed=agreed, kappa=kappa, low=max(-1.0, kappa - spread), high=min(1.0, kappa + spread)
    )
