"""Puts a decided case before a second reviewer who does not see the first decision (`courier.Carrier`).

The copy looks like a new case of its queue: same content, same rules, another id. Those who decided the first one may
not decide it, nor may those who may not decide the first.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from msgspec import structs

from gateway.cases.announce import read_payload
from gateway.cases.case import Case, CaseState, Course
from gateway.cases.desk import opened
from gateway.cases.drill import Drill, DrillKind, drill_principal
from gateway.cases.store import CaseStore, Notice
from gateway.cases.terms import FETCH_WINDOW, rebound
from gateway.domain.errors import GatewayError
from gateway.domain.event import EventDraft, EventType
from gateway.domain.ports import AuditLog

_log = structlog.get_logger("gateway.cases")
_LEAST_SLA_S: Final = 60


class BlindReviews:
    """`key` is that for `Purpose.CASE_BINDING`; `ids` gives unique ids of 32 hex digits."""

    def __init__(
        self, store: CaseStore, audit: AuditLog, *, key: bytes, ids: Callable[[], str], clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._audit = audit
        self._key = key
        self._ids = ids
        self._clock = clock

    async def carry(self, notice: Notice) -> bool:
        try:
            await self.open(read_payload(notice.payload).data.case)
        except GatewayError as error:
            _log.error("blind_review", error=type(error).__name__, reason=error.message)
            return False
        return True

    async def open(self, case_id: str) -> Case | None:
        """Open the second look at a case; `None` if it has one, or its content was erased. Raises
        `GuardUnavailable`."""
        case = await self._store.find(case_id)
        if case is None or await self._store.drill_about(DrillKind.BLIND, case_id) is not None:
            return None
        content = await self._store.sealed_content(case)
        if content is None:
            return None
        now = self._clock()
        copy = self._copy(case, now)
        drill = Drill(case=copy.id, kind=DrillKind.BLIND, about=case.id, at=now)
        await self._audit.append(drill_event(copy, drill))
        return copy if await self._store.copy(copy, content, drill) else None

    def _copy(self, case: Case, now: datetime) -> Case:
        course, new_id = case.course, f"case_{self._ids()}"
        sla_s = max(course.sla_s, _LEAST_SLA_S)
        binding = rebound(case.binding, ("drill", new_id), self._key)
        due = now + timedelta(seconds=sla_s)
        return structs.replace(
            case,
            id=new_id,
            state=CaseState.QUEUED,
            principal=drill_principal(new_id, self._key),
            exchange=self._ids(),
            approvals=1,
            opened=now,
            due=due,
            expires=due + FETCH_WINDOW,
            fingerprint=self._ids() + self._ids(),
            binding=binding,
            revision=1,
            course=Course(
                person=course.person,
                origin=binding,
                sla_s=sla_s,
                lifts=course.lifts,
                barred=tuple(sorted({*course.barred, *course.deciders})),
                whole=course.whole,
            ),
        )


def drill_event(case: Case, drill: Drill) -> EventDraft:
    """The event that a drill begins with: that of any case, and what it is for."""
    draft = opened(case)
    return structs.replace(
        draft, type=EventType.CASE_DRILL_OPENED, body={**draft.body, "kind": drill.kind.value, "about": drill.about}
    )
