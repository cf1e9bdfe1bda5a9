"""Several processes on one log, and processes that are killed while they write."""

import asyncio
import itertools
import multiprocessing
import os
import random
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.audit.log import SqliteAuditLog
from gateway.audit.read import AuditReader
from gateway.audit.verify import Outcome, verify_log
from gateway.domain.event import EventDraft, EventType

SPAWN = multiprocessing.get_context("spawn")


def open_log(path: Path) -> SqliteAuditLog:
    counter = itertools.count()
    return SqliteAuditLog.open(
        path,
        log_name="node",
        group_max_events=64,
        append_timeout_s=20,
        reserve_bytes=64 * 1024,
        clock=lambda: datetime.now(UTC),
        ids=lambda: f"{os.getpid()}-{next(counter)}",
        salts=lambda: os.urandom(32),
    )


def clients(path: Path, count: int, exchanges: int) -> None:
    """Run exchanges, and note each receipt in a file that survives a kill."""
    log = open_log(path)
    noted = os.open(path.with_name(f"receipts-{os.getpid()}"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    async def client(number: int) -> None:
        for turn in range(exchanges):
            request = f"{os.getpid()}-{number}-{turn}"
            for kind in (EventType.INTENT, EventType.OUTCOME):
                receipt = await log.append(EventDraft(type=kind, request=request, body={"effect": "allow"}))
                os.write(noted, f"{receipt.seq} {receipt.id} {receipt.hash}\n".encode())

    async def run() -> None:
        await asyncio.gather(*map(client, range(count)))

    asyncio.run(run())
    log.close()


def acknowledged(folder: Path) -> set[tuple[str, ...]]:
    lines = [line for file in folder.glob("receipts-*") for line in file.read_text().splitlines()]
    return {tuple(line.split()) for line in lines}


def stored(path: Path) -> set[tuple[str, ...]]:
    with AuditReader(path) as reader:
        return {(str(event.seq), event.members["id"], event.hash) for event in reader.search()}


def test_concurrent_processes_form_one_valid_chain_that_holds_every_receipt(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    processes = [SPAWN.Process(target=clients, args=(path, 4, 15)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    receipts = acknowledged(tmp_path)
    assert len(receipts) == 3 * 4 * 15 * 2
    assert receipts <= stored(path)
    result = verify_log(path)
    assert (result.outcome, result.events, result.in_flight) == (Outcome.VERIFIED_UNANCHORED, 3 + 360, 0)
    assert result.crashed == 0


@pytest.mark.parametrize("seed", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_what_was_acknowledged_survives_kill_9_and_the_log_verifies(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "audit.db"
    generator = random.Random(seed)
    for _ in range(2):
        processes = [SPAWN.Process(target=clients, args=(path, 8, 100_000)) for _ in range(2)]
        for process in processes:
            process.start()
        before = len(acknowledged(tmp_path))
        deadline = time.monotonic() + 30
        while len(acknowledged(tmp_path)) < before + 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(generator.random() / 10)
        for process in processes:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        for process in processes:
            process.join(10)
    receipts = acknowledged(tmp_path)
    assert len(receipts) >= 400
    assert receipts <= stored(path)
    lost = verify_log(path)
    assert lost.outcome in {Outcome.INCOMPLETE, Outcome.VERIFIED_UNANCHORED}, lost.bad
    open_log(path).close()
    after = verify_log(path)
    assert (after.outcome, after.bad, after.in_flight) == (Outcome.VERIFIED_UNANCHORED, None, 0)
    assert after.crashed >= len(lost.unfinished)
    assert receipts <= stored(path)
