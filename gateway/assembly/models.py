"""Wires what answers and embeds: the routes to models, with their breakers and fallbacks."""

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

from gateway.domain.ports import Embedder
from gateway.settings import ModelSettings, Settings, optional_secret
from gateway.upstream.breaker import Breaker
from gateway.upstream.embeddings import BuiltinEmbeddings, EmbeddingRouter, Embeddings, OpenAiEmbeddings
from gateway.upstream.extractive import ExtractiveUpstream
from gateway.upstream.openai import OpenAiUpstream
from gateway.upstream.router import Model, Route, Router


def build_router(settings: Settings, environ: Mapping[str, str], embedder: Embedder, closing: AsyncExitStack) -> Router:
    """The models that clients may name. Nothing is connected yet. Raises `ConfigurationError` for a missing secret."""

    def model(configured: ModelSettings) -> Model:
        if configured.provider == "extractive":
            return ExtractiveUpstream(configured.name, embedder)
        return OpenAiUpstream(configured, optional_secret(configured.api_key, environ))

    router = Router(
        [
            Route(
                name=configured.name,
                upstream=model(configured),
                breaker=Breaker(
                    failures=configured.breaker_failures, reset_s=configured.breaker_reset_s, clock=time.monotonic
                ),
                fallbacks=configured.fallbacks,
            )
            for configured in settings.models
        ]
    )
    closing.push_async_callback(router.close)
    return router


def build_embeddings(
    settings: Settings, environ: Mapping[str, str], embedder: Embedder, closing: AsyncExitStack
) -> EmbeddingRouter:
    """The same for `/v1/embeddings`."""
    models: dict[str, Embeddings] = {
        configured.name: (
            BuiltinEmbeddings(configured.name, embedder)
            if configured.provider == "builtin"
            else OpenAiEmbeddings(configured, optional_secret(configured.api_key, environ))
        )
        for configured in settings.embeddings
    }
    router = EmbeddingRouter(models)
    closing.push_async_callback(router.close)
    return router
