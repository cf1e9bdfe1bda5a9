"""What people decided on past cases, from the events of the audit log: the measure of a candidate's escalations."""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from gateway.domain.vocabulary import Effect
from gateway.policy.recorded import moment
from gateway.policy.replay import Replayed

_REFUSED: Final = frozenset({"refused", "upheld"})
_APPROVED: Final = frozenset({"approved", "releasable", "delivered", "overturned"})


class Reviews(Struct, frozen=True, kw_only=True):
    """`refused` says of each decided case whether people refused it; `minutes` is the median time from the first
    claim of a case to its decision, `None` where none was claimed and decided."""

    refused: Mapping[str, bool]
    minutes: float | None


class Precision(Struct, frozen=True, kw_only=True):
    """How decided cases would have fared: those that people refused were rightly held."""

    held_refused: int
    held_approved: int
    let_go_refused: int
    let_go_approved: int

    @property
    def share(self) -> float | None:
        """Of the cases that would have been held, the share that people refused."""
        held = self.held_refused + self.held_approved
        return self.held_refused / held if held else None


def reviews(events: Iterable[Mapping[str, Any]]) -> Reviews:
    """The decisions in a log; of a case that was decided again, the last counts."""
    claimed: dict[str, Any] = {}
    took: dict[str, float] = {}
    refused: dict[str, bool] = {}
    for event in events:
        case, state = str(event.get("case", "")), str(event.get("to", ""))
        if event.get("type") == "case.claimed":
            claimed.setdefault(case, moment(event))
        elif str(event.get("type", "")).startswith("case.") and state in _REFUSED | _APPROVED:
            refused[case] = state in _REFUSED
            if case in claimed and case not in took:
                took[case] = (moment(event) - claimed[case]).total_seconds() / 60
    return Reviews(refused=refused, minutes=statistics.median(took.values()) if took else None)


def precision(replayed: Iterable[Replayed], found: Reviews) -> Precision:
    """The exact exchanges with a decided case, by what the candidate would have done with them."""
    counts = {(held, refused): 0 for held in (True, False) for refused in (True, False)}
    seen: set[str] = set()
    for one in replayed:
        # The first exchange of a case is the one that was held; later ones fetch what was decided.
        if one.exact and one.case in found.refused and one.case not in seen and one.was is Effect.ESCALATE:
            seen.add(one.case)
            counts[one.would.stops, found.refused[one.case]] += 1
    return Precision(
        held_refused=counts[True, True],
        held_approved=counts[True, False],
        let_go_refused=counts[False, True],
        let_go_approved=counts[False, False],
    )
