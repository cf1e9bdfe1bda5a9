"""What people decided, read from the histories of cases: the base of every measure of the review. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from msgspec import Struct

from gateway.cases.case import CaseState
from gateway.cases.drill import Drill
from gateway.cases.store import HistoryLine
from gateway.domain.event import EventType

APPROVE: Final = "approve"
REFUSE: Final = "refuse"
_VERDICTS: Final = {
    EventType.CASE_APPROVED.value: APPROVE,
    EventType.CASE_EDITED.value: APPROVE,
    EventType.CASE_REFUSED.value: REFUSE,
}


class Review(Struct, frozen=True, kw_only=True):
    """One decision of one person. `handling_s` runs from the claim, `dwell_s` from when they first saw the content
    after it (or from the claim, if they had seen it before); both are `None` where the claim is not known.
    `unseen`: the content was never opened. `appeal`: it decided an appeal."""

    case: str
    tenant: str
    queue: str
    rules: tuple[str, ...]
    person: str
    at: datetime
    verdict: str
    edited: bool
    appeal: bool
    overturned: bool  # the appealed decision did not stand
    handling_s: float | None
    dwell_s: float | None
    unseen: bool
    drill: Drill | None


def reviews_of(lines: Iterable[HistoryLine], views: Mapping[tuple[str, str], datetime]) -> tuple[Review, ...]:
    """All decisions of people, by case and in order. `lines` are by case and in order; `views` as the store has
    them. Steps of gateways that did not note the person do not count."""
    found: list[Review] = []
    for _, steps in groupby(lines, key=lambda line: line.case):
        claimed: dict[str, datetime] = {}
        for line in steps:
            step = line.step
            if step.command == EventType.CASE_CLAIMED.value:
                claimed[step.person] = step.at
            elif step.command in _VERDICTS and step.person:
                found.append(_review(line, claimed.pop(step.person, None), views.get((line.case, step.actor))))
    return tuple(found)


def _review(line: HistoryLine, claimed: datetime | None, seen: datetime | None) -> Review:
    step = line.step
    appeal = step.before is CaseState.APPEALED
    begun = None if claimed is None else max(claimed, seen or claimed)
    return Review(
        case=line.case,
        tenant=line.tenant,
        queue=line.queue,
        rules=line.rules,
        person=step.person,
        at=step.at,
        verdict=_VERDICTS[step.command],
        edited=step.command == EventType.CASE_EDITED.value,
        appeal=appeal,
        overturned=appeal and step.after is not CaseState.UPHELD,
        handling_s=None if claimed is None else (step.at - claimed).total_seconds(),
        dwell_s=None if begun is None else max(0.0, (step.at - begun).total_seconds()),
        unseen=seen is None,
        drill=line.drill,
    )


def final(reviews: Sequence[Review]) -> dict[str, Review]:
    """The last decision on each case."""
    return {review.case: review for review in reviews}


def first(reviews: Sequence[Review]) -> dict[str, Review]:
    """The first decision on each case."""
    return {review.case: review for review in reversed(reviews)}
