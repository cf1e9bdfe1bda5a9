"""One schedule: its task runs at its time, once, in a process of its own, with an event before and after."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from gateway.domain.errors import AuditUnavailable, StoreUnavailable
from gateway.domain.event import EventDraft
from gateway.schedules.keeper import Keeper, Surroundings
from gateway.schedules.runs import LastRun, RunFolder
from gateway.settings import ScheduleSettings
from tests.support.declared import check_draft

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHELL = ("/bin/sh", "-c")


class Node:
    """A data folder, a log and a clock that keepers share."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder / "schedules")
        self.folder.prepare()
        self.now = NOON
        self.monotonic = 0.0
        self.events: list[EventDraft] = []
        self.log_fails = False
        self.keepers: list[Keeper] = []

    def keeper(
        self, task: str = "exit 0", *, command: tuple[str, ...] = SHELL, cron: str = "30 * * * *", **more: Any
    ) -> Keeper:
        schedule = structs.replace(ScheduleSettings(name="purge", cron=cron, task="retention_purge"), **more)
        around = Surroundings(
            folder=self.folder,
            command=command,
            variables={"PATH": os.environ["PATH"], "WORD": "given"},
            node="n",
            record=self.record,
            clock=lambda: self.now,
            monotonic=lambda: self.monotonic,
            ids=lambda: f"run-{len(self.events)}",
        )
        keeper = Keeper(schedule, [task], around)
        self.keepers.append(keeper)
        return keeper

    def record(self, draft: EventDraft) -> None:
        if self.log_fails:
            raise AuditUnavailable("the log does not answer")
        check_draft(draft)
        self.events.append(draft)

    @property
    def stages(self) -> list[str]:
        return [event.body["stage"] for event in self.events]

    @property
    def last(self) -> LastRun:
        found = self.folder.read("purge")
        assert found is not None
        return found

    def stepped(self, keeper: Keeper, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < end, "it did not happen"
            keeper.step()
            time.sleep(0.01)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.log_fails = False
    for keeper in made.keepers:
        keeper.close()


def test_a_task_runs_at_its_time_and_not_before(node: Node) -> None:
    keeper = node.keeper('echo "$WORD"')
    assert keeper.step() == 30.0
    node.now += timedelta(minutes=29, seconds=50)
    assert keeper.step() == pytest.approx(10.0)
    assert node.events == []
    node.now += timedelta(seconds=10)
    keeper.step()
    assert node.stages == ["begun"]
    assert node.last.is_open
    node.now += timedelta(seconds=7)
    node.stepped(keeper, lambda: len(node.events) == 2)
    begun, done = node.events
    assert begun.body == {
        "schedule": "purge",
        "task": "retention_purge",
        "run": "run-0",
        "stage": "begun",
        "planned": "2026-03-01T12:30:00Z",
    }
    assert done.body == begun.body | {"stage": "done", "exit": 0, "seconds": 7}
    assert node.folder.printed("purge").read_text() == "given\n"
    assert (node.last.result, node.last.failures, node.last.done, node.last.recorded) == ("done", 0, node.now, True)
    assert keeper.step() > 1.0, "the next one is in an hour"
    assert len(node.events) == 2


def test_a_failing_task_is_told_counted_and_run_again_at_its_next_time(node: Node) -> None:
    keeper = node.keeper("echo why; exit 3")
    keeper.step()
    node.now += HOUR
    node.stepped(keeper, lambda: len(node.events) == 2)
    assert node.last.failures == 1
    node.now += HOUR
    node.stepped(keeper, lambda: len(node.events) == 4)
    assert node.last.failures == 2
    assert node.stages == ["begun", "failed"] * 2
    assert node.events[-1].body["exit"] == 3
    assert (node.last.result, node.last.exit, node.last.done) == ("failed", 3, None)
    assert node.folder.printed("purge").read_text() == "why\n"
    keeper.close()
    healed = node.keeper("exit 0")
    healed.step()
    node.now += HOUR
    node.stepped(healed, lambda: node.stages[-1] == "done")
    assert node.last.failures == 0


def test_a_task_that_cannot_be_started_has_failed(node: Node) -> None:
    keeper = node.keeper(command=("/nowhere/at-all",))
    keeper.step()
    node.now += HOUR
    keeper.step()
    assert node.stages == ["begun", "failed"]
    assert "exit" not in node.events[-1].body


def test_a_task_over_its_time_is_ended(node: Node) -> None:
    keeper = node.keeper("sleep 60", timeout_s=100)
    keeper.step()
    node.now += HOUR
    keeper.step()
    node.monotonic += 99
    keeper.step()
    assert node.stages == ["begun"]
    node.monotonic += 2
    keeper.step()
    assert node.stages == ["begun", "timed_out"]
    assert node.last.failures == 1


def test_times_that_pass_during_a_run_are_left_out(node: Node) -> None:
    keeper = node.keeper("sleep 0.2")
    keeper.step()
    node.now += HOUR
    keeper.step()
    node.now += 5 * HOUR
    node.stepped(keeper, lambda: node.stages == ["begun", "done"])
    assert keeper.step() > 1.0
    assert node.stages == ["begun", "done"]


@pytest.mark.parametrize(("catch_up", "runs"), [(True, 1), (False, 0)])
def test_missed_times_run_once_if_the_schedule_catches_up(node: Node, catch_up: bool, runs: int) -> None:
    first = node.keeper(catch_up=catch_up)
    first.step()
    first.close()
    node.now += 50 * HOUR
    second = node.keeper(catch_up=catch_up)
    second.step()
    if runs:
        node.stepped(second, lambda: len(node.events) == 2)
    assert second.step() > 1.0
    assert node.stages == ["begun", "done"] * runs


def test_a_new_schedule_has_missed_nothing(node: Node) -> None:
    keeper = node.keeper(catch_up=True)
    assert keeper.step() > 1.0
    assert node.events == []


def test_nothing_starts_while_the_log_does_not_answer(node: Node, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    keeper = node.keeper(f"touch {mark}")
    keeper.step()
    node.now += timedelta(minutes=30)
    node.log_fails = True
    with pytest.raises(AuditUnavailable):
        keeper.step()
    keeper.close()
    assert not mark.exists()
    assert not node.last.is_open
    node.log_fails = False
    node.now += timedelta(seconds=5)
    again = node.keeper(f"touch {mark}")
    node.stepped(again, lambda: node.stages == ["begun", "done"])
    assert mark.exists()


def test_an_end_that_could_not_be_recorded_is_recorded_later(node: Node) -> None:
    keeper = node.keeper("exit 4")
    keeper.step()
    node.now += HOUR
    keeper.step()
    node.log_fails = True
    with pytest.raises(AuditUnavailable):
        node.stepped(keeper, lambda: False)
    keeper.close()
    assert (node.last.result, node.last.recorded) == ("failed", False)
    node.log_fails = False
    node.keeper().step()
    assert node.stages == ["begun", "failed"]
    assert node.events[-1].body["exit"] == 4
    assert node.last.recorded


def test_a_stop_of_the_gateway_ends_the_task_and_says_so(node: Node, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    keeper = node.keeper(f"sleep 1; touch {mark}")
    keeper.step()
    node.now += HOUR
    keeper.step()
    keeper.close()
    assert node.stages == ["begun", "interrupted"]
    time.sleep(1.2)
    assert not mark.exists()


def test_a_second_process_waits_and_takes_over(node: Node) -> None:
    first, second = node.keeper(), node.keeper()
    first.step()
    node.now += HOUR
    assert second.step() == 1.0, "it looks whether the first is gone"
    assert node.events == []
    first.close()
    node.now += 2 * HOUR + timedelta(minutes=-30)
    node.stepped(second, lambda: node.stages == ["begun", "done"])


def test_a_task_that_outlives_its_gateway_is_never_joined_by_a_second(node: Node, tmp_path: Path) -> None:
    ready, go = tmp_path / "ready", tmp_path / "go"
    pid = os.fork()
    if pid == 0:  # a worker that is killed while its task runs
        try:
            worker = node.keeper(f"touch {ready}; while ! test -e {go}; do sleep 0.05; done")
            worker.step()
            node.now += HOUR
            worker.step()
            time.sleep(30)
        finally:
            os._exit(1)
    end = time.monotonic() + 10
    while not ready.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    node.now += 2 * HOUR
    heir = node.keeper(catch_up=True)
    assert heir.step() == 1.0
    assert node.last.is_open
    go.touch()
    node.stepped(heir, lambda: len(node.events) == 3)
    assert node.stages == ["interrupted", "begun", "done"], "of the first, the killed worker wrote the beginning"


def test_a_damaged_file_is_no_reason_to_guess(node: Node) -> None:
    (node.folder.lock("purge").parent / "purge.json").write_text("{")
    with pytest.raises(StoreUnavailable, match="is damaged: remove it"):
        node.keeper().step()
