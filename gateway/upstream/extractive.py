"""The built-in model: it answers by quoting the passages of a request, with citations, or says that it cannot.

It needs no server, invents nothing and gives the same answer to the same request. It reads
`ModelRequest.passages` and `question` alone; `tools` and sampling options have no effect on it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

from msgspec import Struct

from gateway.domain.model import Body, ModelReply, ModelRequest
from gateway.domain.ports import Embedder
from gateway.upstream.completion import (
    Finished,
    Head,
    Options,
    chunks,
    completion,
    count_tokens,
    finish,
    read_options,
)
from gateway.upstream.quoting import answer

PROVIDER: Final = "extractive"
VERSION: Final = "extractive-2"  # moves whenever the same request could give another answer


class ExtractiveUpstream:
    """Implements `Model`. Work runs in a worker thread: 1-10 ms a question, 3 ms for each passage not read lately, and
    with an embedder 2-15 ms for each of up to six sentences that it has not seen yet. `clock` gives seconds since 1970
    for `created`."""

    def __init__(self, name: str, embedder: Embedder | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.provider = PROVIDER
        self.model = name
        self._embedder = embedder
        self._clock = clock

    async def complete(self, request: ModelRequest) -> ModelReply:
        made = await self._make(request)
        body = completion(made.head, made.answer, made.options, made.prompt_tokens)
        return ModelReply(body=body, provider=self.provider, model=self.model)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Body, None]:
        made = await self._make(request)
        for chunk in chunks(made.head, made.answer, made.options, made.prompt_tokens):
            yield chunk

    async def close(self) -> None:
        """Nothing to close: the embedder belongs to the composition root."""

    async def _make(self, request: ModelRequest) -> "_Made":
        options = read_options(request.body)
        question = request.question or _last_user_text(request.body)
        text = await asyncio.to_thread(answer, question, request.passages, self._embedder)
        created = int(self._clock())
        return _Made(
            head=Head(f"chatcmpl-{request.exchange or created}", created, request.model, VERSION),
            answer=finish(text, options),
            options=options,
            prompt_tokens=count_tokens(question) + sum(count_tokens(passage.text) for passage in request.passages),
        )


class _Made(Struct, frozen=True, kw_only=True):
    head: Head
    answer: Finished
    options: Options
    prompt_tokens: int


def _last_user_text(body: Body) -> str:
    """The text of the last user message, for a request that names no question."""
    messages = body.get("messages")
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            parts = content if isinstance(content, list) else []
            texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
            return "\n".join(text for text in texts if isinstance(text, str))
    return ""
