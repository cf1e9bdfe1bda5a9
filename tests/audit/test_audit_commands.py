import hashlib
import json
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.audit.text_tag import TextTags
from gateway.commands.audit import audit
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.domain.sealing import MasterKey, Purpose
from gateway.settings import Settings

RULES = [
    {"id": "PII-1", "status": "matched", "effect": "redact", "mode": "enforce", "why": ["pii.entities any_of"]},
    {"id": "INJ-2", "status": "error", "effect": "flag", "mode": "shadow", "why": ["injection: timeout"]},
]
DETECTORS = [{"name": "pii", "version": "1.4", "status": "ok", "reason": "", "us": 41_200, "cached": 0, "scanned": 1}]
VALUES = {"user": {"injection.score": {"e6": 831_204}, "pii.entities": ["PERSON", "US_SSN"]}}
INTENT = {
    "query": Commitment(text="a question of canary-7"),
    "stream": False,
    "phase": {
        "phase": "query",
        "effect": "redact",
        "rules": RULES,
        "signals": {"detectors": DETECTORS, "values": VALUES},
    },
    "coverage": {"not_ok": [], "unscanned": ["image"]},
}
PASSAGE = {"id": "fees#3", "rev": "0f", "content": Commitment(text="canary-7"), "kept": True, "rules": RULES[:1]}
OUTCOME = {
    "effect": "redact",
    "retrieval": {"status": "ok", "passages": [PASSAGE]},
    "model": {"name": "ev\x1b[31mil [b]"},
}


@pytest.fixture
def folder(logs) -> Path:
    log = logs.open()
    about = {"request": "ex-1", "tenant": "acme", "app": "loans", "principal": "p:1"}
    log.append_blocking(EventDraft(type=EventType.INTENT, **about, body=INTENT))
    log.append_blocking(EventDraft(type=EventType.OUTCOME, **about, body=OUTCOME))
    log.append_blocking(EventDraft(type=EventType.INGEST, tenant="other", body={"documents": 2}))
    log.close()
    return logs.path.parent


def run(folder: Path, *arguments: str, recorded: list[EventDraft] | None = None) -> Result:
    record = (recorded if recorded is not None else []).append
    obj = {"settings": Settings(data_dir=folder), "record": record}
    return CliRunner().invoke(audit, arguments, obj=obj, env={"COLUMNS": "160"})


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_verify_reports_a_sound_log(folder: Path) -> None:
    result = run(folder, "verify")
    assert result.exit_code == 0
    assert "audit.db: verified-unanchored" in result.stdout
    assert "4 events" in result.stdout
    assert as_json(run(folder, "verify", "--format", "json"))["outcome"] == "verified-unanchored"


def test_verify_names_the_first_bad_event_and_exits_with_4(folder: Path) -> None:
    db = sqlite3.connect(folder / "audit.db")
    db.execute("UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'fees#3', 'fees#4') AS BLOB)")
    db.commit()
    db.close()
    result = run(folder, "verify")
    assert result.exit_code == 4
    assert "first bad event: event 3 (id `id-000003`): its bytes do not have the stored hash" in result.stdout


def test_verify_reports_lost_exchanges_and_exits_with_3(folder: Path, logs) -> None:
    log = logs.open()
    log.append_blocking(EventDraft(type=EventType.INTENT, request="ex-2"))
    assert "1 exchanges are under way" in run(folder, "verify").stdout
    logs.crash(log)
    result = run(folder, "verify")
    assert result.exit_code == 3
    assert "exchange `ex-2` (event 6) never ended" in result.stdout


@pytest.mark.parametrize("command", [["verify"], ["show", "last"], ["search"], ["export"]])
def test_a_log_that_cannot_be_read_exits_with_2_and_one_line(tmp_path: Path, command: list[str]) -> None:
    result = run(tmp_path, *command)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the audit log")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


def test_show_last_reads_as_a_timeline_with_every_rule_and_no_content(folder: Path) -> None:
    text = run(folder, "show", "last").stdout
    shown = ["exchange ex-1", "acme/loans", "intent", "outcome", "PII-1", "matched", "INJ-2", "injection: timeout"]
    shown += ["pii", "41200", "0.831", "PERSON, US_SSN", "fees#3", "coverage.unscanned", "image", "hash sha256:", "[b]"]
    assert [word for word in shown if word not in text] == []
    assert "canary-7" not in text
    assert "\x1b" not in text
    assert run(folder, "show", "ex-1").stdout == text


def test_show_of_an_unknown_exchange_says_what_to_do(folder: Path) -> None:
    result = run(folder, "show", "ex-9")
    assert result.exit_code == 1
    assert "no exchange `ex-9`: see `gateway audit search`" in result.stderr


def test_show_as_json_holds_the_events_with_their_hashes(folder: Path) -> None:
    events = as_json(run(folder, "show", "ex-1", "--format", "json"))
    assert [event["type"] for event in events] == ["intent", "outcome"]
    assert events[1]["prev"] == "sha256:" + events[0]["hash"]


def test_search_filters(folder: Path) -> None:
    def seqs(*arguments: str) -> list[int]:
        return [event["seq"] for event in as_json(run(folder, "search", "--format", "json", *arguments))]

    assert seqs() == [4, 3, 2, 1]
    assert seqs("--tenant", "acme", "--type", "outcome", "--type", "intent") == [3, 2]
    assert seqs("--from-seq", "2", "--to-seq", "3", "--limit", "1") == [3]
    assert seqs("--since", "2026-11-24T09:00:00", "--until", "2026-11-25") == [4, 3, 2, 1]
    assert seqs("--until", "2026-11-24") == []
    assert "acme/loans" in run(folder, "search").stdout


def test_export_writes_the_hashed_bytes_one_event_a_line(folder: Path) -> None:
    result = run(folder, "export", "--format", "jsonl")
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    for before, line in pairwise(lines):
        assert json.loads(line)["prev"] == "sha256:" + hashlib.sha256(before.encode()).hexdigest()


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "ocsf"])
def test_an_export_is_recorded_before_anything_leaves(folder: Path, form: str, tmp_path: Path) -> None:
    recorded: list[EventDraft] = []
    result = run(folder, "export", "--format", form, "--tenant", "acme", recorded=recorded)
    assert result.exit_code == 0
    assert result.stdout_bytes
    (draft,) = recorded
    assert draft.type is EventType.EXPORT
    assert draft.body == {"form": form, "via": "command", "bundle": False, "filter": {"tenant": "acme"}}
    bundle = tmp_path / "bundle.zip"
    assert run(folder, "export", "--format", form, "--bundle", str(bundle), recorded=recorded).exit_code == 0
    assert recorded[-1].body["bundle"] is True
    assert run(folder, "verify", str(bundle)).exit_code == 6

    def refuse(_: EventDraft) -> None:
        raise AuditUnavailable("the audit log is full")

    obj = {"settings": Settings(data_dir=folder), "record": refuse}
    refused = CliRunner().invoke(audit, ["export", "--format", form], obj=obj)
    assert (refused.exit_code, refused.stdout) == (2, "")


def test_a_copy_is_exported_as_it_is(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    recorded: list[EventDraft] = []
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    result = run(elsewhere, "export", "--data-dir", str(folder), recorded=recorded)
    assert len(result.stdout.splitlines()) == 4
    assert recorded == []


def test_the_data_folder_can_be_named(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert run(elsewhere, "verify", "--data-dir", str(folder)).exit_code == 0


def test_search_takes_the_other_filters_and_pages(folder: Path) -> None:
    def seqs(*arguments: str) -> list[int]:
        return [event["seq"] for event in as_json(run(folder, "search", "--format", "json", *arguments))]

    for _ in range(2):  # without an index, and with one
        assert seqs("--rule", "PII-1") == [3, 2]
        assert seqs("--rule", "INJ-2", "--type", "intent") == [2]
        assert seqs("--effect", "redact") == [3]
        assert seqs("--principal", "p:1", "--effect", "allow") == []
        assert seqs("--case", "case_1") == []
        first = run(folder, "search", "--limit", "3", "--format", "json")
        assert "--cursor 2" in first.stderr
        assert seqs("--cursor", "2") == [1]
        result = run(folder, "reindex")
        assert "4 events in" in result.stdout, result.output
    assert run(folder, "search", "--cursor", "x").exit_code == 2


def test_search_finds_a_text_by_its_key(folder: Path, logs, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("a question of canary-7", "utf-8")
    missing = run(folder, "search", "--text", str(text))
    assert missing.exit_code == 2
    assert "master.key" in missing.stderr
    master = MasterKey.load_or_create(folder / "master.key")
    log = logs.open(tags=TextTags(master.derive(Purpose.TEXT_TAG)))
    draft = EventDraft(type=EventType.INTENT, request="ex-2", body={"query": Commitment(text="a question of canary-7")})
    receipt = log.append_blocking(draft)
    run(folder, "reindex")
    found = as_json(run(folder, "search", "--text", str(text), "--format", "json"))
    assert [event["seq"] for event in found] == [receipt.seq]
    text.write_text("a question of canary-8", "utf-8")
    assert as_json(run(folder, "search", "--text", str(text), "--format", "json")) == []


def test_timeline_tells_an_exchange_in_order_and_no_content(folder: Path) -> None:
    text = run(folder, "timeline", "last").stdout
    told = [
        "ex-1: redact",
        "asked",
        "the policies say redact",
        "PII-1",
        "matched redact enforce",
        "pii.entities any_of",
    ]
    told += [
        "pii@1.4",
        "41.2 ms",
        "injection: timeout",
        "not inspected",
        "fees#3@0f",
        "kept",
        "0.831",
        "redact: 0 characters",
    ]
    assert [word for word in told if word not in text] == []
    assert text.index("asked") < text.index("redact: 0 characters")
    assert "canary-7" not in text
    assert "\x1b" not in text
    moments = as_json(run(folder, "timeline", "ex-1", "--format", "json"))["moments"]
    assert [moment["type"] for moment in moments] == ["intent", "outcome"]
    assert moments[1]["after_us"] > 0
    assert run(folder, "timeline", "ex-9").exit_code == 1


def test_timeline_holds_the_acts_on_the_case_of_an_exchange(logs) -> None:
    log = logs.open()
    about = {"request": "ex-1", "tenant": "acme", "app": "loans", "principal": "p:1"}
    drafts = [
        EventDraft(
            type=EventType.INTENT, **about, body={"model": "m", "phase": {"phase": "query", "effect": "escalate"}}
        ),
        EventDraft(type=EventType.CASE_OPENED, **about, body={"case": "case_1", "queue": "credit", "rules": ["CRD-1"]}),
        EventDraft(
            type=EventType.OUTCOME, **about, body={"effect": "escalate", "case": "case_1", "release": {"chars": 9}}
        ),
        EventDraft(
            type=EventType.CASE_APPROVED,
            **about,
            body={"case": "case_1", "from": "claimed", "to": "approved", "votes": [{"person": "h:9", "agrees": True}]},
        ),
        EventDraft(type=EventType.CASE_REDELIVERED, **{**about, "request": "ex-2"}, body={"case": "case_1"}),
        EventDraft(type=EventType.FEEDBACK, **about, body={"rating": "bad", "reason": "wrong"}),
    ]
    for draft in drafts:
        log.append_blocking(draft)
    told = as_json(run(logs.path.parent, "timeline", "ex-1", "--format", "json"))
    titles = [moment["title"] for moment in told["moments"]]
    assert titles == [
        "asked `m`; the policies say escalate of the question",
        "case opened in queue credit",
        "escalate: 9 characters leave",
        "case approved: claimed to approved",
        "case redelivered",
        "the caller calls the answer bad: wrong",
    ]
    assert (told["case"], told["effect"]) == ("case_1", "escalate")
    assert told["moments"][3]["facts"][0]["status"] == "agrees"


def test_stats_count_by_day_and_app(folder: Path) -> None:
    groups = as_json(run(folder, "stats"))
    acme = next(group for group in groups if group["tenant"] == "acme")
    assert acme["events"] == {"intent": 1, "outcome": 1}
    assert acme["effects"] == {"redact": 1}
    assert {(rule["id"], rule["status"], rule["events"]) for rule in acme["rules"]} == {
        ("PII-1", "matched", 2),
        ("INJ-2", "error", 1),
    }
    assert acme["day"] == "2026-11-24"
    run(folder, "reindex")
    assert as_json(run(folder, "stats")) == groups
    assert [group["tenant"] for group in as_json(run(folder, "stats", "--tenant", "other", "--by", "tenant"))] == [
        "other"
    ]
    assert as_json(run(folder, "stats", "--since", "2026-11-25")) == []
