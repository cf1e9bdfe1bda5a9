"""Several worker processes: one chain, and keys that appear and vanish in all of them."""

import asyncio
import os
import signal
import time
from collections import Counter

import aiohttp
import pytest
from load import Seen, ask
from support.served import command, served, verify
from support.server import completion

from gateway.audit.read import AuditReader

pytestmark = pytest.mark.slow


async def statuses(url: str, key: str, count: int) -> Counter[int]:
    """Many requests at once, each on a connection of its own, so that every worker gets some."""

    async def one() -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url}/v1/models", headers={"authorization": f"Bearer {key}"}) as response,
        ):
            return response.status

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


def boots(folder) -> set[str]:
    """The workers that took an exchange in."""
    with AuditReader(folder / "data" / "audit.db") as reader:
        return {event.members["boot"] for event in reader.search() if event.members["type"] == "intent"}


async def exchange(url: str, key: str, seen: Seen, number: int) -> None:
    async with aiohttp.ClientSession() as session:
        await ask(session, url, key, seen, content=f"question {number}", stream=number % 2 == 0)


async def test_workers_share_one_chain_and_all_keys(make_config, model, tmp_path) -> None:
    config = make_config(server={"workers": 2})
    model.answer = lambda body: completion("A short answer.")
    seen = Seen()
    with served(config) as gateway:
        key = await asyncio.to_thread(gateway.key)
        for start in range(0, 200, 50):
            await asyncio.gather(*(exchange(gateway.url, key, seen, start + number) for number in range(50)))
        assert seen.statuses == [200] * 200
        code, found = await asyncio.to_thread(verify, config)
        assert (code, found.bad, found.in_flight) == (0, None, 0)

        second = await asyncio.to_thread(gateway.key, user="bob")
        assert await statuses(gateway.url, second, 40) == {200: 40}, "a key works in all workers once it is made"
        listed = await asyncio.to_thread(command, config, "keys", "list")
        key_id = next(line.split()[0] for line in listed.stdout.splitlines() if "/bob" in line)
        assert (await asyncio.to_thread(command, config, "keys", "revoke", key_id)).returncode == 0
        await asyncio.sleep(1.0)
        assert await statuses(gateway.url, second, 40) == {401: 40}, "a second later it works in none"
        assert await statuses(gateway.url, key, 10) == {200: 10}

    with AuditReader(tmp_path / "data" / "audit.db") as reader:
        log = [event.members for event in reader.search()]
    assert len(boots(tmp_path)) == 2, "both workers took part"
    assert seen.complete == {event["request"] for event in log if event["type"] in {"outcome", "stream.close"}}
    assert sum(event["type"] == "admin.key_revoked" for event in log) == 1
    assert verify(config)[0] == 0


async def test_a_worker_that_dies_is_replaced_and_its_exchanges_are_settled(make_config, model, tmp_path) -> None:
    config = make_config(server={"workers": 2})
    model.answer = lambda body: completion("word " * 50)
    with served(config) as gateway:
        key = await asyncio.to_thread(gateway.key)
        model.pause_s = 0.05
        seen = Seen()
        under_way = []
        while len(boots(tmp_path)) < 2 or len(under_way) < 20:  # until both workers have some
            under_way.append(asyncio.create_task(exchange(gateway.url, key, seen, 2 * len(under_way))))
            await asyncio.sleep(0.02)
        while len(seen.statuses) < len(under_way):
            await asyncio.sleep(0.05)
        victim = gateway.workers()[0]
        os.kill(victim, signal.SIGKILL)
        await asyncio.gather(*under_way)
        assert 0 < len(seen.complete) < len(under_way), "the other worker's streams went on"
        until = time.monotonic() + 30
        while time.monotonic() < until:
            code, found = await asyncio.to_thread(verify, config)
            if code == 0 and found.crashed:
                break
            await asyncio.sleep(0.5)
        assert (code, found.crashed + len(seen.complete)) == (0, len(under_way))
