import asyncio

import pytest

from gateway.domain.errors import UpstreamError
from gateway.domain.model import ModelReply, ModelRequest
from gateway.upstream.breaker import Breaker, Circuit
from gateway.upstream.router import Route, Router

REQUEST = ModelRequest(model="a", body={})
DOWN = UpstreamError("down")


class FakeModel:
    """Answers with its name; each call takes the next outcome: chunks, with an error where it ends."""

    def __init__(self, name, *outcomes):
        self.provider = f"provider-{name}"
        self.model = f"model-{name}"
        self.outcomes = list(outcomes)
        self.calls = 0
        self.closed = 0

    def _next(self):
        self.calls += 1
        return self.outcomes[min(self.calls, len(self.outcomes)) - 1]

    async def complete(self, request):
        outcome = self._next()
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome == "hang":
            await asyncio.Event().wait()
        return ModelReply(body={"by": self.model}, provider=self.provider, model=self.model)

    async def stream(self, request):
        try:
            for item in self._next():
                if isinstance(item, BaseException):
                    raise item
                yield {"by": self.model, "chunk": item}
        finally:
            self.closed += 1

    async def close(self):
        self.closed += 100


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def router_of(*models, clock=None, failures=2, fallbacks=("b", "c")):
    clock = clock or Clock()
    names = "abc"[: len(models)]
    return Router(
        [
            Route(
                name=name,
                upstream=model,
                breaker=Breaker(failures=failures, reset_s=10.0, clock=clock),
                fallbacks=tuple(other for other in fallbacks if other in names) if name == "a" else (),
            )
            for name, model in zip(names, models, strict=True)
        ]
    )


async def collect(stream):
    chunks, error = [], None
    try:
        async for chunk in stream:
            chunks.append((chunk["by"], chunk["chunk"]))
    except UpstreamError as raised:
        error = raised
    return chunks, error


async def test_the_named_model_answers():
    a, b = FakeModel("a", "ok"), FakeModel("b", "ok")
    router = router_of(a, b)
    assert router.names == ("a", "b")
    assert (await router.complete(REQUEST)).model == "model-a"
    assert (await router.complete(ModelRequest(model="b", body={}))).model == "model-b"
    assert (a.calls, b.calls) == (1, 1)


async def test_unknown_model_is_the_callers_fault_and_is_not_echoed():
    router = router_of(FakeModel("a", "ok"))
    with pytest.raises(UpstreamError) as caught:
        await router.complete(ModelRequest(model="what-i-typed", body={}))
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    assert "what-i-typed" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 502, 504])
async def test_fallbacks_in_order(status):
    failing = UpstreamError("no", status=status)
    a, b, c = FakeModel("a", failing), FakeModel("b", failing), FakeModel("c", "ok")
    reply = await router_of(a, b, c).complete(REQUEST)
    assert (reply.provider, reply.model) == ("provider-c", "model-c")
    assert (a.calls, b.calls, c.calls) == (1, 1, 1)


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_the_callers_fault_has_no_fallback_and_opens_no_circuit(status):
    a, b = FakeModel("a", UpstreamError("bad", status=status)), FakeModel("b", "ok")
    router = router_of(a, b, failures=1)
    for _ in range(3):
        with pytest.raises(UpstreamError, match="bad"):
            await router.complete(REQUEST)
    assert (a.calls, b.calls) == (3, 0)
    assert router.circuits()["a"] is Circuit.CLOSED


async def test_the_last_error_is_raised_when_all_fail():
    router = router_of(FakeModel("a", DOWN), FakeModel("b", UpstreamError("also down", status=504)))
    with pytest.raises(UpstreamError, match="also down"):
        await router.complete(REQUEST)


async def test_an_open_circuit_is_skipped_until_it_may_be_tried():
    clock = Clock()
    a, b = FakeModel("a", DOWN, DOWN, "ok"), FakeModel("b", "ok")
    router = router_of(a, b, clock=clock)
    for _ in range(4):
        assert (await router.complete(REQUEST)).model == "model-b"
    assert a.calls == 2
    clock.now = 10.0
    assert (await router.complete(REQUEST)).model == "model-a"
    assert router.circuits()["a"] is Circuit.CLOSED


async def test_all_circuits_open():
    clock = Clock()
    router = router_of(FakeModel("a", DOWN), clock=clock, failures=1)
    with pytest.raises(UpstreamError, match="down"):
        await router.complete(REQUEST)
    clock.now = 4.0
    with pytest.raises(UpstreamError) as caught:
        await router.complete(REQUEST)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "upstream_unavailable", 6.0)


async def test_a_rate_limit_opens_no_circuit():
    router = router_of(FakeModel("a", UpstreamError("busy", status=429)), failures=1)
    for _ in range(3):
        with pytest.raises(UpstreamError, match="busy"):
            await router.complete(REQUEST)


async def test_a_cancelled_probe_does_not_block_the_circuit():
    clock = Clock()
    model = FakeModel("a", DOWN, "hang", "ok")
    router = router_of(model, clock=clock, failures=1)
    with pytest.raises(UpstreamError):
        await router.complete(REQUEST)
    clock.now = 10.0
    task = asyncio.ensure_future(router.complete(REQUEST))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await router.complete(REQUEST)).model == "model-a"


async def test_stream_says_who_answers():
    stream = router_of(FakeModel("a", [1, 2])).stream(REQUEST)
    assert (stream.provider, stream.model) == ("", "")
    assert await collect(stream) == ([("model-a", 1), ("model-a", 2)], None)
    assert (stream.provider, stream.model) == ("provider-a", "model-a")


async def test_stream_falls_back_before_its_first_chunk_only():
    a, b = FakeModel("a", [DOWN]), FakeModel("b", [1, DOWN])
    stream = router_of(a, b, FakeModel("c", [1])).stream(REQUEST)
    chunks, error = await collect(stream)
    assert (chunks, error) == ([("model-b", 1)], DOWN)
    assert stream.model == "model-b"
    assert (a.closed, b.closed) == (1, 1)


async def test_streams_that_break_open_the_circuit():
    router = router_of(FakeModel("a", [1, DOWN]), failures=2)
    for _ in range(2):
        await collect(router.stream(REQUEST))
    assert router.circuits()["a"] is Circuit.OPEN


async def test_closing_a_stream_closes_its_model_and_counts_for_nothing():
    model = FakeModel("a", [1, 2])
    router = router_of(model, failures=1)
    stream = router.stream(REQUEST)
    await anext(stream)
    await stream.aclose()
    assert model.closed == 1
    assert router.circuits()["a"] is Circuit.CLOSED
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_closing_a_stream_that_never_began_is_fine():
    stream = router_of(FakeModel("a", [1])).stream(REQUEST)
    await stream.aclose()
    assert await collect(stream) == ([], None)


async def test_close_closes_all_models():
    models = FakeModel("a", "ok"), FakeModel("b", "ok")
    await router_of(*models).close()
    assert [model.closed for model in models] == [100, 100]
