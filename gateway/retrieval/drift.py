"""Whether an index still fits what is asked of it: two windows of searches compared, stale documents, known questions.

The shift of a distribution is the population stability index (Siddiqi 2006, "Credit Risk Scorecards", 5): the sum of
`(p - q) ln(p / q)`; above 0.25 by custom it is called a major one.
"""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from gateway.domain.event import EventDraft, EventType
from gateway.retrieval.comparison import KnownItem
from gateway.retrieval.counting import PLANES, SCORES, Window
from gateway.retrieval.store import Catalogue

_MAJOR: Final = 0.25
_ENOUGH: Final = 500  # searches in each window; with fewer, 64 counts differ by chance alone
_EMPTY_RISE: Final = 0.05
_LISTED: Final = 100


class DriftReport(Struct, frozen=True, kw_only=True):
    """`alarms` names what is beyond its bound. A shift is `None` while a window has too few searches. Documents are
    named, at most a hundred of each kind."""

    tenant: str
    since: str
    searches: int
    searches_before: int
    query_shift: float | None
    score_shift: float | None
    empty: float
    empty_before: float
    failed: int
    expired: tuple[str, ...]
    review_due: tuple[str, ...]
    canaries: int
    missed: tuple[str, ...]
    alarms: tuple[str, ...]

    def event(self) -> EventDraft:
        return EventDraft(
            type=EventType.INDEX_DRIFT,
            tenant=self.tenant,
            body={
                "alarms": list(self.alarms),
                "queries": self.searches,
                "query_psi_e6": _millionths(self.query_shift),
                "score_psi_e6": _millionths(self.score_shift),
                "empty_e6": _millionths(self.empty),
                "overdue": len(self.expired) + len(self.review_due),
                "canaries": self.canaries,
                "canaries_missed": len(self.missed),
            },
        )


def drift(
    tenant: str,
    catalogue: Catalogue,
    *,
    before: Window,
    now: Window,
    since: dt.date,
    today: dt.date,
    canaries: Sequence[KnownItem] = (),
    missed: Sequence[KnownItem] = (),
) -> DriftReport:
    """Compare the window `now`, which begins at `since`, with the one before it. `missed` are those of the canaries
    whose document was not found."""
    enough = min(now.searches, before.searches) >= _ENOUGH
    query_shift = _shift(before.queries, now.queries, 1 << PLANES) if enough else None
    score_shift = _shift(before.scores, now.scores, SCORES) if enough else None
    empty, empty_before = _share(now.empty, now.searches), _share(before.empty, before.searches)
    day = today.isoformat()
    records = [record for _, record in sorted(catalogue.documents.items())]
    expired = [record.doc for record in records if record.valid_to and record.valid_to < day]
    due = [record.doc for record in records if record.review_by and record.review_by < day]
    beyond = {
        "queries_shifted": (query_shift or 0.0) > _MAJOR,
        "scores_shifted": (score_shift or 0.0) > _MAJOR,
        "more_empty": enough and empty - empty_before > _EMPTY_RISE,
        "documents_expired": bool(expired),
        "reviews_overdue": bool(due),
        "canaries_missed": bool(missed),
    }
    return DriftReport(
        tenant=tenant,
        since=since.isoformat(),
        searches=now.searches,
        searches_before=before.searches,
        query_shift=query_shift,
        score_shift=score_shift,
        empty=empty,
        empty_before=empty_before,
        failed=now.failed,
        expired=tuple(expired[:_LISTED]),
        review_due=tuple(due[:_LISTED]),
        canaries=len(canaries),
        missed=tuple(item.ask for item in missed),
        alarms=tuple(name for name, is_beyond in beyond.items() if is_beyond),
    )


def _shift(before: Mapping[int, int], now: Mapping[int, int], buckets: int) -> float:
    """The stability index, with half a search added to every bucket so that an empty one has a logarithm."""
    old, new = sum(before.values()) + buckets / 2, sum(now.values()) + buckets / 2
    shift = 0.0
    for bucket in range(buckets):
        p, q = (now.get(bucket, 0) + 0.5) / new, (before.get(bucket, 0) + 0.5) / old
        shift += (p - q) * math.log(p / q)
    return shift


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _millionths(value: float | None) -> int:
    return round((value or 0.0) * 1_000_000)
