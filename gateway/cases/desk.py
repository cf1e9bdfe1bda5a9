"""Takes in escalations and gives approvals out (port `CaseDesk`): the audit event first, then the case."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from gateway.cases import machine
from gateway.cases.case import Case, CaseContent, CaseState, SealedPassage, is_requester
from gateway.cases.drill import is_drill
from gateway.cases.machine import Actor
from gateway.cases.store import CaseStore, CaseText
from gateway.cases.terms import new_case, person_of, rebound
from gateway.cases.transitions import Transitions
from gateway.domain.case import Approval, CaseDraft, CaseReceipt
from gateway.domain.errors import GuardUnavailable, RequestError
from gateway.domain.event import EventDraft, EventType
from gateway.domain.passage import Passage
from gateway.domain.ports import AuditLog
from gateway.domain.principal import Principal
from gateway.domain.vocabulary import Phase

DELIVERY = "delivery"
EDIT = "edit"
_RACES: Final = 3


class AuditedCaseDesk:
    """Opens cases and delivers approved ones. `key` is the 32-byte key for `Purpose.CASE_BINDING`; `ids` gives
    unique, unguessable ids: an id is what a client polls with. `teams` as in `new_case`.

    When the same request comes twice at the same moment, one case is stored and both callers get it; the log may
    then hold a `case.opened` of a case that never came to be, and names the real one in the exchange's outcome.
    """

    def __init__(
        self,
        store: CaseStore,
        audit: AuditLog,
        transitions: Transitions,
        *,
        key: bytes,
        ids: Callable[[], str],
        clock: Callable[[], datetime],
        teams: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._store = store
        self._audit = audit
        self._transitions = transitions
        self._key = key
        self._ids = ids
        self._clock = clock
        self._teams = teams or {}
        self._consuming = asyncio.Lock()  # so that of racing requests here all but the first find the answer

    async def open_case(self, draft: CaseDraft) -> CaseReceipt:
        """Raises `GuardUnavailable` if the event or the case may not be durable."""
        found = await self._store.find_undecided(draft.fingerprint) or await self._delivered_lately(draft)
        if found is not None:
            return _receipt(found, existing=True)
        case = new_case(f"case_{self._ids()}", draft, self._key, teams=self._teams)
        await self._audit.append(opened(case))
        notices = tuple(self._transitions.announce(case, EventType.CASE_OPENED, case.opened))
        stored = await self._store.add(case, draft, notices=notices)
        return _receipt(stored.case, existing=stored.existing)

    async def approval(self, case: str, principal: Principal) -> Approval:
        """As the port says."""
        found = await self._own(case, principal)
        if self._clock() >= found.expires:
            raise RequestError("the case has expired: send the request again", code="case_expired", status=410)
        texts = await self._store.texts(found)
        delivered = _latest(texts, DELIVERY)
        if found.state not in _GRANTED and not (found.course.delivery and delivered is not None):
            message = f"the case is `{found.state.value}`: poll it until it is approved"
            raise RequestError(message, code="case_not_approved", status=409)
        if is_drill(found, self._key):  # belongs to nobody, so nobody gets this far
            raise RequestError("there is no such case for this key", code="case_not_found", status=404)
        if found.course.delivery and delivered is None:
            raise GuardUnavailable("a case was delivered, and its answer is missing: the case store was altered")
        content = await self._store.sealed_content(found)
        if content is None:
            raise RequestError("the content of the case was erased", code="case_erased", status=410)
        return _approval(found, content, texts, delivered)

    async def state(self, case: str, principal: Principal) -> CaseState:
        """What has become of the requester's own case. Raises `RequestError` (404)."""
        return (await self._own(case, principal)).state

    async def requeue(
        self, approval: Approval, principal: Principal, *, reason: str, policy: str, fingerprint: str
    ) -> None:
        """As the port says."""
        case = await self._own(approval.case, principal)
        binding = rebound(case.binding, (reason, policy, fingerprint), self._key)
        command = machine.Requeue(reason, policy, fingerprint, binding)
        await self._transitions.move(case, command, self._requester(case))

    async def deliver(self, approval: Approval, principal: Principal, *, exchange: str, answer: bytes) -> bytes:
        """As the port says."""
        for last in (False,) * _RACES + (True,):
            try:
                async with self._consuming:
                    await self._consume(approval, principal, exchange, answer)
            except RequestError as error:
                earlier = await self._delivered(approval.case, principal)
                if earlier is not None:
                    return earlier
                if last or error.code != "case_changed":
                    raise
                # Another node has confirmed the same approval and not delivered yet: one of the two will.
                continue
            return answer
        raise AssertionError("the last try returns or raises")

    async def redelivered(self, approval: Approval, principal: Principal, *, exchange: str) -> None:
        """As the port says."""
        case = await self._own(approval.case, principal)
        await self._audit.append(
            EventDraft(
                type=EventType.CASE_REDELIVERED,
                request=exchange,
                tenant=case.tenant,
                app=case.app,
                principal=principal.ref,
                body={"case": case.id, "binding": case.binding, "delivery": case.course.delivery},
            )
        )

    async def _consume(self, approval: Approval, principal: Principal, exchange: str, answer: bytes) -> None:
        case = await self._own(approval.case, principal)
        confirmed = case.state is CaseState.RELEASABLE and case.revision == approval.revision + 1
        if case.revision != approval.revision and not confirmed:
            raise RequestError("the case was changed meanwhile: try again", code="case_changed", status=409)
        requester = self._requester(case)
        if case.state is not CaseState.RELEASABLE:
            case = await self._transitions.move(case, machine.Confirm(), requester)
        text = CaseText(kind=DELIVERY, number=1, text=answer.decode())
        await self._transitions.move(case, machine.Deliver(exchange), requester, texts=(text,))

    async def _delivered_lately(self, draft: CaseDraft) -> Case | None:
        if draft.redeliver_since is None:
            return None
        found = await self._store.find_latest(draft.fingerprint)
        if found is None or found.state is not CaseState.DELIVERED or found.course.decided is None:
            return None
        return found if found.course.decided >= draft.redeliver_since else None

    async def _own(self, case_id: str, principal: Principal) -> Case:
        case = await self._store.find(case_id)
        if case is None or not is_requester(case, principal):
            raise RequestError("there is no such case for this key", code="case_not_found", status=404)
        return case

    async def _delivered(self, case_id: str, principal: Principal) -> bytes | None:
        case = await self._own(case_id, principal)
        return _latest(await self._store.texts(case), DELIVERY) if case.course.delivery else None

    def _requester(self, case: Case) -> Actor:
        return Actor(person=case.course.person, ref=case.principal, requests=True)


_GRANTED = frozenset({CaseState.APPROVED, CaseState.OVERTURNED, CaseState.RELEASABLE})


def actor_of(case: Case, principal: Principal, key: bytes) -> Actor:
    """The principal as the state machine sees them. `key` is that for `Purpose.CASE_BINDING`."""
    return Actor(
        person=person_of(principal.tenant, principal.user, key),
        ref=principal.ref,
        roles=principal.roles,
        groups=principal.groups,
        requests=is_requester(case, principal),
    )


def _approval(case: Case, content: CaseContent, texts: list[CaseText], delivered: bytes | None) -> Approval:
    edited = next((text.text for text in texts if (text.kind, text.number) == (EDIT, case.course.text)), None)
    if case.course.text and edited is None:
        raise GuardUnavailable("an edited answer is missing: the case store was altered")
    candidate = content.candidate if edited is None else edited
    return Approval(
        case=case.id,
        revision=case.revision,
        fingerprint=case.fingerprint,
        policy=case.policy,
        phase=case.phase,
        expires=case.expires,
        lifts=frozenset(f"{case.phase.value}:{rule}" for rule in case.rules) | frozenset(case.course.lifts),
        answer=candidate if case.phase in (Phase.ANSWER, Phase.TOOL_CALL) else None,
        edited=edited is not None,
        passages=tuple(_passage(one) for one in content.passages),
        request=content.request,
        completion="" if edited is not None else content.completion,
        delivered=delivered,
    )


def _passage(sealed: SealedPassage) -> Passage:
    doc, _, number = sealed.id.rpartition("#")
    return Passage(
        doc=doc,
        number=int(number),
        revision=sealed.revision,
        title=sealed.title,
        section=sealed.section,
        text=sealed.text,
        source=sealed.source,
        access=frozenset(sealed.access),
    )


def _latest(texts: list[CaseText], kind: str) -> bytes | None:
    return next((text.text.encode() for text in reversed(texts) if text.kind == kind), None)


def _receipt(case: Case, *, existing: bool) -> CaseReceipt:
    return CaseReceipt(id=case.id, due=case.due, expires=case.expires, existing=existing)


def opened(case: Case) -> EventDraft:
    """The event that a case begins with."""
    return EventDraft(
        type=EventType.CASE_OPENED,
        request=case.exchange,
        tenant=case.tenant,
        app=case.app,
        principal=case.principal,
        body={
            "case": case.id,
            "phase": case.phase.value,
            "queue": case.queue,
            "approvals": case.approvals,
            "rules": list(case.rules),
            "policy": case.policy,
            "due": case.due.isoformat(),
            "expires": case.expires.isoformat(),
            "binding": case.binding,
        },
    )
