"""Two worker processes whose policies change."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from rollout_driver import DEADLINE_S, events
from rollout_texts import policy, rule, words, write
from support.served import Served, served, verify, write_config
from support.server import ModelServer, completion, model_server

from gateway.domain.event import EventType

pytestmark = pytest.mark.slow


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server() as running:
        running.answer = lambda body: completion("Fine.")
        yield running


def config(tmp_path: Path, policies: Path, model: ModelServer, **rollout) -> Path:
    return write_config(
        tmp_path / "config",
        data_dir=tmp_path / "data",
        policies=[policies],
        models=[{"name": "real", "provider": "openai", "base_url": model.url}],
        retrieval={"store": "off"},
        limits={"requests_per_minute": 1_000_000, "burst": 100_000, "concurrent": 10_000},
        server={"workers": 2},
        policy={"reload_s": 0.2, **rollout},
    )


async def decisions(gateway: Served, key: str, content: str, count: int = 24) -> set[tuple[str, str]]:
    """Decision and policy of many requests, each on a connection of its own, so that both workers get some."""

    async def one() -> tuple[str, str]:
        body = {"model": "real", "messages": [{"role": "user", "content": content}]}
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{gateway.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
            ) as response,
        ):
            assert response.status == 200
            return response.headers["x-gateway-decision"], response.headers["x-gateway-policy"]

    return set(await asyncio.gather(*(one() for _ in range(count))))


def starts(data: Path) -> list[str]:
    """The policies with which workers started, in the order of their starts."""
    return [one["policy"] for one in events(data, EventType.POLICY_ACTIVATE) if one["cause"] == "start"]


async def agreed(gateway: Served, key: str, content: str, decision: str) -> str:
    """The one policy by which all workers decide like that."""
    end = time.monotonic() + DEADLINE_S
    while True:
        found = await decisions(gateway, key, content)
        if len(found) == 1 and next(iter(found))[0] == decision:
            return next(iter(found))[1]
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)


async def test_all_workers_end_on_the_same_bundle_and_one_tells_of_it(tmp_path, policies, model) -> None:
    file = config(tmp_path, policies, model)
    with served(file) as gateway:
        key = await asyncio.to_thread(gateway.key)
        first = await agreed(gateway, key, "alpha", "refuse")
        write(policies, policy(rule(), lists=words("beta")))
        second = await agreed(gateway, key, "beta", "refuse")
        assert first != second
        write(policies, {"apiVersion": "gateway/v1"})
        end = time.monotonic() + DEADLINE_S
        while not events(tmp_path / "data", EventType.POLICY_REJECTED):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # the other worker has looked as well by then
        assert await agreed(gateway, key, "beta", "refuse") == second

        victim = gateway.workers()[0]
        os.kill(victim, signal.SIGKILL)  # the one that replaces it finds only broken files
        end = time.monotonic() + 60
        while victim in gateway.workers() or len(gateway.workers()) < 2:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        while len(starts(tmp_path / "data")) < 3:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        assert await agreed(gateway, key, "beta", "refuse") == second
        assert (await asyncio.to_thread(gateway.ready))[1]["policy"]["state"] == "stale"

        write(policies, policy(rule(), lists=words("gamma")))
        third = await agreed(gateway, key, "gamma", "refuse")
    log = events(tmp_path / "data", EventType.POLICY_ACTIVATE)
    assert [(one["previous"], one["policy"]) for one in log if "previous" in one] == [(first, second), (second, third)]
    assert starts(tmp_path / "data") == [first, first, second]
    assert len(events(tmp_path / "data", EventType.POLICY_REJECTED)) == 1
    code, found = verify(file)
    assert (code, found.bad) == (0, None)


async def test_a_hangup_makes_all_workers_look_at_once(tmp_path, policies, model) -> None:
    with served(config(tmp_path, policies, model, reload_s=0)) as gateway:
        key = await asyncio.to_thread(gateway.key)
        workers = gateway.workers()
        await agreed(gateway, key, "alpha", "refuse")
        write(policies, policy(rule(), lists=words("beta")))
        await asyncio.sleep(1.0)
        assert {decision for decision, _ in await decisions(gateway, key, "beta")} == {"allow"}, "nobody looks"
        gateway.process.send_signal(signal.SIGHUP)
        await agreed(gateway, key, "beta", "refuse")
        assert gateway.workers() == workers, "they went on"
