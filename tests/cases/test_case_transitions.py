import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.cases.case import REVIEWER, Case, CaseState, Operator
from gateway.cases.machine import Actor, Claim
from gateway.cases.rows import row_of
from gateway.cases.sqlite import MIGRATIONS
from gateway.cases.store import CaseText, SqliteCaseStore
from gateway.cases.terms import new_case
from gateway.cases.transitions import Transitions
from gateway.domain.errors import AuditUnavailable, RequestError
from gateway.domain.event import EventDraft, Receipt

KEY = bytes(range(32))
NOW = datetime(2026, 11, 24, 10, 5, tzinfo=UTC)
CLAIM = Claim(timedelta(minutes=15))
RUTH, RAVI = (Actor(person=f"u:{n}", ref=f"p:{n}", roles=frozenset({REVIEWER})) for n in ("ruth", "ravi"))


class Log:
    """An audit log that lets somebody else act while an event is written."""

    def __init__(self) -> None:
        self.types: list[str] = []
        self.meanwhile = None
        self.full = False

    async def append(self, draft: EventDraft) -> Receipt:
        if self.full:
            raise AuditUnavailable("the disk is full")
        self.types.append(draft.type.value)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return Receipt(seq=len(self.types), id=str(len(self.types)), hash="")


@pytest.fixture
async def case(store, draft) -> Case:
    return (await store.add(new_case("case_1", draft(), KEY), draft())).case


def transitions(store: SqliteCaseStore, log: Log) -> Transitions:
    return Transitions(store, log, clock=lambda: NOW, announce=lambda *_: ())


async def test_a_transition_is_recorded_stored_and_in_the_history(store, case) -> None:
    log = Log()
    moved = await transitions(store, log).move(case, CLAIM, RUTH, texts=(CaseText(kind="edit", number=1, text="hi"),))
    assert await store.find(case.id) == moved
    (step,) = await store.history(case.id)
    assert (step.command, step.before, step.after, step.actor, step.event) == (
        "case.claimed",
        CaseState.QUEUED,
        CaseState.IN_REVIEW,
        "p:ruth",
        "1",
    )
    assert [text.text for text in await store.texts(moved)] == ["hi"]


async def test_whoever_loses_the_race_for_a_revision_is_told_and_recorded(store, case) -> None:
    log = Log()
    both = transitions(store, log)

    async def meanwhile() -> None:
        await both.move(case, CLAIM, RAVI)

    log.meanwhile = meanwhile
    with pytest.raises(RequestError) as raised:
        await both.move(case, CLAIM, RUTH)
    assert raised.value.code == "case_changed"
    assert log.types == ["case.claimed", "case.claimed", "case.conflict"]
    assert (await store.find(case.id)).course.holder == "u:ravi"
    with pytest.raises(RequestError):  # a revision that is known to be old is not even recorded
        await both.move(case, CLAIM, RUTH)
    assert len(log.types) == 3


async def test_what_cannot_be_recorded_does_not_happen(store, case) -> None:
    log = Log()
    log.full = True
    with pytest.raises(AuditUnavailable):
        await transitions(store, log).move(case, CLAIM, RUTH)
    assert await store.find(case.id) == case
    assert await store.history(case.id) == []


async def test_a_store_of_the_first_format_is_brought_up_to_date_and_opens(tmp_path: Path, draft) -> None:
    made = new_case("case_1", draft(), KEY)
    new = SqliteCaseStore.open(tmp_path / "new.db", key=KEY)
    await new.add(made, draft())
    new.close()
    with sqlite3.connect(tmp_path / "new.db") as db:
        (sealed,) = db.execute("SELECT content FROM cases").fetchone()
    old = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    for statement in MIGRATIONS[0]:
        old.execute(statement)
    old.execute("PRAGMA user_version = 1")
    columns = row_of(made)[:-1]
    values = (*(value.isoformat() if isinstance(value, datetime) else value for value in columns), sealed)
    old.execute(f"INSERT INTO cases VALUES ({', '.join('?' * len(values))})", values)
    old.close()
    store = SqliteCaseStore.open(tmp_path / "old.db", key=KEY)
    case = await store.find("case_1")
    assert (case.course.origin, case.course.sla_s) == (made.binding, 3600)
    assert (await store.content("case_1", Operator())).question == "canary question"
    store.close()
