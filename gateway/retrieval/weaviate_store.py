"""The passage store on a Weaviate server, through weaviate-client's asynchronous API.

Weaviate has no transactions, so visibility is by generation. Each passage says from which generation it is visible
(`since`) and from which it no longer is (`until`); each tenant's index object says which generation is visible now.
An ingest writes passages of the next generation, marks those it replaces, then changes the index object, which is
the moment everything becomes visible, then deletes what nobody can see. A search filters by the generation it knows
and asks afterwards whether that is still the visible one; if not it searches again, so it never mixes two.
"""

import asyncio
import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from gateway.domain.errors import StoreUnavailable
from gateway.domain.passage import Passage
from gateway.retrieval.fusion import RRF_K
from gateway.retrieval.revision import revision
from gateway.retrieval.store import (
    Catalogue,
    DocumentRecord,
    IndexedDocument,
    IndexIdentity,
    IndexUpdate,
    SearchRequest,
    SearchResult,
    another_embedder,
)
from gateway.retrieval.terms import query_terms
from gateway.retrieval.weaviate_connection import WeaviateAddress, weaviate_client, weaviate_failures
from gateway.retrieval.weaviate_schema import FOREVER, ensure_schema, index_name

_FORMAT: Final = "weaviate-1"
_NAMESPACE: Final = uuid.UUID("6f0f2a51-8d0b-4a6d-9f0b-6a0f7c4f1e21")  # of the ids derived below
_BATCH: Final = 500  # passages with vectors are some 3 KB each
_ATTEMPTS: Final = 5  # searches that an ingest may overtake before the search is given up
_STATE: Final = ("tenant", "generation", "index_rev", "identity")


class _State(Struct, frozen=True, kw_only=True):
    """The visible generation of a tenant."""

    tenant: str
    generation: int
    index_rev: str
    identity: IndexIdentity


class WeaviateStore:
    """Port `PassageStore` on Weaviate 1.31 or newer.

    Connects with its first use, or with `start`, which also checks the schema and raises `ConfigurationError` with
    the remedy. Bound to the event loop of its first use. One ingest at a time for a collection: a second one in this
    process fails at once, across processes it is for the operator to see to.
    """

    name = "weaviate"

    def __init__(self, address: WeaviateAddress, *, collection: str, embedder: str) -> None:
        """`embedder` is that of a request which names none."""
        self._address = address
        self._collection = collection
        self._embedder = embedder
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._known: dict[str, _State] = {}

    async def start(self) -> None:
        with self._failing():
            await self._connected()

    async def search(self, request: SearchRequest) -> SearchResult:
        with self._failing():
            state = self._known.get(request.tenant) or await self._state(request.tenant)
            for _ in range(_ATTEMPTS):
                if state is None:
                    return SearchResult()
                if state.identity.embedder != (request.embedder or self._embedder):
                    raise another_embedder()
                passages = await self._search(request, state)
                now = await self._state(request.tenant)
                if now == state:
                    return SearchResult(tenant=state.tenant, passages=passages, index_rev=state.index_rev)
                state = now
            raise StoreUnavailable("the passage index changes all the time: try again", code="store_busy")

    async def tenants(self) -> frozenset[str]:
        with self._failing():
            index = (await self._connected()).collections.use(index_name(self._collection))
            found = index.iterator(return_properties=["tenant"])
            return frozenset([one.properties["tenant"] async for one in found])

    async def catalogue(self, tenant: str) -> Catalogue:
        with self._failing():
            found = await self._index_object(tenant, (*_STATE, "documents"))
            if found is None:
                return Catalogue()
            state = _read_state(found)
            records = msgspec.json.decode(found["documents"], type=list[DocumentRecord])
            documents = {record.doc: record for record in records}
            return Catalogue(identity=state.identity, documents=documents, index_rev=state.index_rev)

    async def revision(self, tenant: str) -> str:
        with self._failing():
            state = await self._state(tenant)
            return state.index_rev if state is not None else ""

    async def records(self, tenant: str, docs: Collection[str]) -> Mapping[str, DocumentRecord]:
        found = (await self.catalogue(tenant)).documents
        return {doc: found[doc] for doc in docs if doc in found}

    async def read(self, tenant: str, docs: Collection[str]) -> tuple[IndexedDocument, ...]:
        records = await self.records(tenant, docs)
        with self._failing():
            state = await self._state(tenant)
            if state is None:
                return ()
            passages = await self._passages(tenant)
            return tuple([await _read_document(passages, record, state) for record in records.values()])

    async def apply(self, update: IndexUpdate) -> str:
        if self._writing.locked():
            raise StoreUnavailable("another ingest is running: wait for it to end", code="store_locked")
        async with self._writing:
            with self._failing():
                # a cancelled caller does not leave half an update to be cleaned up by the next one
                return await asyncio.shield(asyncio.ensure_future(self._apply(update)))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._client is None:
                client = weaviate_client(self._address)
                try:
                    await client.connect()
                    await ensure_schema(client, self._collection)
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client

    async def _passages(self, tenant: str) -> Any:
        collection = (await self._connected()).collections.use(self._collection)
        return collection.with_tenant(_tenant_key(tenant))

    async def _index_object(self, tenant: str, fields: Sequence[str]) -> dict[str, Any] | None:
        index = (await self._connected()).collections.use(index_name(self._collection))
        found = await index.query.fetch_object_by_id(_index_id(tenant), return_properties=list(fields))
        # INVARIANT: an object that names another tenant is never taken for this one's
        if found is None or found.properties["tenant"] != tenant:
            return None
        properties: dict[str, Any] = found.properties
        return properties

    async def _state(self, tenant: str) -> _State | None:
        found = await self._index_object(tenant, _STATE)
        if found is None:
            self._known.pop(tenant, None)
            return None
        self._known[tenant] = _read_state(found)
        return self._known[tenant]

    async def _search(self, request: SearchRequest, state: _State) -> tuple[Passage, ...]:
        from weaviate.classes.query import Filter, HybridFusion

        groups = sorted(group for group in request.groups if group)
        if not groups:
            return ()
        visible = (
            Filter.by_property("access").contains_any(groups)
            & Filter.by_property("since").less_or_equal(state.generation)
            & Filter.by_property("until").greater_than(state.generation)
        )
        if request.day:
            day = dt.date.fromisoformat(request.day).toordinal()
            visible = (
                visible
                & Filter.by_property("opens").less_or_equal(day)
                & Filter.by_property("closes").greater_or_equal(day)
            )
        query = (await self._passages(request.tenant)).query
        asked: dict[str, Any] = {"filters": visible, "limit": request.limit, "return_properties": ["body"]}
        terms = " ".join(query_terms(request.text))
        vector = request.vector.tolist()
        if terms:
            found = await query.hybrid(
                query=terms,
                vector=vector,
                alpha=0.5,
                fusion_type=HybridFusion.RANKED,
                query_properties=["heading^2", "text"],
                **asked,
            )
        else:
            found = await query.near_vector(near_vector=vector, **asked)
        passages = [msgspec.json.decode(one.properties["body"], type=Passage) for one in found.objects]
        # ranked fusion has scores of another scale; only their order is promised
        return tuple(
            msgspec.structs.replace(passage, score=(RRF_K + 1) / (RRF_K + rank))
            for rank, passage in enumerate(passages, start=1)
        )

    async def _apply(self, update: IndexUpdate) -> str:
        before = await self._state(update.tenant)
        passages = await self._passages(update.tenant)
        generation = before.generation if before else 0
        replaced = {document.record.doc: document.record for document in update.documents}
        kept: dict[str, DocumentRecord] = {}
        gone = None if update.complete else replaced.keys() | update.removed
        if before is not None and before.identity != update.identity:
            gone = None
        if before is not None and gone is not None:
            documents = (await self.catalogue(update.tenant)).documents
            kept = {doc: record for doc, record in documents.items() if doc not in gone}
        records = kept | replaced
        contents = {doc: record.state for doc, record in records.items()}
        index_rev = revision(_FORMAT, update.tenant, update.identity, contents)
        if before is not None and before.index_rev == index_rev and not update.complete:
            return index_rev
        collection = (await self._connected()).collections.use(self._collection)
        await collection.tenants.create(_tenant_key(update.tenant))
        await _undo_unfinished(passages, generation)
        await _insert(passages, update, generation + 1)
        await _retire(passages, generation, gone)
        await self._publish(update, generation + 1, index_rev, list(records.values()), exists=before is not None)
        await _delete_retired(passages, generation + 1)
        return index_rev

    async def _publish(
        self, update: IndexUpdate, generation: int, index_rev: str, records: list[DocumentRecord], *, exists: bool
    ) -> None:
        index = (await self._connected()).collections.use(index_name(self._collection))
        properties = {
            "tenant": update.tenant,
            "generation": generation,
            "index_rev": index_rev,
            "identity": msgspec.json.encode(update.identity).decode(),
            "documents": msgspec.json.encode(records).decode(),
        }
        write = index.data.replace if exists else index.data.insert
        await write(uuid=_index_id(update.tenant), properties=properties)

    def _failing(self) -> AbstractContextManager[None]:
        return weaviate_failures(self._address)


def _tenant_key(tenant: str) -> str:
    """Weaviate's tenant names are narrower than ours."""
    return "t" + hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _index_id(tenant: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, json.dumps([tenant]))


def _read_state(found: dict[str, Any]) -> _State:
    return _State(
        tenant=found["tenant"],
        generation=int(found["generation"]),
        index_rev=found["index_rev"],
        identity=msgspec.json.decode(found["identity"], type=IndexIdentity),
    )


async def _read_document(passages: Any, record: DocumentRecord, state: _State) -> IndexedDocument:
    """A document of the visible generation, with its vectors, in portions."""
    from weaviate.classes.query import Filter

    visible = (
        Filter.by_property("doc").equal(record.doc)
        & Filter.by_property("since").less_or_equal(state.generation)
        & Filter.by_property("until").greater_than(state.generation)
    )
    found: list[tuple[Passage, list[float]]] = []
    while len(found) < record.passages:
        portion = await passages.query.fetch_objects(
            filters=visible, limit=_BATCH, offset=len(found), return_properties=["body"], include_vector=True
        )
        if not portion.objects:
            raise StoreUnavailable("the passage index changes all the time: try again", code="store_busy")
        found += [
            (msgspec.json.decode(one.properties["body"], type=Passage), one.vector["default"])
            for one in portion.objects
        ]
    found.sort(key=lambda one: one[0].number)
    return IndexedDocument(
        record=record,
        passages=tuple(passage for passage, _ in found),
        vectors=np.array([vector for _, vector in found], np.float32).reshape(len(found), state.identity.dimensions),
    )


async def _undo_unfinished(passages: Any, generation: int) -> None:
    """Undo what an ingest that died has left: none of it was ever visible."""
    from weaviate.classes.query import Filter

    await passages.data.delete_many(Filter.by_property("since").greater_than(generation))
    marked = Filter.by_property("until").greater_than(generation) & Filter.by_property("until").less_than(FOREVER)
    await _set_until(passages, marked, FOREVER)


async def _insert(passages: Any, update: IndexUpdate, generation: int) -> None:
    objects = [
        _object(update.tenant, document, index, generation)
        for document in update.documents
        for index in range(len(document.passages))
    ]
    for start in range(0, len(objects), _BATCH):
        result = await passages.data.insert_many(objects[start : start + _BATCH])
        if result.has_errors:
            raise StoreUnavailable(
                f"weaviate refused {len(result.errors)} passages: see its log, then ingest again", code="store_failed"
            )


def _object(tenant: str, document: IndexedDocument, index: int, generation: int) -> Any:
    from weaviate.classes.data import DataObject

    passage = document.passages[index]
    return DataObject(
        uuid=uuid.uuid5(_NAMESPACE, json.dumps([tenant, passage.doc, passage.number, generation])),
        vector=document.vectors[index].tolist(),
        properties={
            "doc": passage.doc,
            "access": sorted(passage.access),
            "heading": f"{passage.title}\n{passage.section}",
            "text": passage.text,
            "body": msgspec.json.encode(passage, order="sorted").decode(),
            "since": generation,
            "until": FOREVER,
            "opens": dt.date.fromisoformat(passage.valid_from).toordinal() if passage.valid_from else 0,
            "closes": dt.date.fromisoformat(passage.valid_to).toordinal() if passage.valid_to else FOREVER,
        },
    )


async def _retire(passages: Any, generation: int, gone: Iterable[str] | None) -> None:
    """Mark the visible passages of documents that go, `None` for all, as no longer visible in the next generation."""
    from weaviate.classes.query import Filter

    old = Filter.by_property("since").less_or_equal(generation) & Filter.by_property("until").equal(FOREVER)
    if gone is None:
        await _set_until(passages, old, generation + 1)
        return
    for doc in sorted(gone):
        await _set_until(passages, old & Filter.by_property("doc").equal(doc), generation + 1)


async def _delete_retired(passages: Any, generation: int) -> None:
    from weaviate.classes.query import Filter

    await passages.data.delete_many(Filter.by_property("until").less_or_equal(generation))


async def _set_until(passages: Any, matching: Any, until: int) -> None:
    """Update all that match; what is updated no longer matches."""
    while found := (await passages.query.fetch_objects(filters=matching, limit=_BATCH, return_properties=[])).objects:
        for one in found:
            await passages.data.update(uuid=one.uuid, properties={"until": until})
