"""The queue: cases that wait, the earliest due first, and the next one for whoever asks."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from litestar import Controller, Response, get, post
from msgspec import Struct

from gateway.cases.case import UNDECIDED, Case, CaseState
from gateway.cases.machine import OPEN, is_leased
from gateway.console.case_view import allowed_acts
from gateway.console.guard import see_other
from gateway.console.page import CASES, page
from gateway.console.parts import ConsoleRequest, Parts, parts_of, session_of
from gateway.console.sessions import Session
from gateway.domain.text import outline
from gateway.domain.vocabulary import Effect
from gateway.policy.compiled import CompiledRule

_SHOWN: Final = 200
_SHORTLY_S: Final = 15 * 60
WAITING: Final = OPEN | {CaseState.APPEALED}
"""States in which somebody must do something."""
_VIEWS: Final = {
    "waiting": WAITING,
    "undecided": UNDECIDED | {CaseState.APPEALED},
    "decided": frozenset(CaseState) - WAITING,
    "all": frozenset(CaseState),
}


class Filters(Struct, frozen=True, kw_only=True):
    """What is asked for; "" stands for everything. `view` is a name of `_VIEWS` or a state."""

    view: str = "waiting"
    tenant: str = ""
    queue: str = ""
    tier: str = ""
    mine: bool = False

    def __repr__(self) -> str:
        return f"Filters({self.view!r}, {outline(self.queue)})"

    @property
    def states(self) -> frozenset[CaseState]:
        return _VIEWS[self.view] if self.view in _VIEWS else frozenset({CaseState(self.view)})


class Row(Struct, frozen=True, kw_only=True):
    """A case in the list. `title` is that of the rule that asks for a person; `urgency` is `late`, `soon` or ""."""

    case: Case
    title: str
    urgency: str
    mine: bool
    held: bool


class Counts(Struct, frozen=True, kw_only=True):
    waiting: int
    free: int
    late: int
    mine: int


class QueuePage(Controller):
    """`/cases`, for those who decide."""

    path = "/cases"
    opt = {"roles": CASES}

    @get()
    async def queue(self, request: ConsoleRequest) -> Response[Any]:
        """The list with its counts. htmx fetches the same page every some seconds and takes the list out of it."""
        parts, session = parts_of(request), session_of(request)
        filters = _filters(request.query_params, session)
        now = parts.clock()
        waiting = await _cases(parts, session, WAITING, tenant=filters.tenant)
        wanted = (
            waiting
            if filters.states == WAITING
            else await _cases(parts, session, filters.states, tenant=filters.tenant)
        )
        rules = {rule.id: rule for rule in parts.policy().rules}
        rows = [_row(parts, session, case, rules, now) for case in wanted if _fits(case, filters)]
        if filters.mine:
            rows = [row for row in rows if row.mine]
        everything = [_row(parts, session, case, rules, now) for case in waiting]
        return page(
            request,
            "queue.html",
            title="Cases",
            here="/cases",
            rows=rows[:_SHOWN],
            more=max(0, len(rows) - _SHOWN),
            counts=_counts(everything),
            filters=filters,
            queues=sorted({case.queue for case in waiting} | set(parts.settings.cases.queues)),
            tiers=sorted({case.course.tier for case in waiting}),
            views=list(_VIEWS),
            states=[state.value for state in CaseState],
            glasses=[case for own in session.tenants for case in await _glasses(parts, session, own)],
            none_left=request.query_params.get("none") is not None,
        )

    @post("/next", status_code=303)
    async def take_next(self, request: ConsoleRequest) -> Response[Any]:
        """Claim the earliest due case that this person may decide, and open it. Nobody else gets the same one."""
        parts, session = parts_of(request), session_of(request)
        form = await request.form()
        queue = str(form.get("queue", ""))
        case = await _claim_next(parts, session, queue)
        if case is None:
            return see_other(f"{parts.renderer.base}/cases?none")
        return see_other(f"{parts.renderer.base}/cases/{case.id}")


async def _claim_next(parts: Parts, session: Session, queue: str) -> Case | None:
    """Tenants take turns by what is due first in each."""
    waiting = await _cases(parts, session, WAITING, tenant="")
    for tenant in dict.fromkeys(case.tenant for case in waiting):
        case = await parts.review.claim_next(parts.principal(session, tenant), queue=queue)
        if case is not None:
            return case
    return None


async def _cases(parts: Parts, session: Session, states: frozenset[CaseState], *, tenant: str) -> list[Case]:
    """Cases of the person's tenants, the earliest due first."""
    found: list[Case] = []
    for own in session.tenants:
        if tenant in ("", own):
            found += await parts.store.list_cases(parts.principal(session, own), states=states, limit=1_000)
    return sorted(found, key=lambda case: (case.due, case.id))


async def _glasses(parts: Parts, session: Session, tenant: str) -> list[Case]:
    """Cases that somebody approved alone, and that this person may look at."""
    now = parts.clock()
    found = await parts.store.post_reviews(parts.principal(session, tenant))
    acts = [(case, allowed_acts(parts, case, parts.actor(case, session), now)) for case in found]
    return [case for case, allowed in acts if case.tenant == tenant and "uphold" in allowed]


def _row(parts: Parts, session: Session, case: Case, rules: Mapping[str, CompiledRule], now: datetime) -> Row:
    held = is_leased(case, now)
    about = [rules[name] for name in case.rules if name in rules]
    first = max(about, key=lambda rule: rule.effect is Effect.ESCALATE, default=None)
    return Row(
        case=case,
        title=first.title if first else "",
        urgency=urgency(case, now),
        mine=held and case.course.holder == parts.actor(case, session).person,
        held=held,
    )


def urgency(case: Case, now: datetime) -> str:
    """`late`, `soon` or "" for a case with time, or one whose clock has stopped."""
    if case.state not in WAITING:
        return ""
    left_s = (case.due - now).total_seconds()
    return "late" if left_s < 0 else "soon" if left_s < _SHORTLY_S else ""


def _counts(rows: Iterable[Row]) -> Counts:
    listed = list(rows)
    return Counts(
        waiting=len(listed),
        free=sum(not row.held and row.case.state is not CaseState.WAITING_INFO for row in listed),
        late=sum(row.urgency == "late" for row in listed),
        mine=sum(row.mine for row in listed),
    )


def _filters(asked: Any, session: Session) -> Filters:
    """What of the query fits; anything else stands for everything."""
    view, tenant = str(asked.get("view", "waiting")), str(asked.get("tenant", ""))
    known = view in _VIEWS or view in {state.value for state in CaseState}
    return Filters(
        view=view if known else "waiting",
        tenant=tenant if tenant in session.tenants else "",
        queue=str(asked.get("queue", "")),
        tier=str(asked.get("tier", "")),
        mine=asked.get("mine") == "1",
    )


def _fits(case: Case, filters: Filters) -> bool:
    return filters.queue in ("", case.queue) and filters.tier in ("", str(case.course.tier))
