"""`/v1/embeddings`: the packaged model, or any server that speaks the OpenAI API."""

import asyncio
import base64
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.errors import UpstreamError
from gateway.domain.model import Body
from gateway.domain.ports import Embedder
from gateway.domain.text import Secret
from gateway.settings import EmbeddingModelSettings
from gateway.upstream.endpoint import Endpoint, Timeouts
from gateway.upstream.faults import malformed
from gateway.upstream.retry import Waiting
from gateway.upstream.wire import decode_object

_PATH: Final = "/embeddings"
_RETRIES: Final = 2
_WORD: Final = re.compile(r"\w+|[^\w\s]")
_REAL_WAITING: Final = Waiting()


class EmbeddingRequest(Struct, frozen=True, kw_only=True):
    """A judged request. `body` is in the wire's shape; `inputs` are its texts, in order."""

    model: str
    body: Body
    inputs: tuple[str, ...]
    exchange: str = ""

    def __repr__(self) -> str:
        return f"EmbeddingRequest({self.model!r}, {len(self.inputs)} inputs)"


class EmbeddingReply(Struct, frozen=True, kw_only=True):
    """An OpenAI `list` of embeddings, and who made it."""

    body: Body
    provider: str
    model: str

    def __repr__(self) -> str:
        return f"EmbeddingReply({self.provider!r}, {self.model!r})"


class Embeddings(Protocol):
    """A model that embeds, or the router over many. Raises `UpstreamError`."""

    async def embed(self, request: EmbeddingRequest) -> EmbeddingReply: ...

    async def close(self) -> None: ...


class BuiltinEmbeddings:
    """The packaged model behind the wire format. The blocking work runs in a worker thread."""

    def __init__(self, name: str, embedder: Embedder) -> None:
        self._name = name
        self._embedder = embedder

    async def embed(self, request: EmbeddingRequest) -> EmbeddingReply:
        """`usage` counts words and punctuation marks, an approximation of the model's own tokens."""
        encoding = request.body.get("encoding_format")
        if encoding is None:
            encoding = "float"
        if encoding not in ("float", "base64"):
            raise _unsupported(self._name, "`encoding_format` other than `float` and `base64`")
        if request.body.get("dimensions") not in (None, self._embedder.dimensions):
            raise _unsupported(self._name, f"`dimensions` other than {self._embedder.dimensions}")
        if not request.inputs:
            raise _unsupported(self._name, "`input` other than a text or a list of texts")
        vectors = await asyncio.to_thread(self._embedder.embed, request.inputs)
        tokens = sum(len(_WORD.findall(text)) for text in request.inputs)
        body: Body = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _encoded(row, encoding)}
                for index, row in enumerate(vectors)
            ],
            "model": self._name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return EmbeddingReply(body=body, provider="builtin", model=self._embedder.name)

    async def close(self) -> None:
        """Nothing to close: the embedder belongs to the composition root."""


class OpenAiEmbeddings:
    """One configured model of an OpenAI-compatible server."""

    def __init__(
        self, settings: EmbeddingModelSettings, api_key: Secret | None, *, waiting: Waiting = _REAL_WAITING
    ) -> None:
        self._name = settings.name
        self._model = settings.upstream_model or settings.name
        self._endpoint = Endpoint(
            name=settings.name,
            base_url=settings.base_url,
            api_key=api_key,
            timeouts=Timeouts(),
            retries=_RETRIES,
            waiting=waiting,
        )

    async def embed(self, request: EmbeddingRequest) -> EmbeddingReply:
        body = msgspec.json.encode({**request.body, "model": self._model})
        reply = await self._endpoint.post(_PATH, body, accept="application/json", exchange=request.exchange)
        try:
            raw = await reply.read_all()
        finally:
            reply.close()
        decoded = decode_object(self._name, raw)
        if not isinstance(decoded.get("data"), list):
            raise malformed(self._name, "a reply without embeddings")
        return EmbeddingReply(body=decoded, provider="openai", model=self._model)

    async def close(self) -> None:
        await self._endpoint.close()


class EmbeddingRouter:
    """Names to models."""

    def __init__(self, models: Mapping[str, Embeddings]) -> None:
        self._models = dict(models)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._models)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingReply:
        model = self._models.get(request.model)
        if model is None:
            raise UpstreamError("the embedding model asked for is not configured", code="model_not_found", status=404)
        return await model.embed(request)

    async def close(self) -> None:
        for model in self._models.values():
            await model.close()


def _encoded(row: NDArray[np.float32], encoding: str) -> Any:
    if encoding == "base64":
        return base64.b64encode(np.ascontiguousarray(row, dtype="<f4").tobytes()).decode("ascii")
    return row.tolist()


def _unsupported(model: str, what: str) -> UpstreamError:
    return UpstreamError(f"embedding model `{model}` does not support {what}", code="unsupported", status=400)
