"""An upstream that measures how long models take. Streams are measured to their first chunk."""

from collections.abc import AsyncIterator, Callable

from gateway.domain.errors import UpstreamError
from gateway.domain.model import Body, ModelReply, ModelRequest
from gateway.domain.ports import ModelStream, Upstream
from gateway.metrics.counts import Histogram


class TimedUpstream:
    """`Upstream` over another. `clock_us` is monotonic. A call that its caller gives up is not counted."""

    def __init__(self, upstream: Upstream, seconds: Histogram, clock_us: Callable[[], int]) -> None:
        self._upstream = upstream
        self._seconds = seconds
        self._clock_us = clock_us

    async def complete(self, request: ModelRequest) -> ModelReply:
        started_us = self._clock_us()
        try:
            reply = await self._upstream.complete(request)
        except UpstreamError:
            self._observe(request, "whole", "error", started_us)
            raise
        self._observe(request, "whole", "ok", started_us)
        return reply

    def stream(self, request: ModelRequest) -> ModelStream:
        started_us = self._clock_us()
        return _TimedStream(
            self._upstream.stream(request),
            lambda result: self._observe(request, "first_chunk", result, started_us),
        )

    def _observe(self, request: ModelRequest, kind: str, result: str, started_us: int) -> None:
        self._seconds.observe((request.model, kind, result), self._clock_us() - started_us)


class _TimedStream:
    """Tells once how its first chunk came."""

    def __init__(self, stream: ModelStream, told: Callable[[str], None]) -> None:
        self.provider = stream.provider
        self.model = stream.model
        self._stream = stream
        self._told: Callable[[str], None] | None = told

    def __aiter__(self) -> AsyncIterator[Body]:
        return self

    async def __anext__(self) -> Body:
        if self._told is None:
            return await self._stream.__anext__()
        told, self._told = self._told, None
        try:
            chunk = await self._stream.__anext__()
        except UpstreamError:
            told("error")
            raise
        self.provider, self.model = self._stream.provider, self._stream.model
        told("ok")
        return chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
