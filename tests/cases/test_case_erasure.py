"""Erasing a requester takes the texts of their cases and leaves what was decided."""

from datetime import UTC, datetime
from pathlib import Path

from gateway.cases import CaseStore, SqliteCaseStore
from gateway.cases.case import Operator
from gateway.cases.terms import new_case

KEY = bytes(range(32))
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


async def test_texts_go_and_decisions_stay(store: CaseStore, draft) -> None:
    mine = await store.add(new_case("case_1", draft(), KEY), draft())
    other = draft(principal="p:other", fingerprint="f-other")
    theirs = await store.add(new_case("case_2", other, KEY), other)
    assert await store.sealed_content(mine.case) is not None
    done = await store.erase(mine.case.tenant, mine.case.principal)
    assert (done.cases, done.clean) == (1, True)
    assert await store.content("case_1", Operator()) is None
    kept = await store.find("case_1")
    assert kept == mine.case
    assert await store.sealed_content(theirs.case) is not None
    again = await store.erase(mine.case.tenant, mine.case.principal)
    assert (again.cases, again.clean) == (0, True)
    assert (await store.erase("elsewhere", "p:other")).cases == 0, "another tenant's caller of that name"


async def test_no_sealed_byte_is_left_in_the_file(tmp_path: Path, draft) -> None:
    path = tmp_path / "cases.db"
    store = SqliteCaseStore.open(path, key=bytes(32))
    drafts = [draft(principal=f"p:{n % 2}", fingerprint=f"f{n}", request="x" * 50 * n) for n in range(60)]
    for number, one in enumerate(drafts):
        await store.add(new_case(f"case_{number}", one, KEY), one)
    sealed = await store._database.read(lambda session: session.rows("SELECT principal, content FROM cases"))
    assert all(content in raw(path) or len(content) > 3_000 for _, content in sealed)
    assert (await store.erase(drafts[0].tenant, "p:0")).cases == 30
    left = raw(path)
    assert not any(content[:60] in left for principal, content in sealed if principal == "p:0")
    assert all(content[:60] in left for principal, content in sealed if principal == "p:1")
    store.close()


def raw(path: Path) -> bytes:
    return b"".join(one.read_bytes() for one in path.parent.glob(path.name + "*"))
