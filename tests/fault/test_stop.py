"""SIGTERM: exchanges under way end within the grace period, and every one of them is on record."""

import asyncio
import signal
import time

import aiohttp
import pytest
from aiohttp import web
from load import Seen, ask
from support.served import served, verify
from support.server import completion

from gateway.audit.read import AuditReader

pytestmark = pytest.mark.slow


class SilentReply(web.Response):
    """A reply that never comes."""

    async def prepare(self, request):
        await asyncio.sleep(60)


def ends(data) -> list[dict]:
    with AuditReader(data / "audit.db") as reader:
        return [e.members for e in reader.search() if e.members["type"] in {"outcome", "stream.close"}]


async def ask_and_stop(gateway, key: str, seen: Seen, model, *, count: int) -> float:
    """Begin exchanges, stop the gateway while the model speaks; seconds until its process was gone."""

    async def one(number: int) -> None:
        async with aiohttp.ClientSession() as session:
            await ask(session, gateway.url, key, seen, content="tell me", stream=number % 2 == 0)

    under_way = [asyncio.create_task(one(number)) for number in range(count)]
    while len(model.received) < count or len(seen.begun) < count / 2:
        await asyncio.sleep(0.02)
    started = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(gateway.process.wait, 30)
    took = time.monotonic() - started
    assert code in {0, -signal.SIGTERM}
    await asyncio.gather(*under_way)
    return took


@pytest.mark.parametrize("workers", [1, 2])
async def test_exchanges_that_can_end_in_time_end_whole(make_config, model, tmp_path, workers: int) -> None:
    config = make_config(server={"shutdown_grace_s": 20, "workers": workers})
    model.answer = lambda body: iter(slow_chunks()) if body.get("stream") else completion("An answer.")
    with served(config) as gateway:
        key = await asyncio.to_thread(gateway.key)
        model.pause_s = 0.1
        seen = Seen()
        took = await ask_and_stop(gateway, key, seen, model, count=6)
    assert seen.statuses == [200] * 6
    assert len(seen.complete) == 6
    assert took < 20
    recorded = ends(tmp_path / "data")
    assert {event["request"] for event in recorded} == seen.complete
    assert {event["effect"] for event in recorded} == {"allow"}
    assert verify(config)[0] == 0
    assert "Traceback" not in gateway.output


@pytest.mark.parametrize("workers", [1, 2])
async def test_exchanges_that_take_too_long_are_cut_off_and_recorded(make_config, model, tmp_path, workers) -> None:
    config = make_config(server={"shutdown_grace_s": 1, "workers": workers})
    model.answer = lambda body: iter(slow_chunks(1_000)) if body.get("stream") else SilentReply()
    with served(config) as gateway:
        key = await asyncio.to_thread(gateway.key)
        model.pause_s = 0.1
        seen = Seen()
        took = await ask_and_stop(gateway, key, seen, model, count=6)
    assert took < 10
    assert seen.complete == set()
    assert [body["error"]["code"] for _, body in seen.unavailable] == ["guard_unavailable"] * 3
    assert seen.cut_off == ["guard_unavailable"] * 3, "a stream that is cut off says so"
    recorded = ends(tmp_path / "data")
    assert len(recorded) == 6
    assert {event["effect"] for event in recorded} == {"error"}
    code, found = verify(config)
    assert (code, found.unfinished, found.crashed) == (0, (), 0), "a stop in good order is no crash"
    assert "Traceback" not in gateway.output


def slow_chunks(count: int = 20):
    head = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    for number in range(count):
        yield {**head, "choices": [{"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
