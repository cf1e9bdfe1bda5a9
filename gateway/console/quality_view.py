"""What the page *Review quality* shows of one tenant: the measures of the review with names in place of digests."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from gateway.cases import CaseStore
from gateway.cases.case import Case, Reader
from gateway.cases.drill import Drill, DrillKind
from gateway.cases.measures import Share
from gateway.cases.quality import QualityReport, QueueLoad, RulePrecision, assess, loads, precision_of
from gateway.cases.reviews import Review, first, reviews_of
from gateway.cases.terms import person_of
from gateway.settings import CaseSettings

HOURS: Final = "hours."
"""What the name of a field for the hours of a queue begins with."""
_MOST_HOURS: Final = 10_000.0
_DAY_S: Final = 86_400


class SeedLine(Struct, frozen=True, kw_only=True):
    """A planted case. What it expects and where it stands is told only once somebody has decided it: whoever looks here
    may be the one who decides it."""

    name: str
    queue: str
    rules: tuple[str, ...]
    at: datetime
    case: str = ""
    expected: str = ""
    verdict: str = ""

    @property
    def right(self) -> bool:
        return bool(self.verdict) and self.verdict == self.expected


class DueReview(Struct, frozen=True, kw_only=True):
    """A case that was approved by breaking the glass; `late` if nobody has looked at it in time."""

    case: Case
    by: datetime
    late: bool


class QualityView(Struct, frozen=True, kw_only=True):
    """Everything of one tenant. `planted` counts the seeds of the window, `seeds` are they, the latest first."""

    report: QualityReport
    rules: tuple[RulePrecision, ...]
    queues: tuple[QueueLoad, ...]
    seeds: tuple[SeedLine, ...]
    due: tuple[DueReview, ...]
    names: Mapping[str, str]


async def quality_view(
    store: CaseStore,
    settings: CaseSettings,
    *,
    reader: Reader,
    tenant: str,
    since: datetime,
    now: datetime,
    staffed: Mapping[str, float],
    names: Mapping[str, str],
) -> QualityView:
    """`staffed` gives the hours a day of queues, `names` the accounts behind digests. Raises `GuardUnavailable`."""
    reviews = reviews_of(await store.lines(since, now, tenant), await store.views(since))
    arrivals = [queue for queue, _ in await store.arrivals(since, now, tenant)]
    waiting = [case for case in await store.post_reviews(reader) if case.tenant == tenant]
    return QualityView(
        report=assess(reviews, settings.quality, since=since, until=now),
        rules=precision_of(reviews),
        queues=loads(arrivals, reviews, staffed, days=(now - since).total_seconds() / _DAY_S),
        seeds=seed_lines(await store.drills(DrillKind.SEED, since, now, tenant), reviews),
        due=tuple(
            DueReview(case=case, by=case.course.review_by, late=now > case.course.review_by)
            for case in waiting
            if case.course.review_by is not None
        ),
        names=names,
    )


def seed_lines(planted: Iterable[tuple[Case, Drill]], reviews: Sequence[Review]) -> tuple[SeedLine, ...]:
    """The seeds with their first decision, which is what counts as right or wrong. Pure."""
    decided = first(reviews)
    return tuple(_seed_line(case, drill, decided.get(case.id)) for case, drill in planted)


def names_of(accounts: Iterable[str], tenant: str, key: bytes) -> dict[str, str]:
    """Accounts by the digests that stand for them in the cases of a tenant. `key` is that for case bindings."""
    return {person_of(tenant, account, key): account for account in accounts}


def hours_of(asked: Mapping[str, Any], staffed: Mapping[str, float]) -> tuple[dict[str, float], tuple[str, ...]]:
    """The hours a day of each queue, those of the settings in place of any that was not given, and the queues whose
    hours were no number from 0 to 10,000. Pure."""
    hours, wrong = dict(staffed), []
    for field, text in asked.items():
        if not field.startswith(HOURS) or not str(text).strip():
            continue
        queue = field.removeprefix(HOURS)
        try:
            given = float(str(text).strip().replace(",", "."))
        except ValueError:
            given = -1.0
        if 0 <= given <= _MOST_HOURS:
            hours[queue] = given
        else:
            wrong.append(queue)
    return hours, tuple(sorted(wrong))


def told_share(share: Share) -> str:
    """`9 of 10, 90% (60% to 98%)`; `-` of nothing."""
    if not share.total:
        return "-"
    return f"{share.hits} of {share.total}, {share.value:.0%} ({share.low:.0%} to {share.high:.0%})"


def _seed_line(case: Case, drill: Drill, review: Review | None) -> SeedLine:
    name = drill.about.removeprefix(f"{case.tenant}/")
    if review is None:
        return SeedLine(name=name, queue=case.queue, rules=case.rules, at=drill.at)
    return SeedLine(
        name=name,
        queue=case.queue,
        rules=case.rules,
        at=drill.at,
        case=case.id,
        expected=drill.expected,
        verdict=review.verdict,
    )
