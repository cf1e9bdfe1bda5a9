"""`/metrics` of a running gateway."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.served import served, write_config
from support.server import ModelServer, RunningGateway, model_server, running_gateway

from gateway.settings import LimitSettings, MetricsSettings, ModelSettings, RetrievalSettings, Settings

POLICIES = Path(__file__).parent.parent / "support" / "policies"


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with model_server() as model:
        yield model


def settings(folder: Path, model: ModelServer, access: str) -> Settings:
    return Settings(
        data_dir=folder,
        policies=(POLICIES,),
        models=(ModelSettings(name="real", provider="openai", base_url=model.url, retries=0),),
        retrieval=RetrievalSettings(store="off"),
        limits=LimitSettings(requests_per_minute=100_000, burst=10_000),
        metrics=MetricsSettings(access=access),
    )


@pytest.fixture(scope="module")
def gateway(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(settings(tmp_path_factory.mktemp("data"), model, "role")) as running:
        yield running


@pytest.fixture
async def session() -> Iterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(session, gateway, key: str, content: str, *, stream: bool = False) -> int:
    body = {"model": "real", "stream": stream, "messages": [{"role": "user", "content": content}]}
    headers = {"authorization": f"Bearer {key}"}
    async with session.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers) as response:
        await response.read()
        return response.status


async def scrape(session, gateway, key: str | None) -> tuple[int, str]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with session.get(f"{gateway.url}/metrics", headers=headers) as response:
        return response.status, await response.text()


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and sorted label values."""
    return {
        (one.name, *(value for _, value in sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


async def counted(session, gateway, monitor: str) -> dict[tuple[str, ...], float]:
    status, text = await scrape(session, gateway, monitor)
    assert status == 200
    return samples(text)


async def test_what_happens_is_counted_by_app_effect_phase_and_status(gateway, session) -> None:
    app = "counted-desk"
    key = gateway.key(app=app, user="ann")
    monitor = gateway.key(app="watch", user="prom", roles=("monitor",))
    before = await counted(session, gateway, monitor)
    assert await ask(session, gateway, key, "What is new?") == 200
    assert await ask(session, gateway, key, "What is new?", stream=True) == 200
    async with session.post(
        f"{gateway.url}/v1/chat/completions", json={}, headers={"authorization": f"Bearer {key}"}
    ) as response:
        assert response.status == 400
    after = await counted(session, gateway, monitor)

    def rise(*labels: str) -> float:
        return after.get(labels, 0.0) - before.get(labels, 0.0)

    assert rise("gateway_requests_total", app, "allow", "whole") == 1
    assert rise("gateway_requests_total", app, "allow", "stream") == 1
    assert rise("gateway_request_seconds_count", app, "whole") == 1
    assert rise("gateway_verdicts_total", app, "allow", "query") == 2
    assert rise("gateway_verdicts_total", app, "allow", "answer") >= 2
    assert rise("gateway_upstream_seconds_count", "whole", "real", "ok") == 1
    assert rise("gateway_upstream_seconds_count", "first_chunk", "real", "ok") == 1
    assert rise("gateway_tokens_total", "in", "upstream-1") > 0 or rise("gateway_tokens_total", "in", "real") > 0
    assert rise("gateway_audit_events_total", "intent") == 2
    assert rise("gateway_audit_append_seconds_count") >= 5
    rejected = [key for key in after if key[0] == "gateway_rejected_requests_total" and key[1] == app]
    assert [key[3] for key in rejected] == ["400"]
    runs = [key for key in after if key[0] == "gateway_detector_seconds_count"]
    assert {key[2] for key in runs} == {"ok"}
    assert sum(after[key] for key in after if key[0] == "gateway_inspected_texts_total") > 0
    assert after["gateway_audit_healthy",] == 1.0
    assert after["gateway_policy_stale",] == 0.0
    assert [value for key, value in after.items() if key[0] == "gateway_policy_info"] == [1.0]
    assert after["gateway_cases", "queued"] == 0.0


async def test_neither_content_nor_callers_are_told(gateway, session) -> None:
    key = gateway.key(user="Vera Mustermann", app="quiet")
    monitor = gateway.key(app="watch", user="prom2", roles=("admin",))
    await ask(session, gateway, key, "Is CANARY4711 in the metrics? vera@example.org")
    _, text = await scrape(session, gateway, monitor)
    for secret in ("CANARY4711", "vera", "Vera", "p:", key, "acme"):
        assert secret not in text


async def test_a_key_without_the_role_and_nobody_at_all_are_turned_away(gateway, session) -> None:
    assert (await scrape(session, gateway, gateway.key(user="eve")))[0] == 403
    status, text = await scrape(session, gateway, None)
    assert (status, json.loads(text)["error"]["code"]) == (401, "missing_api_key")


@pytest.mark.parametrize(("access", "status"), [("loopback", 200), ("off", 404)])
async def test_the_settings_say_who_may_read(tmp_path, model, session, access: str, status: int) -> None:
    with running_gateway(settings(tmp_path, model, access)) as gateway:
        found, text = await scrape(session, gateway, None)
        assert found == status
        assert ("gateway_audit_healthy 1.0" in text) == (access == "loopback")
        assert await ask(session, gateway, gateway.key(), "hello") == 200
        async with session.post(f"{gateway.url}/metrics") as response:
            assert response.status == (405 if access == "loopback" else 404)
    assert (tmp_path / "metrics").exists() == (access == "loopback")


async def test_counts_outlive_a_restart(tmp_path, model, session) -> None:
    for total in (1.0, 2.0):
        with running_gateway(settings(tmp_path, model, "loopback")) as gateway:
            assert await ask(session, gateway, gateway.key(user=f"u{total}"), "hello") == 200
            found = samples((await scrape(session, gateway, None))[1])
            assert found["gateway_requests_total", "desk", "allow", "whole"] == total


@pytest.mark.slow
async def test_whichever_worker_is_asked_tells_of_all(tmp_path, model, session) -> None:
    config = write_config(
        tmp_path / "config",
        data_dir=tmp_path / "data",
        policies=[POLICIES],
        models=[{"name": "real", "provider": "openai", "base_url": model.url}],
        retrieval={"store": "off"},
        limits={"requests_per_minute": 1_000_000, "burst": 100_000},
        server={"workers": 2},
        metrics={"access": "loopback"},
    )
    with served(config) as gateway:
        key = await asyncio.to_thread(gateway.key)
        last = 0.0
        for number in range(1, 41):
            async with aiohttp.ClientSession() as own:  # a connection of its own, so that either worker may take it
                assert await ask(own, gateway, key, f"question {number}") == 200
            async with aiohttp.ClientSession() as own:
                found = samples((await scrape(own, gateway, None))[1])
            total = found.get(("gateway_requests_total", "desk", "allow", "whole"), 0.0)
            assert total >= last
            last = total
        until = time.monotonic() + 20
        while total < 40:  # the other worker writes its counts every second
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
            found = samples((await scrape(session, gateway, None))[1])
            total = found["gateway_requests_total", "desk", "allow", "whole"]
        assert total == 40
