import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.fakes import FakeAudit

from gateway.cases import Transitions
from gateway.cases.machine import LEAD, Actor, BreakGlass
from gateway.cases.store import SqliteCaseStore
from gateway.cases.terms import new_case
from gateway.commands.cases import cases
from gateway.domain.errors import AuditUnavailable, FaultsFound
from gateway.domain.event import EventDraft, EventType, Receipt
from gateway.domain.sealing import MasterKey, Purpose
from gateway.domain.vocabulary import SignalType
from gateway.identity.key_store import KeyStore
from gateway.settings import CaseSettings, QualitySettings, Settings

OPENED = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


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


SEEDS = """
seeds:
  - {name: promise, tenant: acme, app: loans, queue: credit, rules: [CRD-001], expected: refuse,
     question: canary question, candidate: canary answer}
"""
POLICY = """
apiVersion: gateway/v1
kind: PolicySet
metadata: {id: crd, version: "1", owner: "team:credit", purpose: p}
rules:
  - {id: CRD-001, title: t, phase: answer, when: {all: [{signal: injection.score, gte: 0.5}]}, then: {effect: flag}}
"""


def invoke(folder: Path, *arguments: str, record, settings: Settings | None = None) -> Result:
    context = {
        "settings": settings or Settings(data_dir=folder, policies=(folder / "policies",)),
        "record": record,
        "announce": lambda *_: (),
        "signals": {"injection.score": SignalType.SCORE},
    }
    return CliRunner().invoke(cases, arguments, obj=context, env={"COLUMNS": "200"})


@pytest.fixture
def seeded(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "crd.yaml").write_text(POLICY)
    (tmp_path / "seeds.yaml").write_text(SEEDS)
    return tmp_path


def test_seeds_are_planted_once_decided_and_measured(seeded: Path) -> None:
    recorder = Recorder()
    planted = invoke(seeded, "seed", str(seeded / "seeds.yaml"), record=recorder)
    assert (planted.exit_code, planted.stdout) == (0, "planted 1 of 1 seeds; 0 were there before\n"), planted.output
    again = invoke(seeded, "seed", str(seeded / "seeds.yaml"), record=recorder)
    assert again.stdout == "planted 0 of 1 seeds; 1 were there before\n"
    (case,) = json.loads(invoke(seeded, "list", "--format", "json", record=recorder).stdout)
    for arguments in (("claim", case["id"]), ("approve", case["id"], "--reason", "POL-7")):
        assert invoke(seeded, *arguments, "--as", "ruth", record=recorder).exit_code == 0
    assert [draft.type.value for draft in recorder.drafts] == ["case.drill_opened", "case.claimed", "case.approved"]
    assert all("canary" not in str(draft.body) for draft in recorder.drafts)
    shown = invoke(seeded, "quality", record=recorder)
    assert shown.exit_code == 0, shown.output
    assert "known answers right      0 of 1, 0% (0% to 79%)" in shown.stdout
    told = json.loads(invoke(seeded, "quality", "--format", "json", record=recorder).stdout)
    assert (told["decisions"], told["seeds"]["total"], told["rules"]) == (1, 1, [])
    load = json.loads(invoke(seeded, "capacity", "--days", "1", "--format", "json", record=recorder).stdout)
    assert [(one["queue"], one["arrivals_per_day"]) for one in load] == [("credit", 1.0)]
    assert "credit" in invoke(seeded, "capacity", record=recorder).stdout


def test_an_alarm_is_recorded_and_ends_with_a_code_of_its_own(seeded: Path) -> None:
    recorder = Recorder()
    invoke(seeded, "seed", str(seeded / "seeds.yaml"), record=recorder)
    (case,) = json.loads(invoke(seeded, "list", "--format", "json", record=recorder).stdout)
    for arguments in (("claim", case["id"]), ("approve", case["id"], "--reason", "POL-7")):
        invoke(seeded, *arguments, "--as", "ruth", record=recorder)
    strict = Settings(data_dir=seeded, cases=CaseSettings(quality=QualitySettings(alarm_decisions=1)))
    result = invoke(seeded, "quality", record=recorder, settings=strict)
    assert (result.exit_code, "ALARM" in result.stdout) == (3, True), result.output
    assert recorder.drafts[-1].type is EventType.REVIEW_ALARM


def test_seeds_of_rules_that_are_not_in_force_are_refused(seeded: Path) -> None:
    (seeded / "seeds.yaml").write_text(SEEDS.replace("CRD-001", "OLD-1"))
    result = invoke(seeded, "seed", str(seeded / "seeds.yaml"), record=Recorder())
    assert isinstance(result.exception, FaultsFound)
    assert not (seeded / "cases.db").exists()


def test_a_team_that_owns_the_rule_does_not_decide_on_the_command_line_either(tmp_path: Path, draft) -> None:
    master = MasterKey.load_or_create(tmp_path / "master.key")
    store = SqliteCaseStore.open(tmp_path / "cases.db", key=master.derive(Purpose.CASE_CONTENT))
    made = draft(opened=datetime.now(UTC), user="alice", authors=frozenset({"team:credit", "ada"}))
    teams = {"credit": ("credit-policy",)}
    asyncio.run(store.add(new_case("case_1", made, master.derive(Purpose.CASE_BINDING), teams=teams), made))
    store.close()
    keys = KeyStore.open(tmp_path / "identity.db")
    keys.create(
        tenant="acme", app="console", user="bob", groups=("credit-policy",), roles=(), models=("*",), now=OPENED
    )
    keys.close()
    for user, may in (("ada", False), ("bob", False), ("ruth", True)):
        result = run(tmp_path, "claim", "case_1", "--as", user, record=Recorder())
        assert (result.exit_code == 0) is may, (user, result.output)
        assert ("rule or exception of their own" in result.output) is not may


def test_broken_glass_that_waits_for_a_second_look_is_listed(tmp_path: Path, draft) -> None:
    master = MasterKey.load_or_create(tmp_path / "master.key")
    key = master.derive(Purpose.CASE_BINDING)
    store = SqliteCaseStore.open(tmp_path / "cases.db", key=master.derive(Purpose.CASE_CONTENT))
    made = draft(opened=datetime.now(UTC))

    async def break_glass() -> None:
        case = (await store.add(new_case("case_1", made, key), made)).case
        moves = Transitions(store, FakeAudit(), clock=lambda: datetime.now(UTC), announce=lambda *_: ())
        ada = Actor(person="u:ada", ref="p:ada", roles=frozenset({LEAD}))
        await moves.move(case, BreakGlass("outage 12"), ada)

    asyncio.run(break_glass())
    store.close()
    listed = run(tmp_path, "post-reviews").stdout
    assert ("case_1" in listed, "outage 12" in listed, "canary" in listed) == (True, True, False)
    (case,) = json.loads(run(tmp_path, "post-reviews", "--format", "json").stdout)
    assert case["course"]["review_by"] is not None
