"""Schedules of a node: two workers, the real command line, the list, health and metrics."""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec import structs

from gateway.__main__ import cli
from gateway.assembly.node import open_audit
from gateway.assembly.schedules import ScheduleWatch, runs_of, start_schedules
from gateway.audit.read import AuditReader, Filter
from gateway.domain.event import EventDraft, EventType
from gateway.edge.health import Health
from gateway.rollout.rollout import PolicyState
from gateway.schedules.runs import LastRun
from gateway.settings import ScheduleSettings, Settings
from gateway.settings.folder import AUDIT_FILE

ALWAYS = "* * * * *"


def until(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def settings_of(folder: Path, *schedules: ScheduleSettings) -> Settings:
    return Settings(data_dir=folder, schedules=schedules)


def purge(**more: Any) -> ScheduleSettings:
    one = ScheduleSettings(name="purge", cron=ALWAYS, task="retention_purge", catch_up=True)
    return structs.replace(one, **more)


def missed(settings: Settings) -> None:
    """As if the node had been down for a day."""
    folder = runs_of(settings)
    folder.prepare()
    for one in settings.schedules:
        folder.write(one.name, LastRun(since=datetime.now(UTC) - timedelta(days=1)))


class Recorded:
    def __init__(self) -> None:
        self.events: list[EventDraft] = []

    def __call__(self, draft: EventDraft) -> None:
        self.events.append(draft)


def at_half_past() -> datetime:
    """Never near a minute's end, so that only what was missed is due."""
    return datetime.now(UTC).replace(second=30)


async def test_the_command_line_is_what_runs(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(f"data_dir: {tmp_path / 'data'}\n")
    settings = settings_of(tmp_path / "data", purge(), purge(name="broken", task="ingest", paths=(tmp_path / "none",)))
    log = open_audit(settings)
    missed(settings)
    watch, folder = ScheduleWatch(settings), runs_of(settings)

    def last(name: str) -> LastRun:
        found = folder.read(name)
        assert found is not None
        return found

    async with AsyncExitStack() as closing:
        environ = os.environ | {"GATEWAY_CONFIG": str(tmp_path / "gateway.yaml")}
        start_schedules(settings, environ, log.append_blocking, closing, clock=at_half_past)
        until(lambda: bool(last("purge").result and last("broken").result))
        until(lambda: last("purge").recorded and last("broken").recorded)
    log.close()
    assert (last("purge").result, last("purge").exit) == ("done", 0), folder.printed("purge").read_text()
    assert (last("broken").result, last("broken").exit) == ("failed", 1)
    assert "none" in folder.printed("broken").read_text()
    with AuditReader(settings.data_dir / AUDIT_FILE) as reader:
        events = list(reader.search(Filter(types=frozenset({EventType.SCHEDULE_RUN.value}))))
    stages = sorted((event.members["schedule"], event.members["stage"]) for event in events)
    assert stages == [("broken", "begun"), ("broken", "failed"), ("purge", "begun"), ("purge", "done")]
    assert watch.sound() is False
    gauges = {(one.name, one.labels["schedule"]): one.value for one in watch.gauges()}
    assert gauges["gateway_schedule_failures", "broken"] == 1.0
    assert gauges["gateway_schedule_failures", "purge"] == 0.0
    assert ("gateway_schedule_done_timestamp_seconds", "broken") not in gauges


def _worker(folder: Path, marks: Path, ready: Any, go: Any) -> None:
    import asyncio

    async def run() -> None:
        settings = settings_of(folder, purge())
        script = f"import os; open(r'{marks}' + '/' + str(os.getpid()), 'w').close()"
        async with AsyncExitStack() as closing:
            ready.set()
            command = (sys.executable, "-c", script)
            start_schedules(settings, os.environ, Recorded(), closing, clock=at_half_past, command=command)
            await asyncio.to_thread(go.wait, 30)

    asyncio.run(run())


def test_of_two_workers_one_runs_a_schedule(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    settings = settings_of(tmp_path / "data", purge())
    missed(settings)
    spawn = multiprocessing.get_context("spawn")
    go, ready = spawn.Event(), [spawn.Event(), spawn.Event()]
    workers = [spawn.Process(target=_worker, args=(settings.data_dir, marks, one, go)) for one in ready]
    for worker in workers:
        worker.start()
    assert all(one.wait(30) for one in ready)
    until(lambda: bool((found := runs_of(settings).read("purge")) and found.recorded and found.result))
    time.sleep(1.5)  # the second looks every second
    assert len(list(marks.iterdir())) == 1
    go.set()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0


async def test_without_schedules_nothing_is_started(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with AsyncExitStack() as closing:
        start_schedules(settings, {}, Recorded(), closing, clock=at_half_past)
    assert not runs_of(settings).lock("purge").parent.exists()
    assert ScheduleWatch(settings).sound() is None
    assert ScheduleWatch(settings).gauges() == []


@pytest.mark.parametrize(("sound", "checks"), [(None, {}), (True, {"schedules": True}), (False, {"schedules": False})])
def test_a_failing_schedule_is_told_and_leaves_the_node_ready(sound: bool | None, checks: dict[str, bool]) -> None:
    health = Health(audit=True, policy=PolicyState(digest="d"), schedules=sound)
    assert health.ready
    assert health.checks() == {"audit": True} | checks


class TestList:
    def run(self, folder: Path, *arguments: str, text: str) -> tuple[int, str]:
        file = folder / "gateway.yaml"
        file.write_text(f"data_dir: {folder / 'data'}\n{text}")
        result = CliRunner().invoke(cli, ["--config", str(file), "schedules", *arguments])
        return result.exit_code, result.output

    TEXT = 'schedules:\n  - {name: purge, cron: "30 2 * * *", task: retention_purge}\n'

    def test_none(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, text="") == (0, "no schedules: add some under `schedules` of the settings\n")

    def test_one_that_never_ran(self, tmp_path: Path) -> None:
        code, output = self.run(tmp_path, text=self.TEXT)
        assert code == 0
        assert "02:30:00" in output
        assert "never ran" in output

    def test_one_that_failed(self, tmp_path: Path) -> None:
        folder = runs_of(Settings(data_dir=tmp_path / "data"))
        folder.prepare()
        began = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
        folder.write(
            "purge",
            LastRun(since=began, began=began, planned=began, ended=began, result="failed", exit=3, failures=2),
        )
        code, output = self.run(tmp_path, text=self.TEXT)
        assert code == 1
        assert "2026-03-01 02:30:00" in output
        assert "failed (exit 3)" in output
        code, output = self.run(tmp_path, "--format", "json", text=self.TEXT)
        (one,) = json.loads(output)
        assert code == 1
        assert (one["name"], one["last"]["failures"], one["last"]["exit"]) == ("purge", 2, 3)
        assert one["next"].endswith("02:30:00Z")
