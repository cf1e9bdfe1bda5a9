"""The behaviour that every shelf of editions has: subclass `ShelfContract` and provide the fixture `make_shelf`."""

import asyncio

import pytest
from retrieval.store_contract import IDENTITY, document, found, request, update

from gateway.domain.errors import StoreUnavailable
from gateway.retrieval.chunk import ChunkingParameters, ChunkMethod
from gateway.retrieval.editions import BASE, Edition, ServingStore
from gateway.retrieval.store import IndexIdentity

NEW = IndexIdentity(embedder="fake@2", dimensions=IDENTITY.dimensions, chunker=IDENTITY.chunker)
EDITION = Edition(
    name="e1",
    embedder="fake@2",
    chunking=ChunkingParameters(method=ChunkMethod.WINDOW, target_chars=300),
    built="2026-11-24T12:00:00Z",
)


class ShelfContract:
    async def test_an_untouched_shelf_serves_the_base_edition(self, make_shelf):
        shelf = make_shelf()
        assert (await shelf.serving(), await shelf.previous()) == (BASE, "")
        assert [one.name for one in await shelf.editions()] == [BASE]

    async def test_an_edition_is_listed_as_it_was_added(self, make_shelf):
        await make_shelf().add(EDITION)
        await make_shelf().add(EDITION)
        assert await make_shelf().editions() == (Edition(name=BASE), EDITION)

    async def test_editions_do_not_see_each_others_passages(self, make_shelf):
        shelf = make_shelf()
        store = ServingStore(shelf)
        await shelf.add(EDITION)
        await store.apply(update(document("a", "loan")))
        await store.edition("e1").apply(update(document("b", "loan"), identity=NEW))
        assert await found(store, "loan") == ["a#0"]
        await store.close()

    async def test_a_switch_is_seen_by_other_processes_with_their_next_call(self, make_shelf):
        shelf, other = make_shelf(), make_shelf()
        here, there = ServingStore(shelf), ServingStore(other)
        await shelf.add(EDITION)
        await here.apply(update(document("a", "loan")))
        assert await found(there, "loan") == ["a#0"]
        rev = await there.revision("acme")
        await here.edition("e1").apply(update(document("b", "loan")))
        await shelf.serve("e1")
        assert await found(there, "loan") == ["b#0"]
        assert await there.revision("acme") not in {"", rev}
        assert set(await there.records("acme", ["a", "b"])) == {"b"}
        assert (await other.serving(), await other.previous()) == ("e1", BASE)
        await shelf.serve(BASE)
        assert await found(there, "loan") == ["a#0"]
        assert await other.previous() == "e1"
        for store in (here, there):
            await store.close()

    async def test_searches_go_on_while_editions_are_switched(self, make_shelf):
        shelf = make_shelf()
        here, there = ServingStore(shelf), ServingStore(make_shelf())
        await shelf.add(EDITION)
        await here.apply(update(document("a", "loan")))
        await here.edition("e1").apply(update(document("b", "loan")))
        seen = []

        async def ask():
            for _ in range(30):
                [one] = await found(there, "loan")
                seen.append(one)

        async def switch():
            for name in ("e1", BASE) * 5:
                await shelf.serve(name)
                await asyncio.sleep(0.01)

        await asyncio.gather(ask(), switch())
        assert set(seen) <= {"a#0", "b#0"}
        for store in (here, there):
            await store.close()

    async def test_what_is_removed_is_removed_from_every_edition(self, make_shelf):
        shelf = make_shelf()
        store = ServingStore(shelf)
        await shelf.add(EDITION)
        await store.apply(update(document("a", "loan"), document("b", "fee")))
        await store.edition("e1").apply(update(document("a", "loan"), document("b", "fee"), identity=NEW))
        await store.apply(update(removed=["a", "unknown"]))
        assert set((await store.edition("e1").catalogue("acme")).documents) == {"b"}
        assert await found(store, "loan fee") == ["b#0"]
        await store.close()

    async def test_a_query_of_the_wrong_model_is_refused_after_a_switch(self, make_shelf):
        shelf = make_shelf()
        store = ServingStore(shelf)
        await shelf.add(EDITION)
        await store.edition("e1").apply(update(document("b", "loan"), identity=NEW))
        await shelf.serve("e1")
        with pytest.raises(StoreUnavailable) as raised:
            await store.search(request("loan"))
        assert raised.value.code == "embedder_mismatch"
        await store.close()

    async def test_a_dropped_edition_is_gone_and_the_serving_one_cannot_be(self, make_shelf):
        shelf = make_shelf()
        store = ServingStore(shelf)
        await store.apply(update(document("a", "loan")))
        await shelf.add(EDITION)
        await store.edition("e1").apply(update(document("b", "loan")))
        await shelf.serve("e1")
        with pytest.raises(ValueError, match="stays"):
            await shelf.drop("e1")
        await store.forget(BASE)
        await shelf.drop(BASE)
        assert await shelf.previous() == ""
        assert await found(store, "loan") == ["b#0"]
        assert await store.edition(BASE).tenants() == frozenset()
        await store.close()

    @pytest.mark.parametrize("name", [BASE, "", "../x", "A", "x" * 60])
    async def test_names_that_lead_elsewhere_are_refused(self, make_shelf, name):
        with pytest.raises(ValueError):  # noqa: PT011 its words differ
            await make_shelf().add(Edition(name=name))
