"""Editions in directories."""

import pytest
from retrieval.shelf_contract import EDITION, ShelfContract
from retrieval.store_contract import IDENTITY, document, found, update

from gateway.retrieval.editions import ServingStore
from gateway.retrieval.embedded_shelf import EmbeddedShelf


@pytest.fixture
def make_shelf(tmp_path):
    return lambda: EmbeddedShelf(tmp_path / "index", embedders=[IDENTITY.embedder])


class TestEmbeddedShelf(ShelfContract):
    pass


async def test_an_index_from_before_editions_is_the_base_edition(make_shelf):
    store = ServingStore(make_shelf())
    await store.apply(update(document("a", "loan")))
    await make_shelf().add(EDITION)
    assert await store.tenants() == {"acme"}
    assert await found(store, "loan") == ["a#0"]
    await store.close()
