import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cases.store import SqliteCaseStore
from gateway.cases.terms import new_case
from gateway.commands.cases import cases
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType
from gateway.domain.sealing import MasterKey, Purpose
from gateway.settings import Settings


@pytest.fixture
def folder(tmp_path: Path, draft) -> Path:
    key = MasterKey.load_or_create(tmp_path / "master.key").derive(Purpose.CASE_CONTENT)
    store = SqliteCaseStore.open(tmp_path / "cases.db", key=key)
    made = draft(candidate="canary answer\nwith \x1b[31m[bold]lines")
    asyncio.run(store.add(new_case("case_1", made, bytes(32)), made))
    store.close()
    return tmp_path


def run(folder: Path, *arguments: str, record=lambda draft: None) -> Result:
    context = {"settings": Settings(data_dir=folder), "record": record}
    return CliRunner().invoke(cases, arguments, obj=context, env={"COLUMNS": "160"})


def test_list_shows_cases_without_content(folder: Path) -> None:
    result = run(folder, "list")
    assert result.exit_code == 0
    assert [word for word in ("case_1", "queued", "credit", "acme/loans", "CRD-001") if word not in result.stdout] == []
    assert "canary" not in result.stdout
    (case,) = json.loads(run(folder, "list", "--format", "json").stdout)
    assert case["id"] == "case_1"
    assert json.loads(run(folder, "list", "--format", "json", "--state", "closed").stdout) == []
    assert json.loads(run(folder, "list", "--format", "json", "--tenant", "other").stdout) == []


def test_show_keeps_content_closed(folder: Path) -> None:
    recorded: list[EventDraft] = []
    result = run(folder, "show", "case_1", record=recorded.append)
    assert result.exit_code == 0
    assert "case_1" in result.stdout
    assert "canary" not in result.stdout
    assert recorded == []


def test_reveal_records_who_and_why_and_then_shows_the_content(folder: Path) -> None:
    recorded: list[EventDraft] = []
    result = run(folder, "show", "case_1", "--reveal", "--reason", "complaint 2026-117", record=recorded.append)
    assert result.exit_code == 0
    for text in ("canary question", "canary passage", "canary answer", "[bold]lines"):
        assert text in result.stdout
    assert "\x1b" not in result.stdout
    (event,) = recorded
    assert (event.type, event.request, event.tenant) == (EventType.BODY_READ, "ex-1", "acme")
    assert event.principal.startswith("os:")
    assert (event.body["case"], event.body["reason"]) == ("case_1", "complaint 2026-117")


@pytest.mark.parametrize("reason", ["", "  ", "x", "call me at a@b.example", "x" * 100, "two\nlines"])
def test_reveal_without_a_plain_reason_is_refused(folder: Path, reason: str) -> None:
    recorded: list[EventDraft] = []
    result = run(folder, "show", "case_1", "--reveal", "--reason", reason, record=recorded.append)
    assert result.exit_code == 2
    assert "give `--reason`" in result.stderr
    assert recorded == []


def test_what_cannot_be_recorded_stays_closed(folder: Path) -> None:
    def refuse(draft: EventDraft) -> None:
        raise AuditUnavailable("the disk is full")

    result = run(folder, "show", "case_1", "--reveal", "--reason", "complaint", record=refuse)
    assert result.exit_code == 1
    assert "the disk is full" in result.stderr
    assert "canary" not in result.output


def test_unknown_cases_and_empty_folders_say_what_to_do(folder: Path, tmp_path_factory) -> None:
    assert "no case `case_9`" in run(folder, "show", "case_9").stderr
    empty = tmp_path_factory.mktemp("empty")
    result = run(empty, "list")
    assert result.exit_code == 1
    assert "holds no cases" in result.stderr
    assert list(empty.iterdir()) == []
