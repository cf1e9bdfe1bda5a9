"""Durable events a second with 32 clients, and the latency of a lone one. Prints its figures (`pytest -s -m slow`)."""

import asyncio
import itertools
import multiprocessing
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.log import SqliteAuditLog
from gateway.audit.verify import Outcome, verify_log
from gateway.domain.event import Commitment, EventDraft, EventType

CLIENTS = 32
SPAWN = multiprocessing.get_context("spawn")
BODY: dict[str, Any] = {
    "effect": "escalate",
    "model": {"provider": "openai", "name": "m", "response_id": "chatcmpl-1", "tokens_in": 812, "tokens_out": 164},
    "retrieval": {
        "store": "embedded",
        "index_rev": "0123456789abcdef",
        "passages": [{"id": f"d{n}#3", "rev": "0123456789abcdef", "score_e6": 831_204, "kept": True} for n in range(3)],
    },
    "signals": {"pii": {"status": "ok", "version": "1.4", "us": 41_200, "entities": ["PERSON"]}},
    "rules": [{"id": "CRD-001", "status": "matched", "effect": "escalate", "mode": "enforce", "why": ["topic >= 0.7"]}],
    "query": Commitment(text="may I have a loan? " * 10),
}


def work(path: Path, clients: int, exchanges: int, start: Any, results: Any) -> None:
    counter = itertools.count(time.time_ns())
    log = SqliteAuditLog.open(
        path,
        log_name="node",
        group_max_events=256,
        append_timeout_s=10,
        reserve_bytes=0,
        clock=lambda: datetime.now(UTC),
        ids=lambda: f"{next(counter):020d}{os.getpid()}",
        salts=lambda: os.urandom(32),
    )
    latencies: list[float] = []

    async def client() -> None:
        for _ in range(exchanges):
            request = f"{next(counter):020d}{os.getpid()}"
            for kind in (EventType.INTENT, EventType.OUTCOME):
                begun = time.perf_counter()
                await log.append(EventDraft(type=kind, request=request, tenant="t", app="a", body=BODY))
                latencies.append(time.perf_counter() - begun)

    async def run() -> tuple[float, float]:
        start.wait()
        begun = time.time()
        await asyncio.gather(*(client() for _ in range(clients)))
        return begun, time.time()

    begun, ended = asyncio.run(run())
    log.close()
    latencies.sort()
    count = len(latencies)
    results.put((begun, ended, count, latencies[count // 2] * 1e3, latencies[count * 99 // 100] * 1e3))


def measure(path: Path, processes: int, clients: int, exchanges: int) -> float:
    start, results = SPAWN.Barrier(processes), SPAWN.Queue()
    workers = [SPAWN.Process(target=work, args=(path, clients, exchanges, start, results)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=100) for _ in workers]
    for worker in workers:
        worker.join()
    rate = sum(one[2] for one in found) / (max(one[1] for one in found) - min(one[0] for one in found))
    p50, p99 = max(one[3] for one in found), max(one[4] for one in found)
    print(f"\n{processes} processes x {clients} clients: {rate:,.0f} events/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    return rate


@pytest.mark.slow
def test_concurrent_callers_share_the_wait_for_the_disk(tmp_path: Path) -> None:
    """Ratios of one run, so that a busy machine changes both sides. Alone on two cores, 14,000 events/s were measured
    from one process and 9,000 from four, 2,600 from a lone caller; the goal is 5,000."""
    lone = measure(tmp_path / "lone.db", 1, 1, 300)
    one = measure(tmp_path / "one.db", 1, CLIENTS, 200)
    four = measure(tmp_path / "four.db", 4, CLIENTS // 4, 200)
    assert one > 2 * lone
    assert four > lone
    for name in ("lone", "one", "four"):
        assert verify_log(tmp_path / f"{name}.db").outcome is Outcome.VERIFIED_UNANCHORED
