"""Steps 9 to 11 for a stream: what the model says is judged as it comes and leaves as soon as it may.

open    ask the model, and write `stream.open` while it thinks               before the first byte
chunks  judge and release; hold every ending back                            while the model speaks
        write `stream.close`, then let the endings go                       after the last text
close   stop the model, and settle what a vanished client left open         always
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from gateway.domain.errors import GatewayError
from gateway.domain.event import EventType
from gateway.domain.model import Body, ModelReply, ModelRequest
from gateway.domain.ports import ModelStream
from gateway.enforce.answer import AnswerRelease
from gateway.exchange import Exchange, Ports
from gateway.record import stream_opened
from gateway.reply import completion_id, headers, stream_metadata
from gateway.settle import settle
from gateway.wire.answer import chunk_head


class StreamedAnswer:
    """One streamed answer (`reply.StreamedReply`). `chunks` is iterated at most once; `close` is always called."""

    def __init__(
        self, exchange: Exchange, release: AnswerRelease, source: ModelStream, first: Body, ports: Ports
    ) -> None:
        self._exchange = exchange
        self._release = release
        self._source = source
        self._first = first
        self._ports = ports
        self._head: Body = {}
        self._usage: Any = None
        self._response_id = ""
        self.headers = headers(exchange, exchange.effect(), exchange.reasons())

    @classmethod
    async def open(
        cls, exchange: Exchange, release: AnswerRelease, request: ModelRequest, ports: Ports
    ) -> "StreamedAnswer":
        """Ask the model and open the stream. Raises `UpstreamError` and `AuditUnavailable`; nothing has left then."""
        source = ports.upstream.stream(request)
        exchange.opened = True  # even if the append fails: the event may have reached the disk
        opening = asyncio.ensure_future(ports.audit.append(stream_opened(exchange)))
        try:
            first = await anext(source)
            await opening
        except BaseException:
            await source.aclose()
            # INVARIANT: whatever closes the stream is written after `stream.open`.
            await asyncio.gather(opening, return_exceptions=True)
            raise
        return cls(exchange, release, source, first, ports)

    async def chunks(self) -> AsyncIterator[Body]:
        """Chunks that may leave, in order. Raises `UpstreamError` and `AuditUnavailable` after settling."""
        endings: list[Body] = []
        try:
            async for chunk in self._judged():
                # INVARIANT I2: whoever has seen the end of a stream can rely on its record.
                if endings or _ends(chunk):
                    endings.append(chunk)
                else:
                    yield chunk
            endings.extend({**self._head, "choices": [piece]} for piece in await self._release.finish())
        except GatewayError as error:
            await self._settle(error.code)
            raise
        except Exception as error:
            await self._settle(f"exception:{type(error).__name__}")
            raise
        await self._settle("")
        for chunk in endings:
            yield chunk
        yield {**self._head, "choices": [], "gateway": stream_metadata(self._exchange, self._release)}

    async def close(self) -> None:
        """Stop the model's stream; settle as disconnected if the client left before the end."""
        await self._source.aclose()
        await self._settle("client_disconnected")

    async def _judged(self) -> AsyncIterator[Body]:
        chunk: Body | None = self._first
        while chunk is not None and not self._release.is_over:
            self._note(chunk)
            for piece in await self._release.chunk({**chunk, "id": completion_id(self._exchange)}):
                yield piece
            chunk = await anext(self._source, None)
        await self._source.aclose()

    def _note(self, chunk: Body) -> None:
        if not self._head:
            self._head = chunk_head(
                completion_id=completion_id(self._exchange),
                created=chunk.get("created", int(self._exchange.call.started.timestamp())),
                model=chunk.get("model", self._exchange.call.prompt.model),
            )
            self._response_id = chunk["id"] if isinstance(chunk.get("id"), str) else ""
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]

    async def _settle(self, error: str) -> None:
        if self._exchange.settled:
            return
        model = ModelReply(
            body={"id": self._response_id, "usage": self._usage},
            provider=self._source.provider,
            model=self._source.model,
        )
        finish = "" if error else "content_filter" if self._release.all_stopped else "complete"
        await settle(
            self._ports,
            self._exchange,
            EventType.STREAM_CLOSE,
            release=self._release,
            model=model,
            finish=finish,
            error=error,
        )


def _ends(chunk: Body) -> bool:
    return any(choice.get("finish_reason") is not None for choice in chunk["choices"])
