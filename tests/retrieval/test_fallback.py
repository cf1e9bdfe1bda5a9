"""A second store beside the first: the contract of both together, and what happens while the first fails."""

import asyncio

import pytest
from retrieval.store_contract import IDENTITY, PassageStoreContract, StoreEmbedder, document, found, request, update

from gateway.domain.errors import ConfigurationError, StoreUnavailable
from gateway.domain.passage import RetrievalStatus
from gateway.domain.principal import Principal
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.fallback import FallbackStore
from gateway.retrieval.retriever import PassageRetriever
from gateway.retrieval.store import IndexIdentity


class Failing(EmbeddedStore):
    """An embedded store that can be made to fail or to take its time."""

    name = "first"
    failure = None
    delay_s = 0.0
    asked = 0

    async def _run(self, call, *args, **kwargs):
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        if self.failure is not None:
            raise self.failure
        return await super()._run(call, *args, **kwargs)

    async def revision(self, tenant):
        await self._run(lambda: None)
        return await super().revision(tenant)


DOWN = StoreUnavailable("down", code="store_failed")


@pytest.fixture
async def make_store(tmp_path):
    opened = []

    async def make(*, embedder=IDENTITY.embedder):
        first = Failing(tmp_path / "first", embedder=embedder)
        second = EmbeddedStore(tmp_path / "second", embedder=embedder)
        opened.append(FallbackStore(first, second, timeout_s=5.0, clock=lambda: now[0]))
        return opened[-1]

    now = [0.0]
    make.now = now
    yield make
    for store in opened:
        await store.close()


class TestBothStores(PassageStoreContract):
    property_examples = 10


async def test_the_second_store_answers_while_the_first_fails(make_store):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    assert (await store.search(request("loan"))).store == "first"
    rev = await store.revision("acme")
    store.first.failure = DOWN
    result = await store.search(request("loan"))
    assert (result.store, [passage.doc for passage in result.passages]) == ("embedded", ["a"])
    assert await store.revision("acme") == result.index_rev == rev
    assert set(await store.records("acme", ["a"])) == {"a"}
    for call in (store.tenants(), store.catalogue("acme"), store.read("acme", ["a"])):
        with pytest.raises(StoreUnavailable):
            await call


async def test_a_store_that_failed_is_left_alone_for_a_while(make_store):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    store.first.failure = DOWN
    await store.search(request("loan"))
    asked = store.first.asked
    store.first.failure = None
    assert (await store.search(request("loan"))).store == "embedded"
    assert store.first.asked == asked
    make_store.now[0] += 6
    assert (await store.search(request("loan"))).store == "first"


async def test_a_slow_store_is_given_up(make_store):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    store.first.delay_s, store._timeout_s = 5.0, 0.05
    assert (await store.search(request("loan"))).store == "embedded"


async def test_another_embedding_is_no_reason_to_search_wrongly(make_store):
    await (await make_store()).apply(update(document("a", "loan")))
    other = await make_store(embedder="fake@2")
    with pytest.raises(StoreUnavailable) as raised:
        await other.search(request("loan"))
    assert raised.value.code == "embedder_mismatch"


async def test_both_down_is_a_failure(make_store):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    store.first.failure = DOWN
    (store._second._home("acme") / "current").write_text("broken")
    with pytest.raises(StoreUnavailable):
        await store.search(request("loan"))


async def test_a_change_that_fails_half_way_shows_less_and_never_what_went(make_store):
    store = await make_store()
    await store.apply(update(document("a", "loan"), document("b", "fee")))
    store.first.failure = DOWN
    with pytest.raises(StoreUnavailable):
        await store.apply(update(document("b", "fee", access=["hr"]), removed=["a"]))
    assert await found(store, "loan fee", ["public", "hr"]) == []
    store.first.failure = None
    make_store.now[0] += 6
    await store.mirror("acme")
    store.first.failure = DOWN
    assert sorted(await found(store, "loan fee")) == ["a#0", "b#0"]  # as the first store still has it


async def test_a_store_that_is_added_later_is_filled_without_embedding(make_store, tmp_path):
    first = EmbeddedStore(tmp_path / "first", embedder=IDENTITY.embedder)
    await first.apply(update(*(document(f"d{n}", f"loan {n}") for n in range(450))))
    await first.close()
    store = await make_store()
    await store.mirror("acme")
    await store.mirror("nobody")
    store.first.failure = DOWN
    assert len(await found(store, "loan", limit=500)) == 450
    store.first.failure = None
    make_store.now[0] += 6
    other = IndexIdentity(embedder=IDENTITY.embedder, dimensions=IDENTITY.dimensions, chunker="new/2")
    await store.apply(update(document("x", "loan"), identity=other))
    store.first.failure = DOWN
    assert await found(store, "loan") == ["x#0"]


async def test_starting_needs_one_of_them(make_store):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    store.first.failure = DOWN
    await store.start()
    assert (await store.search(request("loan"))).store == "embedded"
    store.first.failure = ConfigurationError("a wrong schema")
    with pytest.raises(ConfigurationError):
        await store.start()


async def test_the_audit_names_the_store_that_was_searched(make_store):
    store = await make_store()
    await store.apply(update(document("a", "loan")))
    retriever = PassageRetriever(store, StoreEmbedder(), top_k=3, max_context_chars=1000, timeout_s=5)
    principal = Principal(tenant="acme", app="x", user="u", groups=frozenset(), auth="key", key_id="k", ref="p")
    assert (await retriever.retrieve(principal, "loan")).store == "first"
    store.first.failure = DOWN
    kept = await retriever.retrieve(principal, "loan")
    assert (kept.status, kept.store, len(kept.passages)) == (RetrievalStatus.OK, "embedded", 1)
    assert (await retriever.standing(principal, kept, kept.passages)).value == "current"
