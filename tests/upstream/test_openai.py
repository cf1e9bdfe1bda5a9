import asyncio
import gzip

import pytest
from model_server import CUT, HANG, STREAM_END, STREAM_HEAD, completion, delta, event, model_server, part, reply

from gateway.domain.errors import UpstreamError
from gateway.domain.model import ModelRequest
from gateway.domain.text import Secret
from gateway.upstream.endpoint import MAX_REPLY_BYTES
from gateway.upstream.openai import OpenAiUpstream
from gateway.upstream.retry import Waiting

REQUEST = ModelRequest(
    model="m", body={"messages": [{"role": "user", "content": "hi"}], "x_unknown": [1, {"a": None}]}, exchange="ex-1"
)
SLEPT: list[float] = []


async def no_sleep(seconds: float) -> None:
    SLEPT.append(seconds)


WAITING = Waiting(sleep=no_sleep, random=lambda: 0.0, clock=lambda: 0.0)


async def complete(server, request=REQUEST, key=None, **settings):
    upstream = OpenAiUpstream(server.settings(**settings), key, waiting=WAITING)
    try:
        return await upstream.complete(request)
    finally:
        await upstream.close()


async def stream(server, request=REQUEST, **settings):
    """The chunks that arrived, and the error that ended them, if any."""
    upstream = OpenAiUpstream(server.settings(**settings), None, waiting=WAITING)
    chunks, error = [], None
    try:
        async for chunk in upstream.stream(request):
            chunks.append(chunk)
    except UpstreamError as raised:
        error = raised
    finally:
        await upstream.close()
    return chunks, error


def text_of(chunks):
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


async def test_complete_sends_the_body_as_it_is_but_for_the_model():
    async with model_server([reply({**completion(), "x_extra": {"kept": True}})]) as server:
        answer = await complete(server, key=Secret("k-123"), upstream_model="real-name")
    seen = server.seen[0]
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {**REQUEST.body, "model": "real-name"}
    assert seen.headers["authorization"] == "Bearer k-123"
    assert seen.headers["x-request-id"] == "ex-1"
    assert seen.headers["accept-encoding"] == "identity"
    assert answer.body == {**completion(), "x_extra": {"kept": True}}
    assert (answer.provider, answer.model) == ("openai", "real-name")


async def test_complete_does_not_stream_even_if_the_client_does():
    request = ModelRequest(model="m", body={**REQUEST.body, "stream": True, "stream_options": {"include_usage": True}})
    async with model_server([reply(completion())]) as server:
        await complete(server, request)
    assert server.seen[0].body == {**REQUEST.body, "model": "m"}


async def test_connections_are_used_again():
    async with model_server([reply(completion())]) as server:
        upstream = OpenAiUpstream(server.settings(), None)
        for _ in range(3):
            await upstream.complete(REQUEST)
        await upstream.close()
    assert server.connections == 1


ERROR = {"error": {"message": "the words of the model", "code": "c1", "type": "t1"}}
STATUSES = [
    ("400 Bad Request", 400, "upstream_rejected", "the words of the model"),
    ("404 Not Found", 404, "upstream_rejected", "the words of the model"),
    ("413 Too Large", 413, "upstream_rejected", "the words of the model"),
    ("422 Unprocessable", 422, "upstream_rejected", "the words of the model"),
    ("401 Unauthorized", 502, "upstream_credential", ""),
    ("403 Forbidden", 502, "upstream_credential", ""),
    ("418 Teapot", 502, "upstream_error", "the words of the model"),
    ("429 Too Many", 429, "upstream_rate_limited", "the words of the model"),
    ("500 Error", 502, "upstream_error", "the words of the model"),
    ("503 Unavailable", 502, "upstream_error", "the words of the model"),
    ("302 Found", 502, "upstream_redirect", ""),
    ("204 No Content", 502, "upstream_error", "the words of the model"),
]


@pytest.mark.parametrize(("line", "status", "code", "words"), STATUSES, ids=[case[0] for case in STATUSES])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_status_of_the_model(line, status, code, words, streamed):
    body = b"" if line.startswith("204") else None
    sent = reply(ERROR if body is None else body, status=line, extra="Location: http://127.0.0.1:1/\r\n")
    async with model_server([sent]) as server:
        if streamed:
            _, error = await stream(server)
        else:
            with pytest.raises(UpstreamError) as caught:
                await complete(server)
            error = caught.value
    assert (error.status, error.code) == (status, code)
    assert error.upstream_message == ("" if body == b"" else words)
    assert "words" not in error.message
    assert len(server.seen) == 1


BROKEN = [
    ("not json", reply(b"<html>no</html>"), "upstream_malformed"),
    ("json that is a list", reply([1]), "upstream_malformed"),
    ("empty", reply(b""), "upstream_malformed"),
    ("wrong content type", reply(completion(), content_type="text/html"), "upstream_malformed"),
    ("no choices", reply({"choices": []}), "upstream_malformed"),
    ("choices of a wrong type", reply({"choices": "x"}), "upstream_malformed"),
    ("a choice without message", reply({"choices": [{"index": 0}]}), "upstream_malformed"),
    ("content of a wrong type", reply({"choices": [{"message": {"content": 5}}]}), "upstream_malformed"),
    ("an error under status 200", reply(ERROR), "upstream_error"),
    ("invalid utf-8", reply(b'{"choices": "\xff"}'), "upstream_malformed"),
    ("nested too deep", reply(b"[" * 100_000), "upstream_malformed"),
    ("compressed", reply(gzip.compress(b"{}"), extra="Content-Encoding: gzip\r\n"), "upstream_malformed"),
    ("not http", b"hello\r\n\r\n", "upstream_malformed"),
    (
        "too long",
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {MAX_REPLY_BYTES + 1}\r\n\r\n".encode(),
        "upstream_malformed",
    ),
]


@pytest.mark.parametrize(("sent", "code"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
async def test_broken_reply(sent, code):
    async with model_server([sent, CUT]) as server:
        with pytest.raises(UpstreamError) as caught:
            await complete(server)
    assert (caught.value.status, caught.value.code) == (502, code)


async def test_reply_cut_in_the_middle():
    async with model_server([reply(completion())[:-5], CUT]) as server:
        with pytest.raises(UpstreamError) as caught:
            await complete(server)
    assert (caught.value.status, caught.value.code) == (502, "upstream_incomplete")


@pytest.mark.parametrize(
    ("script", "timeouts"),
    [
        ([HANG], {"first_byte_timeout_s": 0.05}),
        ([b"HTTP/1.1 200 OK\r\n", HANG], {"first_byte_timeout_s": 0.05}),
        ([reply(completion())[:-5], HANG], {"idle_timeout_s": 0.05}),
        ([reply(completion())[:-5], HANG], {"total_timeout_s": 0.05}),
    ],
    ids=["no reply", "half a head", "silence in the body", "total"],
)
async def test_silence_is_a_timeout(script, timeouts):
    async with model_server(script) as server:
        with pytest.raises(UpstreamError) as caught:
            await complete(server, retries=2, **timeouts)
        await asyncio.wait_for(server.gone.wait(), 2)
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")
    assert len(server.seen) == 1, "a slow model is not asked twice"


async def test_retries_until_a_good_reply():
    SLEPT.clear()
    busy = reply(ERROR, status="429 Too Many", extra="Retry-After: 3\r\n")
    async with model_server([busy], [CUT], [reply(ERROR, status="500 No")], [reply(completion("at last"))]) as server:
        answer = await complete(server, retries=3)
    assert answer.body == completion("at last")
    assert SLEPT == [3.0, 0.0, 0.0]


async def test_rate_limit_longer_than_the_budget_is_passed_on():
    busy = reply(ERROR, status="429 Too Many", extra="Retry-After: 120\r\n")
    async with model_server([busy]) as server:
        with pytest.raises(UpstreamError) as caught:
            await complete(server, retries=3)
    assert (caught.value.status, caught.value.retry_after_s, len(server.seen)) == (429, 120.0, 1)


async def test_nobody_listening():
    async with model_server([]) as server:
        pass
    with pytest.raises(UpstreamError) as caught:
        await complete(server, retries=1)
    assert (caught.value.status, caught.value.code) == (502, "upstream_unreachable")
    assert str(server.port) not in caught.value.message


async def test_cancelling_closes_the_connection():
    async with model_server([b"HTTP/1.1 200 OK\r\n", HANG]) as server:
        upstream = OpenAiUpstream(server.settings(), None)
        task = asyncio.ensure_future(upstream.complete(REQUEST))
        await server.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 2)
        await upstream.close()


# --- streams ---------------------------------------------------------------------------------------------------

ANSWER = [delta("Grüße "), delta("aus 東京 😀"), delta(finish="stop")]
EVENTS = b"".join(map(event, ANSWER)) + event(b"[DONE]")


async def test_stream_yields_chunks_and_keeps_the_connection():
    script = [STREAM_HEAD, *(part(event(chunk)) for chunk in ANSWER), part(event(b"[DONE]")), STREAM_END]
    async with model_server(script) as server:
        upstream = OpenAiUpstream(server.settings(), None)
        for _ in range(3):
            assert [chunk async for chunk in upstream.stream(REQUEST)] == ANSWER
            await asyncio.sleep(0.01)
        await upstream.close()
    assert server.connections == 1
    assert server.seen[0].body == {**REQUEST.body, "model": "m", "stream": True}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
async def test_stream_cut_anywhere_gives_the_same_chunks(size):
    parts = [part(EVENTS[at : at + size]) for at in range(0, len(EVENTS), size)]
    async with model_server([STREAM_HEAD, *parts, STREAM_END]) as server:
        assert await stream(server) == (ANSWER, None)


async def test_comments_and_usage_pass():
    usage = {"choices": [], "usage": {"total_tokens": 3}}
    sent = b": ping\n\n" + event(delta("a", finish="stop")) + b": ping\n\n" + event(usage) + event(b"[DONE]")
    async with model_server([STREAM_HEAD, part(sent), STREAM_END]) as server:
        assert await stream(server) == ([delta("a", finish="stop"), usage], None)


async def test_a_chunk_without_choices_gets_an_empty_list():
    sent = event({"usage": None}) + event(delta("a", finish="stop")) + event(b"[DONE]")
    async with model_server([STREAM_HEAD, part(sent), STREAM_END]) as server:
        chunks, error = await stream(server)
    assert error is None
    assert chunks[0] == {"usage": None, "choices": []}


async def test_a_finished_stream_needs_no_done_mark():
    async with model_server([STREAM_HEAD, part(b"".join(map(event, ANSWER))), STREAM_END]) as server:
        assert await stream(server) == (ANSWER, None)


BROKEN_STREAMS = [
    ("ends without finish reason", [part(event(delta("a"))), STREAM_END], 1, "upstream_incomplete"),
    ("done without finish reason", [part(event(delta("a")) + event(b"[DONE]")), STREAM_END], 1, "upstream_incomplete"),
    ("done at once", [part(event(b"[DONE]")), STREAM_END], 0, "upstream_incomplete"),
    ("empty", [STREAM_END], 0, "upstream_incomplete"),
    (
        "one of two choices unfinished",
        [part(event(delta("a", finish="stop")) + event(delta("b", index=1)) + event(b"[DONE]")), STREAM_END],
        2,
        "upstream_incomplete",
    ),
    ("connection cut", [part(event(delta("a"))), CUT], 1, "upstream_incomplete"),
    ("cut in a code point", [part(event(delta("a")) + event(delta("é"))[:-14]), CUT], 1, "upstream_incomplete"),
    ("garbage", [part(event(delta("a")) + event(b"garbage"))], 1, "upstream_malformed"),
    ("a list", [part(event(b"[1]"))], 0, "upstream_malformed"),
    ("a delta of a wrong type", [part(event({"choices": [{"delta": "x"}]}))], 0, "upstream_malformed"),
    ("text of a wrong type", [part(event({"choices": [{"delta": {"content": 1}}]}))], 0, "upstream_malformed"),
    ("an index of a wrong type", [part(event({"choices": [{"index": "0", "delta": {}}]}))], 0, "upstream_malformed"),
    ("an error", [part(event(delta("a")) + event(ERROR))], 1, "upstream_error"),
    ("a named error", [part(b"event: error\n" + event({"message": "x"}))], 0, "upstream_error"),
    ("an endless line", [part(b"data: " + b"x" * 70_000)] * 16, 0, "upstream_malformed"),
]


@pytest.mark.parametrize(
    ("script", "chunks", "code"), [c[1:] for c in BROKEN_STREAMS], ids=[c[0] for c in BROKEN_STREAMS]
)
async def test_broken_stream(script, chunks, code):
    async with model_server([STREAM_HEAD, *script, HANG]) as server:
        received, error = await stream(server, retries=2)
    assert len(received) == chunks
    assert (error.status, error.code) == (502, code)
    assert len(server.seen) == 1, "nothing is tried again after the first byte"
    if code == "upstream_error":
        assert error.upstream_message in {"the words of the model", "x"}


async def test_a_whole_answer_is_no_stream():
    async with model_server([reply(completion())]) as server:
        chunks, error = await stream(server)
    assert (chunks, error.code) == ([], "upstream_malformed")


@pytest.mark.parametrize(
    ("script", "timeouts", "chunks"),
    [
        ([HANG], {"first_byte_timeout_s": 0.05}, 0),
        ([STREAM_HEAD, HANG], {"first_byte_timeout_s": 0.05}, 0),
        ([STREAM_HEAD, part(event(delta("a"))), HANG], {"idle_timeout_s": 0.05, "first_byte_timeout_s": 5.0}, 1),
        ([STREAM_HEAD, part(event(delta("a"))), HANG], {"total_timeout_s": 0.1}, 1),
    ],
    ids=["no reply", "no first chunk", "silence between chunks", "total"],
)
async def test_silence_in_a_stream_is_a_timeout(script, timeouts, chunks):
    async with model_server(script) as server:
        received, error = await stream(server, **timeouts)
        await asyncio.wait_for(server.gone.wait(), 2)
    assert (len(received), error.status) == (chunks, 504)


async def test_a_slow_reader_is_no_silent_model():
    script = [STREAM_HEAD, part(event(delta("a"))), part(event(delta("b", finish="stop"))), STREAM_END]
    async with model_server(script) as server:
        upstream = OpenAiUpstream(server.settings(idle_timeout_s=0.05), None)
        received = []
        async for chunk in upstream.stream(REQUEST):
            received.append(chunk)
            await asyncio.sleep(0.1)
        await upstream.close()
    assert text_of(received) == "ab"


async def test_closing_the_stream_closes_the_connection():
    async with model_server([STREAM_HEAD, part(event(delta("a"))), HANG]) as server:
        upstream = OpenAiUpstream(server.settings(), None)
        chunks = upstream.stream(REQUEST)
        assert await anext(chunks) == delta("a")
        await chunks.aclose()
        await asyncio.wait_for(server.gone.wait(), 2)
        await upstream.close()


async def test_a_server_that_keeps_talking_after_done_does_not_hold_us_up():
    sent = event(delta("a", finish="stop")) + event(b"[DONE]")
    async with model_server([STREAM_HEAD, part(sent), HANG]) as server:
        upstream = OpenAiUpstream(server.settings(), None)
        assert text_of([chunk async for chunk in upstream.stream(REQUEST)]) == "a"
        await asyncio.wait_for(server.gone.wait(), 2)
        await upstream.close()


async def test_stream_retries_before_the_first_byte():
    async with model_server([reply(ERROR, status="503 No")], [STREAM_HEAD, part(EVENTS), STREAM_END]) as server:
        assert await stream(server, retries=1) == (ANSWER, None)
