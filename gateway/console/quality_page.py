"""Review quality, for leads: are decisions right, alike and read, are rules right, are there people enough?"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from litestar import Controller, Response, get

from gateway.console.page import QUALITY, page
from gateway.console.parts import ConsoleRequest, Parts, blocking, parts_of, session_of
from gateway.console.quality_view import hours_of, names_of, quality_view, told_share
from gateway.console.sessions import Session
from gateway.domain.errors import RequestError

_HERE: Final = "/quality"
SPANS: Final = (7, 30, 90, 365)


class QualityPage(Controller):
    """`/quality`. Its figures name reviewers, so only leads open it."""

    path = _HERE
    opt = {"roles": QUALITY}

    @get()
    async def show(self, request: ConsoleRequest) -> Response[Any]:
        parts, session = parts_of(request), session_of(request)
        asked, settings = request.query_params, parts.settings.cases
        tenant = _tenant(asked, session)
        chosen = str(asked.get("days", ""))
        days = int(chosen) if chosen in map(str, SPANS) else settings.quality.window_days
        staffed, wrong = hours_of(asked, {name: queue.staffed_hours_per_day for name, queue in settings.queues.items()})
        now = parts.clock()
        view = await quality_view(
            parts.store,
            settings,
            reader=parts.principal(session, tenant),
            tenant=tenant,
            since=now - timedelta(days=days),
            now=now,
            staffed=staffed,
            names=await blocking(_names, parts, session, tenant),
        )
        return page(
            request,
            "quality.html",
            title="Review quality",
            here=_HERE,
            status=400 if wrong else 200,
            tenant=tenant,
            days=days,
            spans=sorted({*SPANS, settings.quality.window_days}),
            view=view,
            wrong=wrong,
            quality=settings.quality,
            share=told_share,
            titles={rule.id: rule.title for rule in parts.policy().rules},
        )


def _names(parts: Parts, session: Session, tenant: str) -> dict[str, str]:
    known = {session.account, *(account.name for account in parts.accounts.list())}
    return names_of(known, tenant, parts.case_key)


def _tenant(asked: Mapping[str, Any], session: Session) -> str:
    """One of the person's tenants, the first if none is named. Raises `RequestError`."""
    tenant = str(asked.get("tenant") or (session.tenants[0] if session.tenants else ""))
    if tenant not in session.tenants:
        raise RequestError("there is no such tenant", code="tenant_not_found", status=404)
    return tenant
