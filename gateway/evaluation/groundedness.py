"""How well a detector tells answers that their context supports from others: reading labelled sets, and pure measures.

A set is a gzipped file of one JSON object a line: `context`, `answer`, `label` (0 supported, 1 not), and `question`
where there is one. The length of an answer is measured beside the detector: in some sets it gives the label away.
"""

import gzip
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.errors import ConfigurationError
from gateway.domain.grounds import Grounds
from gateway.domain.passage import Passage
from gateway.domain.ports import GroundedDetector
from gateway.domain.text import outline
from gateway.evaluation.injection import Rate, auroc, caught

FOLDER: Final = "groundedness"
SCORE: Final = "grounding.unsupported"
UNKNOWN: Final = "grounding.unknown"
_RESAMPLES: Final = 500  # of contexts: the bounds of an interval then move by less than 0.005
_SEED: Final = 20261124


class LabelledAnswer(Struct, frozen=True, kw_only=True):
    context: str
    answer: str
    label: Literal[0, 1]
    question: str = ""

    def __repr__(self) -> str:
        return f"LabelledAnswer({self.label}, {outline(self.answer)})"


class Area(Struct, frozen=True, kw_only=True):
    """An AUROC with the bounds of its 95 % interval (bootstrap over contexts)."""

    value: float
    low: float
    high: float


class GroundednessScores(Struct, frozen=True, kw_only=True):
    """`detector` and `length` rank answers by the score and by their characters. `found` is the share of unsupported
    answers at the threshold, `false_alarms` that of supported ones. `unknown` answers are those that the detector could
    not judge at all. Times are of one answer, its context read anew."""

    name: str
    answers: int
    detector: Area
    length: Area
    threshold: float
    found: Rate
    false_alarms: Rate
    unknown: int
    median_us: float
    p95_us: float


def read_set(file: Path) -> tuple[LabelledAnswer, ...]:
    """The answers of a file. Raises `ConfigurationError` for one that is no such set."""
    try:
        with gzip.open(file, "rb") as lines:
            return tuple(msgspec.json.decode(line, type=LabelledAnswer) for line in lines if line.strip())
    except (OSError, EOFError, UnicodeDecodeError, msgspec.DecodeError):
        message = f"`{file.name}` is no labelled set: give gzipped JSON lines with `context`, `answer` and `label`"
        raise ConfigurationError(message) from None


def measure(
    name: str,
    rows: Sequence[LabelledAnswer],
    detector: GroundedDetector,
    *,
    threshold: float,
    clock_us: Callable[[], int],
) -> GroundednessScores:
    """Judge every answer by its context. Raises what the detector raises, `ConfigurationError` for one label only."""
    if {row.label for row in rows} != {0, 1}:
        raise ConfigurationError(f"the set `{name}` needs answers of both labels: give 0 for supported, 1 for others")
    scores, times, unknown = [], [], 0
    for row in rows:
        passage = Passage(doc=name, number=0, revision="", title="", text=row.context, access=frozenset())
        started = clock_us()
        (scan,) = detector.on(Grounds(passages=(passage,), question=row.question)).scan([row.answer])
        times.append(clock_us() - started)
        value = scan.values.get(SCORE, 0.0)
        scores.append(float(value) if isinstance(value, int | float) else 0.0)
        unknown += bool(scan.values.get(UNKNOWN, False))
    found = np.asarray(scores)
    labels = np.asarray([row.label for row in rows])
    lengths = np.asarray([float(len(row.answer)) for row in rows])
    contexts = [row.context for row in rows]
    return GroundednessScores(
        name=name,
        answers=len(rows),
        detector=area(found, labels, contexts),
        length=area(lengths, labels, contexts),
        threshold=threshold,
        found=caught(found[labels == 1], threshold),
        false_alarms=caught(found[labels == 0], threshold),
        unknown=unknown,
        median_us=float(np.median(times)),
        p95_us=float(np.percentile(times, 95)),
    )


def area(scores: NDArray[np.float64], labels: NDArray[np.int_], contexts: Sequence[str]) -> Area:
    """The AUROC of label 1 over 0. Answers to one context are drawn together: they are no independent cases."""
    groups: dict[str, list[int]] = {}
    for place, context in enumerate(contexts):
        groups.setdefault(context, []).append(place)
    members = [np.asarray(places) for places in groups.values()]
    random = np.random.default_rng(_SEED)
    drawn = []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([members[at] for at in random.integers(0, len(members), len(members))])
        value = _auroc(scores[chosen], labels[chosen])
        if not math.isnan(value):
            drawn.append(value)
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (0.0, 1.0)
    return Area(value=_auroc(scores, labels), low=float(low), high=float(high))


def _auroc(scores: NDArray[np.float64], labels: NDArray[np.int_]) -> float:
    return auroc(scores[labels == 1], scores[labels == 0])
