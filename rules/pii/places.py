"""Postal addresses as wholes: pieces found by patterns and models become one finding."""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import structs

from gateway.domain.signal import Finding
from rules.pii.pattern import Evidence

_PIECES: Final = frozenset({"ADDRESS", "LOCATION", "UK_POSTCODE"})
_GAP: Final = re.compile(r"[ \t,.;]*(?:\r?\n)?[ \t,.;]*")
_WIDEST_GAP: Final = 6


def joined_addresses(findings: Sequence[Finding], text: str) -> list[Finding]:
    """Disjoint findings sorted by place, in which each run of neighbouring pieces with an address among them is one
    `ADDRESS`. A lone number that only a model holds for part of an address is dropped."""
    joined: list[Finding] = []
    run: list[Finding] = []
    for finding in findings:
        if run and not (finding.kind in _PIECES and _adjacent(run[-1], finding, text)):
            joined += _closed(run, text)
            run = []
        if finding.kind in _PIECES:
            run.append(finding)
        else:
            joined.append(finding)
    return sorted([*joined, *_closed(run, text)])


def _adjacent(left: Finding, right: Finding, text: str) -> bool:
    return right.start - left.end <= _WIDEST_GAP and _GAP.fullmatch(text, left.end, right.start) is not None


def _closed(run: Sequence[Finding], text: str) -> list[Finding]:
    if len(run) == 1:
        lone = run[0]
        number = lone.kind == "ADDRESS" and not any(map(str.isalpha, text[lone.start : lone.end]))
        return [] if number and lone.evidence == Evidence.MODEL else [lone]
    if not any(piece.kind == "ADDRESS" for piece in run):
        return list(run)
    best = max((piece for piece in run if piece.kind == "ADDRESS"), key=lambda piece: piece.score)
    return [structs.replace(best, start=run[0].start, end=run[-1].end)]
