"""The OpenAI wire: chat completions, embeddings, models."""

from typing import Any, Protocol

from litestar.types import Receive, Scope, Send

from gateway.domain.errors import RequestError
from gateway.domain.principal import Principal
from gateway.edge.door import Door, Entry
from gateway.exchange import Call
from gateway.reply import Reply
from gateway.settings import Settings
from gateway.wire.chat import read_prompt
from gateway.wire.embeddings import read_embedding_prompt


class Answering(Protocol):
    """The pipeline, as far as this wire needs it."""

    async def answer(self, call: Call) -> Reply: ...

    async def embed(self, call: Call) -> Reply: ...


class OpenAiWire:
    """The ASGI applications of this wire's routes."""

    def __init__(self, door: Door, pipeline: Answering, settings: Settings, created: int) -> None:
        self._door = door
        self._pipeline = pipeline
        self._settings = settings
        self._created = created
        self._chat_models = tuple(model.name for model in settings.models)
        self._embedding_models = tuple(model.name for model in settings.embeddings)

    async def chat_completions(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door.run(scope, receive, send, method="POST", serve=self.chat)

    async def chat(self, entry: Entry) -> Reply:
        """Answer a chat request that was let in. Raises `RequestError` and what the pipeline raises."""
        prompt = read_prompt(
            entry.body,
            max_messages=self._settings.server.max_messages,
            max_text_chars=self._settings.server.max_text_chars,
        )
        _check_model(prompt.model, self._chat_models, entry.principal)
        return await self._pipeline.answer(_call("/v1/chat/completions", entry, prompt))

    async def embeddings(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def serve(entry: Entry) -> Reply:
            prompt = read_embedding_prompt(
                entry.body,
                max_inputs=self._settings.server.max_messages,
                max_text_chars=self._settings.server.max_text_chars,
            )
            _check_model(prompt.model, self._embedding_models, entry.principal)
            return await self._pipeline.embed(_call("/v1/embeddings", entry, prompt))

        await self._door.run(scope, receive, send, method="POST", serve=serve)

    async def models(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = str(scope["path"]).strip("/")  # the rest below the mount

        async def serve(entry: Entry) -> Reply:
            if name:
                _check_model(name, (*self._chat_models, *self._embedding_models), entry.principal)
                return Reply(headers={"x-request-id": entry.exchange}, body=self._model(name))
            names = [name for name in (*self._chat_models, *self._embedding_models) if _may(entry.principal, name)]
            body = {"object": "list", "data": [self._model(name) for name in names]}
            return Reply(headers={"x-request-id": entry.exchange}, body=body)

        await self._door.run(
            scope, receive, send, method="GET", serve=serve, route="/v1/models/{model}" if name else "/v1/models"
        )

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "answer-gateway"}


def _call(route: str, entry: Entry, prompt: Any) -> Call:
    return Call(
        route=route,
        principal=entry.principal,
        prompt=prompt,
        exchange=entry.exchange,
        started=entry.started,
        skip_retrieval=entry.skip_retrieval,
        case=entry.case,
    )


def _check_model(name: str, known: tuple[str, ...], principal: Principal) -> None:
    """An unknown model and one that the caller may not use are told apart by nobody."""
    if name not in known or not _may(principal, name):
        raise RequestError(
            "the model does not exist or is not open to this key", code="model_not_found", status=404, param="model"
        )


def _may(principal: Principal, name: str) -> bool:
    return "*" in principal.models or name in principal.models
