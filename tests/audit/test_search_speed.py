"""Searches stay fast on a large log, and the index holds up no append. Bounds are loose: machines are noisy."""

import asyncio
import threading
from pathlib import Path

import pytest

from gateway.audit.search_follower import IndexFollower
from tests.bench import micro
from tests.bench.audit_search import build, measured
from tests.bench.audit_workload import write_log

EVENTS = 60_000
LIMIT_MS = 200


@pytest.mark.slow
def test_every_filter_alone_and_together_is_found_in_time(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    write_log(path, EVENTS)
    build(path)
    figures = measured(path, 20)
    assert len(figures) > 15
    assert {name: figure for name, figure in figures.items() if max(figure) > LIMIT_MS} == {}


@pytest.mark.slow
def test_a_follower_beside_it_does_not_halve_what_the_log_takes(tmp_path: Path) -> None:
    def rate(name: str, *, followed: bool) -> float:
        path, done = tmp_path / name, threading.Event()
        follower = threading.Thread(target=_follow, args=(path, done))
        if followed:
            follower.start()
        took = asyncio.run(micro._audit(path, clients=1, events=1_500))
        done.set()
        if followed:
            follower.join()
        return took

    alone = max(rate(f"alone-{number}.db", followed=False) for number in range(3))
    beside = max(rate(f"beside-{number}.db", followed=True) for number in range(3))
    assert beside > alone / 2


def _follow(path: Path, done: threading.Event) -> None:
    while not path.exists() and not done.wait(0.01):
        pass
    done.wait(0.05)
    follower = IndexFollower(path)
    while not done.wait(follower.step()):
        pass
    follower.close()
