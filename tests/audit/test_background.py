"""What runs beside the requests: one process of a node at a time, and no failure ends it."""

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.audit.background import Background
from gateway.audit.heartbeat import Heartbeat
from gateway.audit.read import AuditReader, Filter
from gateway.audit.search import AuditSearch
from gateway.audit.search_follower import IndexFollower
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType


def until(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


class Counting:
    """Fails as often as told, then counts its steps."""

    def __init__(self, failures: list[Exception]) -> None:
        self.failures = failures
        self.steps = 0
        self.closed = 0

    def step(self) -> float:
        if self.failures:
            raise self.failures.pop(0)
        self.steps += 1
        return 0.01

    def close(self) -> None:
        self.closed += 1


def test_a_part_that_fails_is_told_of_once_closed_and_made_again(tmp_path: Path) -> None:
    part = Counting([AuditUnavailable("gone"), AuditUnavailable("gone"), ValueError("secret text"), ValueError("x")])
    told: list[tuple[str, str]] = []
    background = Background(
        tmp_path / "lock", [("one", lambda: part)], warn=lambda *line: told.append(line), retry_s=0.01
    )
    background.start()
    until(lambda: part.steps > 2)
    background.stop()
    assert told == [("one", "gone"), ("one", "a defect: ValueError")]
    assert part.closed == 5
    assert not any(thread.is_alive() for thread in background._threads)


def test_a_slow_part_holds_up_no_other(tmp_path: Path) -> None:
    release = threading.Event()

    class Slow(Counting):
        def step(self) -> float:
            release.wait(10)
            return super().step()

    slow, fast = Slow([]), Counting([])
    background = Background(tmp_path / "lock", [("slow", lambda: slow), ("fast", lambda: fast)], warn=lambda *_: None)
    background.start()
    until(lambda: fast.steps > 5)
    assert slow.steps == 0
    release.set()
    background.stop()


def _hold(lock: Path, ready: object, go: object) -> None:
    background = Background(lock, [("one", lambda: Counting([]))], warn=lambda *_: None)
    background.start()
    time.sleep(0.3)
    ready.set()
    go.wait(20)


def test_another_process_takes_over_when_the_first_is_killed(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, go = spawn.Event(), spawn.Event()
    first = spawn.Process(target=_hold, args=(tmp_path / "lock", ready, go))
    first.start()
    assert ready.wait(20)
    part = Counting([])
    second = Background(tmp_path / "lock", [("one", lambda: part)], warn=lambda *_: None)
    second.start()
    time.sleep(0.3)
    assert part.steps == 0
    first.kill()
    first.join()
    until(lambda: part.steps > 0)
    second.stop()


async def test_the_follower_keeps_the_index_behind_the_log(logs, tmp_path: Path) -> None:
    log = logs.open()
    background = Background(tmp_path / "lock", [("index", lambda: IndexFollower(logs.path))], warn=pytest.fail)
    background.start()
    receipts = [
        await log.append(EventDraft(type=EventType.INGEST, tenant="acme", body={"n": number})) for number in range(150)
    ]

    def indexed() -> bool:
        with AuditSearch(logs.path) as search:
            return search.indexed == receipts[-1].seq

    await asyncio.to_thread(until, indexed)
    background.stop()
    with AuditSearch(logs.path) as search:
        assert len(search.page(Filter(tenant="acme"), limit=1_000).events) == 150


async def test_an_idle_log_gets_a_sign_of_life_and_a_busy_one_none(logs) -> None:
    log = logs.open()
    heart = Heartbeat(logs.path, log, every_s=60, clock=logs.clock, warn=pytest.fail)
    assert timedelta(seconds=59) < await heart.beat() < timedelta(seconds=60)
    logs.clock.now += timedelta(seconds=90)
    assert await heart.beat() == timedelta(seconds=60)
    assert await heart.beat() < timedelta(seconds=60), "another worker sees that the log is not idle"
    with AuditReader(logs.path) as reader:
        (event,) = reader.search(Filter(types=frozenset({"log.heartbeat"})))
    assert event.members["idle_s"] == 90


async def test_signs_of_life_go_on_after_a_failure(logs) -> None:
    log = logs.open()
    told: list[tuple[str, str]] = []
    heart = Heartbeat(logs.path, log, every_s=0.02, clock=logs.clock, warn=lambda *line: told.append(line))
    log.close()
    logs.clock.now += timedelta(seconds=90)
    heart.start()
    async with asyncio.timeout(10):
        while len(told) < 2:
            await asyncio.sleep(0.01)
    await heart.stop()
    assert {part for part, _ in told} == {"heartbeat"}
