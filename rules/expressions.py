"""Many RE2 expressions looked for in one pass: which of them match, and spans only for those that do.

A set costs one scan of a deterministic automaton, 2-4 ns a byte, whether it holds ten expressions or a thousand;
no expression can make it slower than linear (Cox, "Regular Expression Matching in the Wild", 2010). Spans are
computed by the single expressions that the set named. `\\b`, `\\w` and `\\s` are ASCII in RE2; `\\pL` is Unicode.

Thread-safe; the automata grow lazily inside RE2 under its own locks, within a fixed budget of memory.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final

import numpy as np
import re2
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import Finding
from rules.normalise import NORMALISE_VERSION, View, normalise

EXPRESSIONS_VERSION: Final = f"1+{NORMALISE_VERSION}"
"""Part of the version of each detector built on this module."""

MAX_MATCHES: Final = 1_000
"""Matches of one expression that are looked at in one text. What follows counts as one finding that reaches to the
end of the text: whoever repeats a match a thousand times gets neither our time nor an uncovered rest."""

SET_MEMORY: Final = 64 * 1024 * 1024
"""Bytes a set may use: a bound and not a reservation, 5,000 expressions take a few."""

_SENTINEL: Final = r"\z"  # matches every text, at its end only, so that it costs nothing
_LONGEST_CAUSE: Final = 120


class Reading:
    """A text in the form that is searched: UTF-8, with the way back to code points of the received text."""

    __slots__ = ("_points", "data", "view")

    def __init__(self, view: View) -> None:
        self.view = view
        # A lone surrogate becomes `?`: one byte for one code point, and a boundary of words.
        self.data = view.text.encode("utf-8", "replace")
        self._points: NDArray[np.int32] | None = None

    @property
    def text(self) -> str:
        return self.view.text

    def point(self, offset: int) -> int:
        """Code point of the read text at a byte offset that begins one."""
        if len(self.data) == len(self.view.text):
            return offset
        if self._points is None:
            lead_bytes = (np.frombuffer(self.data, np.uint8) & 0xC0) != 0x80
            self._points = np.concatenate(([0], np.cumsum(lead_bytes, dtype=np.int32)), dtype=np.int32)
        return int(self._points[offset])


@lru_cache(maxsize=4)  # the detectors of one inspection read the same new text one after the other
def readings(text: str) -> tuple[Reading, ...]:
    """The text as received and, where that differs, as a reader sees it."""
    received = Reading(View(text))
    plain = normalise(text)
    return (received,) if plain.text == text else (received, Reading(plain))


class Match(Struct, frozen=True):
    """`[start, end)` in code points of the reading's own text; `reading.view.span` leads to the received text."""

    start: int
    end: int


class ExpressionSet:
    """Named expressions. `captures` makes the span of a match its first group, in expressions that have one;
    `memory` bounds the automaton in bytes.

    Raises `ConfigurationError` for an expression that is not RE2 syntax, or a set beyond the budget.
    """

    def __init__(self, expressions: Mapping[str, str], *, captures: bool = False, memory: int = SET_MEMORY) -> None:
        self._names = tuple(expressions)
        self._single = {name: compile_expression(name, regex) for name, regex in expressions.items()}
        self._group = {name: int(captures and single.groups > 0) for name, single in self._single.items()}
        options = re2.Options()
        options.max_mem = memory
        options.never_capture = True
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        try:
            for regex in (*expressions.values(), _SENTINEL):
                self._set.Add(regex)
            self._set.Compile()
        except re2.error as error:
            raise ConfigurationError(
                f"{len(self._names)} expressions do not fit into one set: use fewer ones, or smaller repetitions"
            ) from error

    def hits(self, reading: Reading) -> list[str]:
        """Names of the expressions that match, in their order."""
        found = self._set.Match(reading.data)
        if found is None:  # RE2 says nothing when its budget is exhausted; the sentinel would have matched
            return [name for name, single in self._single.items() if single.search(reading.data)]
        return [self._names[i] for i in sorted(found) if i < len(self._names)]

    def matches(self, name: str, reading: Reading) -> Iterator[Match]:
        """All matches of one expression from left to right, without overlap and never empty.

        The search goes on where the span ended, so that what follows a captured group may begin the next match.
        """
        single, group, place = self._single[name], self._group[name], 0
        while place <= len(reading.data) and (match := single.search(reading.data, place)) is not None:
            start, end = match.span(group if match.group(group) is not None else 0)
            if end > start:
                yield Match(reading.point(start), reading.point(end))
            place = max(end, place + 1)


def compile_expression(name: str, regex: str) -> "re2._Regexp":
    """One RE2 expression over UTF-8 bytes; `name` is for the error."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(regex.encode("utf-8", "replace"), options)
    except re2.error as error:
        cause = str(error).strip("b'\"")[:_LONGEST_CAUSE]
        raise ConfigurationError(f"pattern `{name}` is not an RE2 expression: {cause}") from error


def bounded_findings(
    kind: str, spans: Iterable[tuple[int, int] | None], *, length: int, detector: str, evidence: str, score: float = 1.0
) -> list[Finding]:
    """Findings at `spans` of a received text of `length` code points; `None` is a match that was looked at and
    rejected. Evidence `overflow` marks the finding that covers the rest beyond `MAX_MATCHES`."""
    findings: list[Finding] = []
    last = 0
    for looked_at, span in enumerate(spans):
        if looked_at == MAX_MATCHES:
            start = last if span is None else span[0]
            findings.append(
                Finding(start=start, end=length, kind=kind, score=score, detector=detector, evidence="overflow")
            )
            break
        if span is not None:
            last = span[1]
            findings.append(
                Finding(start=span[0], end=span[1], kind=kind, score=score, detector=detector, evidence=evidence)
            )
    return findings


def uncovered(candidates: Sequence[Finding], findings: Sequence[Finding]) -> list[Finding]:
    """Those candidates that none of `findings` contains. A detector takes its most telling kind first."""
    ordered = sorted(findings)
    starts = [finding.start for finding in ordered]
    reach = list(accumulate((finding.end for finding in ordered), max))
    return [
        candidate
        for candidate in candidates
        if (at := bisect_right(starts, candidate.start)) == 0 or reach[at - 1] < candidate.end
    ]
