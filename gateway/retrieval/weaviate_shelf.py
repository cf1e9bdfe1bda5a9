"""Editions of the Weaviate store: collections of one server, of which an alias names the serving one.

`<name>` is the base edition and `<name>_<edition>` any other, each with its index collection beside it; an edition's
description holds what is known of it. The alias `<name>Serving` changes at once for every gateway of the server;
`<name>Previous` remembers the way back. Aliases need Weaviate 1.32: an older server has the base edition only.
"""

import asyncio
import re
from typing import Any, Final

import msgspec

from gateway.domain.errors import ConfigurationError
from gateway.retrieval.editions import BASE, Edition
from gateway.retrieval.weaviate_connection import WeaviateAddress, weaviate_client, weaviate_failures
from gateway.retrieval.weaviate_schema import ensure_schema, index_name
from gateway.retrieval.weaviate_store import WeaviateStore

_ALIASES_SINCE: Final = (1, 32, 0)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


class WeaviateShelf:
    """Port `Shelf` on a Weaviate server. Bound to the event loop of its first use. `embedder` is the identity of the
    embedder of requests that name none."""

    name = WeaviateStore.name
    is_remote = True

    def __init__(self, address: WeaviateAddress, *, collection: str, embedder: str) -> None:
        self._address = address
        self._collection = collection
        self._embedder = embedder
        self._client: Any = None
        self._connecting = asyncio.Lock()

    async def serving(self) -> str:
        return await self._aliased("Serving") or BASE

    async def previous(self) -> str:
        return await self._aliased("Previous")

    async def editions(self) -> tuple[Edition, ...]:
        with weaviate_failures(self._address):
            client = await self._connected()
            names = sorted(await client.collections.list_all(simple=True))
            wanted = f"{self._collection}_"
            found = []
            for name in names:
                if name.startswith(wanted) and index_name(name) in names:
                    config = await client.collections.use(name).config.get(simple=True)
                    found.append(msgspec.json.decode(config.description or "", type=Edition))
        return (Edition(name=BASE), *sorted(found, key=lambda one: (one.built, one.name)))

    async def add(self, edition: Edition) -> None:
        if not _NAME.fullmatch(edition.name) or edition.name == BASE:
            raise ValueError("an edition has another name")
        with weaviate_failures(self._address):
            client = await self._connected()
            if not self._has_aliases(client):
                raise ConfigurationError("building beside the serving index needs Weaviate 1.32: update the server")
            described = msgspec.json.encode(edition).decode()
            await ensure_schema(client, self._target(edition.name), description=described)

    async def serve(self, name: str) -> None:
        before = await self.serving()
        if name == before:
            return
        with weaviate_failures(self._address):
            client = await self._connected()
            if await client.collections.exists(self._target(before)):  # the base edition need never have been filled
                await self._point(client, "Previous", before)
            await self._point(client, "Serving", name)

    async def drop(self, name: str) -> None:
        if name == await self.serving():
            raise ValueError("the serving edition stays")
        was_previous = await self.previous() == name
        with weaviate_failures(self._address):
            client = await self._connected()
            if was_previous:
                await client.alias.delete(alias_name=f"{self._collection}Previous")
            target = self._target(name)
            await client.collections.delete([target, index_name(target)])

    def open(self, name: str) -> WeaviateStore:
        return WeaviateStore(self._address, collection=self._target(name), embedder=self._embedder)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _target(self, name: str) -> str:
        return self._collection if name == BASE else f"{self._collection}_{name.replace('-', '_')}"

    async def _aliased(self, role: str) -> str:
        """The edition that an alias names; "" for none."""
        with weaviate_failures(self._address):
            client = await self._connected()
            if not self._has_aliases(client):
                return ""
            found = await client.alias.get(alias_name=f"{self._collection}{role}")
        if found is None:
            return ""
        return str(found.collection).removeprefix(self._collection).removeprefix("_").replace("_", "-") or BASE

    async def _point(self, client: Any, role: str, name: str) -> None:
        alias, target = f"{self._collection}{role}", self._target(name)
        if not await client.alias.update(alias_name=alias, new_target_collection=target):
            await client.alias.create(alias_name=alias, target_collection=target)

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._client is None:
                client = weaviate_client(self._address)
                try:
                    await client.connect()
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client

    @staticmethod
    def _has_aliases(client: Any) -> bool:
        return bool(client._connection._weaviate_version.is_at_least(*_ALIASES_SINCE))  # noqa: SLF001 no other way
