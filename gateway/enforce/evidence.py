"""The union of inspections: what has been seen in a text, or in several, so far."""

from gateway.domain.signal import DetectorRun, Inspection, SignalValue
from gateway.domain.vocabulary import Provenance


def union(first: SignalValue, second: SignalValue) -> SignalValue:
    """Flags by disjunction, counts by sum, scores by maximum, kinds by union."""
    if isinstance(first, bool) and isinstance(second, bool):
        return first or second
    if isinstance(first, frozenset) and isinstance(second, frozenset):
        return first | second
    if type(first) is int and type(second) is int:
        return first + second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return max(first, second)
    raise TypeError(f"a signal changed its type from {type(first).__name__} to {type(second).__name__}")


class EvidenceSum:
    """Accumulates inspections. A run that failed once stays failed (I3)."""

    __slots__ = ("runs", "values")

    def __init__(self) -> None:
        self.values: dict[Provenance, dict[str, SignalValue]] = {}
        self.runs: dict[str, DetectorRun] = {}

    def copy(self) -> "EvidenceSum":
        """An independent sum of the same inspections."""
        other = EvidenceSum()
        other.values = {provenance: dict(values) for provenance, values in self.values.items()}
        other.runs = dict(self.runs)
        return other

    def add(self, inspection: Inspection) -> None:
        for provenance, values in inspection.values.items():
            own = self.values.setdefault(provenance, {})
            for name, value in values.items():
                own[name] = union(own[name], value) if name in own else value
        for name, run in inspection.runs.items():
            known = self.runs.get(name)
            self.runs[name] = run if known is None else _merged(known, run)


def _merged(known: DetectorRun, run: DetectorRun) -> DetectorRun:
    worse = run if run.status.rank > known.status.rank else known
    return DetectorRun(
        detector=known.detector,
        version=known.version,
        status=worse.status,
        reason=worse.reason,
        took_us=known.took_us + run.took_us,
        cached=known.cached + run.cached,
        scanned=known.scanned + run.scanned,
    )
