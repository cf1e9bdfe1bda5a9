"""Takes in escalations (port `CaseDesk`): the audit event first, then the case."""

from collections.abc import Callable

from gateway.cases.case import Case
from gateway.cases.store import SqliteCaseStore
from gateway.cases.terms import new_case
from gateway.domain.case import CaseDraft, CaseReceipt
from gateway.domain.event import EventDraft, EventType
from gateway.domain.ports import AuditLog


class AuditedCaseDesk:
    """Opens cases. `key` is the 32-byte key for `Purpose.CASE_BINDING`; `ids` gives unique, unguessable ids: an id is
    what a client polls with.

    When the same request comes twice at the same moment, one case is stored and both callers get it; the log may
    then hold a `case.opened` of a case that never came to be, and names the real one in the exchange's outcome.
    """

    def __init__(self, store: SqliteCaseStore, audit: AuditLog, *, key: bytes, ids: Callable[[], str]) -> None:
        self._store = store
        self._audit = audit
        self._key = key
        self._ids = ids

    async def open_case(self, draft: CaseDraft) -> CaseReceipt:
        """Raises `GuardUnavailable` if the event or the case may not be durable."""
        found = await self._store.find_undecided(draft.fingerprint)
        if found is not None:
            return _receipt(found, existing=True)
        case = new_case(f"case_{self._ids()}", draft, self._key)
        await self._audit.append(_opened(case))
        stored = await self._store.add(case, draft)
        return _receipt(stored.case, existing=stored.existing)


def _receipt(case: Case, *, existing: bool) -> CaseReceipt:
    return CaseReceipt(id=case.id, due=case.due, expires=case.expires, existing=existing)


def _opened(case: Case) -> EventDraft:
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
