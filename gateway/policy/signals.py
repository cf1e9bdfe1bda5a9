"""Names of signals and of the detectors that give them."""

from typing import Final

from gateway.domain.signal import SignalValue
from gateway.domain.vocabulary import SignalType

# Signals that policy sets define themselves are named in the singular, their detectors in the plural.
_FAMILIES: Final = {"pattern": "patterns", "list": "lists", "topic": "topics"}

DEFAULTS: Final[dict[SignalType, SignalValue]] = {
    SignalType.FLAG: False,
    SignalType.COUNT: 0,
    SignalType.SCORE: 0.0,
    SignalType.KINDS: frozenset(),
}


def detector_of(signal: str) -> str:
    """The detector that gives a signal: `pii.entities` -> `pii`, `topic.advice` -> `topics`."""
    prefix = signal.partition(".")[0]
    return _FAMILIES.get(prefix, prefix)
