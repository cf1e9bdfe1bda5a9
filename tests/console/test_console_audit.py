"""The audit pages: what is found and told, who sees what, and that what was altered is red."""

import io
import json
import sqlite3
import zipfile
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from msgspec import structs
from trail_support import ATTACK, KEY, QUESTION, Written

from gateway.audit.standalone.verify_bundle import verify_path
from gateway.console.roles import Role
from gateway.domain.event import EventType
from gateway.settings import TrailSettings

PATHS = ("/audit", "/audit/exchanges/ex-1", "/audit/events/2", "/audit/integrity")
LATE = 'class="chip late badge">'


@pytest.fixture
async def written(stage) -> AsyncIterator[Written]:
    made = Written(stage.bench.log, stage.clock)
    await made.exchange("ex-1", effect="escalate", case="case_1")
    await made.exchange("ex-2", rule="C-001")
    await made.exchange("other-1", tenant="rival", effect="refuse", rule="R-SECRET", question="a rival's question")
    yield made
    await made.close()


@pytest.fixture
async def ada(stage, written):
    """An auditor of the tenant."""
    return await stage.signed_in("ada", Role.AUDITOR)


class TestSearch:
    async def test_ended_exchanges_of_the_own_tenant_come_first(self, ada) -> None:
        text = (await ada.get("/audit")).text
        assert "ex-1" in text
        assert "ex-2" in text
        assert text.index("/exchanges/ex-2") < text.index("/exchanges/ex-1")
        assert "other-1" not in text
        assert "R-SECRET" not in text
        assert ">intent<" not in text.replace("<option>intent</option>", "")

    @pytest.mark.parametrize("indexed", [True, False])
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("rule=C-003", {"ex-1"}),
            ("effect=allow", {"ex-2"}),
            ("effect=refuse", set()),
            ("type=&case=case_1", {"ex-1"}),
            ("type=intent", {"ex-1", "ex-2"}),
            ("type=intent&request=ex-2", {"ex-2"}),
            ("principal=p%3Aacme", {"ex-1", "ex-2"}),
            ("app=loans&rule=C-001", {"ex-2"}),
            ("app=desk", set()),
            ("until=2026-11-20T09:03", {"ex-1"}),
            ("since=2026-11-20T09:03&until=2026-11-20T12:00:00%2B01:00", {"ex-2"}),
            ("last=1h", set()),
            ("last=7d", {"ex-1", "ex-2"}),
            ("tenant=rival", set()),
            ("type=feedback", set()),
        ],
    )
    async def test_each_filter_finds_what_it_says(self, ada, written, query: str, found: set, indexed: bool) -> None:
        if indexed:
            written.index()
        answer = await ada.get(f"/audit?{query}")
        assert answer.status_code == 200
        assert {one for one in ("ex-1", "ex-2", "other-1") if f"/exchanges/{one}" in answer.text} == found
        assert ("No event fits" in answer.text) == (not found)

    async def test_a_commitment_is_found(self, ada, written) -> None:
        raw = (await ada.get("/audit/exchanges/ex-2")).text
        commitment = raw.split("&#34;c&#34;: &#34;")[1].split("&#34;")[0]
        text = (await ada.get(f"/audit?type=&commitment={quote(commitment)}")).text
        assert "/exchanges/ex-2" in text
        assert "/exchanges/ex-1" not in text

    @pytest.mark.parametrize(
        "query",
        [
            "since=yesterday",
            "effect=maybe",
            "type=nothing",
            "last=2y",
            f"rule={'x' * 300}",
            "cursor=-1",
            "until=0001-01-01T00:00%2B14:00",
        ],
    )
    async def test_a_filter_that_is_none_shows_nothing(self, ada, stage, query: str) -> None:
        answer = await ada.get(f"/audit?{query}")
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text
        assert "/exchanges/" not in answer.text

    async def test_pages_follow_each_other_without_gap_or_repetition(self, ada, written) -> None:
        for number in range(110):
            await written.exchange(f"many-{number}")
        seen: list[str] = []
        path = "/audit?rule=C-003"
        while path:
            text = (await ada.get(path)).text
            seen += [part.split('"')[0] for part in text.split("/audit/exchanges/")[1:]]
            older = text.split('rel="next" href="/console')
            path = older[1].split('"')[0].replace("&amp;", "&") if len(older) > 1 else ""
        assert seen == [*(f"many-{number}" for number in reversed(range(110))), "ex-1"]

    async def test_a_reading_is_recorded_before_anything_is_shown(self, ada, stage) -> None:
        await ada.get("/audit?rule=C-003")
        last = stage.audit.drafts[-1]
        assert (last.type, last.tenant, last.body["via"], last.body["what"]) == (
            EventType.AUDIT_READ,
            "acme",
            "console",
            "events",
        )
        assert last.body["filter"]["rule"] == "C-003"
        assert last.body["filter"]["tenants"] == "acme"
        stage.audit.fail_on = EventType.AUDIT_READ
        for path in PATHS[:3]:
            answer = await ada.get(path)
            assert answer.status_code == 503
            assert "p:acme" not in answer.text

    async def test_somebody_of_an_operator_sees_all_tenants_and_the_node(self, stage, written) -> None:
        trail = TrailSettings(operators=("operator",))
        stage.change(settings=structs.replace(stage.parts.settings, trail=trail))
        text = (await (await stage.signed_in("oz", Role.AUDITOR, tenants=("operator",))).get("/audit?type=")).text
        assert "other-1" in text
        assert "log.boot" in text


class TestExchange:
    async def test_the_timeline_tells_rules_detectors_and_the_end(self, ada) -> None:
        text = (await ada.get("/audit/exchanges/ex-1")).text
        for word in ("C-003", "pii.entities any of PERSON", "pii@1", "4.1 ms", "case_1", "p:acme", "escalate"):
            assert word in text
        assert QUESTION not in text

    async def test_what_was_not_enforced_is_told(self, ada, written) -> None:
        shadow = {"would": "refuse", "rules": ["S-1"]}
        candidate = {"policy": "sha256:11", "would": "redact", "rules": [], "error": "candidate_failed"}
        await written.exchange("ex-3", shadow=shadow, candidate=candidate)
        text = (await ada.get("/audit/exchanges/ex-3")).text
        assert "rules in shadow" in text
        assert "S-1" in text
        assert "the candidate failed (candidate_failed)" in text

    @pytest.mark.parametrize(
        "path",
        [
            "/audit/exchanges/other-1",
            "/audit/exchanges/none",
            "/audit/events/7",
            "/audit/events/999",
            f"/audit/events/{2**63}",
            f"/audit/events/-{2**63}",
            f"/audit/events/{'9' * 4000}",
        ],
    )
    async def test_what_is_of_another_tenant_is_not_there(self, ada, path: str) -> None:
        answer = await ada.get(path)
        assert answer.status_code == 404
        assert "rival" not in answer.text

    async def test_events_of_the_node_are_not_a_tenants(self, ada) -> None:
        assert (await ada.get("/audit/events/1")).status_code == 404  # log.boot

    async def test_script_in_an_event_is_text(self, ada, written) -> None:
        await written.exchange(f"bad-1{ATTACK}", rule=ATTACK, model=ATTACK)
        for path in ("/audit", "/audit?type=", f"/audit/exchanges/{quote('bad-1' + ATTACK, safe='')}"):
            text = (await ada.get(path)).text
            assert "<script>alert" not in text
            assert "\u202e" not in text

    async def test_an_event_has_its_proof(self, ada, written) -> None:
        written.sign()
        text = (await ada.get("/audit/events/3")).text
        assert "verified-anchored" in text
        assert "c2sp.org/tlog-proof@v1" in text
        assert "&#34;type&#34;: &#34;outcome&#34;" in text


class TestBadge:
    async def test_signed_events_are_green_and_newer_ones_are_not(self, ada, written) -> None:
        written.sign()
        text = (await ada.get("/audit/exchanges/ex-1")).text
        assert 'class="chip good badge">verified-anchored' in text
        await written.exchange("ex-9")
        assert 'class="chip soon badge">verified-unanchored' in (await ada.get("/audit/exchanges/ex-9")).text
        assert 'class="chip good badge">verified-anchored' in (await ada.get("/audit/exchanges/ex-1")).text

    @pytest.mark.parametrize("rehash", [True, False])
    @pytest.mark.parametrize("path", ["/audit/exchanges/ex-1", "/audit/events/3"])
    async def test_a_changed_event_is_red(self, ada, written, path: str, rehash: bool) -> None:
        written.sign()
        written.rewrite(3, b'"effect":"escalate"', b'"effect":"allow"', rehash=rehash)
        text = (await ada.get(path)).text
        assert f"{LATE}invalid" in text

    @pytest.mark.parametrize("rehash", [True, False])
    async def test_a_changed_event_is_red_in_a_list(self, ada, written, rehash: bool) -> None:
        written.index()
        written.sign()
        written.rewrite(3, b'"took_us":12000', b'"took_us":12001', rehash=rehash)
        answer = await ada.get("/audit?rule=C-003")
        assert answer.status_code == 200
        assert f"{LATE}invalid" in answer.text

    async def test_a_cut_log_is_red(self, ada, written) -> None:
        written.sign()
        _execute(written, "DELETE FROM events WHERE seq > 5")
        assert f"{LATE}diverged" in (await ada.get("/audit/exchanges/ex-1")).text
        assert f"{LATE}diverged" in (await ada.get("/audit/integrity")).text

    async def test_the_whole_log_is_verified_on_demand(self, ada, written, stage) -> None:
        written.sign()
        text = (await ada.post("/audit/integrity")).text
        assert "All 7 events hold" in text
        assert stage.audit.drafts[-1].body["what"] == "verify"

    async def test_a_change_elsewhere_is_red_when_all_is_verified(self, ada, written) -> None:
        written.sign()
        written.rewrite(6, b'"refuse"', b'"allow!"')
        near = (await ada.get("/audit/exchanges/ex-1")).text
        assert "an event stored near it, is not what checkpoint 7 was signed over" in near
        text = (await ada.post("/audit/integrity")).text
        assert f"{LATE}invalid" in text
        assert "Event 7" in text


class TestTexts:
    async def test_an_exact_text_is_found_where_it_was_said(self, ada, written, stage) -> None:
        written.index()
        answer = await ada.post("/audit/texts", {"text": QUESTION})
        assert "/exchanges/ex-1" in answer.text
        assert "/query" in answer.text
        assert QUESTION not in answer.text
        assert stage.audit.drafts[-1].body["text"].text == QUESTION
        nothing = await ada.post("/audit/texts", {"text": f"{QUESTION} "})
        assert "Nowhere that you may see" in nothing.text
        foreign = await ada.post("/audit/texts", {"text": "a rival's question"})
        assert "Nowhere that you may see" in foreign.text

    async def test_a_kept_text_opens_with_a_reason_that_is_recorded_first(self, ada, written, stage) -> None:
        await written.keeping.drained()
        form = {"event": "2", "field": "query", "reason": "ticket 4711 complaint", "exchange": "ex-1"}
        answer = await ada.post("/audit/body", form)
        assert answer.status_code == 200
        assert "what does a card" in answer.text
        last = stage.audit.drafts[-1]
        assert (last.type, last.body["reason"], last.request) == (EventType.BODY_READ, "ticket 4711 complaint", "ex-1")
        stage.audit.fail_on = EventType.BODY_READ
        refused = await ada.post("/audit/body", form)
        assert refused.status_code == 503
        assert "what does a card" not in refused.text

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"reason": ""}, 400),
            ({"reason": "short"}, 400),
            ({"field": "answer"}, 404),
            ({"event": "id-000008"}, 404),
            ({"event": "6"}, 404),
            ({"event": "nothing"}, 404),
        ],
    )
    async def test_no_reason_or_another_tenants_text_opens_nothing(
        self, ada, stage, changes: dict, status: int
    ) -> None:
        before = len(stage.audit.drafts)
        form = {"event": "2", "field": "query", "reason": "ticket 4711 complaint", **changes}
        answer = await ada.post("/audit/body", form)
        assert answer.status_code == status
        assert "question" not in answer.text.replace("The question", "")
        assert len(stage.audit.drafts) == before

    async def test_an_export_is_recorded_and_verifies_elsewhere(self, ada, written, stage, tmp_path) -> None:
        written.sign()
        answer = await ada.post("/audit/export", {"query": "type=&rule=C-003", "form": "csv"})
        assert answer.headers["content-disposition"].startswith('attachment; filename="evidence-')
        draft = next(one for one in stage.audit.drafts if one.type is EventType.EXPORT)
        assert (draft.body["via"], draft.body["form"], draft.body["filter"]["rule"]) == ("console", "csv", "C-003")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            archive.extractall(tmp_path / "bundle")
        lines = (tmp_path / "bundle" / "events.jsonl").read_text().splitlines()
        assert [json.loads(line)["request"] for line in lines] == ["ex-1", "ex-1"]
        result = verify_path(tmp_path / "bundle", [str(KEY.verifier)], [], 1)
        assert result.exit_code == 0

    @pytest.mark.parametrize("form", [{"form": "xml"}, {"form": "csv", "query": "since=never"}])
    async def test_an_export_that_makes_no_sense_is_refused(self, ada, stage, form: dict) -> None:
        assert (await ada.post("/audit/export", form)).status_code == 400
        assert EventType.EXPORT not in {one.type for one in stage.audit.drafts}

    @pytest.mark.parametrize("role", sorted(set(Role) - {Role.AUDITOR}))
    @pytest.mark.parametrize("path", ["/audit/texts", "/audit/body", "/audit/export"])
    async def test_texts_and_evidence_are_for_auditors(self, stage, written, role: Role, path: str) -> None:
        browser = await stage.signed_in("zoe", role)
        form = {"text": QUESTION, "event": "2", "field": "query", "reason": "ticket 4711 complaint"}
        assert (await browser.post(path, {**form, "form": "csv"})).status_code == 403
        if role in (Role.LEAD, Role.ADMIN):
            assert f'{path}"' not in (await browser.get("/audit/exchanges/ex-1")).text

    @pytest.mark.parametrize(
        "path", ["/audit/texts", "/audit/body", "/audit/export", "/audit/integrity", "/audit/views"]
    )
    async def test_a_form_of_another_session_does_nothing(self, ada, stage, path: str) -> None:
        before = len(stage.audit.drafts)
        assert (await ada.post(path, {"text": "x", "name": "x", "form": "csv"}, csrf="x" * 43)).status_code == 403
        assert len(stage.audit.drafts) == before


class TestViews:
    async def test_a_view_is_kept_for_its_account_alone(self, ada, stage) -> None:
        answer = await ada.post("/audit/views", {"name": "Refusals", "query": "type=ended&effect=refuse&cursor=3&x=y"})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/console/audit?type=ended&effect=refuse"
        assert "/console/audit?type=ended&amp;effect=refuse" in (await ada.get("/audit")).text
        other = await stage.signed_in("otto", Role.AUDITOR)
        assert "Refusals" not in (await other.get("/audit")).text
        await ada.post("/audit/views/forget", {"name": "Refusals"})
        assert "Refusals" not in (await ada.get("/audit")).text

    @pytest.mark.parametrize("name", ["", " ", "<b>", "x" * 61, "\n"])
    async def test_a_name_that_is_none_keeps_nothing(self, ada, name: str) -> None:
        assert (await ada.post("/audit/views", {"name": name, "query": "type="})).status_code == 400

    async def test_an_account_keeps_so_many_views(self, ada) -> None:
        for number in range(50):
            assert (await ada.post("/audit/views", {"name": f"v{number}", "query": "type="})).status_code == 303
        assert (await ada.post("/audit/views", {"name": "v50", "query": "type="})).status_code == 400
        assert (await ada.post("/audit/views", {"name": "v7", "query": "type=ended"})).status_code == 303

    async def test_a_query_ends_no_header(self, ada) -> None:
        answer = await ada.post("/audit/views", {"name": "v", "query": "rule=a%0d%0aset-cookie:%20x\r\n//evil"})
        location = answer.headers["location"]
        assert location.startswith("/console/audit?")
        assert "\n" not in location
        assert "set-cookie" not in answer.headers


def _execute(written: Written, sql: str) -> None:
    db = sqlite3.connect(written.path)
    db.execute(sql)
    db.commit()
    db.close()
