"""The pages of policies: what is in force for one's tenants, what rules did, why a text or an exchange is judged so."""

import datetime as dt
import re
from pathlib import Path

import pytest
from workbench_support import open_log

from gateway.console.policies_record import policy_record
from gateway.console.policies_view import rule_text, visible_changes
from gateway.console.shown_text import narrow_findings
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.domain.signal import Finding
from gateway.domain.vocabulary import SignalType
from gateway.policy.load import load_bundle, read_files
from gateway.rollout.edition import read_edition
from gateway.rollout.rollout import Prepared, Reading

NOW = dt.datetime.fromisoformat("2026-11-24T10:00:00+00:00")
HEAD = """apiVersion: gateway/v1
kind: PolicySet
metadata:
  {{id: {id}, version: "1", owner: "team:{id}", purpose: Purpose of {id}., controls: ["GDPR:22"], review_by: {by}}}
applies_to: {{tenants: [{tenant}]}}
"""
RULE = """rules:
  - id: {id}
    title: {title}
    phase: query  # a remark
    when: {{all: [{{signal: list.{word}, is: true}}]}}
    then: {{effect: {effect}}}
    tests:
      - {{name: it is seen, given: {{list.{word}: true}}, expect: match}}

# what comes after
lists:
  {word}: {{values: [{word}], match: word}}
"""


def write(
    folder: Path,
    name: str,
    *,
    tenant: str = "'*'",
    effect: str = "refuse",
    title: str = "Words",
    by: str = "2030-01-01",
) -> None:
    folder.mkdir(exist_ok=True)
    text = HEAD.format(id=name, tenant=tenant, by=by) + RULE.format(
        id=name.upper(), word=name, effect=effect, title=title
    )
    (folder / f"{name}.yaml").write_text(text, "utf-8")


def loaded(folder: Path):
    return load_bundle((folder,), signals={"pii_patterns.entities": SignalType.KINDS}, now=NOW)


def bring_into_force(stage, folder: Path) -> None:
    bundle = loaded(folder)
    stage.bench.prepared.rulebook.inspector.close()
    stage.bench.prepared = Prepared(
        reading=Reading(edition=read_edition((folder,), None)), bundle=bundle, rulebook=stage.bench.rulebook(bundle)
    )


def exchange(request: str, rules: list[dict], *, tenant: str = "acme", would: dict | None = None) -> list[EventDraft]:
    """The events of an exchange, as little as pages read of them."""
    common = {"request": request, "tenant": tenant, "app": "desk", "principal": "p:1"}
    intent = {
        "phase": {"phase": "query", "effect": "allow", "policy": "sha256:0", "rules": rules, "evaluated": 3},
        "query": Commitment(text="words"),
    }
    effect = "refuse" if rules else "allow"
    outcome = {"effect": effect, "reasons": [], **({"candidate": would} if would else {})}
    return [
        EventDraft(type=EventType.INTENT, body=intent, **common),
        EventDraft(type=EventType.OUTCOME, body=outcome, **common),
    ]


def hit(rule: str, *, status: str = "matched", mode: str = "enforce") -> dict:
    return {"id": rule, "status": status, "effect": "refuse", "mode": mode, "why": []}


def case(name: str, rule: str, decision: str, *, tenant: str = "acme") -> list[EventDraft]:
    def event(kind: EventType, **body) -> EventDraft:
        return EventDraft(type=kind, tenant=tenant, app="desk", body={"case": name, **body})

    return [event(EventType.CASE_OPENED, rules=[rule]), event(EventType(f"case.{decision}"), to=decision)]


def tell(log: Path, *drafts: EventDraft) -> None:
    opened = open_log(log)
    for draft in drafts:
        opened.append_blocking(draft)
    opened.close()


async def test_authors_see_what_is_in_force(stage) -> None:
    page = (await (await stage.signed_in("ann", "author")).get("/policies")).text
    assert stage.parts.policy().digest in page
    assert "Tests of cases" in page
    assert 'href="/console/policies/rules/C-003"' in page
    assert '<span class="chip effect-allow">active</span>' in page


async def test_an_edition_that_is_not_taken_in_is_told_with_its_place(stage) -> None:
    stage.bench.error = "POL101 at base.yaml:3"
    page = (await (await stage.signed_in("ann", "admin")).get("/policies")).text
    assert "Newer files do not come into force" in page
    assert "POL101 at base.yaml:3" in page
    assert '<span class="chip late">stale</span>' in page


async def test_sets_of_other_tenants_are_not_there(stage, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    write(folder, "ours", tenant="acme")
    write(folder, "theirs", tenant="rival")
    write(folder, "all", by="2026-01-01")
    bring_into_force(stage, folder)
    browser = await stage.signed_in("ann", "author")
    page = (await browser.get("/policies")).text
    assert "Purpose of ours." in page
    assert "Purpose of all." in page
    assert "GDPR:22" in page
    assert page.count("overdue") == 1
    assert "theirs" not in page.lower()
    assert "rival" not in page
    assert (await browser.get("/policies/rules/OURS")).status_code == 200
    foreign, missing = await browser.get("/policies/rules/THEIRS"), await browser.get("/policies/rules/NONE")
    assert foreign.status_code == missing.status_code == 404
    assert "there is no such rule" in foreign.text.lower()


async def test_a_rule_is_shown_as_its_author_wrote_it(stage, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    write(folder, "ours")
    bring_into_force(stage, folder)
    page = (await (await stage.signed_in("ann", "author")).get("/policies/rules/OURS")).text
    assert "phase: query  # a remark" in page
    assert "what comes after" not in page
    assert "it is seen" in page
    assert "<li><code>list.ours is true is false</code></li>" in page  # which no test shows


def test_the_text_of_a_rule_ends_where_the_next_thing_begins(tmp_path: Path) -> None:
    write(tmp_path, "ours")
    bundle = loaded(tmp_path)
    text = rule_text(bundle.sources[0], "OURS", read_files((tmp_path,)))
    assert text.startswith("id: OURS\ntitle: Words\nphase: query")
    assert text.endswith("expect: match}")
    assert rule_text(bundle.sources[0], "OURS", ()) == ""
    assert rule_text(bundle.sources[0], "OTHER", read_files((tmp_path,))) == ""


def test_the_record_of_a_rule_is_of_ones_own_tenants(stage) -> None:
    log = stage.bench.log
    tell(
        log,
        *exchange("r1", [hit("A")]),
        *exchange("r2", [hit("A"), hit("B", mode="shadow")]),
        *exchange("r3", [hit("A", status="error")]),
        *exchange("r4", []),
        *exchange("r5", [hit("A")], tenant="rival"),
        *case("c1", "A", "refused"),
        *case("c2", "A", "approved"),
        *case("c3", "A", "refused"),
        *case("c4", "A", "refused", tenant="rival"),
    )
    record = policy_record(log, ["acme"], "", NOW)
    assert record.exchanges == 4
    rule = record.of("A")
    assert (rule.hits, rule.daily[-1], rule.failed, rule.observed) == (2, 2, 1, 0)
    assert (rule.refused, rule.approved) == (2, 1)
    assert rule.precision == pytest.approx(2 / 3)
    assert (record.of("B").hits, record.of("B").observed, record.of("B").precision) == (0, 1, None)
    assert record.would is None
    assert policy_record(log, [], "", NOW).exchanges == 0


def test_what_a_candidate_would_have_done_counts_its_own_verdicts_alone(stage) -> None:
    def would(effect: str, *rules: str, policy: str = "sha256:c", errors: tuple[str, ...] = ()) -> dict:
        return {"policy": policy, "would": effect, "rules": list(rules), "errors": list(errors)}

    tell(
        stage.bench.log,
        *exchange("r1", [], would=would("refuse", "N")),
        *exchange("r2", [], would=would("allow")),
        *exchange("r3", [], would=would("allow", errors=("exception:E",))),
        *exchange("r4", [], would=would("refuse", "N", policy="sha256:earlier")),
        *exchange("r5", [], would=would("refuse", "N"), tenant="rival"),
    )
    found = policy_record(stage.bench.log, ["acme"], "sha256:c", NOW).would
    assert found is not None
    assert (found.read, found.differing, found.errors) == (3, 1, 1)
    assert found.moved == (("allow", "refuse", 1),)
    assert found.rules == (("N", 1),)


async def test_what_the_candidate_changes_is_told_but_not_of_other_tenants(stage, tmp_path: Path) -> None:
    now, next_ = tmp_path / "now", tmp_path / "next"
    for folder in (now, next_):
        write(folder, "ours", effect="refuse" if folder is now else "flag")
        write(folder, "theirs", tenant="rival", title="First" if folder is now else "Second", effect="flag")
    write(next_, "moved", tenant="rival")
    write(next_, "theirs", tenant="rival", effect="refuse")
    bring_into_force(stage, now)
    stage.bench.candidate = stage.bench.rulebook(loaded(next_))
    changes = visible_changes(loaded(now), loaded(next_), ["acme"])
    assert {(one.what, one.direction.value) for one in changes} == {("rule OURS", "looser")}
    assert len(visible_changes(loaded(now), loaded(next_), ["rival"])) > 2
    page = (await (await stage.signed_in("ann", "author")).get("/policies")).text
    assert "effect `refuse` becomes `flag`" in page
    assert "THEIRS" not in page
    assert "It has judged no exchange yet." in page


async def test_a_text_is_explained_rule_by_rule(stage) -> None:
    browser = await stage.signed_in("ann", "author")
    form = {"phase": "query", "text": "please ask-a-human about 4111 1111 1111 1111", "app": "desk", "groups": "staff"}
    page = (await browser.post("/policies/explain", form)).text
    assert 'Verdict: <span class="chip effect-escalate">escalate</span>' in page
    assert "list.human is true" in page
    assert '<span class="chip truth-true">true</span>' in page
    assert "C-004" in page  # which did not match, and is shown with its atoms all the same
    assert stage.bench.audit.drafts == []
    answer = (await browser.post("/policies/explain", {**form, "phase": "answer"})).text
    assert '<mark title="CREDIT CARD">4111 1111 1111 1111</mark>' in answer


async def test_the_candidate_explains_too(stage, tmp_path: Path) -> None:
    write(tmp_path / "next", "ours")
    stage.bench.candidate = stage.bench.rulebook(loaded(tmp_path / "next"))
    browser = await stage.signed_in("ann", "author")
    form = {"phase": "query", "text": "ours", "app": "desk", "policy": "candidate"}
    page = (await browser.post("/policies/explain", form)).text
    assert 'Verdict: <span class="chip effect-refuse">refuse</span>' in page
    stage.bench.candidate.inspector.close()
    stage.bench.candidate = None
    gone = await browser.post("/policies/explain", form)
    assert gone.status_code == 409
    assert "There is no candidate any more." in gone.text


@pytest.mark.parametrize(
    ("changed", "status", "told"),
    [
        ({"text": ""}, 400, "Write a text"),
        ({"text": "x" * 20_001}, 400, "Write a text"),
        ({"phase": "tool_call"}, 400, "Choose which text"),
        ({"app": "a b"}, 400, "plain names"),
        ({"groups": "<b>"}, 400, "plain names"),
        ({"tenant": "rival"}, 404, "no such tenant"),
        ({"model": "other"}, 404, "no such model"),
    ],
)
async def test_a_form_that_does_not_fit_explains_nothing(stage, changed, status: int, told: str) -> None:
    browser = await stage.signed_in("ann", "author")
    form = {"phase": "query", "text": "ask-a-human", "app": "desk", **changed}
    answer = await browser.post("/policies/explain", form)
    assert answer.status_code == status
    assert told in answer.text
    assert "Verdict:" not in answer.text
    assert "<b>" not in answer.text


async def test_typed_markup_stays_text(stage) -> None:
    browser = await stage.signed_in("ann", "author")
    text = "</textarea><script>alert(1)</script>\u202eask-a-human"
    page = (await browser.post("/policies/explain", {"phase": "query", "text": text, "app": "desk"})).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert '<span class="unseen">U+202E</span>' in page


async def test_a_recorded_exchange_is_explained_and_its_reading_recorded(stage) -> None:
    members = {
        "type": "intent",
        "ts": "2026-11-24T09:00:00.000000Z",
        "tenant": "acme",
        "app": "desk",
        "groups": [],
        "route": "/v1/chat/completions",
        "model": "m",
        "stream": False,
        "facts": {"roles": [], "tools": []},
        "coverage": {"unscanned": []},
        "phase": {
            "phase": "query",
            "policy": "sha256:old",
            "effect": "escalate",
            "rules": [hit("C-001")],
            "signals": {
                "detectors": [{"name": "lists", "version": "999999", "status": "ok"}],
                "values": {"user": {"list.human": True}},
            },
        },
    }
    stage.tell("ex-1", **members)
    stage.tell("ex-2", **{**members, "tenant": "rival"})
    browser = await stage.signed_in("olga", "auditor")
    page = (await browser.get("/policies/event?id=ex-1")).text
    assert "C-001" in page
    assert "list.human is true" in page
    assert "sha256:old" in page
    assert stage.audit.types[-1] == "audit.read"
    assert stage.audit.last["filter"]["request"] == "ex-1"
    for other in ("ex-2", "nothing"):
        answer = await browser.get(f"/policies/event?id={other}")
        assert answer.status_code == 404
        assert "No exchange of your tenants" in answer.text


async def test_nothing_of_an_exchange_is_shown_unrecorded(stage) -> None:
    stage.audit.fail_on = EventType.AUDIT_READ
    browser = await stage.signed_in("olga", "auditor")
    assert (await browser.get("/policies/event?id=ex-1")).status_code == 503


def test_a_finding_about_a_whole_text_hides_no_narrower_one() -> None:
    def found(start: int, end: int, kind: str) -> Finding:
        return Finding(start=start, end=end, kind=kind, detector="t")

    text = "Card 4111, and more. Yes "
    findings = (found(0, 24, "topic.fees"), found(0, 20, "pattern.asks"), found(5, 9, "CARD"), found(21, 24, "YES"))
    narrow, about = narrow_findings(text, findings)
    assert [one.kind for one in narrow] == ["CARD", "YES"]
    assert about == ("pattern.asks", "topic.fees")
    assert narrow_findings("x", ()) == ((), ())


@pytest.mark.parametrize(
    "path", ["/policies", "/policies/rules/C-003", "/policies/event", "/policies/explain", "/sources", "/try"]
)
async def test_these_pages_hold_no_inline_script_style_or_foreign_address(stage, path: str) -> None:
    page = (await (await stage.signed_in("ann", "author", "admin")).get(path)).text
    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:|hx-on|hx-vals", page)
    assert re.findall(r"<script(?! src=\"/console/static/)", page) == []
    assert re.findall(r"(?:src|href|action)=\"(?!/console|#)[^\"]*\"", page) == []
