"""The overview: what was decided, what failed, how long it took and cost, who waits, and whether the log is sound."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from litestar import Controller, Response, get
from msgspec import Struct

from gateway.audit.read import Filter
from gateway.audit.search import AuditSearch
from gateway.audit.search_tally import Counts, Grouping, counted, merged
from gateway.audit.shown import check_shown
from gateway.console.audit_reading import record_reading, tenants_of
from gateway.console.audit_view import BADGES
from gateway.console.overview_chart import HEIGHT, WIDE, WIDTH
from gateway.console.overview_figures import EFFECTS, MOST_DAYS, case_figures, figures, quality_figures
from gateway.console.page import AUDIT, CASES, page
from gateway.console.parts import ConsoleRequest, Parts, blocking, parts_of, session_of
from gateway.console.roles import Role
from gateway.console.sessions import Session
from gateway.domain.errors import AuditUnavailable

SPANS: Final = (1, 7, 30, 90)
_DEFAULT_DAYS: Final = 30
QUALITY: Final = frozenset({Role.LEAD, Role.AUDITOR})
"""Who may see figures of reviewers."""


class Span(Struct, frozen=True, kw_only=True):
    """Whole days (UTC), both inclusive. `days` is one of `SPANS`, 0 for days of the person's own choice."""

    first: dt.date
    last: dt.date
    days: int
    tenant: str
    app: str
    fault: str = ""


class OverviewPage(Controller):
    """`/overview`, for those who answer for the gateway."""

    path = "/overview"
    opt = {"roles": AUDIT}

    @get()
    async def show(self, request: ConsoleRequest) -> Response[Any]:
        parts, session = parts_of(request), session_of(request)
        span = _span(request.query_params, session, parts.clock().date())
        tenants = _tenants(parts, session, span)
        since, until = _moment(span.first), _moment(span.last + dt.timedelta(days=1))
        wanted = Filter(tenants=tenants, app=span.app, since=since, until=until)
        await record_reading(parts, session, "stats", wanted)
        daily, whole = await blocking(_counts, parts, wanted)
        own = (span.tenant,) if span.tenant else session.tenants
        now = parts.clock()
        return page(
            request,
            "overview.html",
            title="Overview",
            here="/overview",
            status=400 if span.fault else 200,
            span=span,
            spans=SPANS,
            tenants=session.tenants,
            apps=sorted(parts.settings.apps),
            shown=figures(daily, whole, span.first, span.last, parts.settings.models),
            effects=EFFECTS,
            titles={rule.id: rule.title for rule in parts.policy().rules},
            currency=parts.settings.console.currency,
            cases=await case_figures(parts.store, own, now),
            quality=await quality_figures(parts.store, parts.settings.cases.quality, own, now)
            if QUALITY & session.roles
            else (),
            sees_quality=bool(QUALITY & session.roles),
            window_days=parts.settings.cases.quality.window_days,
            may_decide=bool(CASES & session.roles),
            health=await _health(parts),
            lags=parts.trail.lags(),
            has_sinks=bool(parts.settings.trail.sinks),
            badges=BADGES,
            width=WIDTH,
            wide=WIDE,
            height=HEIGHT,
        )


def _counts(parts: Parts, wanted: Filter) -> tuple[tuple[Counts, ...], tuple[Counts, ...]]:
    with AuditSearch(parts.trail.log) as search:
        tallies = search.tallies(wanted, Grouping(tenant=False, app=False))
    return counted(tallies), counted(merged(tallies.items(), Grouping(day=False)))


async def _health(parts: Parts) -> Any:
    """The log against its last checkpoint; the reason as a text if it cannot be read."""
    try:
        return await blocking(check_shown, parts.trail.log, (), parts.trail.trust)
    except AuditUnavailable as error:
        return error.message


def _tenants(parts: Parts, session: Session, span: Span) -> frozenset[str] | None:
    return frozenset({span.tenant}) if span.tenant else tenants_of(parts, session)


def _span(query: Mapping[str, Any], session: Session, today: dt.date) -> Span:
    """What of the query fits. Days of somebody's own choice count if both are given."""
    tenant, app = str(query.get("tenant", "")), str(query.get("app", ""))
    tenant = tenant if tenant in session.tenants else ""
    given = str(query.get("days", ""))
    days = int(given) if given in map(str, SPANS) else _DEFAULT_DAYS
    first, last, fault = today - dt.timedelta(days=days - 1), today, ""
    texts = [str(query.get(name, "")).strip() for name in ("from", "to")]
    if any(texts) and not given:
        try:
            own = [dt.date.fromisoformat(text) for text in texts]
        except ValueError:
            fault = "Give both days, written as 2026-11-24."
        else:
            if 0 <= (own[1] - own[0]).days < MOST_DAYS:
                (first, last), days = own, 0
            else:
                fault = f"The first day comes before the last, at most {MOST_DAYS} days before."
    return Span(first=first, last=last, days=days, tenant=tenant, app=app, fault=fault)


def _moment(date: dt.date) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(), dt.UTC)
