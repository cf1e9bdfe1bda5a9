"""Geometry of charts: numbers in, coordinates out. Pure. Templates draw them as SVG with attributes and classes alone,
since the content security policy allows no inline style, and set a table beside each."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

WIDTH: Final = 600
WIDE: Final = 1_240
HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 10, 26
_TICKS: Final = 4
_MOST_LABELS: Final = 8
_LABEL: Final = 24  # half the width of a label
_FILLED: Final = 0.78  # of the room of a category


class Tick(Struct, frozen=True):
    """A line across, with the value it stands for."""

    y: float
    value: float


class Label(Struct, frozen=True):
    """A word below a category; `anchor` keeps the outer ones inside."""

    x: float
    text: str
    anchor: str


class Bar(Struct, frozen=True):
    """A part of a column. `series` names its class, `title` what it stands for."""

    x: float
    y: float
    width: float
    height: float
    series: str
    title: str


class Dot(Struct, frozen=True):
    x: float
    y: float
    title: str


class Line(Struct, frozen=True):
    """Stretches of known values; a category without a value ends one. `dots` stand at every value."""

    series: str
    stretches: tuple[str, ...]
    dots: tuple[Dot, ...]


class Columns(Struct, frozen=True):
    ticks: tuple[Tick, ...]
    labels: tuple[Label, ...]
    bars: tuple[Bar, ...]


class Lines(Struct, frozen=True):
    ticks: tuple[Tick, ...]
    labels: tuple[Label, ...]
    lines: tuple[Line, ...]


def columns(categories: Sequence[str], series: Mapping[str, Sequence[int]], width: int = WIDTH) -> Columns:
    """Stacked columns, the first series at the bottom; each series has a value for every category, none below 0."""
    top = nice(max((sum(values) for values in zip(*series.values(), strict=True)), default=0))
    room = _room(categories, width)
    bars = []
    for at, category in enumerate(categories):
        below = 0
        for name, values in series.items():
            if values[at]:
                start, end = _y(below, top), _y(below + values[at], top)
                x = _LEFT + at * room + room * (1 - _FILLED) / 2
                title = f"{category}: {values[at]:,} {name}"
                bars.append(Bar(_short(x), end, _short(room * _FILLED), _short(start - end), name, title))
                below += values[at]
    return Columns(_ticks(top), _labels(categories, width), tuple(bars))


def lines(categories: Sequence[str], series: Mapping[str, Sequence[float | None]], unit: str) -> Lines:
    """A line a series; `None` where there is no value."""
    top = nice(max((value for values in series.values() for value in values if value is not None), default=0))
    drawn = []
    for name, values in series.items():
        dots = [
            Dot(_x(at, categories, WIDTH), _y(value, top), f"{category}: {name} {value:,.0f} {unit}")
            if value is not None
            else None
            for at, (category, value) in enumerate(zip(categories, values, strict=True))
        ]
        drawn.append(Line(name, tuple(_stretches(dots)), tuple(dot for dot in dots if dot is not None)))
    return Lines(_ticks(top), _labels(categories, WIDTH), tuple(drawn))


def nice(value: float) -> float:
    """A top of the scale of at least `value` that divides into round ticks; 4 for nothing at all."""
    if value <= _TICKS:
        return float(_TICKS)
    step = value / _TICKS
    magnitude = 10 ** math.floor(math.log10(step))
    rounded = next((m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= step and (m != 2.5 or magnitude > 1)), 10)
    return float(rounded * magnitude * _TICKS)


def _stretches(dots: Sequence[Dot | None]) -> list[str]:
    found: list[list[str]] = []
    for before, dot in pairwise([None, *dots]):
        if dot is None:
            continue
        if before is None:
            found.append([])
        found[-1].append(f"{dot.x},{dot.y}")
    return [" ".join(points) for points in found if len(points) > 1]


def _room(categories: Sequence[str], width: int) -> float:
    return (width - _LEFT - _RIGHT) / max(1, len(categories))


def _x(at: int, categories: Sequence[str], width: int) -> float:
    return _short(_LEFT + (at + 0.5) * _room(categories, width))


def _y(value: float, top: float) -> float:
    return _short(HEIGHT - _BOTTOM - value / top * (HEIGHT - _TOP - _BOTTOM))


def _short(number: float) -> float:
    return round(number, 1)


def _ticks(top: float) -> tuple[Tick, ...]:
    return tuple(Tick(_y(top * step / _TICKS, top), top * step / _TICKS) for step in range(_TICKS + 1))


def _labels(categories: Sequence[str], width: int) -> tuple[Label, ...]:
    every = -(-len(categories) // _MOST_LABELS) or 1
    return tuple(
        Label(_x(at, categories, width), text, "end" if _x(at, categories, width) > width - _LABEL else "middle")
        for at, text in enumerate(categories)
        if at % every == 0
    )
