"""Events are what is published: one declaration, a JSON Schema, a dictionary, and a verdict for what does not fit."""

import json
import re
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.declared import check_event, event_of
from support.fakes import ALICE
from support.server import model_server, running_gateway
from support.wire import Caller, wire_settings

from gateway.audit.boot import CRASHED
from gateway.audit.entry import EMPTY, chain, prepare
from gateway.audit.read import AuditReader
from gateway.audit.schema import EVENTS, dictionary, event_schema, fault_of
from gateway.audit.verify import Outcome, verify_log
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import BodyText, Commitment, EventDraft, EventType
from gateway.record import rejected
from gateway.settings import AppSettings, CaptureLevel
from gateway.settings.folder import AUDIT_FILE

GATEWAY = Path(__file__).parents[2] / "gateway"
SCHEMA = event_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
REJECTED = event_of(rejected("x" * 32, route="/v1/models", principal=ALICE, code="no", status=400))
LEVELS = {level.value: AppSettings(capture=level) for level in CaptureLevel}


def test_every_type_that_is_written_is_declared_and_published() -> None:
    declared = {kind.name for kind in EVENTS}
    sources = [path for path in GATEWAY.rglob("*.py") if not {"schema", "export_ocsf.py"} & set(path.parts)]
    named = {name for path in sources for name in re.findall(r"EventType\.([A-Z_]+)", path.read_text("utf-8"))}
    assert len(named) > 30
    assert named - declared == set(), "declare the event in `gateway.audit.schema`"
    assert {kind.value for kind in EVENTS} <= set(SCHEMA["$defs"])
    assert all(f"\n## {kind.value}\n" in dictionary() for kind in EVENTS)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    objects = [part for part in SCHEMA["$defs"].values() if "properties" in part]
    assert all(part["additionalProperties"] is False for part in objects)
    members = [member for part in objects for name, member in part["properties"].items()]
    assert all(member.get("description") and member.get("x-since") for member in members), "each has a meaning"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"v": 2}, "version"),
        ({"v": True}, "version"),
        ({"v": "1"}, "version"),
        ({"type": "case.dreamt"}, "type"),
        ({"type": 7}, "type"),
        ({"surprise": 1}, "surprise"),
        ({"status": "400"}, "status"),
        ({"ts": "yesterday"}, "ts"),
        ({"prev": "sha256:0"}, "prev"),
        ({"ts_behind_us": 0}, "ts_behind_us"),
    ],
)
def test_what_is_not_published_is_said_without_its_value(change: dict[str, Any], word: str) -> None:
    assert fault_of(REJECTED) == ""
    VALIDATOR.validate(REJECTED)
    event = REJECTED | change
    fault = fault_of(event)
    assert word in fault
    assert "yesterday" not in fault
    assert not VALIDATOR.is_valid(event)


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.integers(), st.text(max_size=5), st.booleans())))
def test_no_object_at_all_makes_the_check_raise(event: dict[str, Any]) -> None:
    assert fault_of(event) != ""
    assert isinstance(fault_of({**REJECTED, **event}), str)


@given(st.sampled_from(sorted(REJECTED)), st.sampled_from([None, -1, "x", [], {}, True, 1.5]))
def test_the_check_and_the_schema_agree(member: str, value: Any) -> None:
    event = {**REJECTED, member: value}
    assert (fault_of(event) == "") is VALIDATOR.is_valid(event)


def test_texts_are_named_flat_beside_their_commitment() -> None:
    event = event_of(
        EventDraft(
            type=EventType.OUTCOME, request="r", body=dict(CRASHED), bodies=(BodyText(field="query", text="secret"),)
        )
    )
    (body,) = event["bodies"]
    assert sorted(body) == ["c", "field", "key", "len_bucket"]
    assert (body["field"], body["len_bucket"]) == ("query", 64)
    assert "secret" not in json.dumps(event)


def test_a_log_that_keeps_no_texts_refuses_them() -> None:
    draft = EventDraft(type=EventType.INGEST, bodies=(BodyText(field="query", text="secret"),))
    with pytest.raises(ValueError, match="keep them first"):
        prepare(draft, log_name="l", boot="b", ids=lambda: "i", salts=lambda: bytes(32))


@pytest.mark.parametrize("kind", [EventType.INGEST, EventType.OUTCOME])
def test_an_unknown_version_is_a_verdict_for_readers_and_verifiers(logs, kind: EventType) -> None:
    log = logs.open()
    log.close()
    _append_of_the_future(logs.path, kind)
    found = verify_log(logs.path)
    assert found.outcome is Outcome.INVALID
    assert found.bad is not None
    assert found.bad.seq == 2
    assert "version" in found.bad.what
    with AuditReader(logs.path) as reader, pytest.raises(AuditUnavailable, match="version") as caught:
        list(reader.search())
    assert caught.value.code == "event_version_unknown"


def _append_of_the_future(path: Path, kind: EventType) -> None:
    db = sqlite3.connect(path)
    seq, digest, ts, body = db.execute("SELECT seq, hash, ts, body FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    tip = type(EMPTY)(seq, digest, ts)
    boot = json.loads(body)["boot"]
    draft = EventDraft(type=kind, request="r", body={"effect": "allow", "text": Commitment(text="x")})
    entry = prepare(draft, log_name="gateway.test/node-1", boot=boot, ids=lambda: "f", salts=lambda: bytes(32))
    entry = type(entry)(
        id=entry.id,
        type=entry.type,
        request=entry.request,
        tenant=entry.tenant,
        app=entry.app,
        before_prev=entry.before_prev,
        before_seq=entry.before_seq,
        before_ts=entry.before_ts,
        after_ts=entry.after_ts.replace(b'"v":1', b'"v":2'),
    )

    (one,) = chain([entry], tip, datetime.fromisoformat(ts))
    db.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (one.seq, entry.id, entry.type, one.ts, entry.request, "", "", one.hash, one.body),
    )
    db.commit()
    db.close()


async def test_events_of_a_real_run_are_valid_at_every_level(tmp_path: Path) -> None:
    with model_server() as model, running_gateway(wire_settings(tmp_path, model, apps=LEVELS)) as gateway:
        for level in LEVELS:
            caller = Caller(gateway, app=level)
            await caller.chat("Where is the branch of Zoe Quill, zoe@bank.example?")
            await caller.chat("And a stream, please.", stream=True)
            await caller.chat("What is fair?", model="extractive")
            await caller.send(data=b"{")
    with AuditReader(tmp_path / AUDIT_FILE) as reader:
        events = [event.members for event in reader.search()]
    assert {"intent", "outcome", "stream.open", "stream.close", "rejected", "log.boot"} <= {
        event["type"] for event in events
    }
    for event in events:
        check_event(event)
        VALIDATOR.validate(event)
    kept = [event for event in events if event.get("bodies")]
    assert {event["app"] for event in kept} == {"encrypted_body"}
    fields = {(event["type"], body["field"]) for event in kept for body in event["bodies"]}
    assert fields == {
        ("intent", "query"),
        ("intent", "request"),
        ("outcome", "candidate"),
        ("outcome", "answer"),
        ("stream.close", "candidate"),
        ("stream.close", "answer"),
    }
    bare = [event for event in events if event["app"] == "metadata"]
    assert bare
    assert not any(word in json.dumps(event) for event in bare for word in ('"c:', '"signals"'))
    seen = [event for event in events if event["app"] == "signals" and event["type"] == "intent"]
    assert all("signals" in event["phase"] and "c" in event["query"] for event in seen)
