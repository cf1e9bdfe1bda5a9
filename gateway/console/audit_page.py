"""The audit pages: search, one exchange, one event, whether the log holds. Every reading is an event, written first.

What was altered in the log is shown as altered, never hidden behind an error.
"""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from litestar import Controller, Response, get, post
from litestar.params import FromPath

from gateway.audit.read import Event, Filter
from gateway.audit.search import AuditSearch
from gateway.audit.search import Page as Found
from gateway.audit.shown import ShownCheck, check_shown
from gateway.audit.verify import Outcome, Verification
from gateway.console.audit_query import EFFECTS, GROUPS, SPANS, Asked, asked
from gateway.console.audit_reading import TEXTS, record_reading, tenants_of
from gateway.console.audit_view import BADGES, event_lines, pretty, shown_exchange
from gateway.console.audit_views import forget_view, save_view, saved_views
from gateway.console.guard import see_other
from gateway.console.page import AUDIT, CASES, page, sentence
from gateway.console.parts import ConsoleRequest, Parts, blocking, parts_of, session_of
from gateway.domain.errors import AuditUnavailable, RequestError
from gateway.domain.event import EventType

_SHOWN: Final = 50
_LAST_PLACE: Final = 2**63 - 1  # of any log: SQLite knows no larger number
_NOTHING: Final = Found((), "")


class AuditPage(Controller):
    """`/audit`, for those who answer for what happened."""

    path = "/audit"
    opt = {"roles": AUDIT}

    @get()
    async def search(self, request: ConsoleRequest) -> Response[Any]:
        """Events, the newest first, by the filters of the address."""
        parts, session = parts_of(request), session_of(request)
        wanted = asked(request.query_params, tenants_of(parts, session), parts.clock())
        return await search_page(request, wanted)

    @get("/exchanges/{exchange:str}")
    async def exchange(self, request: ConsoleRequest, exchange: FromPath[str]) -> Response[Any]:
        """One exchange from its first event to its last, its case's included."""
        parts, session = parts_of(request), session_of(request)
        tenants = tenants_of(parts, session)
        await record_reading(parts, session, "exchange", Filter(request=exchange, tenants=tenants))
        events = await blocking(_exchange, parts, exchange, tenants)
        if not events:
            raise RequestError("there is no such exchange", code="exchange_not_found", status=404)
        check = await _checked(parts, events)
        return page(
            request,
            "audit_exchange.html",
            title="Exchange",
            here="/audit",
            shown=shown_exchange(exchange, events, check),
            badges=BADGES,
            may_open=bool(TEXTS & session.roles),
            may_decide=bool(CASES & session.roles),
        )

    @get("/events/{seq:int}")
    async def event(self, request: ConsoleRequest, seq: FromPath[int]) -> Response[Any]:
        """One event as it was hashed, with its proof."""
        parts, session = parts_of(request), session_of(request)
        if seq > _LAST_PLACE:
            raise _no_event()
        wanted = Filter(first=seq, last=seq, tenants=tenants_of(parts, session))
        await record_reading(parts, session, "event", wanted)
        events = await blocking(_events, parts, wanted)
        if not events:
            raise _no_event()
        check = await _checked(parts, events)
        return page(
            request,
            "audit_event.html",
            title=f"Event {seq}",
            here="/audit",
            event=events[0],
            raw=pretty(events[0]),
            check=check,
            own=check.checks[seq],
            badges=BADGES,
        )

    @get("/integrity")
    async def integrity(self, request: ConsoleRequest) -> Response[Any]:
        """The last checkpoint, compared with the log now."""
        return await _integrity(request, None)

    @post("/integrity", status_code=200)
    async def verify(self, request: ConsoleRequest) -> Response[Any]:
        """The whole log, recomputed in a process of its own: seconds for a large one."""
        parts, session = parts_of(request), session_of(request)
        await record_reading(parts, session, "verify", Filter(tenants=tenants_of(parts, session)))
        return await _integrity(request, await parts.trail.apart.verified())

    @post("/views", status_code=303)
    async def keep(self, request: ConsoleRequest) -> Response[Any]:
        """Keep the filters of the page under a name."""
        parts, session = parts_of(request), session_of(request)
        form = await request.form()
        query = str(form.get("query", ""))
        await blocking(save_view, parts.db, session.account, str(form.get("name", "")).strip(), query)
        view = asked(dict(parse_qsl(query, keep_blank_values=True)), tenants_of(parts, session), parts.clock())
        return see_other(f"{parts.renderer.base}/audit?{view.query()}")

    @post("/views/forget", status_code=303)
    async def forget(self, request: ConsoleRequest) -> Response[Any]:
        parts, session = parts_of(request), session_of(request)
        form = await request.form()
        await blocking(forget_view, parts.db, session.account, str(form.get("name", "")))
        return see_other(f"{parts.renderer.base}/audit")


async def search_page(request: ConsoleRequest, wanted: Asked) -> Response[Any]:
    """The list, or why there is none: a filter that is none, an event that was altered."""
    parts, session = parts_of(request), session_of(request)
    found, check, damage, fault = _NOTHING, None, "", wanted.fault
    if not fault:
        await record_reading(parts, session, "events", wanted.wanted)
        try:
            found = await blocking(_page, parts, wanted)
            check = await _checked(parts, found.events)
            lines = event_lines(found.events, check)
        except AuditUnavailable as error:
            found, lines, damage = _NOTHING, (), error.message
        except RequestError as error:
            found, lines, fault = _NOTHING, (), error.message
    else:
        lines = ()
    return page(
        request,
        "audit.html",
        title="Audit",
        here="/audit",
        status=400 if fault else 200,
        asked=wanted,
        lines=lines,
        following=found.next,
        check=check,
        fault=sentence(fault) if fault else "",
        damage=sentence(damage) if damage else "",
        groups=GROUPS,
        types=[kind.value for kind in EventType],
        effects=EFFECTS,
        spans=list(SPANS),
        badges=BADGES,
        tenants=session.tenants,
        views=await blocking(saved_views, parts.db, session.account),
        may_take=bool(TEXTS & session.roles),
    )


async def _integrity(request: ConsoleRequest, verified: Verification | None) -> Response[Any]:
    parts, session = parts_of(request), session_of(request)
    check = await blocking(check_shown, parts.trail.log, (), parts.trail.trust)
    return page(
        request,
        "audit_integrity.html",
        title="Integrity of the log",
        here="/audit",
        check=check,
        verified=verified,
        whole=tenants_of(parts, session) is None,
        badges=BADGES,
        bad=Outcome.INVALID,
    )


def _no_event() -> RequestError:
    return RequestError("there is no such event", code="event_not_found", status=404)


def _page(parts: Parts, wanted: Asked) -> Found:
    with AuditSearch(parts.trail.log) as search:
        return search.page(wanted.wanted, limit=_SHOWN, cursor=wanted.cursor)


def _exchange(parts: Parts, exchange: str, tenants: frozenset[str] | None) -> list[Event]:
    with AuditSearch(parts.trail.log) as search:
        return search.exchange(exchange, tenants)


def _events(parts: Parts, wanted: Filter) -> list[Event]:
    with AuditSearch(parts.trail.log) as search:
        return list(search.reader.search(wanted, limit=1))


async def _checked(parts: Parts, events: Sequence[Event]) -> ShownCheck:
    return await blocking(check_shown, parts.trail.log, [event.seq for event in events], parts.trail.trust)
