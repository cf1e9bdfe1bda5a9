"""What of a judgement the audit log keeps so that another bundle can be asked about it later.

Facts and signals, never text: kinds, counts, flags, scores, versions of detectors, names of tools and groups. A name
that is not plainly an identifier is told as `?`, which no policy names.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from gateway.domain.passage import Passage
from gateway.domain.signal import DetectorRun, SignalValue
from gateway.domain.verdict import Verdict
from gateway.domain.vocabulary import Provenance, SignalStatus

UNNAMED: Final = "?"
MOST_NAMES: Final = 64  # a request with more tools than this tells the first of them, and that there were more

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


class JudgedCall(Struct, frozen=True, kw_only=True):
    """A tool call of an answer as it was judged: its tool, what was seen in its arguments, the verdict."""

    tool: str
    values: Mapping[Provenance, Mapping[str, SignalValue]]
    runs: Mapping[str, DetectorRun]
    verdict: Verdict

    def __repr__(self) -> str:
        return f"JudgedCall({self.verdict.effect.value})"


def identifier(name: str) -> str:
    """A name that the log may hold: the name itself if it can be nothing but one."""
    return name if _IDENTIFIER.fullmatch(name) else UNNAMED


def identifiers(names: Iterable[str]) -> list[str]:
    """The names that the log may hold, sorted and distinct."""
    found = sorted({identifier(name) for name in names})
    return found if len(found) <= MOST_NAMES else [UNNAMED, *found[: MOST_NAMES - 1]]


def recorded_value(value: SignalValue) -> Any:
    """A signal's value as JSON. A score is told in whole millionths, rounded down, and `over` says that it was more:
    so a threshold of up to six digits is passed by the record exactly if the score passed it."""
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return {"e6": -1}
        millionths = _millionths(value)
        return {"e6": millionths, "over": 1} if millionths / 1_000_000 < value else {"e6": millionths}
    return value


def recorded_values(values: Mapping[Provenance, Mapping[str, SignalValue]]) -> dict[str, dict[str, Any]]:
    """All signal values that differ from their defaults, by provenance and name."""
    return {
        provenance.value: {name: recorded_value(value) for name, value in sorted(own.items())}
        for provenance, own in sorted(values.items())
        if own
    }


def recorded_sight(
    values: Mapping[Provenance, Mapping[str, SignalValue]], runs: Mapping[str, DetectorRun]
) -> dict[str, Any]:
    """What was seen, in few bytes: the version of each detector, its status unless it is `ok`, and the values."""
    return {
        "runs": {
            name: {"version": run.version}
            if run.status is SignalStatus.OK
            else {"version": run.version, "status": run.status.value}
            for name, run in sorted(runs.items())
        },
        "values": recorded_values(values),
    }


def recorded_passage(passage: Passage) -> dict[str, Any]:
    """What rules on passages can ask about one besides its text."""
    return {
        "doc": passage.doc,
        "access": sorted(passage.access),
        "classification": passage.classification,
    }


def _millionths(value: float) -> int:
    """The greatest number of millionths that is no more than the value, as floating point has it."""
    found = math.floor(value * 1_000_000)
    if (found + 1) / 1_000_000 <= value:
        return found + 1
    return found - 1 if found / 1_000_000 > value else found
