"""A case: read in the order that keeps a reviewer's own judgement, and decided."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Controller, Response, get, post
from litestar.params import FromPath
from msgspec import Struct, structs

from gateway.cases.case import REASON, Case
from gateway.cases.review import Act
from gateway.console.case_view import CODES, FIRST_VIEWS, allowed_acts, has_first_view, view_case
from gateway.console.difference import Stretch, differences
from gateway.console.guard import see_other
from gateway.console.page import CASES, page, sentence
from gateway.console.parts import ConsoleRequest, Parts, blocking, parts_of, session_of
from gateway.console.queue_page import urgency
from gateway.domain.errors import RequestError
from gateway.domain.event import EventDraft, EventType

_STALE: Final = frozenset({"case_changed", "case_held", "claim_required", "case_state", "case_expired"})
"""Refusals because the case is not as it was when the page was made."""
_DECISIVE: Final = frozenset({Act.APPROVE, Act.EDIT, Act.REFUSE, Act.ASK, Act.BREAK_GLASS, Act.UPHOLD, Act.CONTEST})
_ACTS: Final = _DECISIVE | {Act.CLAIM, Act.RELEASE}
_CODES_OF: Final = {Act.EDIT.value: "approve", Act.UPHOLD.value: "look", Act.CONTEST.value: "look"}
_JUDGING: Final = frozenset({Act.APPROVE, Act.EDIT, Act.REFUSE})
_MOST_NOTE: Final = 50


class Typed(Struct, frozen=True, kw_only=True):
    """What somebody has typed into a form of the page, kept when it comes back."""

    act: str = ""
    code: str = ""
    note: str = ""
    text: str = ""

    def __repr__(self) -> str:
        return f"Typed({self.act!r}, {self.code!r})"


class CasePage(Controller):
    """`/cases/{id}` and what is done there. Every form names the revision that its page showed."""

    path = "/cases/{case_id:str}"
    opt = {"roles": CASES}

    @get()
    async def show(self, request: ConsoleRequest, case_id: FromPath[str]) -> Response[Any]:
        case = await _case(request, case_id)
        return await _page(request, case)

    @get("/clock")
    async def clock(self, request: ConsoleRequest, case_id: FromPath[str]) -> Response[Any]:
        """The clocks of the page alone, which htmx fetches again and again; opens nothing."""
        parts, session = parts_of(request), session_of(request)
        case = await _case(request, case_id)
        mine = case.course.holder == parts.actor(case, session).person
        context = {"case": case, "mine": mine, "now": parts.clock(), "urgency": urgency(case, parts.clock())}
        return parts.renderer.page("case_clock.html", context)

    @post("/first-view", status_code=303)
    async def first_view(self, request: ConsoleRequest, case_id: FromPath[str]) -> Response[Any]:
        """Note what the reviewer thinks before the answer is shown; the first time counts. Recorded first."""
        parts, session = parts_of(request), session_of(request)
        case, form = await _case(request, case_id), await request.form()
        view = str(form.get("view", ""))
        if view not in FIRST_VIEWS:
            return await _page(request, case, told="Choose what you think so far.", status=400)
        actor = parts.actor(case, session)
        if case.course.holder != actor.person:
            return await _stale(request, case, Typed(act="first-view"), "you no longer have this case")
        body = {"case": case.id, "revision": case.revision, "view": view, "person": actor.person}
        await parts.audit.append(
            EventDraft(
                type=EventType.CASE_VIEWED,
                request=case.exchange,
                tenant=case.tenant,
                app=case.app,
                principal=actor.ref,
                body=body,
            )
        )
        sql = "INSERT OR IGNORE INTO first_views VALUES (?, ?, ?, ?)"
        await blocking(parts.db.write, sql, case.id, session.account, view, parts.clock().isoformat())
        return see_other(f"{_url(parts, case)}#answer")

    @post("/unmask", status_code=303)
    async def unmask(self, request: ConsoleRequest, case_id: FromPath[str]) -> Response[Any]:
        """Show personal data in this session for a while. The page that follows records why, then opens the texts."""
        parts, session = parts_of(request), session_of(request)
        case, form = await _case(request, case_id), await request.form()
        reason = str(form.get("reason", "")).strip()
        if not REASON.fullmatch(reason):
            told = "Say why in a few plain words, a code or a ticket. The audit log keeps it."
            return await _page(request, case, typed=Typed(act="unmask", note=reason), told=told, status=400)
        await blocking(parts.sessions.unmask, session, case.id, reason, until=parts.clock() + parts.lease)
        return see_other(_url(parts, case))

    @post("/mask", status_code=303)
    async def mask(self, request: ConsoleRequest, case_id: FromPath[str]) -> Response[Any]:
        parts = parts_of(request)
        case = await _case(request, case_id)
        await blocking(parts.sessions.mask, session_of(request), case.id)
        return see_other(_url(parts, case))

    @post("/{act:str}", status_code=303)
    async def act(self, request: ConsoleRequest, case_id: FromPath[str], act: FromPath[str]) -> Response[Any]:
        """Claim, decide, ask, give back. Nothing that was typed is lost when it does not work."""
        parts, session = parts_of(request), session_of(request)
        if act not in _ACTS:
            raise RequestError("there is no such page", code="not_found", status=404)
        case, form = await _case(request, case_id), await request.form()
        typed = _typed(act, form)
        wanted = Act(act)
        if form.get("step") == "differences":
            return await _page(request, case, typed=typed, preview=True)
        if str(form.get("revision", "")) != str(case.revision):
            return await _stale(request, case, typed, "the case was changed while you had it open")
        reason = reason_of(typed)
        if wanted in _DECISIVE and not REASON.fullmatch(reason):
            told = "Choose a reason that fits what you do; a note is a few plain words."
            return await _page(request, case, typed=typed, told=told, status=400)
        if wanted in _JUDGING and not await has_first_view(parts, session, case):
            told = "Note what you think of the question first, then see the answer, then decide."
            return await _page(request, case, typed=typed, told=told, status=400)
        try:
            moved = await parts.review.act(case, wanted, parts.actor(case, session), reason=reason, text=typed.text)
        except RequestError as error:
            if error.code in _STALE:
                return await _stale(request, await _case(request, case_id), typed, error.message)
            return await _page(request, case, typed=typed, told=sentence(error.message), status=error.status)
        if wanted is Act.CLAIM:
            return see_other(_url(parts, moved))
        return see_other(f"{_url(parts, moved)}?done={wanted.value}")


async def _case(request: ConsoleRequest, case_id: FromPath[str]) -> Case:
    """The case if one of the person's tenants has it; nobody else learns that it exists."""
    parts, session = parts_of(request), session_of(request)
    for tenant in session.tenants:
        case = await parts.store.get(case_id, parts.principal(session, tenant))
        if case is not None:
            return case
    raise RequestError("there is no such case", code="case_not_found", status=404)


async def _page(
    request: ConsoleRequest,
    case: Case,
    *,
    typed: Typed | None = None,
    told: str = "",
    status: int = 200,
    preview: bool = False,
) -> Response[Any]:
    parts = parts_of(request)
    view = await view_case(parts, session_of(request), case)
    changes: tuple[Stretch, ...] = ()
    if preview and typed is not None and view.file is not None:
        changes = differences(view.file.answer, typed.text)
    done = request.query_params.get("done", "")
    return page(
        request,
        "case.html",
        title="Case",
        here="/cases",
        status=status,
        view=view,
        case=case,
        mine=view.mine,
        urgency=urgency(case, parts.clock()),
        codes=CODES,
        first_views=FIRST_VIEWS,
        typed=typed or Typed(),
        told=told,
        changes=changes,
        done=done if done in _ACTS else "",
    )


async def _stale(request: ConsoleRequest, case: Case, typed: Typed, why: str) -> Response[Any]:
    """Somebody was faster: what the case is now, and what was typed."""
    parts, session = parts_of(request), session_of(request)
    actor = parts.actor(case, session)
    return page(
        request,
        "stale.html",
        title="Not as it was",
        here="/cases",
        status=409,
        case=case,
        typed=typed,
        why=sentence(why),
        mine=case.course.holder == actor.person,
        acts=allowed_acts(parts, case, actor, parts.clock()),
    )


def _url(parts: Parts, case: Case) -> str:
    return f"{parts.renderer.base}/cases/{case.id}"


def _typed(act: str, form: Mapping[str, Any]) -> Typed:
    named = {name: str(form.get(name, "")) for name in ("code", "note", "text")}
    named["text"] = named["text"].replace("\r\n", "\n")  # browsers send line ends so
    return structs.replace(Typed(act=act), **named)


def reason_of(typed: Typed) -> str:
    """The code, with the note behind it. A note that is too long or holds anything but plain words is none."""
    known = CODES.get(_CODES_OF.get(typed.act, typed.act), {})
    if typed.code not in known or len(typed.note) > _MOST_NOTE:
        return ""
    return f"{typed.code}: {typed.note.strip()}" if typed.note.strip() else typed.code
