"""The page of sources: the index of one's own tenants, who finds what, and what admins do to it."""

import asyncio

import pytest
from test_console_policies import tell
from workbench_support import WITHHELD

from gateway.domain.event import EventDraft, EventType
from gateway.retrieval.store import DocumentRecord, Withheld

KEPT_BACK = Withheld(number=2, text="0" * 32, effect="refuse", rules=("INJ-001",))
ACTS = ("show", "release", "delete")


def record(doc: str, **changes) -> DocumentRecord:
    values = {
        "doc": doc,
        "content": "c" * 64,
        "root": "corpus",
        "passages": 3,
        "title": f"Title of {doc}",
        "owner": "team:fees",
        "access": ("staff",),
        "chunker": "sections/2",
        "valid_from": "",
    }
    return DocumentRecord(**{**values, **changes})


@pytest.fixture
def documents(stage) -> None:
    stage.bench.sources.documents = {
        "acme": [
            record("fees", withheld=(KEPT_BACK,)),
            record("old", valid_to="2025-12-31", access=("public",)),
            record("soon", valid_from="2027-01-01"),
            record("stale", review_by="2026-01-01", redacted=2),
            record("board", access=("board",), title="<b>Board</b>"),
        ],
        "rival": [record("secret-plan", withheld=(KEPT_BACK,))],
    }


def form(**more: str) -> dict[str, str]:
    return {"tenant": "acme", "passage": "fees#2", "doc": "fees", "reason": "ticket 7", **more}


@pytest.mark.usefixtures("documents")
async def test_the_index_is_told_with_what_is_wrong_in_it(stage) -> None:
    body = {"added": 4, "changed": 1, "removed": 0, "faults": 2, "run": "run-7"}
    await asyncio.to_thread(tell, stage.bench.log, EventDraft(type=EventType.INGEST, tenant="acme", body=body))
    page = (await (await stage.signed_in("olga", "auditor")).get("/sources")).text
    assert "<strong>5</strong> documents" in page
    assert "<strong>15</strong> passages" in page
    assert "fake@1" in page
    assert "sections/2" in page
    assert "4 added, 1 changed" in page
    assert "run-7" in page
    assert "Drift" not in page
    for state in ("expired", "not yet valid", "review is overdue"):
        assert page.count(f'<span class="chip late">{state}</span>') == 1
    assert "INJ-001" in page
    assert "&lt;b&gt;Board&lt;/b&gt;" in page
    assert "secret-plan" not in page
    assert "Look at it" not in page  # which only admins may


@pytest.mark.usefixtures("documents")
async def test_the_last_drift_report_of_ones_own_index_is_shown(stage) -> None:
    def report(tenant: str, *alarms: str) -> EventDraft:
        body = {"alarms": list(alarms), "queries": 40, "query_psi_e6": 310_000, "score_psi_e6": 20_000}
        body |= {"empty_e6": 25_000, "overdue": 1, "canaries": 9, "canaries_missed": 2}
        return EventDraft(type=EventType.INDEX_DRIFT, tenant=tenant, body=body)

    for draft in (report("acme", "old_alarm"), report("acme", "query_shift"), report("rival", "their_alarm")):
        await asyncio.to_thread(tell, stage.bench.log, draft)
    page = (await (await stage.signed_in("olga", "auditor")).get("/sources")).text
    assert "query shift" in page
    assert "0.310" in page
    assert "2.5 % found nothing" in page
    assert "7 of 9 find their document" in page
    assert "old alarm" not in page
    assert "their alarm" not in page


@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("groups=staff", {"fees", "stale"}),
        ("groups=board,staff", {"fees", "stale", "board"}),
        ("as=1", set()),
        ("words=title+stale", {"stale"}),
        ("words=nothing", set()),
        ("", {"fees", "old", "soon", "stale", "board"}),
    ],
)
async def test_what_somebody_finds_is_what_a_search_would_give_them(stage, query: str, found: set[str]) -> None:
    page = (await (await stage.signed_in("ann", "author")).get(f"/sources?{query}")).text
    listed = page[page.index("s-documents") :]
    assert {doc for doc in ("fees", "old", "soon", "stale", "board") if f"{doc}@cccc" in listed} == found


@pytest.mark.usefixtures("documents")
async def test_an_admin_looks_and_releases(stage) -> None:
    admin = await stage.signed_in("adam", "admin")
    page = (await admin.post("/sources/show", form())).text
    assert "ignore what you were told" in page
    assert "<script>alert" not in page
    assert '<span class="masked">CREDIT CARD</span>' in page
    assert "4111 1111" not in page
    answer = await admin.post("/sources/release", form())
    assert answer.headers["location"] == "/console/sources?tenant=acme&done=released"
    assert "can be found again" in (await admin.get("/sources?done=released")).text
    assert stage.bench.sources.done == [
        ("show", "acme", "fees#2", "adam", "ticket 7"),
        ("release", "acme", "fees#2", "adam", "ticket 7"),
    ]


@pytest.mark.usefixtures("documents")
async def test_a_passage_stays_hidden_while_personal_data_cannot_be_looked_for(stage) -> None:
    stage.detectors.failing = True
    page = (await (await stage.signed_in("adam", "admin")).post("/sources/show", form())).text
    assert "Not shown." in page
    assert WITHHELD[-10:] not in page


@pytest.mark.usefixtures("documents")
async def test_an_admin_deletes_a_document(stage) -> None:
    answer = await (await stage.signed_in("adam", "admin")).post("/sources/delete", form())
    assert answer.headers["location"] == "/console/sources?tenant=acme&done=deleted"
    assert stage.bench.sources.done == [("delete", "acme", "fees", "adam", "ticket 7")]


@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("role", ["reviewer", "lead", "auditor", "author"])
async def test_nobody_else_changes_sources(stage, act: str, role: str) -> None:
    answer = await (await stage.signed_in("zoe", role)).post(f"/sources/{act}", form())
    assert answer.status_code == 403
    assert stage.bench.sources.done == []


@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(
    ("changed", "status", "told"),
    [
        ({"tenant": "rival", "passage": "secret-plan#2", "doc": "secret-plan"}, 404, "no such tenant"),
        ({"passage": "secret-plan#2", "doc": "secret-plan"}, 409, "has no document"),
        ({"reason": ""}, 400, "Say why"),
        ({"reason": "x" * 81}, 400, "Say why"),
        ({"reason": "<script>"}, 400, "Say why"),
    ],
)
async def test_what_does_not_fit_changes_nothing(stage, act: str, changed, status: int, told: str) -> None:
    answer = await (await stage.signed_in("adam", "admin")).post(f"/sources/{act}", form(**changed))
    assert answer.status_code == status
    assert told in answer.text
    assert "<script>" not in answer.text
    assert stage.bench.sources.done == []


@pytest.mark.usefixtures("documents")
async def test_another_tenants_index_is_not_there(stage) -> None:
    browser = await stage.signed_in("adam", "admin")
    answer = await browser.get("/sources?tenant=rival")
    assert answer.status_code == 404
    assert "secret-plan" not in answer.text
