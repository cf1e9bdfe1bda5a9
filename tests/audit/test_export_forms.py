"""Exports: what is in them is what is in the log, in forms that others read; and none of it is computed or hidden."""

import csv
import io
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
from pyarrow import parquet

from gateway.audit.bundle import plain_filter, write_bundle
from gateway.audit.export_forms import Form, parquet_schema, safe_cell, write_form
from gateway.audit.export_ocsf import ocsf_records
from gateway.audit.export_rows import COLUMNS, row_of
from gateway.audit.read import EVERYTHING, AuditReader, Event, Filter
from gateway.audit.standalone.verify_bundle import verify_path
from gateway.domain.errors import RequestError
from gateway.domain.event import EventDraft, EventType
from tests.bench.audit_workload import START, write_log

NOW = datetime(2026, 11, 24, tzinfo=UTC)
EVENTS = 6_000  # more than one row group
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parent / "ocsf_1_8.schema.json").read_text("utf-8"))
)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exports") / "audit.db"
    write_log(path, EVENTS)
    return path


@pytest.fixture(scope="module")
def all_events(busy: Path) -> list[Event]:
    with AuditReader(busy) as reader:
        return list(reader.search())


def written(form: Form, events: list[Event]) -> bytes:
    out = io.BytesIO()
    assert write_form(form, events, out) == len(events)
    assert not out.closed
    return out.getvalue()


def test_lines_are_the_bytes_that_were_hashed(all_events: list[Event]) -> None:
    assert written(Form.JSONL, all_events).splitlines() == [event.body for event in all_events]


def test_csv_holds_every_event_in_typed_words(all_events: list[Event]) -> None:
    rows = list(csv.DictReader(io.StringIO(written(Form.CSV, all_events).decode(), newline="")))
    assert len(rows) == EVENTS
    assert tuple(rows[0]) == COLUMNS
    for row, event in zip(rows, all_events, strict=True):
        assert (int(row["seq"]), row["hash"], row["event"].encode()) == (event.seq, event.hash, event.body)
        assert row["ts"].endswith("+00:00")
    assert Counter(row["effect"] for row in rows)["refuse"] > 0


HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0", "＝1+1", "－1"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_is_never_a_formula(text: str) -> None:
    event = Event(
        seq=1,
        hash="0" * 64,
        members={"ts": "2026-11-24T10:00:00.000000Z", "tenant": text, "app": text, "reasons": [text]},
        body=b"{}",
    )
    (row,) = csv.DictReader(io.StringIO(written(Form.CSV, [event]).decode(), newline=""))
    assert (row["tenant"], row["rules"]) == ("'" + text, "'" + text)


@given(st.text())
def test_a_safe_cell_begins_with_no_sign_and_keeps_the_text(text: str) -> None:
    cell = safe_cell(text)
    assert cell.removeprefix("'") == text.removeprefix("'") or cell == text
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_numbers_and_what_is_missing_are_written_plainly() -> None:
    assert [safe_cell(value) for value in (None, 0, 7, "", (), ("a", "b"))] == ["", "0", "7", "", "", "a b"]


def test_parquet_has_typed_columns_and_any_engine_reads_it(all_events: list[Event], tmp_path: Path) -> None:
    file = tmp_path / "events.parquet"
    file.write_bytes(written(Form.PARQUET, all_events))
    table = parquet.read_table(file)
    assert table.schema.equals(parquet_schema())
    assert table.column("event").to_pylist() == [event.body.decode() for event in all_events]
    assert parquet.ParquetFile(file).num_row_groups == 2
    query = f"""
        SELECT tenant, count(*), max(took_us), epoch_us(min(ts)) FROM read_parquet('{file}')
        WHERE effect = 'refuse' AND list_contains(rules, 'PII-001') GROUP BY tenant ORDER BY tenant
    """
    found = duckdb.sql(query).fetchall()
    expected = Counter(
        event.members["tenant"]
        for event in all_events
        if event.members.get("effect") == "refuse" and "PII-001" in event.members["reasons"]
    )
    assert {tenant: count for tenant, count, *_ in found} == dict(expected)
    assert min(moment for *_, moment in found) >= START.timestamp() * 1_000_000


def test_no_events_are_a_table_without_rows(tmp_path: Path) -> None:
    file = tmp_path / "none.parquet"
    file.write_bytes(written(Form.PARQUET, []))
    assert parquet.read_table(file).num_rows == 0
    assert written(Form.CSV, []).decode().splitlines() == [",".join(COLUMNS)]
    assert written(Form.OCSF, []) == b""


def faults(record: dict[str, Any]) -> list[str]:
    branch = {6003: 0, 2004: 1, 2006: 2, 2005: 3}[record["class_uid"]]
    one = SCHEMA.evolve(schema={**SCHEMA.schema["oneOf"][branch], "$defs": SCHEMA.schema["$defs"]})
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in one.iter_errors(record)]


EVERY_KIND = [
    EventDraft(
        type=kind,
        request="ex-1" if kind.value in ("intent", "outcome", "stream.open", "stream.close") else "",
        tenant=tenant,
        app="desk" if tenant else "",
        principal="p:1" if tenant else "",
        body={"effect": "redact", "redacted": {"query": {"PERSON": 2, "EMAIL": 1}, "answer": {"PERSON": 1}}, **more},
    )
    for kind in EventType
    for tenant in ("acme", "")
    for more in ({}, {"case": "case_1", "queue": "credit", "rules": ["A-1", "A-2"], "error": "upstream_error"})
]


def test_every_kind_of_event_is_valid_ocsf(logs) -> None:
    log = logs.open()
    for draft in EVERY_KIND:
        log.append_blocking(draft)
    with AuditReader(logs.path) as reader:
        events = list(reader.search())
    assert {event.members["type"] for event in events} == {kind.value for kind in EventType}
    seen = Counter()
    for event in events:
        records = list(ocsf_records(event))
        assert len({record["metadata"]["uid"] for record in records}) == len(records) > 0
        for record in records:
            assert faults(record) == [], event.members["type"]
            assert record["raw_data_hash"]["value"] == event.hash
            seen[record["class_uid"]] += 1
            if record["class_uid"] == 2004:
                DetectionFinding.model_validate(record)  # a third party's reading of the class
    assert set(seen) == {6003, 2004, 2005, 2006}


def test_a_busy_log_is_valid_ocsf(all_events: list[Event]) -> None:
    seen = Counter()
    for line in written(Form.OCSF, all_events[:1_500]).splitlines():
        record = json.loads(line)
        assert faults(record) == []
        seen[record["class_uid"]] += 1
    effects = Counter(event.members.get("effect") for event in all_events[:1_500])
    cases = sum(event.members["type"].startswith("case.") for event in all_events[:1_500])
    assert seen[6003] == 1_500 - cases
    assert seen[2005] == cases
    assert seen[2004] == effects["flag"] + effects["escalate"] + effects["refuse"]


def test_the_schema_under_test_refuses_what_is_wrong(all_events: list[Event]) -> None:
    (record, *_) = ocsf_records(all_events[1])
    for change in ({"time": "now"}, {"class_uid": 1}, {"surprise": 1}, {"severity_id": 77}, {"actor": {}}):
        wrong = {**record, **change}
        assert (
            faults({**wrong, "class_uid": 6003} if change != {"class_uid": 1} else {**wrong, "class_uid": 2004}) != []
        )
    without = {key: value for key, value in record.items() if key != "api"}
    assert faults(without) != []


@pytest.mark.parametrize("form", list(Form))
def test_a_bundle_holds_the_form_and_is_verified(busy: Path, tmp_path: Path, form: Form) -> None:
    wanted = Filter(effect="refuse", tenant="tenant-00")
    target = tmp_path / "evidence.zip"
    summary = write_bundle(target, busy, wanted, keys=[], now=NOW, form=form)
    assert summary.events > 0
    assert list(tmp_path.iterdir()) == [target]
    result = verify_path(target, [], [])
    assert (result.outcome, result.events) == ("verified-unanchored", summary.events)
    write_bundle(tmp_path / "folder", busy, wanted, keys=[], now=NOW, form=form)
    manifest = json.loads((tmp_path / "folder" / "manifest.json").read_text("utf-8"))
    assert manifest["filter"] == {"effect": "refuse", "tenant": "tenant-00", "types": [], "first": 1}
    assert form.file_name in manifest["files"]
    (tmp_path / "folder" / form.file_name).write_bytes(b"changed")
    assert verify_path(tmp_path / "folder", [], []).outcome == "invalid"


def test_a_bundle_with_too_many_events_leaves_nothing_behind(busy: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="more than 10 events"):
        write_bundle(tmp_path / "b.zip", busy, EVERYTHING, keys=[], now=NOW, most=10)
    assert list(tmp_path.iterdir()) == []


def test_a_filter_is_told_without_words_of_its_author() -> None:
    told = plain_filter(Filter(tenant="my secret question", case="case_1", since=NOW, types=frozenset({"outcome"})))
    assert told == {
        "tenant": "(no identifier)",
        "case": "case_1",
        "since": "2026-11-24T00:00:00.000000Z",
        "types": ["outcome"],
        "first": 1,
    }


def test_rows_of_odd_events_have_every_column() -> None:
    row = row_of(Event(seq=3, hash="h", members={"ts": "2026-11-24T10:00:00.000000Z", "model": [1]}, body=b"{}"))
    assert (row.seq, row.model, row.took_us, row.rules) == (3, "", None, ())
