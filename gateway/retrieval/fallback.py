"""A second store that is searched when the first one fails, and that ingests keep equal to it.

The second store never shows what the first no longer does: a change takes documents out of it before the first store
changes, and puts them back after. If that fails half-way, the second store knows less, not more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, Generic, TypeVar

from msgspec import structs

from gateway.domain.errors import StoreUnavailable
from gateway.retrieval.editions import StartingStore
from gateway.retrieval.store import (
    Catalogue,
    DocumentRecord,
    IndexedDocument,
    IndexUpdate,
    PassageStore,
    SearchRequest,
    SearchResult,
)

_REST_S: Final = 5.0  # how long a store that failed is left alone, so that not every caller waits for it
_READ_AT_ONCE: Final = 200  # documents copied together

T = TypeVar("T")


First = TypeVar("First", bound=StartingStore)


class FallbackStore(Generic[First]):
    """Port `PassageStore` over two. Searches, revisions and records come from `second` while `first` fails or takes
    longer than `timeout_s`; all else is asked of `first` alone. `clock` is monotonic, in seconds."""

    def __init__(self, first: First, second: StartingStore, *, timeout_s: float, clock: Callable[[], float]) -> None:
        self.name = first.name
        self.first = first
        self._second = second
        self._timeout_s = timeout_s
        self._clock = clock
        self._rests_until = 0.0

    async def start(self) -> None:
        """Raises `ConfigurationError`, and `StoreUnavailable` only if neither store can be used."""
        await self._second.start()
        try:
            await self.first.start()
        except StoreUnavailable:
            self._rest()

    async def search(self, request: SearchRequest) -> SearchResult:
        found, store = await self._either(lambda store: store.search(request))
        return structs.replace(found, store=store.name)

    async def revision(self, tenant: str) -> str:
        return (await self._either(lambda store: store.revision(tenant)))[0]

    async def records(self, tenant: str, docs: Collection[str]) -> Mapping[str, DocumentRecord]:
        return (await self._either(lambda store: store.records(tenant, docs)))[0]

    async def tenants(self) -> frozenset[str]:
        return await self.first.tenants()

    async def catalogue(self, tenant: str) -> Catalogue:
        return await self.first.catalogue(tenant)

    async def read(self, tenant: str, docs: Collection[str]) -> tuple[IndexedDocument, ...]:
        return await self.first.read(tenant, docs)

    async def apply(self, update: IndexUpdate) -> str:
        copy = await self._second.catalogue(update.tenant)
        if copy.identity is not None:
            replaced = {document.record.doc for document in update.documents} | update.removed
            gone = copy.documents.keys() if update.complete else replaced & copy.documents.keys()
            await self._second.apply(IndexUpdate(tenant=update.tenant, identity=copy.identity, removed=frozenset(gone)))
        revision = await self.first.apply(update)
        await self.mirror(update.tenant)
        return revision

    async def mirror(self, tenant: str) -> None:
        """Make the second store's index of a tenant equal to the first's. Nothing is embedded again."""
        wanted, copy = await self.first.catalogue(tenant), await self._second.catalogue(tenant)
        if wanted.identity is None:
            return
        known = copy.documents if copy.identity == wanted.identity else {}
        missing = [
            doc for doc, record in wanted.documents.items() if doc not in known or known[doc].state != record.state
        ]
        gone = frozenset(known.keys() - wanted.documents.keys())
        if not missing and not gone and copy.identity == wanted.identity:
            return
        documents: list[IndexedDocument] = []
        for start in range(0, len(missing), _READ_AT_ONCE):
            documents += await self.first.read(tenant, missing[start : start + _READ_AT_ONCE])
        await self._second.apply(
            IndexUpdate(tenant=tenant, identity=wanted.identity, documents=documents, removed=gone)
        )

    async def close(self) -> None:
        await self.first.close()
        await self._second.close()

    async def _either(self, ask: Callable[[PassageStore], Awaitable[T]]) -> tuple[T, PassageStore]:
        if self._clock() >= self._rests_until:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await ask(self.first), self.first
            except (StoreUnavailable, TimeoutError):
                self._rest()
        return await ask(self._second), self._second

    def _rest(self) -> None:
        self._rests_until = self._clock() + _REST_S
