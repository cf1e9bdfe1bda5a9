import asyncio
import pickle
import sqlite3
from pathlib import Path

import pytest

from gateway.cases.case import CaseState, Operator
from gateway.cases.store import SqliteCaseStore
from gateway.cases.terms import content_of, new_case
from gateway.domain.errors import GuardUnavailable
from gateway.domain.sealing import UnsealError
from gateway.domain.verdict import Escalation

KEY = bytes(range(32))
OPERATOR = Operator()


@pytest.fixture
def case(draft):
    return new_case("case_1", draft(), KEY)


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_a_case_is_durable_and_its_texts_are_sealed(tmp_path: Path, draft, case) -> None:
    path = tmp_path / "own.db"
    store = SqliteCaseStore.open(path, key=KEY)
    stored = await store.add(case, draft())
    assert (stored.case, stored.existing) == (case, False)
    store.close()
    files = everything_in(tmp_path)
    assert b"case_1" in files
    assert b"canary" not in files
    assert path.stat().st_mode & 0o777 == 0o600
    again = SqliteCaseStore.open(path, key=KEY)
    assert await again.get("case_1", OPERATOR) == case
    assert await again.content("case_1", OPERATOR) == content_of(draft())
    again.close()


async def test_the_same_request_finds_its_undecided_case(store, tmp_path: Path, draft, case) -> None:
    await store.add(case, draft())
    assert await store.find_undecided(case.fingerprint) == case
    assert await store.find_by_binding(case.binding) == case
    again = await store.add(new_case("case_2", draft(exchange="ex-2"), KEY), draft(exchange="ex-2"))
    assert (again.case.id, again.existing) == ("case_1", True)
    db = sqlite3.connect(tmp_path / "cases.db")
    db.execute("UPDATE cases SET state = 'refused'")
    db.commit()
    db.close()
    assert await store.find_undecided(case.fingerprint) is None
    third = await store.add(new_case("case_3", draft(), KEY), draft())
    assert (third.case.id, third.existing) == ("case_3", False)


async def test_racing_requests_get_one_case(store, tmp_path: Path, draft) -> None:
    other = SqliteCaseStore.open(tmp_path / "cases.db", key=KEY)
    stores = [store, other] * 6
    made = await asyncio.gather(
        *(one.add(new_case(f"case_{n}", draft(), KEY), draft()) for n, one in enumerate(stores))
    )
    other.close()
    assert len({stored.case.id for stored in made}) == 1
    assert [stored.existing for stored in made].count(False) == 1


@pytest.mark.parametrize(
    ("who", "sees", "opens"),
    [
        (("p:1", "acme", "loans"), True, False),  # the requester: not the held answer
        (("p:1", "acme", "loans", "reviewer"), True, False),  # a reviewer does not review himself
        (("p:2", "acme", "console", "reviewer"), True, True),
        (("p:2", "acme", "loans"), False, False),
        (("p:1", "acme", "other-app"), False, False),
        (("p:1", "other", "loans"), False, False),
        (("p:2", "other", "console", "reviewer"), False, False),
        (("p:2", "acme", "console", "admin", "auditor"), False, False),
    ],
)
async def test_who_sees_and_opens_a_case(store, draft, case, person, who, sees: bool, opens: bool) -> None:
    await store.add(case, draft())
    reader = person(*who)
    assert (await store.get("case_1", reader) == case) is sees
    assert (await store.list_cases(reader) == [case]) is sees
    assert (await store.content("case_1", reader) is not None) is opens


async def test_unknown_and_forbidden_cases_look_alike(store, person) -> None:
    assert await store.get("case_9", OPERATOR) is None
    assert await store.content("case_9", OPERATOR) is None
    assert await store.find_by_binding("b:0") is None


async def test_cases_are_listed_by_due_time_and_filtered(store, draft, person) -> None:
    def terms(queue: str, sla_s: int) -> dict[str, object]:
        return {"fingerprint": queue, "escalations": (Escalation(rule="R", queue=queue, sla_s=sla_s),)}

    for number, (queue, sla_s, tenant) in enumerate([("a", 300, "acme"), ("b", 100, "acme"), ("c", 200, "other")]):
        made = draft(**terms(queue, sla_s), tenant=tenant)
        await store.add(new_case(f"case_{number}", made, KEY), made)

    async def queues(reader, **filters) -> list[str]:
        return [case.queue for case in await store.list_cases(reader, **filters)]

    assert await queues(OPERATOR) == ["b", "c", "a"]
    assert await queues(OPERATOR, tenant="other") == ["c"]
    assert await queues(OPERATOR, limit=2) == ["b", "c"]
    assert await queues(OPERATOR, queue="a") == ["a"]
    assert await queues(OPERATOR, states=frozenset({CaseState.CLOSED})) == []
    reviewer = person("p:2", "acme", "console", "reviewer")
    assert await queues(reviewer) == ["b", "a"]
    assert await queues(reviewer, tenant="other") == []


async def test_content_moved_to_another_case_or_opened_with_another_key_does_not_open(
    store, tmp_path: Path, draft, case
) -> None:
    await store.add(case, draft())
    other = draft(fingerprint="0" * 64, question="something else")
    await store.add(new_case("case_2", other, KEY), other)
    db = sqlite3.connect(tmp_path / "cases.db")
    db.execute("UPDATE cases SET content = (SELECT content FROM cases WHERE id = 'case_2') WHERE id = 'case_1'")
    db.commit()
    with pytest.raises(UnsealError):
        await store.content("case_1", OPERATOR)
    assert await store.content("case_2", OPERATOR) is not None
    stranger = SqliteCaseStore.open(tmp_path / "cases.db", key=b"k" * 32)
    with pytest.raises(UnsealError):
        await stranger.content("case_2", OPERATOR)
    stranger.close()
    db.execute("UPDATE cases SET content = NULL")
    db.commit()
    db.close()
    assert await store.content("case_2", OPERATOR) is None  # erased


@pytest.mark.parametrize("damage", ["folder missing", "not a store", "newer format"])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / ("x/cases.db" if damage == "folder missing" else "cases.db")
    if damage == "not a store":
        path.write_text("no database " * 100)
    elif damage == "newer format":
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 7")
        db.close()
    with pytest.raises(GuardUnavailable, match="the case store"):
        SqliteCaseStore.open(path, key=KEY)


async def test_a_store_that_stops_working_says_so(store, tmp_path: Path, draft, case) -> None:
    db = sqlite3.connect(tmp_path / "cases.db")
    db.execute("DROP TABLE cases")
    db.commit()
    db.close()
    with pytest.raises(GuardUnavailable, match="cannot be used"):
        await store.add(case, draft())


def test_an_operator_does_not_come_from_outside() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(OPERATOR)
