from datetime import UTC, datetime

import pytest

from gateway.cases.case import Operator
from gateway.cases.desk import AuditedCaseDesk
from gateway.cases.transitions import Transitions
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType, Receipt

KEY = bytes(32)
NOW = datetime(2026, 11, 24, 10, 5, tzinfo=UTC)


class ListLog:
    """An audit log in memory."""

    def __init__(self) -> None:
        self.drafts: list[EventDraft] = []

    async def append(self, draft: EventDraft) -> Receipt:
        self.drafts.append(draft)
        return Receipt(seq=len(self.drafts), id=str(len(self.drafts)), hash="")


class FullLog:
    async def append(self, draft: EventDraft) -> Receipt:
        raise AuditUnavailable("the disk is full")


def desk(store, audit) -> AuditedCaseDesk:
    numbers = iter(range(100))
    transitions = Transitions(store, audit, clock=lambda: NOW, announce=lambda *_: ())
    return AuditedCaseDesk(store, audit, transitions, key=KEY, ids=lambda: str(next(numbers)), clock=lambda: NOW)


async def test_a_case_is_recorded_and_then_stored(store, draft) -> None:
    log = ListLog()
    receipt = await desk(store, log).open_case(draft())
    case = await store.get(receipt.id, Operator())
    assert (receipt.id, receipt.existing, receipt.due, receipt.expires) == ("case_0", False, case.due, case.expires)
    (event,) = log.drafts
    assert (event.type, event.request, event.tenant, event.principal) == (EventType.CASE_OPENED, "ex-1", "acme", "p:1")
    assert (event.body["case"], event.body["queue"], event.body["rules"]) == (case.id, "credit", ["CRD-001", "CRD-002"])
    assert event.body["binding"] == case.binding
    assert "canary" not in str(event.body)


async def test_the_same_request_is_not_opened_or_recorded_twice(store, draft) -> None:
    log = ListLog()
    opened = desk(store, log)
    first = await opened.open_case(draft())
    second = await opened.open_case(draft(exchange="ex-2"))
    assert (second.id, second.existing, first.existing) == (first.id, True, False)
    assert len(log.drafts) == 1


async def test_a_case_that_cannot_be_recorded_is_not_stored(store, draft) -> None:
    with pytest.raises(AuditUnavailable):
        await desk(store, FullLog()).open_case(draft())
    assert await store.list_cases(Operator()) == []
