"""Opens the passage index: its store with all editions, and the embedders that queries may need."""

import time
from collections.abc import Mapping
from typing import Final, Protocol

from gateway.domain.ports import Embedder
from gateway.domain.text import Secret
from gateway.retrieval.editions import Edition, ServingStore
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.embedded_shelf import EmbeddedShelf
from gateway.retrieval.fallback import FallbackStore
from gateway.retrieval.http_embedding import EmbeddingServer, HttpEmbedder
from gateway.retrieval.weaviate_connection import WeaviateAddress
from gateway.retrieval.weaviate_shelf import WeaviateShelf
from gateway.settings import Settings, resolve_secret
from gateway.settings.folder import INDEX_DIR

BUILTIN: Final = "builtin"


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
        api_key=_secret(chosen.weaviate_api_key, environ),
        oidc_secret=_secret(chosen.weaviate_oidc_secret, environ),
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
                api_key=_secret(one.api_key, environ),
                timeout_s=one.timeout_s,
            ),
            dimensions=one.dimensions,
        )
        for one in settings.retrieval.embedders
    }


def editions_of(store: ServingStore | FallbackStore[ServingStore]) -> ServingStore:
    """The store that has editions: the one asked first."""
    return store if isinstance(store, ServingStore) else store.first


def embedder_of(edition: Edition, builtin: Embedder, others: Mapping[str, Embedder]) -> Embedder:
    """The embedder that an edition was built with; the packaged one for an edition that names none or one that the
    settings no longer have, which its store then refuses."""
    return next((one for one in others.values() if _identity(one) == edition.embedder), builtin)


def _identity(embedder: NamedModel) -> str:
    return f"{embedder.name}@{embedder.version}"


def _secret(reference: str, environ: Mapping[str, str]) -> Secret | None:
    return resolve_secret(reference, environ) if reference else None
