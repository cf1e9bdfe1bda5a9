"""Whether passages that were found may still be used, and on which day which are found; over the embedded store."""

import datetime as dt

import pytest
from msgspec import structs
from retrieval.store_contract import IDENTITY, StoreEmbedder, document, update

from gateway.domain.passage import Standing
from gateway.domain.principal import Principal
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.retriever import PassageRetriever
from gateway.retrieval.store import IndexedDocument, Withheld, text_digest


class TestStanding:
    """Whether what was found may still be used."""

    @staticmethod
    def retriever(store):
        return PassageRetriever(store, StoreEmbedder(), top_k=3, max_context_chars=1000, timeout_s=1)

    @staticmethod
    async def standing(store, change):
        retriever = TestStanding.retriever(store)
        await store.apply(update(document("a", "loan fee", access=["staff"]), document("b", "loan")))
        principal = Principal(
            tenant="acme", app="x", user="u", groups=frozenset({"staff"}), auth="key", key_id="k", ref="p"
        )
        found = await retriever.retrieve(principal, "loan fee")
        shown = [passage for passage in found.passages if passage.doc == "a"]
        assert await retriever.standing(principal, found, shown) is Standing.CURRENT
        await change(store)
        return await retriever.standing(principal, found, shown)

    CHANGES = [
        (lambda: update(document("c", "card")), Standing.CURRENT),
        (lambda: update(document("a", "loan charge", access=["staff"])), Standing.CURRENT),
        (lambda: update(removed=["b"]), Standing.CURRENT),
        (lambda: update(removed=["a"]), Standing.WITHDRAWN),
        (lambda: update(document("a", "loan fee", access=["hr"])), Standing.WITHDRAWN),
        (lambda: update(document("a", "loan fee", access=["public"])), Standing.CURRENT),
        (lambda: update(withheld("a", "loan fee", access=["staff"])), Standing.WITHDRAWN),
        (lambda: update(document("z", "card"), complete=True), Standing.WITHDRAWN),
    ]

    @pytest.mark.parametrize(("change", "expected"), CHANGES)
    async def test_it_follows_the_documents(self, tmp_path, change, expected):
        store = EmbeddedStore(tmp_path, embedder=IDENTITY.embedder)
        try:
            assert await self.standing(store, lambda store: store.apply(change())) is expected
        finally:
            await store.close()

    async def test_a_store_that_does_not_answer_leaves_it_unknown(self, tmp_path):
        store = EmbeddedStore(tmp_path, embedder=IDENTITY.embedder)

        async def break_it(store):
            (store._home("acme") / "current").write_text("broken")

        try:
            assert await self.standing(store, break_it) is Standing.UNKNOWN
        finally:
            await store.close()


def withheld(doc, text, *, access):
    made = document(doc, text, access=access)
    entry = Withheld(number=0, text=text_digest(made.passages[0]), effect="refuse", rules=("R",))
    passage = structs.replace(made.passages[0], access=frozenset())
    return IndexedDocument(
        record=structs.replace(made.record, withheld=(entry,)), passages=(passage,), vectors=made.vectors
    )


async def test_only_what_is_valid_today_is_found(tmp_path):
    store = EmbeddedStore(tmp_path, embedder=IDENTITY.embedder)
    await store.apply(update(document("old", "card fee", valid=("", "2026-01-01")), document("new", "loan")))
    principal = Principal(tenant="acme", app="x", user="u", groups=frozenset(), auth="key", key_id="k", ref="p")
    for today, docs in ((dt.date(2026, 1, 1), {"old", "new"}), (dt.date(2026, 1, 2), {"new"})):
        retriever = PassageRetriever(
            store, StoreEmbedder(), top_k=3, max_context_chars=1000, timeout_s=1, today=lambda today=today: today
        )
        found = await retriever.retrieve(principal, "loan card")
        assert {passage.doc for passage in found.passages} == docs
        assert found.dropped == 0
    await store.close()
