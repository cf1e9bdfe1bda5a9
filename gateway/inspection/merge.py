"""The union of all scans of a phase. Pure; the order of segments and detectors changes indexes only (I4)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from msgspec import Struct, structs

from gateway.domain.segment import Segment
from gateway.domain.signal import EMPTY_SCAN, DetectorRun, Finding, Inspection, SignalValue
from gateway.domain.vocabulary import Provenance, SignalStatus, SignalType
from gateway.inspection.outcome import Failure, Outcome

Values = dict[Provenance, dict[str, SignalValue]]


class Part(Struct):
    """One detector's share: an outcome per segment, in their order, and one for the joined user turns."""

    detector: str
    version: str
    signals: Mapping[str, SignalType]
    outcomes: Sequence[Outcome]
    joined: Outcome | None = None
    took_us: int = 0
    cached: int = 0
    scanned: int = 0


def merge(segments: Sequence[Segment], parts: Iterable[Part], not_installed: Iterable[str]) -> Inspection:
    findings: list[Finding] = []
    values: Values = {}
    runs: dict[str, DetectorRun] = {
        name: DetectorRun(detector=name, version="", status=SignalStatus.NOT_RUN, reason="not_installed")
        for name in not_installed
    }
    for part in parts:
        worst: Failure | None = None
        for segment, outcome in zip(segments, part.outcomes, strict=True):
            if outcome is EMPTY_SCAN:  # most texts, and this runs for every word of a stream
                continue
            if isinstance(outcome, Failure):
                worst = _worse(worst, outcome)
                continue
            findings.extend(
                finding if finding.segment == segment.index else structs.replace(finding, segment=segment.index)
                for finding in outcome.findings
            )
            if outcome.values:
                _add(values.setdefault(segment.provenance, {}), outcome.values, part.signals)
        if isinstance(part.joined, Failure):
            worst = _worse(worst, part.joined)
        elif part.joined is not None and part.joined.values:
            _add(values.setdefault(Provenance.USER, {}), part.joined.values, part.signals, same_text=True)
        runs[part.detector] = _run(part, worst)
    if len(findings) > 1:
        findings.sort(key=lambda finding: (finding.segment, finding))
    return Inspection(findings=tuple(findings), values=values, runs=runs)


def _worse(known: Failure | None, failure: Failure) -> Failure:
    if known is None:
        return failure
    return max(known, failure, key=lambda one: (one.status.rank, one.reason))


def _run(part: Part, worst: Failure | None) -> DetectorRun:
    return DetectorRun(
        detector=part.detector,
        version=part.version,
        status=worst.status if worst else SignalStatus.OK,
        reason=worst.reason if worst else "",
        took_us=part.took_us,
        cached=part.cached,
        scanned=part.scanned,
    )


def _add(
    into: dict[str, SignalValue],
    values: Mapping[str, SignalValue],
    signals: Mapping[str, SignalType],
    *,
    same_text: bool = False,
) -> None:
    """Join `values` into those of a provenance. `same_text`: the values are a second view of text that has
    been counted already, so a count is not added but only raised."""
    for name, value in values.items():
        known = into.get(name)
        into[name] = value if known is None else _join(known, value, signals[name], same_text=same_text)


def _join(left: SignalValue, right: SignalValue, declared: SignalType, *, same_text: bool) -> SignalValue:
    match declared:
        case SignalType.FLAG:
            return bool(left) or bool(right)
        case SignalType.COUNT:
            assert isinstance(left, int)
            assert isinstance(right, int)
            return max(left, right) if same_text else left + right
        case SignalType.SCORE:
            assert isinstance(left, int | float)
            assert isinstance(right, int | float)
            return max(left, right)
        case SignalType.KINDS:
            assert isinstance(left, frozenset)
            assert isinstance(right, frozenset)
            return left | right
        case _:
            assert_never(declared)
