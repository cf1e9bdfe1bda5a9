"""The Weaviate store: the contract against a real server, and failures that need none.

A server is named by `GATEWAY_TEST_WEAVIATE` as `host:http port:grpc port`, its API key by `GATEWAY_TEST_WEAVIATE_KEY`
if it wants one; every test makes its own collections.
"""

import os
import uuid

import pytest

from gateway.domain.errors import ConfigurationError, StoreUnavailable
from gateway.domain.text import Secret
from gateway.retrieval.weaviate_connection import WeaviateAddress
from gateway.retrieval.weaviate_connection import weaviate_client as _client
from gateway.retrieval.weaviate_schema import FOREVER, index_name
from gateway.retrieval.weaviate_shelf import WeaviateShelf
from gateway.retrieval.weaviate_store import WeaviateStore
from tests.retrieval.shelf_contract import ShelfContract
from tests.retrieval.store_contract import IDENTITY, PassageStoreContract, document, found, request, update

SERVER = os.environ.get("GATEWAY_TEST_WEAVIATE", "")
KEY = os.environ.get("GATEWAY_TEST_WEAVIATE_KEY", "")
NEEDS_SERVER = [
    pytest.mark.live,
    pytest.mark.skipif(not SERVER, reason="GATEWAY_TEST_WEAVIATE names no server (host:http port:grpc port)"),
]


def address(key=KEY):
    host, http_port, grpc_port = SERVER.split(":")
    return WeaviateAddress(
        host=host, http_port=int(http_port), grpc_port=int(grpc_port), api_key=Secret(key) if key else None
    )


@pytest.fixture
def collection():
    return f"Test{uuid.uuid4().hex}"


@pytest.fixture
async def client():
    client = _client(address())
    await client.connect()
    yield client
    await client.close()


@pytest.fixture
async def make_store(collection, client):
    opened = []

    async def make(*, embedder=IDENTITY.embedder):
        opened.append(WeaviateStore(address(), collection=collection, embedder=embedder))
        return opened[-1]

    yield make
    for store in opened:
        await store.close()
    await client.collections.delete([collection, index_name(collection)])


class TestWeaviateStore(PassageStoreContract):
    pytestmark = NEEDS_SERVER
    property_examples = 15

    async def test_what_a_killed_ingest_left_is_invisible_and_cleared(self, make_store, collection, client):
        store = await make_store()
        await store.apply(update(document("a", "loan"), document("b", "loan")))
        passages = await store._passages("acme")
        from gateway.retrieval import weaviate_store

        await weaviate_store._insert(passages, update(document("a", "fee"), document("c", "loan")), 2)
        await weaviate_store._retire(passages, 1, ["a"])
        other = await make_store()
        assert sorted(await found(other, "loan")) == ["a#0", "b#0"]
        await other.apply(update(document("d", "loan")))
        assert sorted(await found(store, "loan")) == ["a#0", "b#0", "d#0"]
        left = [one.properties async for one in passages.iterator(return_properties=["doc", "until"])]
        assert sorted((one["doc"], one["until"]) for one in left) == [(doc, FOREVER) for doc in "abd"]

    async def test_deleted_text_leaves_the_server(self, make_store):
        store = await make_store()
        await store.apply(update(document("a", "loan"), document("b", "fee")))
        await store.apply(update(removed=["a"]))
        passages = await store._passages("acme")
        assert [one.properties["doc"] async for one in passages.iterator(return_properties=["doc"])] == ["b"]

    @pytest.mark.parametrize("change", ["tokenization", "missing", "tenancy"])
    async def test_a_wrong_schema_refuses_to_start_and_names_the_remedy(self, make_store, collection, client, change):
        from weaviate.classes.config import Configure, DataType, Property, Tokenization

        properties = [
            Property(name="doc", data_type=DataType.TEXT, tokenization=Tokenization.FIELD),
            Property(name="access", data_type=DataType.TEXT_ARRAY, tokenization=Tokenization.WORD),
        ]
        await client.collections.create(
            collection,
            properties=properties if change == "tokenization" else properties[:1],
            multi_tenancy_config=Configure.multi_tenancy(enabled=change != "tenancy"),
        )
        expected = {
            "tokenization": "property `access` must have `field` tokenization, not `word`",
            "missing": "property `access` is missing",
            "tenancy": "multi-tenancy must be on",
        }
        store = await make_store()
        with pytest.raises(ConfigurationError, match="delete the collection and ingest again") as raised:
            await store.start()
        assert expected[change] in raised.value.message

    @pytest.mark.skipif(not KEY, reason="GATEWAY_TEST_WEAVIATE_KEY names no key of the server")
    @pytest.mark.parametrize("key", ["", "another-key-1"])
    async def test_a_wrong_key_is_a_failure_that_does_not_show_it(self, collection, key):
        store = WeaviateStore(address(key), collection=collection, embedder=IDENTITY.embedder)
        with pytest.raises(StoreUnavailable) as raised:
            await store.search(request("loan"))
        assert raised.value.code == "store_failed"
        assert not key or key not in str(raised.value)
        await store.close()

    async def test_starting_twice_creates_the_collections_once(self, make_store):
        first, again = await make_store(), await make_store()
        await first.start()
        await again.start()
        assert await again.tenants() == await first.tenants()


class TestWeaviateShelf(ShelfContract):
    pytestmark = NEEDS_SERVER

    @pytest.fixture
    async def make_shelf(self, collection, client):
        opened = []

        def make():
            opened.append(WeaviateShelf(address(), collection=collection, embedder=IDENTITY.embedder))
            return opened[-1]

        yield make
        for shelf in opened:
            await shelf.close()
        for alias in await client.alias.list_all():
            if alias.startswith(collection):
                await client.alias.delete(alias_name=alias)
        await client.collections.delete(
            [name for name in await client.collections.list_all() if name.startswith(collection)]
        )


async def test_a_server_that_is_not_there_is_unavailable(unused_tcp_port_factory):
    http_port, grpc_port = unused_tcp_port_factory(), unused_tcp_port_factory()
    store = WeaviateStore(
        WeaviateAddress(
            host="127.0.0.1", http_port=http_port, grpc_port=grpc_port, api_key=Secret("key-1"), timeout_s=1.0
        ),
        collection="Passage",
        embedder=IDENTITY.embedder,
    )
    for call in (
        store.start,
        lambda: store.search(request("loan confidential")),
        lambda: store.catalogue("acme"),
        store.tenants,
        lambda: store.apply(update(document("a", "loan confidential"))),
    ):
        with pytest.raises(StoreUnavailable, match="check that it runs") as raised:
            await call()
        assert raised.value.code == "store_failed"
        assert "confidential" not in str(raised.value)
        assert "key-1" not in str(raised.value)
    await store.close()
