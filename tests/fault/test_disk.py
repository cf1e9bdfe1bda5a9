"""A log that cannot be written: 503 for everyone, nothing asked, nothing released, and a restart after the repair."""

import asyncio
import json

import aiohttp
import pytest
from load import Seen, ask
from support.served import refused, served, verify
from support.server import ModelServer, completion
from troubles import TROUBLES

from gateway.audit.read import AuditReader

pytestmark = pytest.mark.slow


async def read_stream(url: str, key: str, begun: asyncio.Event) -> bytes:
    body = {"model": "real", "messages": [{"role": "user", "content": "slowly"}], "stream": True}
    raw = b""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}) as response,
    ):
        async for part in response.content.iter_any():
            raw += part
            if b"word" in raw:
                begun.set()
    return raw


def assert_unavailable(headers, body) -> None:
    error = body["error"]
    assert (error["code"], error["type"], error["param"]) == ("guard_unavailable", "server_error", None)
    assert "audit" not in error["message"], "what is wrong with the gateway is for its operator"
    assert headers["x-should-retry"] == "false"
    assert "choices" not in body


@pytest.mark.parametrize("trouble", list(TROUBLES))
async def test_a_log_that_cannot_be_written_stops_everything_until_it_can(
    make_config, model: ModelServer, tmp_path, trouble: str
) -> None:
    with TROUBLES[trouble](tmp_path) as disk:
        config = make_config(data_dir=disk.data_dir, audit={"reserve_bytes": 64 * 1024})
        model.answer = lambda body: completion("word " * 200)
        with served(config) as gateway:
            key = await asyncio.to_thread(gateway.key)
            model.pause_s = 0.1
            begun = asyncio.Event()
            stream = asyncio.create_task(read_stream(gateway.url, key, begun))
            await begun.wait()
            disk.strike(gateway.process.pid)
            seen = Seen()
            async with aiohttp.ClientSession() as session:
                while not seen.unavailable:
                    assert len(seen.statuses) < 3_000, "the log never filled"
                    await ask(session, gateway.url, key, seen, content="more", stream=False)
                assert seen.statuses == [200] * (len(seen.statuses) - 1) + [503]
                asked = len(model.received)
                for streamed in (False, True) * 3:
                    await ask(session, gateway.url, key, seen, content="again", stream=streamed)
                await ask(session, gateway.url, "gw_nobody", seen, content="an unknown caller", stream=False)
                assert seen.statuses[-7:] == [503] * 7
                assert len(model.received) == asked, "a model was asked without an event"
                for headers, body in seen.unavailable:
                    assert_unavailable(headers, body)
                status, health = await asyncio.to_thread(gateway.ready)
                assert (status, health["checks"]) == (503, {"audit": False})
                async with session.get(f"{gateway.url}/health/live") as live:
                    assert live.status == 200
            assert "cannot be written" in gateway.output, "the operator is told"
            model.pause_s = 0.0
            cut = (await stream).decode()
            items = [json.loads(line[6:]) for line in cut.split("\n\n") if line.startswith("data: ")]
            assert items[-1]["error"]["code"] == "guard_unavailable", "a stream says that it was cut off"
            finishes = [choice["finish_reason"] for item in items[:-1] for choice in item["choices"]]
            assert set(finishes) == {None}, "no end without its record"
        disk.mend()
        with served(config) as gateway:
            seen = Seen()
            async with aiohttp.ClientSession() as session:
                await ask(session, gateway.url, key, seen, content="is it over", stream=False)
                await ask(session, gateway.url, key, seen, content="is it over", stream=True)
            assert seen.statuses == [200, 200]
            assert len(seen.complete) == 2
            code, found = verify(config)
        assert (code, found.bad) == (0, None)
        assert found.crashed >= 1, "the stream that was cut off is settled"
        if trouble == "full disk":
            with AuditReader(disk.data_dir / "audit.db") as reader:
                stops = [event.members for event in reader.search() if event.members["type"] == "log.stopped"]
            assert [stop["reason"] for stop in stops] == ["disk_full"]


def test_a_gateway_whose_log_is_read_only_does_not_start(make_config, tmp_path) -> None:
    with TROUBLES["read-only file"](tmp_path) as disk:
        config = make_config(data_dir=disk.data_dir)
        with served(config):
            pass
        disk.strike(0)
        code, output = refused(config)
        assert code != 0
        assert "audit.db" in output
        assert "Traceback" not in output
        disk.mend()
        with served(config):
            assert verify(config)[0] == 0
