import asyncio
import pickle
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from msgspec import structs
from support.stores import POSTGRES, KeptCases

from gateway.cases.case import Case, CaseState, Operator
from gateway.cases.drill import Drill, DrillKind
from gateway.cases.postgres import PostgresClockLock
from gateway.cases.store import Notice, PostgresCaseStore, SqliteCaseStore, Step
from gateway.cases.terms import content_of, new_case
from gateway.domain.errors import GuardUnavailable
from gateway.domain.sealing import UnsealError
from gateway.domain.text import Secret
from gateway.domain.verdict import Escalation

KEY = bytes(range(32))
OPENED = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
OPERATOR = Operator()


@pytest.fixture
def case(draft):
    return new_case("case_1", draft(), KEY)


def moved(case: Case, *, state: CaseState = CaseState.QUEUED, **course: object) -> Case:
    changed = structs.replace(case.course, **course)
    return structs.replace(case, state=state, revision=case.revision + 1, course=changed)


def step(actor: str) -> Step:
    return Step(
        revision=2,
        at=OPENED,
        command="case.claimed",
        before=CaseState.QUEUED,
        after=CaseState.IN_REVIEW,
        actor=actor,
        reason="",
        event="1",
        person="u:1",
    )


async def test_a_case_is_durable_and_its_texts_are_sealed(kept, draft, case) -> None:
    store = kept.open()
    stored = await store.add(case, draft())
    assert (stored.case, stored.existing) == (case, False)
    everything = kept.everything()
    assert "case_1" in everything
    assert "canary" not in everything
    again = kept.open()
    assert await again.get("case_1", OPERATOR) == case
    assert await again.content("case_1", OPERATOR) == content_of(draft())


def _bytes_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_a_file_holds_no_text_and_is_its_owners_alone(tmp_path: Path, draft, case) -> None:
    path = tmp_path / "own.db"
    store = SqliteCaseStore.open(path, key=KEY)
    await store.add(case, draft())
    store.close()
    files = _bytes_in(tmp_path)
    assert b"case_1" in files
    assert b"canary" not in files
    assert path.stat().st_mode & 0o777 == 0o600


async def test_the_same_request_finds_its_undecided_case(store, kept, draft, case) -> None:
    await store.add(case, draft())
    assert await store.find_undecided(case.fingerprint) == case
    again = await store.add(new_case("case_2", draft(exchange="ex-2"), KEY), draft(exchange="ex-2"))
    assert (again.case.id, again.existing) == ("case_1", True)
    kept.run("UPDATE cases SET state = 'refused'")
    assert await store.find_undecided(case.fingerprint) is None
    assert (await store.find_latest(case.fingerprint)).id == "case_1"
    third = await store.add(new_case("case_3", draft(), KEY), draft())
    assert (third.case.id, third.existing) == ("case_3", False)


@pytest.mark.parametrize("text", ["\x00", "case_1\x00", "\ud7ff\U0010ffff", "' OR 1=1 --", "%s", "x" * 100_000])
async def test_texts_that_name_nothing_find_nothing(store, draft, case, text: str) -> None:
    """Some of them PostgreSQL cannot even be asked for."""
    await store.add(case, draft())
    assert await store.get(text, OPERATOR) is None
    assert await store.list_cases(OPERATOR, queue=text) == []
    assert await store.offer_next(case.tenant, text, OPENED, lambda _: True) is None


async def test_racing_requests_get_one_case(store, kept, draft) -> None:
    stores = [store, kept.open()] * 6
    made = await asyncio.gather(
        *(one.add(new_case(f"case_{n}", draft(), KEY), draft()) for n, one in enumerate(stores))
    )
    assert len({stored.case.id for stored in made}) == 1
    assert [stored.existing for stored in made].count(False) == 1


async def test_a_write_that_read_an_old_revision_changes_nothing(store, kept, draft, case) -> None:
    await store.add(case, draft())
    notice = Notice(id="m1", target="t", payload="{}", next_at=OPENED)
    results = await asyncio.gather(
        *(
            one.move(moved(case), step(f"p:{n}"), notices=(structs.replace(notice, id=f"m{n}"),))
            for n, one in enumerate([store, kept.open()] * 4)
        )
    )
    assert results.count(True) == 1
    assert len(await store.history(case.id)) == 1
    assert len(await store.notices(OPENED)) == 1, "what did not happen is not announced"


async def test_a_case_comes_back_as_it_went_in(store, draft, case) -> None:
    course = structs.replace(case.course, holder="u:1", leased=OPENED, barred=("u:2", "group:g"), whole=True)
    given = structs.replace(case, course=course, due=OPENED + timedelta(microseconds=1))
    await store.add(given, draft())
    assert await store.find(case.id) == given


async def test_what_is_due_and_what_is_not(store, draft, case) -> None:
    await store.add(case, draft())
    assert await store.due(case.due - timedelta(microseconds=1)) == []
    assert await store.due(case.due) == [case]
    held = moved(case, state=CaseState.IN_REVIEW, leased=case.due + timedelta(seconds=1))
    await store.move(held, step("p:1"))
    assert await store.due(case.due) == [], "a lease keeps the clock away"
    assert await store.due(case.due + timedelta(seconds=1)) == [held]


async def test_callers_for_the_next_case_at_one_moment_get_different_ones(store, kept, draft) -> None:
    for number in range(6):
        made = draft(fingerprint=str(number), opened=OPENED + timedelta(minutes=number))
        await store.add(new_case(f"case_{number}", made, KEY), made)
    stores = [store, kept.open()] * 4
    got = await asyncio.gather(*(one.offer_next("acme", "", OPENED, lambda _: True) for one in stores))
    ids = sorted(case.id for case in got if case is not None)
    assert len(set(ids)) == len(ids), "no case is served twice"
    more = [await store.offer_next("acme", "", OPENED, lambda _: True) for _ in range(6)]
    ids += [case.id for case in more if case is not None]
    assert sorted(ids) == [f"case_{number}" for number in range(6)], "and each is served"
    later = OPENED + timedelta(seconds=11)
    assert (await store.offer_next("acme", "", later, lambda _: True)).id == "case_0", "an unused offer lapses"
    assert await store.offer_next("other", "", later, lambda _: True) is None
    assert await store.offer_next("acme", "none", later, lambda _: True) is None
    assert (await store.offer_next("acme", "credit", later, lambda case: case.id == "case_4")).id == "case_4"


async def test_announcements_are_kept_until_they_are_taken(store, draft, case) -> None:
    notice = Notice(id="m1", target="hook", payload="{}", next_at=OPENED)
    await store.add(case, draft(), notices=(notice,))
    assert await store.notices(OPENED - timedelta(seconds=1)) == []
    assert await store.notices(OPENED) == [notice]
    later = structs.replace(notice, attempts=1, next_at=OPENED + timedelta(seconds=5))
    await store.postpone(later)
    assert await store.notices(OPENED) == []
    assert await store.notices(later.next_at) == [later]
    await store.forget(later)
    assert await store.notices(later.next_at) == []


async def test_only_the_first_look_counts(store, draft, case) -> None:
    await store.add(case, draft())
    for minutes in (5, 9):
        await store.note_view("case_1", "p:2", OPENED + timedelta(minutes=minutes))
    assert await store.views(OPENED) == {("case_1", "p:2"): OPENED + timedelta(minutes=5)}
    assert await store.views(OPENED + timedelta(minutes=6)) == {}


async def test_a_drill_is_marked_beside_its_case_and_made_once(store, draft, case) -> None:
    drill = Drill(case="case_2", kind=DrillKind.BLIND, about="case_1", at=OPENED)
    await store.add(case, draft())
    content = await store.sealed_content(case)
    second = structs.replace(case, id="case_2", fingerprint="drill")
    assert await store.copy(second, content, drill)
    assert await store.sealed_content(second) == content
    assert (await store.drill_of("case_2"), await store.drill_of("case_1")) == (drill, None)
    third = structs.replace(case, id="case_3", fingerprint="drill-3")
    assert not await store.copy(third, content, structs.replace(drill, case="case_3"))
    assert await store.find("case_3") is None
    await store.move(moved(second), step("p:1"))
    (line,) = await store.lines(OPENED, OPENED + timedelta(days=1), "acme")
    assert (line.case, line.drill, line.step.person, line.rules) == ("case_2", drill, "u:1", case.rules)
    assert await store.lines(OPENED, OPENED + timedelta(days=1), "other") == []
    assert await store.arrivals(OPENED, OPENED + timedelta(days=1)) == [("credit", OPENED)] * 2


async def test_cases_for_review_after_a_broken_glass_are_listed_until_they_were_looked_at(store, draft, case) -> None:
    await store.add(case, draft())
    broken = moved(case, review_by=OPENED + timedelta(days=1))
    await store.move(broken, step("p:1"))
    assert await store.post_reviews(OPERATOR) == [broken]
    await store.move(moved(broken, post_review="upheld"), structs.replace(step("p:2"), revision=3))
    assert await store.post_reviews(OPERATOR) == []


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
    assert await store.find_latest("f:0") is None


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


async def test_content_moved_to_another_case_or_opened_with_another_key_does_not_open(store, kept, draft, case) -> None:
    await store.add(case, draft())
    other = draft(fingerprint="0" * 64, question="something else")
    await store.add(new_case("case_2", other, KEY), other)
    kept.run("UPDATE cases SET content = (SELECT content FROM cases WHERE id = 'case_2') WHERE id = 'case_1'")
    with pytest.raises(UnsealError):
        await store.content("case_1", OPERATOR)
    assert await store.content("case_2", OPERATOR) is not None
    with pytest.raises(UnsealError):
        await kept.open(b"k" * 32).content("case_2", OPERATOR)
    kept.run("UPDATE cases SET content = NULL")
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


async def test_a_store_that_stops_working_says_so_without_content(store, kept, draft, case) -> None:
    kept.run("DROP TABLE cases")
    with pytest.raises(GuardUnavailable, match="cannot be used") as raised:
        await store.add(case, draft())
    assert "canary" not in raised.value.message


def test_an_operator_does_not_come_from_outside() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(OPERATOR)


@pytest.mark.live
@pytest.mark.skipif(not POSTGRES, reason="GATEWAY_TEST_POSTGRES names no PostgreSQL")
class TestPostgres:
    def test_a_newer_format_is_left_alone(self, tmp_path: Path) -> None:
        kept = KeptCases("postgres", tmp_path, KEY)
        kept.open().close()
        kept.run("UPDATE format SET version = 99")
        with pytest.raises(GuardUnavailable, match="format 99"):
            PostgresCaseStore.open(Secret(POSTGRES), key=KEY)

    async def test_nodes_that_start_together_make_the_tables_once(self, tmp_path: Path) -> None:
        KeptCases("postgres", tmp_path, KEY)
        stores = await asyncio.gather(
            *(asyncio.to_thread(PostgresCaseStore.open, Secret(POSTGRES), key=KEY) for _ in range(4))
        )
        for store in stores:
            assert await store.list_cases(OPERATOR) == []
            store.close()

    def test_one_clock_runs_and_another_takes_over(self) -> None:
        first, second = PostgresClockLock(Secret(POSTGRES)), PostgresClockLock(Secret(POSTGRES))
        assert (first.held(), second.held(), first.held()) == (True, False, True)
        first.close()
        assert second.held()
        assert not first.held()
        first.close()
        second.close()

    def test_a_clock_whose_connection_breaks_has_lost_its_lock(self) -> None:
        lock, other = PostgresClockLock(Secret(POSTGRES)), PostgresClockLock(Secret(POSTGRES))
        assert lock.held()
        with psycopg.connect(POSTGRES, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gateway-clock'"
            )
        assert not lock.held()
        assert other.held()
        assert not lock.held()
        lock.close()
        other.close()

    async def test_a_connection_that_was_cut_is_replaced(self, tmp_path: Path, draft, case) -> None:
        kept = KeptCases("postgres", tmp_path, KEY)
        store = kept.open()
        await store.add(case, draft())
        with psycopg.connect(POSTGRES, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'answer-gateway'"
            )
        assert await store.find(case.id) == case
        kept.close()


def test_a_server_that_is_not_there_is_named_without_its_address() -> None:
    with pytest.raises(GuardUnavailable, match="cannot be used") as raised:
        PostgresCaseStore.open(Secret("postgresql://someone:hush@127.0.0.1:1/x"), key=KEY)
    assert "hush" not in raised.value.message
