"""Order, variety, surroundings and budget of what a model reads; and a second look that fails or does not."""

import asyncio
import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from retrieval.store_contract import IDENTITY, document, update, vector

from gateway.domain.errors import StoreUnavailable
from gateway.domain.passage import Passage, RetrievalStatus
from gateway.domain.principal import Principal
from gateway.domain.text import Secret
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.ranking import Budget, Ranking, fresh_first, joined, selected, varied
from gateway.retrieval.reranking import HttpReranker, RerankServer, RerankShape, WordReranker
from gateway.retrieval.retriever import PassageRetriever

TODAY = "2026-11-24"


def passage(doc, number=0, text="", score=1.0, effective="", revision="r", access=("public",)):
    words = text or " ".join(f"{doc}{number}w{at}" for at in range(12))
    return Passage(
        doc=doc,
        number=number,
        revision=revision,
        title="T",
        text=words,
        score=score,
        effective=effective,
        access=frozenset(access),
    )


def ids(passages):
    return [one.id for one in passages]


@pytest.mark.parametrize(
    ("dates", "half_life", "order"),
    [
        (["2020-01-01", "2026-11-01"], 90, ["b#0", "a#0"]),
        (["2020-01-01", "2026-11-01"], 0, ["a#0", "b#0"]),
        (["", "2020-01-01"], 90, ["a#0", "b#0"]),
        (["2027-01-01", "2026-11-24"], 90, ["a#0", "b#0"]),  # from the future is as good as new
        (["0001-01-01", "2026-11-24"], 1, ["b#0", "a#0"]),
    ],
)
def test_age_lowers_a_score_by_so_much_and_no_more(dates, half_life, order):
    found = [
        passage(doc, effective=date, score=1 - at / 100) for at, (doc, date) in enumerate(zip("ab", dates, strict=True))
    ]
    ranked = fresh_first(found, Ranking(half_life_days=half_life, freshness_weight=0.1), TODAY)
    assert ids(ranked) == order
    assert all(
        0.9 * before.score <= after.score <= before.score
        for before in found
        for after in ranked
        if before.doc == after.doc
    )


def test_half_of_the_weight_is_gone_at_the_half_life():
    [one] = fresh_first([passage("a", effective="2026-08-26")], Ranking(half_life_days=90, freshness_weight=0.4), TODAY)
    assert one.score == pytest.approx(0.8)


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(0, 4))
def test_variety_changes_the_order_and_nothing_else(docs, bound):
    found = [passage(doc, number) for number, doc in enumerate(docs)]
    ordered = varied(found, bound)
    assert sorted(ids(ordered)) == sorted(ids(found))
    if bound:
        head = ordered[: sum(min(bound, docs.count(doc)) for doc in set(docs))]
        assert all(sum(one.doc == doc for one in head) <= bound for doc in set(docs))
        assert [one.number for one in head] == sorted(one.number for one in head)


def test_tokens_bound_the_context_beside_characters():
    budget = Budget(chars=1000, max_tokens=30, tokens=lambda texts: [len(text.split()) for text in texts])
    assert ids(selected([passage("a"), passage("b"), passage("c")], top_k=5, budget=budget)) == ["a#0", "b#0"]


def test_a_neighbour_joins_where_it_stands_if_it_is_of_the_same_revision_and_fits():
    around = [passage("a", 2), passage("a", 0), passage("a", 7), passage("b", 1, revision="old"), passage("a", 1)]
    chosen = [passage("b"), passage("a", 1, score=0.5)]
    found = joined(chosen, around, Budget(chars=10_000, tokens=None))
    assert ids(found) == ["b#0", "a#0", "a#1", "a#2"]
    assert {one.score for one in found if one.doc == "a"} == {0.5}
    assert ids(joined(chosen, around, Budget(chars=10, tokens=None))) == ["b#0", "a#1"]


class Embedder:
    name, version, dimensions = "fake", "1", IDENTITY.dimensions

    def embed(self, texts):
        return np.array([vector(text) for text in texts])


PRINCIPAL = Principal(tenant="acme", app="x", user="u", groups=frozenset(["staff"]), auth="key", key_id="k", ref="p")


@pytest.fixture
async def store(tmp_path):
    opened = EmbeddedStore(tmp_path, embedder=IDENTITY.embedder)
    yield opened
    await opened.close()


def retriever(store, **more):
    given = {"top_k": 1, "max_context_chars": 10_000, "timeout_s": 5.0} | more
    return PassageRetriever(store, Embedder(), **given)


async def test_neighbours_come_from_the_store_and_only_those_that_the_asker_may_see(store):
    texts = ["card limit of a branch", "loan interest", "transfer fee of a claim"]
    made = document("a", *texts)
    passages = (*made.passages[:2], structs.replace(made.passages[2], access=frozenset(["hr"])))
    await store.apply(update(structs.replace(made, passages=passages)))
    found = await retriever(store, ranking=Ranking(neighbours=1)).retrieve(PRINCIPAL, "loan interest")
    assert ids(found.passages) == ["a#0", "a#1"]
    assert ids((await retriever(store).retrieve(PRINCIPAL, "loan interest")).passages) == ["a#1"]


class Reversing:
    name = "reversing"
    failure = None

    async def rerank(self, query, passages):
        if self.failure:
            raise self.failure
        return list(reversed(passages))

    async def close(self):
        return None


@pytest.mark.parametrize(
    ("failure", "must", "status", "reason", "first"),
    [
        (None, False, RetrievalStatus.OK, "", "b"),
        (StoreUnavailable("x", code="reranker_failed"), False, RetrievalStatus.OK, "reranker_failed", "a"),
        (StoreUnavailable("x", code="reranker_failed"), True, RetrievalStatus.ERROR, "reranker_failed", None),
    ],
)
async def test_a_second_look_that_fails_keeps_the_order_or_fails_the_search(
    store, failure, must, status, reason, first
):
    await store.apply(update(document("a", "loan loan loan"), document("b", "loan fee claim branch")))
    reranker = Reversing()
    reranker.failure = failure
    found = await retriever(store, reranker=reranker, must_rerank=must).retrieve(PRINCIPAL, "loan")
    assert (found.status, found.reason) == (status, reason)
    assert [one.doc for one in found.passages] == ([first] if first else [])


async def test_words_that_few_passages_have_lift_those_that_have_them():
    found = [passage("a", text="loan terms", score=0.9), passage("b", text="loan escrow terms", score=0.8)]
    ranked = await WordReranker(weight=0.5).rerank("loan escrow", found)
    assert ids(ranked) == ["b#0", "a#0"]
    assert all(0 <= one.score <= 1 for one in ranked)
    assert await WordReranker().rerank("loan", []) == []
    assert ids(await WordReranker().rerank("", found)) == ["a#0", "b#0"]


class Server:
    """Answers every request with the same bytes; keeps what it was asked."""

    def __init__(self, content, status=200, delay_s=0.0):
        self.content, self.status, self.delay_s = content, status, delay_s
        self.head, self.body = "", b""
        self.served = None
        self.left = asyncio.Event()

    async def serve(self, reader, writer):
        self.served = asyncio.current_task()
        self.head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(self.head.split("content-length: ")[1].split("\r\n")[0])
        self.body = await reader.readexactly(length)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.left.wait(), self.delay_s)
        writer.write(
            f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(self.content)}\r\nconnection: close\r\n\r\n".encode()
            + self.content
        )
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def reranked(server, shape=RerankShape.COHERE, timeout_s=2.0):
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    target = RerankServer(
        url=f"http://127.0.0.1:{port}/rerank", model="m", shape=shape, api_key=Secret("key-1"), timeout_s=timeout_s
    )
    reranker = HttpReranker(target)
    try:
        return await reranker.rerank("why", [passage("a", text="one"), passage("b", text="two")])
    finally:
        await reranker.close()
        listening.close()
        server.left.set()
        await server.served


@pytest.mark.parametrize(
    ("shape", "reply", "asked"),
    [
        (
            RerankShape.COHERE,
            {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]},
            {"model": "m", "query": "why", "documents": ["T\none", "T\ntwo"], "top_n": 2},
        ),
        (
            RerankShape.TEI,
            [{"index": 1, "score": 4.5}, {"index": 0, "score": -3.0}],
            {"query": "why", "texts": ["T\none", "T\ntwo"], "truncate": True},
        ),
    ],
)
async def test_servers_of_both_shapes_are_asked_and_understood(shape, reply, asked):
    server = Server(json.dumps(reply).encode())
    found = await reranked(server, shape)
    assert ids(found) == ["b#0", "a#0"]
    assert all(0 <= one.score <= 1 for one in found)
    assert json.loads(server.body) == asked
    assert "authorization: bearer key-1" in server.head
    assert "staff" not in server.head + server.body.decode()


@pytest.mark.parametrize(
    "server",
    [
        Server(b"{", 200),
        Server(b"{}", 200),
        Server(b'{"results": []}', 200),
        Server(b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 7, "relevance_score": 1}]}', 200),
        Server(b'{"results": [{"index": 0, "relevance_score": "x"}, {"index": 1, "relevance_score": 1}]}', 200),
        Server(b"overloaded: why one two", 503),
        Server(b"", 302),
        Server(b'{"results": []}', 200, delay_s=3.0),
    ],
    ids=["no JSON", "no results", "too few", "another passage", "no number", "busy", "redirect", "slow"],
)
async def test_a_server_that_does_not_rank_is_a_failure_without_content(server):
    with pytest.raises(StoreUnavailable) as raised:
        await reranked(server, timeout_s=0.3)
    assert raised.value.code == "reranker_failed"
    assert not {"why", "one", "two", "key-1"} & set(str(raised.value).replace(":", " ").split())
