"""What a principal gets: access, failures, duplicates, budget."""

import asyncio
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import StoreUnavailable
from gateway.domain.passage import Passage, RetrievalStatus
from gateway.domain.principal import Principal
from gateway.retrieval.retriever import PassageRetriever, filter_digest
from gateway.retrieval.store import SearchResult


class FakeEmbedder:
    name, version, dimensions = "fake", "1", 4

    def __init__(self, failure=None):
        self.failure = failure
        self.texts = []

    def embed(self, texts):
        if self.failure:
            raise self.failure
        self.texts += texts
        return np.ones((len(texts), 4), np.float32) / 2


class FakeStore:
    """Returns what it is told to, whoever asks."""

    name = "fake"

    def __init__(self, *passages, tenant="acme", failure=None, delay_s=0.0):
        self.result = SearchResult(tenant=tenant, passages=passages, index_rev="rev")
        self.failure = failure
        self.delay_s = delay_s
        self.requests = []

    async def search(self, request):
        self.requests.append(request)
        await asyncio.sleep(self.delay_s)
        if self.failure:
            raise self.failure
        return self.result


def text_of(number, words=30):
    return " ".join(hashlib.sha256(f"{number}/{word}".encode()).hexdigest()[:6] for word in range(words))


def passage(number, *access, text=None):
    return Passage(
        doc=f"d{number}", number=0, revision="r", title="T", text=text or text_of(number), access=frozenset(access)
    )


def principal(*groups, tenant="acme"):
    return Principal(tenant=tenant, app="a", user="u", groups=frozenset(groups), auth="key", ref="r")


def retriever(store, embedder=None, *, top_k=5, max_context_chars=10_000, timeout_s=5.0):
    return PassageRetriever(
        store, embedder or FakeEmbedder(), top_k=top_k, max_context_chars=max_context_chars, timeout_s=timeout_s
    )


def docs(retrieval):
    return [passage.doc for passage in retrieval.passages]


async def test_the_store_is_asked_with_the_verified_identity():
    store, embedder = FakeStore(passage(1, "public")), FakeEmbedder()
    result = await retriever(store, embedder, top_k=4).retrieve(principal("staff"), "question")
    [request] = store.requests
    assert (request.tenant, request.groups, request.text) == ("acme", {"staff", "public"}, "question")
    assert request.limit >= 4
    assert embedder.texts == ["question"]
    assert (result.status, result.store, result.index_rev, result.dropped, result.reason) == (
        RetrievalStatus.OK,
        "fake",
        "rev",
        0,
        "",
    )
    assert result.filter == filter_digest("acme", frozenset({"staff", "public"}))
    assert docs(result) == ["d1"]


@pytest.mark.parametrize(
    ("access", "groups", "visible"),
    [
        (["public"], [], True),
        (["public"], ["staff"], True),
        (["staff"], ["staff"], True),
        (["staff", "hr"], ["hr"], True),
        (["staff"], [], False),
        (["staff"], ["hr"], False),
        (["staff"], ["Staff"], False),
        ([], ["staff"], False),
    ],
)
async def test_a_passage_that_the_principal_may_not_see_is_dropped_and_counted(access, groups, visible):
    result = await retriever(FakeStore(passage(1, *access), passage(2, "public"))).retrieve(principal(*groups), "q")
    assert docs(result) == (["d1", "d2"] if visible else ["d2"])
    assert result.dropped == (0 if visible else 1)
    assert result.status is RetrievalStatus.OK


async def test_passages_of_another_tenant_are_all_dropped():
    result = await retriever(FakeStore(passage(1, "public"), tenant="other")).retrieve(principal(), "q")
    assert (docs(result), result.dropped) == ([], 1)


@given(
    st.lists(st.frozensets(st.sampled_from(["public", "a", "b", "c"])), max_size=8),
    st.frozensets(st.sampled_from(["a", "b", "c", "d"])),
)
def test_no_group_lets_anything_through_that_its_labels_do_not_name(labels, groups):
    store = FakeStore(*(passage(number, *access) for number, access in enumerate(labels)))
    result = asyncio.run(retriever(store, top_k=20, max_context_chars=10**6).retrieve(principal(*groups), "q"))
    expected = [f"d{number}" for number, access in enumerate(labels) if access & (groups | {"public"})]
    assert docs(result) == expected
    assert result.dropped == len(labels) - len(expected)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (StoreUnavailable("gone", code="store_failed"), "store_failed"),
        (StoreUnavailable("gone", code="embedder_mismatch"), "embedder_mismatch"),
        (ValueError("secret text of a user"), "exception:ValueError"),
        (KeyError("x"), "exception:KeyError"),
    ],
)
async def test_a_failing_store_is_a_status_without_content(failure, reason):
    result = await retriever(FakeStore(failure=failure)).retrieve(principal(), "q")
    assert (result.status, result.reason, result.passages) == (RetrievalStatus.ERROR, reason, ())
    assert "secret" not in repr(result)


async def test_a_failing_embedder_is_a_status():
    store = FakeStore(passage(1, "public"))
    result = await retriever(store, FakeEmbedder(RuntimeError("model"))).retrieve(principal(), "q")
    assert (result.status, result.reason) == (RetrievalStatus.ERROR, "exception:RuntimeError")
    assert store.requests == []


async def test_a_slow_store_is_a_timeout():
    result = await retriever(FakeStore(passage(1, "public"), delay_s=30), timeout_s=0.05).retrieve(principal(), "q")
    assert (result.status, result.reason, result.passages) == (RetrievalStatus.TIMEOUT, "deadline", ())
    assert result.took_us < 5_000_000


async def test_a_cancelled_search_stays_cancelled():
    task = asyncio.create_task(retriever(FakeStore(delay_s=30)).retrieve(principal(), "q"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_near_duplicates_of_better_passages_are_left_out():
    twin = text_of(1) + " and a few other words"
    store = FakeStore(passage(1, "public"), passage(2, "public", text=twin), passage(3, "public"))
    assert docs(await retriever(store).retrieve(principal(), "q")) == ["d1", "d3"]


async def test_neighbours_that_overlap_are_both_kept():
    words = text_of(1, 60).split()
    store = FakeStore(passage(1, "public", text=" ".join(words[:35])), passage(2, "public", text=" ".join(words[28:])))
    assert docs(await retriever(store).retrieve(principal(), "q")) == ["d1", "d2"]


@pytest.mark.parametrize("text", ["", "one", "two words", "....", "日本語"])
async def test_short_texts_are_compared_too(text):
    store = FakeStore(passage(1, "public", text=text or " "), passage(2, "public", text=text or " "))
    assert docs(await retriever(store).retrieve(principal(), "q")) == ["d1"]


async def test_passages_are_taken_best_first_while_they_fit():
    sized = [passage(number, "public", text=f"{number} " + "x" * size) for number, size in enumerate((50, 80, 20, 40))]
    result = await retriever(FakeStore(*sized), max_context_chars=100).retrieve(principal(), "q")
    assert docs(result) == ["d0", "d2"]
    assert sum(len(one.text) for one in result.passages) <= 100


async def test_no_more_than_top_k_are_returned():
    store = FakeStore(*(passage(number, "public") for number in range(9)))
    assert docs(await retriever(store, top_k=3).retrieve(principal(), "q")) == ["d0", "d1", "d2"]


def test_filter_digests_tell_filters_apart():
    filters = [("t", {"a"}), ("t", {"a", "b"}), ("t", {"ab"}), ("t2", {"a"}), ("t", set())]
    assert len({filter_digest(tenant, frozenset(groups)) for tenant, groups in filters}) == len(filters)
    assert filter_digest("t", frozenset({"a", "b"})) == filter_digest("t", frozenset({"b", "a"}))


async def test_a_store_that_fails_three_times_in_a_row_is_left_alone_and_then_tried_by_one():
    now, store = [0.0], FakeStore(failure=StoreUnavailable("gone", code="store_failed"))
    asked = PassageRetriever(store, FakeEmbedder(), top_k=3, max_context_chars=900, timeout_s=5, clock=lambda: now[0])
    for _ in range(3):
        assert (await asked.retrieve(principal(), "q")).reason == "store_failed"
    resting = await asked.retrieve(principal(), "q")
    assert (resting.status, resting.reason, resting.passages) == (RetrievalStatus.ERROR, "store_resting", ())
    assert len(store.requests) == 3
    now[0] = 5.1
    assert (await asked.retrieve(principal(), "q")).reason == "store_failed"  # the one that tries
    assert (await asked.retrieve(principal(), "q")).reason == "store_resting"
    now[0], store.failure = 10.3, None
    assert (await asked.retrieve(principal(), "q")).status is RetrievalStatus.OK
    assert (await asked.retrieve(principal(), "q")).status is RetrievalStatus.OK


async def test_what_is_wrong_with_one_question_or_one_tenant_is_no_reason_to_rest():
    store = FakeStore(failure=StoreUnavailable("other", code="embedder_mismatch"))
    asked = retriever(store)
    for _ in range(6):
        assert (await asked.retrieve(principal(), "q")).reason == "embedder_mismatch"


async def test_slow_stores_are_left_alone_too():
    store = FakeStore(passage(1, "public"), delay_s=30)
    asked = retriever(store, timeout_s=0.02)
    reasons = [(await asked.retrieve(principal(), "q")).reason for _ in range(4)]
    assert reasons == ["deadline", "deadline", "deadline", "store_resting"]
