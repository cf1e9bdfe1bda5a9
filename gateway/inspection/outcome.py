"""What became of one detector over one text: a checked scan, or a failure that policies see (I3)."""

from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from msgspec import Struct

from gateway.domain.ports import Detector
from gateway.domain.signal import EMPTY_SCAN, Scan, SignalValue
from gateway.domain.vocabulary import SignalStatus, SignalType


class Failure(Struct, frozen=True):
    """A text that a detector could not judge. `status` is never `ok`; `reason` is a stable code."""

    status: SignalStatus
    reason: str


Outcome = Scan | Failure

DEADLINE: Final = Failure(SignalStatus.TIMEOUT, "deadline")
OVERLOADED: Final = Failure(SignalStatus.ERROR, "overloaded")
CLOSED: Final = Failure(SignalStatus.ERROR, "closed")
MALFORMED: Final = Failure(SignalStatus.ERROR, "malformed_result")


def scan_all(detector: Detector, texts: Sequence[str]) -> list[Outcome]:
    """Scan the texts together; one outcome per text, in order. Never raises.

    When the batch raises, each text is scanned alone, so that a text is judged the same whichever texts it was
    batched with. Errors of the surroundings (`OSError`: a remote detector that is down) are not tried again.
    """
    try:
        scans = detector.scan(texts)
    except OSError as error:
        return [_raised(error)] * len(texts)
    except Exception as error:  # noqa: BLE001  # whatever a detector raises is a value that rules see
        if len(texts) == 1:
            return [_raised(error)]
        return [scan_all(detector, [text])[0] for text in texts]
    if not isinstance(scans, Sequence) or len(scans) != len(texts):
        return [MALFORMED] * len(texts)
    return [
        scan if _well_formed(scan, len(text), detector.signals) else MALFORMED
        for scan, text in zip(scans, texts, strict=True)
    ]


def _raised(error: Exception) -> Failure:
    """The type alone: a message may quote the text."""
    return Failure(SignalStatus.ERROR, f"exception:{type(error).__name__}")


def _well_formed(scan: object, length: int, signals: Mapping[str, SignalType]) -> bool:
    """Whether spans lie in the text and every value is declared and of its type. A score that is not a number
    would compare false with every threshold, and so loosen a verdict."""
    if scan is EMPTY_SCAN:
        return True
    if not isinstance(scan, Scan):
        return False
    for finding in scan.findings:
        if not (0 <= finding.start < finding.end <= length and 0.0 <= finding.score <= 1.0):
            return False
    for name, value in scan.values.items():
        declared = signals.get(name)
        if declared is None or not _has_type(value, declared):
            return False
    return True


def _has_type(value: SignalValue, declared: SignalType) -> bool:
    match declared:
        case SignalType.FLAG:
            return isinstance(value, bool)
        case SignalType.COUNT:
            return isinstance(value, int) and not isinstance(value, bool) and value >= 0
        case SignalType.SCORE:
            return isinstance(value, float | int) and not isinstance(value, bool) and 0.0 <= value <= 1.0
        case SignalType.KINDS:
            return isinstance(value, frozenset)
        case _:
            assert_never(declared)
