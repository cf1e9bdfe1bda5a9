import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cases.store import SqliteCaseStore
from gateway.cases.terms import new_case
from gateway.commands.cases import cases
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType, Receipt
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
    context = {"settings": Settings(data_dir=folder), "record": record, "announce": lambda *_: ()}
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


class Recorder:
    def __init__(self) -> None:
        self.drafts: list[EventDraft] = []

    def __call__(self, draft: EventDraft) -> Receipt:
        self.drafts.append(draft)
        return Receipt(seq=len(self.drafts), id=str(len(self.drafts)), hash="0" * 64)


@pytest.fixture
def today(tmp_path: Path, draft) -> Path:
    """A folder with a case that was opened now: commands read the real clock."""
    master = MasterKey.load_or_create(tmp_path / "master.key")
    store = SqliteCaseStore.open(tmp_path / "cases.db", key=master.derive(Purpose.CASE_CONTENT))
    made = draft(opened=datetime.now(UTC), user="alice")
    asyncio.run(store.add(new_case("case_1", made, master.derive(Purpose.CASE_BINDING)), made))
    store.close()
    return tmp_path


def test_two_named_reviewers_approve_a_case_and_each_step_is_recorded(today: Path) -> None:
    recorder = Recorder()

    def act(*arguments: str) -> Result:
        return run(today, *arguments, record=recorder)

    assert act("claim", "case_1", "--as", "ruth").stdout == "case_1 is in_review\n"
    assert act("approve", "case_1", "--as", "ruth", "--reason", "POL-7").stdout == "case_1 is await_second\n"
    again = act("claim", "case_1", "--as", "ruth")
    assert (again.exit_code, "another person must" in again.output) == (1, True)
    assert act("claim", "case_1", "--as", "ravi").exit_code == 0
    assert act("release", "case_1", "--as", "ravi").exit_code == 0
    assert act("claim", "case_1", "--as", "ravi").exit_code == 0
    assert act("approve", "case_1", "--as", "ravi", "--reason", "POL-7").stdout == "case_1 is approved\n"
    assert [draft.type.value for draft in recorder.drafts] == [
        "case.claimed",
        "case.approved",
        "case.claimed",
        "case.released",
        "case.claimed",
        "case.approved",
    ]


def test_the_requester_does_not_decide_on_the_command_line_either(today: Path) -> None:
    result = run(today, "claim", "case_1", "--as", "alice", record=Recorder())
    assert (result.exit_code, "their own" in result.output) == (1, True)
    assert run(today, "refuse", "case_1", "--as", "ruth", "--reason", "?!", record=Recorder()).exit_code == 2
    assert run(today, "refuse", "case_9", "--as", "ruth", "--reason", "no", record=Recorder()).exit_code == 1


def test_a_transition_that_cannot_be_recorded_does_not_happen(today: Path) -> None:
    def full(draft: EventDraft) -> Receipt:
        raise AuditUnavailable("the disk is full")

    assert run(today, "claim", "case_1", "--as", "ruth", record=full).exit_code == 1
    assert "queued" in run(today, "show", "case_1").stdout
