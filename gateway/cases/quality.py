"""How good the review is, who decides too fast, how often rules are right, and whether there are enough people.

All figures come from the store alone, over a window of time; `tenant` "" takes all. They are for leads.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from statistics import mean, median
from typing import Final

from msgspec import Struct

from gateway.cases.drill import DrillKind
from gateway.cases.measures import Agreement, Share, agreement, share
from gateway.cases.reviews import APPROVE, REFUSE, Review, final, first, reviews_of
from gateway.cases.store import CaseStore
from gateway.settings import QualitySettings

_DAY: Final = timedelta(days=1)
_HOUR_S: Final = 3600


class ReviewerQuality(Struct, frozen=True, kw_only=True):
    """One reviewer. `person` is the keyed digest; `dwell_s` the median, `None` if never known. `seeds` are known
    answers that they got right. `alarm`: they approve nearly all, faster than anybody reads."""

    person: str
    decisions: int
    approvals: Share
    dwell_s: float | None
    unseen: int
    seeds: Share
    alarm: bool


class QualityReport(Struct, frozen=True, kw_only=True):
    """`agreement` compares first and blind second decisions; `overturned` is the share of decided appeals that
    changed the decision; `seeds` the share of known answers that were decided right."""

    since: datetime
    until: datetime
    decisions: int
    reviewers: tuple[ReviewerQuality, ...]
    seeds: Share
    agreement: Agreement
    overturned: Share

    @property
    def alarms(self) -> tuple[ReviewerQuality, ...]:
        return tuple(one for one in self.reviewers if one.alarm)


class RulePrecision(Struct, frozen=True, kw_only=True):
    """How often reviewers agreed that a rule stopped what it should: they refused, or changed the answer."""

    rule: str
    refused: int
    edited: int
    precision: Share


class QueueLoad(Struct, frozen=True, kw_only=True):
    """`work_s` is the mean time that all reviewers together spend on a case, from claims to decisions; `needed_hours`
    and `staffed_hours` are a day's. `load` is needed over staffed, `None` where either is not known: above 1 the queue
    grows without end, and well below 1 it already waits at busy hours."""

    queue: str
    arrivals_per_day: float
    decided: int
    work_s: float | None
    needed_hours: float | None
    staffed_hours: float
    load: float | None


async def load_reviews(store: CaseStore, since: datetime, until: datetime, tenant: str = "") -> tuple[Review, ...]:
    """All decisions of people in the window. Raises `GuardUnavailable`."""
    lines = await store.lines(since, until, tenant)
    return reviews_of(lines, await store.views(since))


async def quality_report(
    store: CaseStore, settings: QualitySettings, *, now: datetime, tenant: str = ""
) -> QualityReport:
    """The figures of the last `settings.window_days`. Raises `GuardUnavailable`."""
    since = now - timedelta(days=settings.window_days)
    return assess(await load_reviews(store, since, now, tenant), settings, since=since, until=now)


async def rule_precision(
    store: CaseStore, *, since: datetime, until: datetime, tenant: str = ""
) -> tuple[RulePrecision, ...]:
    """Of every rule whose cases were decided in the window, by id. Raises `GuardUnavailable`."""
    return precision_of(await load_reviews(store, since, until, tenant))


async def capacity_report(
    store: CaseStore, staffed: Mapping[str, float], *, since: datetime, until: datetime, tenant: str = ""
) -> tuple[QueueLoad, ...]:
    """Of every queue, by name; `staffed` gives hours a day. Raises `GuardUnavailable`."""
    arrivals = [queue for queue, _ in await store.arrivals(since, until, tenant)]
    reviews = await load_reviews(store, since, until, tenant)
    return loads(arrivals, reviews, staffed, days=(until - since) / _DAY)


def assess(reviews: Sequence[Review], settings: QualitySettings, *, since: datetime, until: datetime) -> QualityReport:
    """The report on these decisions. Pure."""
    people = sorted({review.person for review in reviews})
    appeals = [review for review in reviews if review.appeal and review.drill is None]
    return QualityReport(
        since=since,
        until=until,
        decisions=len(reviews),
        reviewers=tuple(
            _reviewer(person, [review for review in reviews if review.person == person], settings) for person in people
        ),
        seeds=_seeds(reviews),
        agreement=agreement(_pairs(reviews)),
        overturned=share(sum(review.overturned for review in appeals), len(appeals)),
    )


def precision_of(reviews: Sequence[Review]) -> tuple[RulePrecision, ...]:
    """By the last decision on each case; drills do not count. Pure."""
    decided = [review for review in final(reviews).values() if review.drill is None]
    found = []
    for rule in sorted({rule for review in decided for rule in review.rules}):
        own = [review for review in decided if rule in review.rules]
        refused = sum(review.verdict == REFUSE for review in own)
        edited = sum(review.edited for review in own)
        found.append(
            RulePrecision(rule=rule, refused=refused, edited=edited, precision=share(refused + edited, len(own)))
        )
    return tuple(found)


def loads(
    arrivals: Sequence[str], reviews: Sequence[Review], staffed: Mapping[str, float], *, days: float
) -> tuple[QueueLoad, ...]:
    """`arrivals` are the queues of the cases that came. Pure."""
    queues = sorted({*arrivals, *staffed, *(review.queue for review in reviews)})
    return tuple(_load(queue, arrivals, reviews, staffed.get(queue, 0.0), days) for queue in queues)


def _load(queue: str, arrivals: Sequence[str], reviews: Sequence[Review], staffed: float, days: float) -> QueueLoad:
    spent: dict[str, float] = {}
    for review in reviews:
        if review.queue == queue and review.handling_s is not None:
            spent[review.case] = spent.get(review.case, 0.0) + review.handling_s
    per_day = sum(one == queue for one in arrivals) / days
    work_s = mean(spent.values()) if spent else None
    needed = None if work_s is None else per_day * work_s / _HOUR_S
    return QueueLoad(
        queue=queue,
        arrivals_per_day=per_day,
        decided=len(spent),
        work_s=work_s,
        needed_hours=needed,
        staffed_hours=staffed,
        load=None if needed is None or not staffed else needed / staffed,
    )


def _reviewer(person: str, reviews: Sequence[Review], settings: QualitySettings) -> ReviewerQuality:
    dwells = [review.dwell_s for review in reviews if review.dwell_s is not None]
    approvals = share(sum(review.verdict == APPROVE for review in reviews), len(reviews))
    dwell_s = median(dwells) if dwells else None
    return ReviewerQuality(
        person=person,
        decisions=len(reviews),
        approvals=approvals,
        dwell_s=dwell_s,
        unseen=sum(review.unseen for review in reviews),
        seeds=_seeds(reviews),
        alarm=(
            len(reviews) >= settings.alarm_decisions
            and approvals.value > settings.alarm_approvals
            and dwell_s is not None
            and dwell_s < settings.alarm_dwell_s
        ),
    )


def _seeds(reviews: Sequence[Review]) -> Share:
    known = [
        (review.verdict, review.drill.expected)
        for review in reviews
        if review.drill is not None and review.drill.kind is DrillKind.SEED
    ]
    return share(sum(given == expected for given, expected in known), len(known))


def _pairs(reviews: Sequence[Review]) -> list[tuple[str, str]]:
    """First decision on a case, and the one on its blind copy."""
    decided = first(reviews)
    return [
        (decided[second.drill.about].verdict, second.verdict)
        for second in first(reviews).values()
        if second.drill is not None and second.drill.kind is DrillKind.BLIND and second.drill.about in decided
    ]
