"""Overlapping findings become disjoint ones that cover the same characters."""

from collections.abc import Iterable
from typing import Final

from msgspec import structs

from gateway.domain.signal import Finding
from rules.pii.pattern import Evidence

_RANK: Final = {evidence.value: rank for rank, evidence in enumerate(Evidence)}
_RANK_OF_OVERFLOW: Final = len(_RANK)


def resolve(findings: Iterable[Finding], text: str) -> list[Finding]:
    """Disjoint findings, sorted by place. Overlapping ones of one kind unite. Of two kinds, the stronger evidence wins, then
    the longer span, then the higher score.

    INVARIANT: a letter or digit that some finding covers stays covered: what is left of a loser on either side of
    the winners is kept as a finding of its own.
    """
    order = sorted(
        _united(findings),
        key=lambda f: (_rank(f), f.start - f.end, -f.score, f.start, f.kind),
    )
    kept: list[Finding] = []
    for finding in order:
        rest = [(finding.start, finding.end)]
        for winner in kept:
            if winner.start < finding.end and finding.start < winner.end:
                rest = [part for span in rest for part in _outside(span, winner)]
        if rest == [(finding.start, finding.end)]:
            kept.append(finding)
            continue
        for part in rest:
            start, end = _without_edges(text, *part)
            if start < end:
                kept.append(structs.replace(finding, start=start, end=end))
    return sorted(kept)


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


def _outside(span: tuple[int, int], winner: Finding) -> list[tuple[int, int]]:
    start, end = span
    if winner.end <= start or end <= winner.start:
        return [span]
    return [part for part in ((start, winner.start), (winner.end, end)) if part[0] < part[1]]


def _without_edges(text: str, start: int, end: int) -> tuple[int, int]:
    """A remainder without the white space and punctuation at its ends."""
    while start < end and not text[start].isalnum():
        start += 1
    while start < end and not text[end - 1].isalnum():
        end -= 1
    return start, end
