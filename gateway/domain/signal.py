"""What detectors report: findings and signal values per text, and their union over the texts of a phase."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from gateway.domain.vocabulary import Provenance, SignalStatus

SignalValue = bool | int | float | frozenset[str]
"""Value of a signal; its type is declared by the detector (`SignalType`)."""


class Finding(Struct, frozen=True, kw_only=True, order=True):
    """What a detector saw at a place. Never carries the matched text.

    `[start, end)` are code points of the text as received. `kind` is upper case for personal data
    (`PERSON`, `CREDIT_CARD`), dotted lower case otherwise (`secret.aws_access_key`, `pattern.internal_ref`,
    `injection.override`). `score` lies in 0..1. `evidence` is a stable code (`checksum`, `context`, `model`).
    """

    start: int
    end: int
    kind: str
    score: float = 1.0
    detector: str
    evidence: str = ""
    segment: int = 0  # index of the segment; a detector leaves 0, the inspector sets it


def by_segment(findings: Iterable[Finding]) -> dict[int, list[Finding]]:
    """The findings of each segment that has any, in their order."""
    grouped: dict[int, list[Finding]] = {}
    for finding in findings:
        grouped.setdefault(finding.segment, []).append(finding)
    return grouped


class Scan(Struct, frozen=True):
    """One detector's result for one text: its findings, and the values of its signals that differ from their
    defaults (full names, `pii.entities`)."""

    findings: tuple[Finding, ...] = ()
    values: Mapping[str, SignalValue] = {}


EMPTY_SCAN = Scan()


class DetectorRun(Struct, frozen=True, kw_only=True):
    """How a detector's run over the segments of a phase ended. `status` is the worst over all segments."""

    detector: str
    version: str
    status: SignalStatus
    reason: str = ""  # stable code for anything but ok: `deadline`, `exception:ValueError`, `not_requested`
    took_us: int = 0
    cached: int = 0  # segments answered from the cache
    scanned: int = 0


class Inspection(Struct, frozen=True, kw_only=True):
    """All that the detectors saw in the segments of one phase.

    `values[provenance][signal]` holds the values that differ from their defaults: scores and counts by
    maximum and sum, flags by disjunction, kinds by union over the segments of that provenance.
    `runs` has one entry per requested detector.
    """

    findings: tuple[Finding, ...] = ()
    values: Mapping[Provenance, Mapping[str, SignalValue]] = {}
    runs: Mapping[str, DetectorRun] = {}


NOTHING_INSPECTED = Inspection()
