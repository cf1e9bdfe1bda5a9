"""Moves cases: the audit event first, then the write that compares revisions."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from gateway.cases import machine
from gateway.cases.case import Case
from gateway.cases.machine import Actor, Command, Refusal
from gateway.cases.store import CaseStore, CaseText, Notice, Step
from gateway.domain.errors import RequestError
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.domain.ports import AuditLog


class Transitions:
    """`clock` gives aware UTC; `announce` makes the webhook calls that a transition is told by.

    A transition that is recorded and then loses the race for its revision is followed by `case.conflict`: of two
    events with one revision, the other one happened.
    """

    def __init__(
        self,
        store: CaseStore,
        audit: AuditLog,
        *,
        clock: Callable[[], datetime],
        announce: Callable[[Case, EventType, datetime], Iterable[Notice]],
    ) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self.announce = announce

    def check(self, case: Case, command: Command, actor: Actor) -> None:
        """Raises the `RequestError` that `move` would raise for a command that does not apply."""
        _applied(case, command, actor, self._clock())

    async def move(self, case: Case, command: Command, actor: Actor, *, texts: Sequence[CaseText] = ()) -> Case:
        """The case after the command, durable. Raises `RequestError` with the code of the refusal, or `case_changed`
        if somebody else was faster, and `GuardUnavailable`."""
        now = self._clock()
        moved = _applied(case, command, actor, now)
        stored = await self._store.find(case.id)
        if stored is None or stored.revision != case.revision:
            raise _changed()
        kind = machine.event_of(command)
        event = await self._audit.append(_event(kind, case, moved, actor, texts))
        step = Step(
            revision=moved.revision,
            at=now,
            command=kind.value,
            before=case.state,
            after=moved.state,
            actor=actor.ref,
            reason=_reason(command),
            event=event.id,
            person=actor.person,
        )
        if not await self._store.move(moved, step, texts=texts, notices=tuple(self.announce(moved, kind, now))):
            await self._audit.append(_event(EventType.CASE_CONFLICT, case, moved, actor, ()))
            raise _changed()
        return moved


def _applied(case: Case, command: Command, actor: Actor, now: datetime) -> Case:
    moved = machine.apply(case, command, actor, now)
    if isinstance(moved, Refusal):
        raise RequestError(moved.message, code=moved.code, status=moved.status)
    return moved


def _changed() -> RequestError:
    return RequestError("the case was changed meanwhile: read it again", code="case_changed", status=409)


def _reason(command: Command) -> str:
    return str(getattr(command, "reason", ""))


def _event(kind: EventType, before: Case, after: Case, actor: Actor, texts: Sequence[CaseText]) -> EventDraft:
    course = after.course
    return EventDraft(
        type=kind,
        request=before.exchange,
        tenant=before.tenant,
        app=before.app,
        principal=actor.ref,
        body={
            "case": before.id,
            "from": before.state.value,
            "to": after.state.value,
            "revision": after.revision,
            "queue": after.queue,
            "tier": course.tier,
            "due": after.due.isoformat(),
            "binding": after.binding,
            "policy": after.policy,
            "person": actor.person,
            "reason": course.reason,
            "text": course.text,
            "votes": [{"person": vote.person, "agrees": vote.agrees, "text": vote.text} for vote in course.votes],
            "delivery": course.delivery,
            "texts": [
                {"kind": text.kind, "number": text.number, "content": Commitment(text=text.text)} for text in texts
            ],
        },
    )
