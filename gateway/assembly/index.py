"""Opens the passage index: its store with all editions, and the embedders that queries may need."""

import asyncio
import sqlite3
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import Final, Protocol

import structlog

from gateway.assembly.ambient import utc_now
from gateway.domain.ports import Embedder
from gateway.domain.sealing import MasterKey, Purpose
from gateway.retrieval.counting import SearchCounts
from gateway.retrieval.editions import Edition, ServingStore
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.embedded_shelf import EmbeddedShelf
from gateway.retrieval.fallback import FallbackStore
from gateway.retrieval.http_embedding import EmbeddingServer, HttpEmbedder
from gateway.retrieval.ranking import Ranking
from gateway.retrieval.reranking import HttpReranker, Reranker, RerankServer, RerankShape, WordReranker
from gateway.retrieval.retriever import PassageRetriever
from gateway.retrieval.store import PassageStore
from gateway.retrieval.weaviate_connection import WeaviateAddress
from gateway.retrieval.weaviate_shelf import WeaviateShelf
from gateway.settings import Settings, optional_secret
from gateway.settings.folder import INDEX_DIR, MASTER_KEY_FILE, RETRIEVAL_COUNTS_FILE

BUILTIN: Final = "builtin"

_FLUSH_S: Final = 10.0
_log: Final = structlog.get_logger(__name__)


class NamedModel(Protocol):
    """What an index must know of its embedder; the embedder's class will do."""

    name: str
    version: str


def open_store(
    settings: Settings, environ: Mapping[str, str], embedder: NamedModel
) -> ServingStore | FallbackStore[ServingStore]:
    """The passage store that the settings name; the embedded one where retrieval is off, since it costs nothing.
    `embedder` is the packaged one."""
    chosen = settings.retrieval
    known = [_identity(embedder), *map(_identity, embedders_of(settings, environ).values())]
    if chosen.store != "weaviate":
        return ServingStore(EmbeddedShelf(settings.data_dir / INDEX_DIR, embedders=known))
    address = WeaviateAddress(
        host=chosen.weaviate_host,
        http_port=chosen.weaviate_http_port,
        grpc_port=chosen.weaviate_grpc_port,
        secure=chosen.weaviate_secure,
        api_key=optional_secret(chosen.weaviate_api_key, environ),
        oidc_secret=optional_secret(chosen.weaviate_oidc_secret, environ),
        oidc_scope=chosen.weaviate_oidc_scope,
    )
    weaviate = ServingStore(WeaviateShelf(address, collection=chosen.weaviate_collection, embedder=known[0]))
    if chosen.fallback_store == "off":
        return weaviate
    copy = EmbeddedStore(settings.data_dir / INDEX_DIR, embedder=known[0], also=known[1:])
    # half of the time for a search is left to the second store
    return FallbackStore(weaviate, copy, timeout_s=chosen.timeout_s / 2, clock=time.monotonic)


def embedders_of(settings: Settings, environ: Mapping[str, str]) -> dict[str, Embedder]:
    """The embedders on servers by their names in the settings. Nothing is connected yet."""
    return {
        one.name: HttpEmbedder(
            one.name,
            EmbeddingServer(
                base_url=one.base_url,
                model=one.model,
                api_key=optional_secret(one.api_key, environ),
                timeout_s=one.timeout_s,
            ),
            dimensions=one.dimensions,
        )
        for one in settings.retrieval.embedders
    }


def build_retriever(
    settings: Settings,
    environ: Mapping[str, str],
    store: PassageStore,
    embedder: Embedder,
    *,
    closing: AsyncExitStack,
) -> PassageRetriever:
    """What finds passages for requests. `embedder` is the packaged one. Belongs to the event loop that runs."""
    chosen, ranking = settings.retrieval, settings.retrieval.ranking
    reranker = _reranker(settings, environ)
    if reranker is not None:
        closing.push_async_callback(reranker.close)
    return PassageRetriever(
        store,
        embedder,
        top_k=chosen.top_k,
        max_context_chars=chosen.max_context_chars,
        timeout_s=chosen.timeout_s,
        today=lambda: utc_now().date(),
        others=tuple(embedders_of(settings, environ).values()),
        ranking=Ranking(
            half_life_days=ranking.half_life_days,
            freshness_weight=ranking.freshness_weight,
            per_document=ranking.per_document,
            neighbours=ranking.neighbours,
            max_tokens=ranking.max_tokens,
        ),
        reranker=reranker,
        must_rerank=chosen.reranker.on_failure == "fail",
        counts=_counts(settings, closing),
    )


def _counts(settings: Settings, closing: AsyncExitStack) -> SearchCounts:
    """Counts of searches, written now and then and at the end."""
    data = settings.data_dir
    key = MasterKey.load_or_create(data / MASTER_KEY_FILE).derive(Purpose.SEARCH_COUNTS)
    counts = SearchCounts(data / RETRIEVAL_COUNTS_FILE, key=key, today=lambda: utc_now().date())

    async def write() -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            await flush()

    async def flush() -> None:
        try:
            await asyncio.to_thread(counts.flush)
        except (OSError, sqlite3.Error) as error:
            _log.warning("search_counts_not_written", reason=type(error).__name__)

    async def stop() -> None:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        await flush()

    writing = asyncio.create_task(write())
    closing.push_async_callback(stop)
    return counts


def _reranker(settings: Settings, environ: Mapping[str, str]) -> Reranker | None:
    chosen = settings.retrieval.reranker
    if chosen.kind == "off":
        return None
    if chosen.kind == "words":
        return WordReranker()
    return HttpReranker(
        RerankServer(
            url=chosen.url,
            model=chosen.model,
            shape=RerankShape(chosen.kind),
            api_key=optional_secret(chosen.api_key, environ),
            timeout_s=chosen.timeout_s,
        )
    )


def editions_of(store: ServingStore | FallbackStore[ServingStore]) -> ServingStore:
    """The store that has editions: the one asked first."""
    return store if isinstance(store, ServingStore) else store.first


def embedder_of(edition: Edition, builtin: Embedder, others: Mapping[str, Embedder]) -> Embedder:
    """The embedder that an edition was built with; the packaged one for an edition that names none or one that the
    settings no longer have, which its store then refuses."""
    return next((one for one in others.values() if _identity(one) == edition.embedder), builtin)


def _identity(embedder: NamedModel) -> str:
    return f"{embedder.name}@{embedder.version}"
