"""Several whole indexes of one corpus, of which one serves: what re-indexing beside the serving index needs.

An edition is a complete passage store of its own (a directory, or two collections of a server) with one embedder and
perhaps its own way of cutting. A shelf holds the editions and one pointer that names the serving one; changing that
pointer switches every process at once. The edition that served before stays for a way back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, Protocol, TypeVar

from msgspec import Struct

from gateway.domain.errors import StoreUnavailable
from gateway.retrieval.chunk import ChunkingParameters
from gateway.retrieval.store import (
    Catalogue,
    DocumentRecord,
    IndexedDocument,
    IndexUpdate,
    PassageStore,
    SearchRequest,
    SearchResult,
)

BASE: Final = "base"
"""The edition that ingests make where nobody has built another one."""

_SWITCHES: Final = 10  # switches that one search may meet before it is given up

T = TypeVar("T")


class Edition(Struct, frozen=True, kw_only=True):
    """`embedder` is `IndexIdentity.embedder`, "" where the index says it itself; `chunking` is how documents are cut
    that name no way themselves, `None` for that of the settings."""

    name: str
    embedder: str = ""
    chunking: ChunkingParameters | None = None
    built: str = ""  # UTC, ISO


class StartingStore(PassageStore, Protocol):
    async def start(self) -> None: ...


class Shelf(Protocol):
    """Where editions stand. Raises `StoreUnavailable`. `is_remote`: `serving` waits for a server."""

    name: str  # of the kind of store
    is_remote: bool

    async def serving(self) -> str:
        """The serving edition. Asked for every search, so cheap."""
        ...

    async def previous(self) -> str:
        """The edition that served before, "" for none."""
        ...

    async def editions(self) -> tuple[Edition, ...]:
        """All editions, the oldest first; `BASE` is always one."""
        ...

    async def add(self, edition: Edition) -> None:
        """Make room for an edition, or take over the one of this name that an interrupted build has left."""
        ...

    async def serve(self, name: str) -> None:
        """Let an edition serve, everywhere, from the next search on."""
        ...

    async def drop(self, name: str) -> None:
        """Remove an edition with all it holds. The serving one is refused with `ValueError`."""
        ...

    def open(self, name: str) -> StartingStore:
        """The store of an edition, not connected yet."""
        ...

    async def close(self) -> None: ...


class ServingStore:
    """Port `PassageStore` over the serving edition of a shelf, whichever that is by the time of the call.

    A search whose edition is replaced while it runs is made again, so what it returns is never older than the switch
    before it. What is removed from the index is removed from the other editions first: none can bring it back.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.name = shelf.name
        self.shelf = shelf
        self._stores: dict[str, StartingStore] = {}
        self._last = ""

    async def start(self) -> None:
        await self.edition(await self.shelf.serving()).start()

    def edition(self, name: str) -> StartingStore:
        """The store of one edition; closed with this one."""
        if name not in self._stores:
            self._stores[name] = self.shelf.open(name)
        return self._stores[name]

    async def serving(self) -> Edition:
        name = await self.shelf.serving()
        return next((one for one in await self.shelf.editions() if one.name == name), Edition(name=name))

    async def search(self, request: SearchRequest) -> SearchResult:
        return await self._ask(lambda store: store.search(request))

    async def tenants(self) -> frozenset[str]:
        return await self._ask(lambda store: store.tenants())

    async def catalogue(self, tenant: str) -> Catalogue:
        return await self._ask(lambda store: store.catalogue(tenant))

    async def revision(self, tenant: str) -> str:
        return await self._ask(lambda store: store.revision(tenant))

    async def records(self, tenant: str, docs: Collection[str]) -> Mapping[str, DocumentRecord]:
        return await self._ask(lambda store: store.records(tenant, docs))

    async def read(self, tenant: str, docs: Collection[str]) -> tuple[IndexedDocument, ...]:
        return await self._ask(lambda store: store.read(tenant, docs))

    async def apply(self, update: IndexUpdate) -> str:
        serving = await self.shelf.serving()
        if update.removed:
            for other in await self.shelf.editions():
                if other.name != serving:
                    await remove(self.edition(other.name), update.tenant, update.removed)
        return await self.edition(serving).apply(update)

    async def forget(self, name: str) -> None:
        """Close the store of an edition that is about to go."""
        store = self._stores.pop(name, None)
        if store is not None:
            await store.close()

    async def close(self) -> None:
        stores, self._stores = list(self._stores.values()), {}
        for store in stores:
            await store.close()
        await self.shelf.close()

    async def _ask(self, ask: Callable[[PassageStore], Awaitable[T]]) -> T:
        if not self.shelf.is_remote:
            return await ask(self.edition(await self.shelf.serving()))
        name = self._last or await self.shelf.serving()
        for _ in range(_SWITCHES):
            # asked beside the search rather than before it: the answer is no older than the call, and costs no time
            now, found = await asyncio.gather(
                self.shelf.serving(), _settled(ask(self.edition(name))), return_exceptions=False
            )
            self._last = now
            if now == name:
                return found()
            name = now
        raise StoreUnavailable("the passage index is switched all the time: try again", code="store_busy")


async def _settled(asked: Awaitable[T]) -> Callable[[], T]:
    """What gives the result of `asked`, or raises its failure: that of a replaced edition does not count."""
    try:
        result = await asked
    except StoreUnavailable as error:
        failure = error

        def fail() -> T:
            raise failure

        return fail
    return lambda: result


async def remove(store: PassageStore, tenant: str, docs: Collection[str]) -> None:
    """Remove those of the documents that a store has."""
    held = await store.records(tenant, docs)
    if not held:
        return
    identity = (await store.catalogue(tenant)).identity
    assert identity is not None  # it has documents
    await store.apply(IndexUpdate(tenant=tenant, identity=identity, removed=frozenset(held)))
