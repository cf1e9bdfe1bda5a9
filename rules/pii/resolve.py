"""Overlapping findings become disjoint ones that cover the same characters."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import structs

from gateway.domain.signal import Finding
from rules.pii.pattern import Evidence

_RANK: Final = {evidence.value: rank for rank, evidence in enumerate(Evidence)}
_RANK_OF_OVERFLOW: Final = len(_RANK)


def resolve(findings: Iterable[Finding], text: str) -> list[Finding]:
    """Disjoint findings, sorted by place. Overlapping ones of one kind unite. Of two kinds, the stronger evidence wins,
    then the longer span, then the higher score.

    INVARIANT: a letter or digit that some finding covers stays covered: what is left of a loser on either side of
    the winners is kept as a finding of its own.
    """
    order = sorted(
        _united(findings),
        key=lambda f: (_rank(f), f.start - f.end, -f.score, f.start, f.kind),
    )
    kept: list[Finding] = []  # disjoint and sorted by start
    starts: list[int] = []
    for finding in order:
        rest = _gaps(finding, kept, starts)
        for start, end in rest:
            whole = (start, end) == (finding.start, finding.end)
            first, last = (start, end) if whole else _without_edges(text, start, end)
            if first < last:
                place = bisect_left(starts, first)
                starts.insert(place, first)
                kept.insert(place, structs.replace(finding, start=first, end=last))
    return kept


def _gaps(finding: Finding, kept: Sequence[Finding], starts: Sequence[int]) -> list[tuple[int, int]]:
    """What of `finding` no kept one covers."""
    at = max(0, bisect_right(starts, finding.start) - 1)
    gaps: list[tuple[int, int]] = []
    free = finding.start
    while at < len(kept) and kept[at].start < finding.end:
        if kept[at].end > free:
            if kept[at].start > free:
                gaps.append((free, kept[at].start))
            free = kept[at].end
        at += 1
    if free < finding.end:
        gaps.append((free, finding.end))
    return gaps


def _united(findings: Iterable[Finding]) -> list[Finding]:
    """Overlapping findings of one kind as one, with the strongest evidence and its score."""
    by_kind: dict[str, list[Finding]] = {}
    for finding in sorted(findings):
        same = by_kind.setdefault(finding.kind, [])
        if same and finding.start < same[-1].end:
            best = min(same[-1], finding, key=lambda f: (_rank(f), -f.score))
            same[-1] = structs.replace(best, start=same[-1].start, end=max(same[-1].end, finding.end))
        else:
            same.append(finding)
    return [finding for same in by_kind.values() for finding in same]


def _rank(finding: Finding) -> int:
    return _RANK.get(finding.evidence, _RANK_OF_OVERFLOW)


def _without_edges(text: str, start: int, end: int) -> tuple[int, int]:
    """A remainder without the white space and punctuation at its ends."""
    while start < end and not text[start].isalnum():
        start += 1
    while start < end and not text[end - 1].isalnum():
        end -= 1
    return start, end
