"""Sources: what the index holds for each tenant, what policies keep back, and who finds what."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Controller, Response, get, post
from msgspec import Struct

from gateway.cases.case import REASON
from gateway.console.guard import see_other
from gateway.console.page import SOURCES, page, sentence
from gateway.console.parts import ConsoleRequest, blocking, parts_of, session_of
from gateway.console.roles import Role
from gateway.console.sessions import Session
from gateway.console.shown_text import ShownText, shown_text
from gateway.console.sources_view import Wanted, index_view, last_event
from gateway.domain.errors import ConfigurationError, RequestError
from gateway.domain.event import EventType

_HERE: Final = "/sources"
_ADMIN: Final = {"roles": frozenset({Role.ADMIN})}
_DONE: Final = {"released": "The passage can be found again.", "deleted": "The document is gone; ingests leave it out."}
_REASON_TOLD: Final = "Say why in 2 to 80 plain words: the audit log keeps it readable."


class OpenedPassage(Struct, frozen=True, kw_only=True):
    """A withheld passage as it may be shown: personal data masked."""

    name: str
    title: str
    text: ShownText


class SourcesPage(Controller):
    """`/sources`; its acts are for admins."""

    path = _HERE
    opt = {"roles": SOURCES}

    @get()
    async def sources(self, request: ConsoleRequest) -> Response[Any]:
        return await _page(request, _tenant(request.query_params, session_of(request)))

    @post("/show", status_code=200, opt=_ADMIN)
    async def show(self, request: ConsoleRequest) -> Response[Any]:
        """Open a withheld passage. That it is read is in the audit log before it is shown."""
        parts, session = parts_of(request), session_of(request)
        form = await request.form()
        tenant, name, reason = _tenant(form, session), str(form.get("passage", "")), _reason(form)
        if not reason:
            return await _page(request, tenant, told=_REASON_TOLD, status=400)
        try:
            passage = await parts.workbench.sources.open_withheld(tenant, name, by=session.account, reason=reason)
        except ConfigurationError as error:
            return await _page(request, tenant, told=sentence(error.message), status=409)
        found = await parts.find_personal([passage.text])
        opened = OpenedPassage(
            name=name, title=passage.title, text=shown_text(passage.text, found[0] if found else None, masked=True)
        )
        return await _page(request, tenant, opened=opened)

    @post("/release", status_code=303, opt=_ADMIN)
    async def release(self, request: ConsoleRequest) -> Response[Any]:
        """Let the groups of a document find a withheld passage of it."""
        return await _act(request, "released")

    @post("/delete", status_code=303, opt=_ADMIN)
    async def delete(self, request: ConsoleRequest) -> Response[Any]:
        """Take a document out of the index and keep it out."""
        return await _act(request, "deleted")


async def _act(request: ConsoleRequest, done: str) -> Response[Any]:
    parts, session = parts_of(request), session_of(request)
    form = await request.form()
    tenant, reason = _tenant(form, session), _reason(form)
    if not reason:
        return await _page(request, tenant, told=_REASON_TOLD, status=400)
    sources = parts.workbench.sources
    try:
        if done == "released":
            await sources.release(tenant, str(form.get("passage", "")), by=session.account, reason=reason)
        else:
            await sources.delete(tenant, str(form.get("doc", "")), by=session.account, reason=reason)
    except ConfigurationError as error:
        return await _page(request, tenant, told=sentence(error.message), status=409)
    return see_other(f"{parts.renderer.base}{_HERE}?{urlencode({'tenant': tenant, 'done': done})}")


async def _page(
    request: ConsoleRequest, tenant: str, *, opened: OpenedPassage | None = None, told: str = "", status: int = 200
) -> Response[Any]:
    parts, session = parts_of(request), session_of(request)
    asked = request.query_params
    groups = tuple(sorted({one for one in re.split(r"[\s,]+", str(asked.get("groups", ""))) if one}))
    wanted = Wanted(
        words=str(asked.get("words", "")).strip(), groups=frozenset(groups) if asked.get("as") or groups else None
    )
    view = index_view(
        await parts.workbench.sources.catalogue(tenant),
        wanted,
        day=parts.clock().date().isoformat(),
        ingest=await blocking(last_event, parts.workbench.log, tenant, EventType.INGEST),
        drift=await blocking(last_event, parts.workbench.log, tenant, EventType.INDEX_DRIFT),
    )
    return page(
        request,
        "sources.html",
        title="Sources",
        here=_HERE,
        status=status,
        tenant=tenant,
        view=view,
        wanted=wanted,
        groups=groups,
        store=parts.settings.retrieval.store,
        opened=opened,
        told=told,
        done=_DONE.get(str(asked.get("done", "")), ""),
        may_act=Role.ADMIN in session.roles,
    )


def _tenant(asked: Mapping[str, Any], session: Session) -> str:
    """One of the person's tenants, the first if none is named. Raises `RequestError`."""
    tenant = str(asked.get("tenant") or (session.tenants[0] if session.tenants else ""))
    if tenant not in session.tenants:
        raise RequestError("there is no such tenant", code="tenant_not_found", status=404)
    return tenant


def _reason(form: Mapping[str, Any]) -> str:
    reason = str(form.get("reason", "")).strip()
    return reason if REASON.fullmatch(reason) else ""
