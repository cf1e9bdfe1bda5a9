"""Any server that speaks the OpenAI chat completions API.

A stream is whole only if every choice has a finish reason; anything else raises, since clients take a stream
that merely ends for a whole answer.
"""

from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from gateway.domain.model import Body, ModelReply, ModelRequest
from gateway.domain.text import Secret
from gateway.settings import ModelSettings
from gateway.upstream.endpoint import Endpoint, Timeouts
from gateway.upstream.faults import malformed
from gateway.upstream.retry import Waiting
from gateway.upstream.sse import SseEvent, SseParser, SseTooLong
from gateway.upstream.wire import DONE, ChunkReader, check_reply

PROVIDER: Final = "openai"
_PATH: Final = "/chat/completions"
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_REAL_WAITING: Final = Waiting()


class OpenAiUpstream:
    """Implements `Upstream` for one configured model. For one event loop, any number of calls at a time."""

    def __init__(self, settings: ModelSettings, api_key: Secret | None, *, waiting: Waiting = _REAL_WAITING) -> None:
        self.provider = PROVIDER
        self.model = settings.upstream_model or settings.name
        self._name = settings.name
        self._endpoint = Endpoint(
            name=settings.name,
            base_url=settings.base_url,
            api_key=api_key,
            timeouts=Timeouts(
                connect_s=settings.connect_timeout_s,
                first_byte_s=settings.first_byte_timeout_s,
                idle_s=settings.idle_timeout_s,
                total_s=settings.total_timeout_s,
            ),
            retries=settings.retries,
            waiting=waiting,
        )

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The whole answer, asked for without streaming even if the client streams (a policy may need it whole)."""
        body = {key: value for key, value in request.body.items() if key not in {"stream", "stream_options"}}
        body["model"] = self.model
        reply = await self._endpoint.post(_PATH, msgspec.json.encode(body), accept=_JSON, exchange=request.exchange)
        try:
            raw = await reply.read_all()
        finally:
            reply.close()
        return ModelReply(body=check_reply(self._name, raw), provider=self.provider, model=self.model)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Body, None]:
        """Chunks as they arrive. Raises `UpstreamError`, also after chunks; closing it closes the connection."""
        body = msgspec.json.encode({**request.body, "model": self.model, "stream": True})
        reply = await self._endpoint.post(_PATH, body, accept=_EVENTS, exchange=request.exchange)
        whole = False
        try:
            parser = SseParser()
            chunks = ChunkReader(self._name)
            while not whole and (part := await reply.read()):
                for event in self._events(parser, part):
                    if event.data == DONE:
                        whole = True
                        break
                    yield chunks.read(event)
            chunks.finish()
        finally:
            if whole:
                reply.settle()
            else:
                reply.close()

    async def close(self) -> None:
        await self._endpoint.close()

    def _events(self, parser: SseParser, part: bytes) -> list[SseEvent]:
        try:
            return parser.feed(part)
        except SseTooLong:
            raise malformed(self._name, "a line or an event that is too long") from None
