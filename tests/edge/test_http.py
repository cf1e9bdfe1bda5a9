"""The running application over HTTP: the wire contract, bad input, disconnects, and what is recorded of them."""

import asyncio
import json
import socket
import sqlite3
import time

import aiohttp
import pytest
from aiohttp import web
from support.server import completion


class Client:
    def __init__(self, gateway, key):
        self.gateway, self.key = gateway, key

    async def send(self, path, body=None, *, method=None, key="", headers=None, data=None):
        auth = {} if key is None else {"authorization": f"Bearer {key or self.key}"}
        if data is None and body is not None:
            data = json.dumps(body)
        async with aiohttp.ClientSession() as session:
            method = method or ("GET" if data is None else "POST")
            async with session.request(
                method, self.gateway.url + path, data=data, headers=auth | (headers or {})
            ) as response:
                return response.status, response.headers, await response.read()

    async def chat(self, content="hi", *, model="real", **more):
        messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
        status, headers, raw = await self.send("/v1/chat/completions", {"model": model, "messages": messages, **more})
        return status, headers, json.loads(raw)

    async def stream(self, content="hi", **more):
        body = {"model": "real", "messages": [{"role": "user", "content": content}], "stream": True, **more}
        status, headers, raw = await self.send("/v1/chat/completions", body)
        assert status == 200, raw
        items = [line[6:] for line in raw.decode().split("\n\n") if line.startswith("data: ")]
        assert items[-1] == "[DONE]"
        return headers, [json.loads(item) for item in items[:-1]]

    def events(self):
        with sqlite3.connect(f"file:{self.gateway.settings.data_dir}/audit.db?mode=ro", uri=True) as db:
            rows = db.execute("select * from events order by seq").fetchall()
            columns = [d[0] for d in db.execute("select * from events limit 0").description]
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def types_of(self, exchange):
        return [event["type"] for event in self.events() if event["request"] == exchange]


@pytest.fixture
def client(gateway):
    return Client(gateway, gateway.key())


def text_of(chunks):
    return "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])


def finishes(chunks):
    return [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]


def is_error(raw, code):
    error = json.loads(raw)["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["code"] == code
    assert "Traceback" not in error["message"]
    return True


async def test_an_answer_passes_with_unknown_fields_both_ways(client, model):
    model.answer = lambda body: (
        completion("Hello there.", x_message={"a": 1}) | {"x_top": [1], "system_fingerprint": "fp_1"}
    )
    status, headers, body = await client.chat(x_request={"keep": [1, None, 2.5]}, temperature=0.5)
    assert status == 200
    sent = model.received[0]
    assert sent["x_request"] == {"keep": [1, None, 2.5]}
    assert sent["temperature"] == 0.5
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hello there.", "x_message": {"a": 1}}
    assert body["x_top"] == [1]
    assert body["usage"]["total_tokens"] == 12
    exchange = headers["x-gateway-audit-id"]
    assert body["id"] == f"chatcmpl-{exchange}"
    assert client.types_of(exchange) == ["intent", "outcome"]
    assert "authorization" not in {name.lower() for name in model.headers[0]}, "the caller's key stays here"


async def test_personal_data_is_replaced_on_the_way_in_and_restored_on_the_way_out(client, model):
    model.answer = lambda body: completion("I wrote to <EMAIL_ADDRESS_1>.")
    for stream in (False, True):
        if stream:
            _, chunks = await client.stream("mail zoe@mail.example please")
            text = text_of(chunks)
        else:
            _, _, body = await client.chat("mail zoe@mail.example please")
            text = body["choices"][0]["message"]["content"]
        assert text == "I wrote to zoe@mail.example."
    assert "zoe@" not in json.dumps(model.received)


async def test_streams_have_one_role_one_finish_and_metadata_on_a_chunk_without_choices(client, model):
    model.answer = lambda body: completion("One two three four five.")
    headers, chunks = await client.stream()
    assert headers["content-type"].startswith("text/event-stream")
    assert text_of(chunks) == "One two three four five."
    assert finishes(chunks) == ["stop"]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["gateway"]["decision"] == "allow"
    assert {chunk["id"] for chunk in chunks} == {f"chatcmpl-{headers['x-gateway-audit-id']}"}
    assert all("choices" in chunk for chunk in chunks)
    assert client.types_of(headers["x-gateway-audit-id"]) == ["intent", "stream.open", "stream.close"]


async def test_a_stream_is_released_while_it_is_made(client, model):
    model.answer = lambda body: completion("alpha beta gamma delta epsilon zeta")
    model.pause_s = 0.15
    body = {"model": "real", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    started = time.monotonic()
    first = None
    async with aiohttp.ClientSession() as session:
        headers = {"authorization": f"Bearer {client.key}"}
        async with session.post(client.gateway.url + "/v1/chat/completions", json=body, headers=headers) as response:
            async for line in response.content:
                if b"alpha" in line and first is None:
                    first = time.monotonic() - started
    assert first is not None
    assert first < (time.monotonic() - started) / 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_answer_reads_the_same_in_both_modes(client, model, stream):
    model.answer = lambda body: completion("This is fine. Now a forbidden-word here. And more.")
    if stream:
        _, chunks = await client.stream()
        text, finish = text_of(chunks), finishes(chunks)
    else:
        _, _, body = await client.chat()
        text, finish = body["choices"][0]["message"]["content"], [body["choices"][0]["finish_reason"]]
    assert finish == ["content_filter"]
    assert "forbidden" not in text
    assert "more" not in text
    assert text.startswith("This is fine. Now a")


async def test_a_refused_query_in_both_modes_and_in_error_mode(client, gateway, model):
    status, headers, body = await client.chat("a forbidden-word")
    assert status == 200
    assert body["choices"][0]["finish_reason"] == "content_filter"
    assert headers["x-gateway-rules"] == "T-003"
    _, chunks = await client.stream("a forbidden-word")
    assert finishes(chunks) == ["content_filter"]
    strict = Client(gateway, gateway.key(app="strict"))
    for stream in (False, True):
        status, _, raw = await strict.send(
            "/v1/chat/completions",
            {"model": "real", "messages": [{"role": "user", "content": "a forbidden-word"}], "stream": stream},
        )
        assert status == 400
        assert is_error(raw, "content_filter")
    assert model.received == []


async def test_an_escalated_query_can_be_polled_by_its_requester_alone(client, gateway):
    status, headers, body = await client.chat("please ask-a-human")
    assert status == 200
    case = headers["x-gateway-case"]
    assert body["gateway"]["case"] == case
    status, _, raw = await client.send(body["gateway"]["poll"])
    assert (status, json.loads(raw)["state"]) == (200, "queued")
    for other in (gateway.key(user="bob"), gateway.key(tenant="other"), gateway.key(app="other")):
        status, _, raw = await client.send(body["gateway"]["poll"], key=other)
        assert status == 404
        assert is_error(raw, "case_not_found")
    _, again, _ = await client.chat("please ask-a-human")
    assert again["x-gateway-case"] == case, "the same request finds its case"


async def test_tool_calls_are_assembled_and_restored(client, model):
    call = {"id": "c1", "type": "function", "function": {"name": "send", "arguments": '{"to": "<EMAIL_ADDRESS_1>"}'}}
    model.answer = lambda body: completion(None, finish="tool_calls", tool_calls=[call])
    _, _, body = await client.chat("mail zoe@mail.example")
    whole = body["choices"][0]["message"]["tool_calls"][0]["function"]
    assert json.loads(whole["arguments"]) == {"to": "zoe@mail.example"}
    _, chunks = await client.stream("mail zoe@mail.example")
    calls = [c["delta"]["tool_calls"] for chunk in chunks for c in chunk["choices"] if c["delta"].get("tool_calls")]
    assert len(calls) == 1
    assert calls[0][0]["function"] == whole
    assert finishes(chunks) == ["tool_calls"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("data", "status", "code"),
        [
            (b"", 400, "invalid_json"),
            (b"{", 400, "invalid_json"),
            (b"\xff\xfe", 400, "invalid_json"),
            (b'"text"', 400, "invalid_body"),
            (b'{"model":"real"}', 400, "invalid_request"),
            (b'{"model":"nope","messages":[{"role":"user","content":"x"}]}', 404, "model_not_found"),
            (b'{"model":"real","messages":[{"role":"user","content":"' + b"x" * 60_000 + b'"}]}', 413, "text_too_long"),
            (b"x" * 300_000, 413, "body_too_large"),
            (b'{"model":"real","messages":' + b"[" * 90 + b"]" * 90 + b"}", 400, "body_too_deep"),
            (b'{"model":"real","n":-1,"messages":[{"role":"user","content":"x"}]}', 400, "invalid_request"),
        ],
    )
    async def test_it_gets_a_4xx_in_the_error_shape_and_one_event(self, client, model, data, status, code):
        got, headers, raw = await client.send("/v1/chat/completions", data=data)
        assert got == status
        assert is_error(raw, code)
        assert headers["x-should-retry"] == "false"
        assert client.types_of(headers["x-gateway-audit-id"]) == ["rejected"]
        assert model.received == []

    async def test_a_body_that_lies_about_its_length_is_cut_off(self, client):
        async def chunks():
            for _ in range(40):
                yield b"x" * 10_000

        status, _, raw = await client.send("/v1/chat/completions", data=chunks(), method="POST")
        assert status == 413
        assert is_error(raw, "body_too_large")

    async def test_compressed_bodies_are_refused(self, client):
        status, _, raw = await client.send("/v1/chat/completions", data=b"x", headers={"content-encoding": "gzip"})
        assert status in (400, 415)
        assert "error" in json.loads(raw)

    @pytest.mark.parametrize("key", [None, "gw_nope", "gw_aaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "x y"])
    async def test_without_a_valid_key_nothing_works_but_health(self, client, key):
        for path, method in [
            ("/v1/chat/completions", "POST"),
            ("/v1/embeddings", "POST"),
            ("/v1/models", "GET"),
            ("/v1/gateway/cases/case_1", "GET"),
            ("/openapi.json", "GET"),
        ]:
            status, headers, raw = await client.send(path, {} if method == "POST" else None, key=key, method=method)
            assert status == 401
            assert is_error(raw, "missing_api_key" if key is None else "invalid_api_key")
            assert client.types_of(headers["x-gateway-audit-id"]) == ["rejected"]
        for path in ("/health/live", "/health/ready"):
            status, _, raw = await client.send(path, key=None)
            assert (status, json.loads(raw)["status"]) == (200, "ok")

    async def test_wrong_methods_and_routes_have_the_error_shape(self, client):
        status, _, raw = await client.send("/v1/chat/completions", method="GET")
        assert status == 405
        assert is_error(raw, "method_not_allowed")
        status, _, raw = await client.send("/v1/nothing", {})
        assert status == 404
        assert is_error(raw, "not_found")

    async def test_a_model_that_the_key_may_not_use_does_not_exist(self, client, gateway):
        limited = Client(gateway, gateway.key(models=("extractive",)))
        status, _, body = await limited.chat()
        assert (status, body["error"]["code"]) == (404, "model_not_found")
        _, _, raw = await limited.send("/v1/models")
        assert [entry["id"] for entry in json.loads(raw)["data"]] == ["extractive"]
        assert (await limited.send("/v1/models/real"))[0] == 404
        assert (await limited.send("/v1/models/extractive"))[0] == 200

    async def test_over_the_rate_a_caller_waits(self, client, gateway):
        slow = Client(gateway, gateway.key(requests_per_minute=1))
        statuses = [(await slow.send("/v1/models"))[0] for _ in range(3)]
        assert statuses[0] == 200
        assert statuses[-1] == 429
        _, headers, raw = await slow.send("/v1/models")
        assert int(headers["retry-after"]) >= 1
        assert is_error(raw, "rate_limit_exceeded")


class TestUpstreamFailures:
    @pytest.mark.parametrize(
        ("given", "expected"), [(400, 400), (401, 502), (404, 404), (429, 429), (500, 502), (503, 502)]
    )
    @pytest.mark.parametrize("stream", [False, True])
    async def test_they_keep_the_error_shape_and_are_recorded(self, client, model, given, expected, stream):
        model.answer = lambda body: web.json_response(
            {"error": {"message": "the thing broke", "code": "c"}}, status=given
        )
        status, headers, raw = await client.send(
            "/v1/chat/completions", {"model": "real", "messages": [{"role": "user", "content": "x"}], "stream": stream}
        )
        assert status == expected
        assert isinstance(json.loads(raw)["error"]["message"], str)
        ends = ["stream.open", "stream.close"] if stream else ["outcome"]
        assert client.types_of(headers["x-gateway-audit-id"]) == ["intent", *ends]

    async def test_a_stream_that_breaks_off_has_no_good_end(self, client, model):
        def broken(body):
            yield {"id": "x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Half an "}}]}
            yield {"id": "x", "choices": [{"index": 0, "delta": {"content": "answer"}}]}
            yield b"data: [DONE]\n\n"

        model.answer = broken
        body = {"model": "real", "messages": [{"role": "user", "content": "x"}], "stream": True}
        status, headers, raw = await client.send("/v1/chat/completions", body)
        assert status == 200
        assert b"[DONE]" not in raw
        items = [json.loads(line[6:]) for line in raw.decode().split("\n\n") if line.startswith("data: ")]
        assert "error" in items[-1]
        assert client.types_of(headers["x-gateway-audit-id"]) == ["intent", "stream.open", "stream.close"]


async def test_a_client_that_disconnects_stops_the_model_and_is_recorded(client, model):
    model.answer = lambda body: completion("word " * 400)
    model.pause_s = 0.02
    body = json.dumps({"model": "real", "messages": [{"role": "user", "content": "x"}], "stream": True})
    reader, writer = await asyncio.open_connection("127.0.0.1", client.gateway.port)
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {client.key}\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    exchange = next(
        line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"x-gateway-audit-id")
    ).decode()
    await reader.readuntil(b"word")
    writer.close()
    for _ in range(100):
        await asyncio.sleep(0.05)
        if model.disconnects and "stream.close" in client.types_of(exchange):
            break
    assert model.disconnects == 1
    assert client.types_of(exchange) == ["intent", "stream.open", "stream.close"]


async def test_a_client_that_leaves_before_an_unstreamed_answer_is_recorded(client, model):
    model.answer = lambda body: completion("word " * 50)

    async def slow(body):
        await asyncio.sleep(30)

    model.answer = lambda body: iter([])
    gone = socket.create_connection(("127.0.0.1", client.gateway.port))
    before = len(client.events())
    model.pause_s = 5.0
    model.answer = lambda body: [b": wait\n\n", b": wait\n\n"]
    body = json.dumps({"model": "real", "messages": [{"role": "user", "content": "x"}]})
    gone.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {client.key}\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}".encode()
    )
    await asyncio.sleep(0.5)
    gone.close()
    for _ in range(100):
        await asyncio.sleep(0.05)
        new = client.events()[before:]
        if any(event["type"] == "outcome" for event in new):
            break
    assert [event["type"] for event in new] == ["intent", "outcome"]


async def test_embeddings_come_from_the_packaged_model_and_are_judged(client):
    status, headers, raw = await client.send("/v1/embeddings", {"model": "all-minilm-l6-v2", "input": ["one", "two"]})
    body = json.loads(raw)
    assert status == 200
    assert [len(entry["embedding"]) for entry in body["data"]] == [384, 384]
    assert client.types_of(headers["x-gateway-audit-id"]) == ["intent", "outcome"]
    status, _, raw = await client.send("/v1/embeddings", {"model": "all-minilm-l6-v2", "input": "a forbidden-word"})
    assert status == 400
    assert is_error(raw, "content_filter")


async def test_the_extractive_model_says_plainly_that_nothing_was_found(client):
    status, _, body = await client.chat("What is the fee?", model="extractive")
    assert status == 200
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["gateway"]["citations"] == []


async def test_a_refused_turn_does_not_poison_the_conversation(client, model):
    _, _, first = await client.chat("a forbidden-word")
    history = [
        {"role": "user", "content": "a forbidden-word"},
        {"role": "assistant", "content": first["choices"][0]["message"]["content"]},
        {"role": "user", "content": "something harmless"},
    ]
    _, _, second = await client.chat(history)
    assert second["choices"][0]["finish_reason"] == "stop"
    assert "forbidden-word" not in json.dumps(model.received)


async def test_probes_take_no_other_method(client):
    for path in ("/health/live", "/health/ready"):
        status, headers, raw = await client.send(path, method="DELETE", key=None)
        assert (status, headers["allow"]) == (405, "GET, HEAD")
        assert is_error(raw, "method_not_allowed")
        status, _, raw = await client.send(path, method="HEAD", key=None)
        assert (status, raw) == (200, b"")


@pytest.mark.parametrize("value", [{}, [], 0, False, "", "int8"])
async def test_an_encoding_that_is_none_is_refused(client, value):
    body = {"model": "all-minilm-l6-v2", "input": "x", "encoding_format": value}
    status, _, raw = await client.send("/v1/embeddings", body)
    assert status == 400
    assert is_error(raw, "unsupported")
