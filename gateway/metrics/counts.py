"""Counters and histograms of one process, and their sum with those of others.

An update is a dictionary look-up and an addition. Label values are bounded per family: what comes later counts as
`other`, so that no caller can make the node remember without end.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

OTHER: Final = "other"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MICROSECONDS: Final = 1_000_000

Labels = tuple[str, ...]


class Family(Struct, frozen=True, kw_only=True):
    """One metric: its name without the suffix that its kind adds, its meaning, its labels and how many combinations of
    them are told apart. `buckets` make it a histogram."""

    name: str
    about: str
    labels: Labels = ()
    most: int = 500
    buckets: tuple[float, ...] = ()


class Snapshot(Struct, frozen=True, kw_only=True):
    """The values of all families by name: of a counter one number per combination of labels; of a histogram how many
    observations fell into each bucket and above the last, and their sum in microseconds."""

    counters: dict[str, list[tuple[Labels, int]]] = {}
    histograms: dict[str, list[tuple[Labels, list[int], int]]] = {}


class Counter:
    """Counts per combination of labels. Belongs to one event loop."""

    __slots__ = ("_most", "_width", "values")

    def __init__(self, family: Family) -> None:
        self._most = family.most
        self._width = len(family.labels)
        self.values: dict[Labels, int] = {}

    def add(self, labels: Labels, amount: int = 1) -> None:
        values = self.values
        known = values.get(labels)
        if known is None and len(values) >= self._most:
            labels = (OTHER,) * self._width
            known = values.get(labels)
        values[labels] = amount if known is None else known + amount


class Histogram:
    """How long things took, per combination of labels. Belongs to one event loop."""

    __slots__ = ("_buckets", "_most", "_width", "values")

    def __init__(self, family: Family) -> None:
        self._buckets = [round(bound * MICROSECONDS) for bound in family.buckets]
        self._most = family.most
        self._width = len(family.labels)
        self.values: dict[Labels, list[int]] = {}  # counts, and the sum behind them

    def observe(self, labels: Labels, microseconds: int) -> None:
        known = self.values.get(labels)
        if known is None:
            if len(self.values) >= self._most:
                labels = (OTHER,) * self._width
            known = self.values.setdefault(labels, [0] * (len(self._buckets) + 2))
        known[bisect_left(self._buckets, microseconds)] += 1
        known[-1] += microseconds


class Counts:
    """All families of a process."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._counters = {one.name: Counter(one) for one in families if not one.buckets}
        self._histograms = {one.name: Histogram(one) for one in families if one.buckets}

    def counter(self, name: str) -> Counter:
        return self._counters[name]

    def histogram(self, name: str) -> Histogram:
        return self._histograms[name]

    def snapshot(self) -> Snapshot:
        """The values as they are now."""
        return Snapshot(
            counters={name: list(one.values.items()) for name, one in self._counters.items() if one.values},
            histograms={
                name: [(labels, values[:-1], values[-1]) for labels, values in one.values.items()]
                for name, one in self._histograms.items()
                if one.values
            },
        )


def summed(snapshots: Sequence[Snapshot]) -> Snapshot:
    """The sum of processes. Histograms with other buckets, of an earlier release, are left out."""
    counters: dict[str, dict[Labels, int]] = {}
    histograms: dict[str, dict[Labels, tuple[list[int], int]]] = {}
    for snapshot in snapshots:
        for name, rows in snapshot.counters.items():
            family = counters.setdefault(name, {})
            for labels, value in rows:
                family[labels] = family.get(labels, 0) + value
        for name, entries in snapshot.histograms.items():
            own = histograms.setdefault(name, {})
            for labels, counts, total in entries:
                known, before = own.get(labels, ([0] * len(counts), 0))
                if len(known) == len(counts):
                    own[labels] = [a + b for a, b in zip(known, counts, strict=True)], before + total
    return Snapshot(
        counters={name: sorted(rows.items()) for name, rows in counters.items()},
        histograms={
            name: [(labels, counts, total) for labels, (counts, total) in sorted(own.items())]
            for name, own in histograms.items()
        },
    )


class Gauge(Struct, frozen=True, kw_only=True):
    """A value that goes up and down, as it is when somebody looks. Of several processes the largest counts, with
    `least` the smallest."""

    name: str
    about: str
    labels: Mapping[str, str] = {}
    value: float
    least: bool = False
