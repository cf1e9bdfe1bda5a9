"""A second look at what a search found, by a model that reads question and passage together.

`HttpReranker` asks a server in one of two shapes: `/rerank` as Cohere and Jina serve it, and that of
text-embeddings-inference. `WordReranker` needs no server: it prefers passages in which the rarer words of the question
stand.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

import aiohttp
import msgspec
from msgspec import Struct, structs

from gateway.domain.errors import StoreUnavailable
from gateway.domain.passage import Passage
from gateway.domain.text import Secret
from gateway.retrieval.terms import query_terms

_MAX_REPLY: Final = 4 * 1024 * 1024


class Reranker(Protocol):
    """`rerank` returns the same passages best first, with scores in 0..1. Raises `StoreUnavailable`."""

    name: str

    async def rerank(self, query: str, passages: Sequence[Passage]) -> list[Passage]: ...

    async def close(self) -> None: ...


class RerankShape(StrEnum):
    COHERE = "cohere"  # Cohere, Jina, vLLM, and others after them
    TEI = "tei"  # text-embeddings-inference


class RerankServer(Struct, frozen=True, kw_only=True):
    """`url` is the whole address of the call; `timeout_s` is for one of them."""

    url: str
    model: str = ""
    shape: RerankShape = RerankShape.COHERE
    api_key: Secret | None = None
    timeout_s: float = 1.0


class HttpReranker:
    """Port `Reranker` on a server. The question and the found passages go there, and nothing about the caller.

    An answer that does not score every passage once is a failure. Bound to the event loop of its first use.
    """

    def __init__(self, server: RerankServer) -> None:
        self.name = f"{server.shape.value}:{server.model}"
        self._server = server
        self._session: aiohttp.ClientSession | None = None

    async def rerank(self, query: str, passages: Sequence[Passage]) -> list[Passage]:
        if not passages:
            return []
        try:
            async with asyncio.timeout(self._server.timeout_s):
                entries = await self._asked(query, [_read(passage) for passage in passages])
            scores = {int(entry["index"]): float(entry[self._score_key]) for entry in entries}
        except TimeoutError as error:
            raise _failed("deadline") from error
        except (aiohttp.ClientError, OSError, msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
            raise _failed(type(error).__name__) from error
        if scores.keys() != set(range(len(passages))) or not all(map(math.isfinite, scores.values())):
            raise _failed("not every passage has a score")
        return _ordered(passages, [scores[at] for at in range(len(passages))])

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def _score_key(self) -> str:
        return "relevance_score" if self._server.shape is RerankShape.COHERE else "score"

    async def _asked(self, query: str, texts: list[str]) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False)
        body: dict[str, Any] = {"query": query, "texts": texts, "truncate": True}
        if self._server.shape is RerankShape.COHERE:
            body = {"model": self._server.model, "query": query, "documents": texts, "top_n": len(texts)}
        headers = {"content-type": "application/json"}
        if self._server.api_key is not None:
            headers["authorization"] = f"Bearer {self._server.api_key.reveal()}"
        data = msgspec.json.encode(body)
        async with self._session.post(self._server.url, data=data, headers=headers, allow_redirects=False) as reply:
            if reply.status != 200:
                raise aiohttp.ClientError(str(reply.status))
            found = msgspec.json.decode(await reply.content.read(_MAX_REPLY))
        return found["results"] if self._server.shape is RerankShape.COHERE else found


class WordReranker:
    """Port `Reranker` without a model: the place in the first ranking, and how much of the question's weight stands
    in the passage. A word weighs by its rarity among the found passages (Spärck Jones 1972)."""

    name = "words"

    def __init__(self, *, weight: float = 0.3) -> None:
        self._weight = weight

    async def rerank(self, query: str, passages: Sequence[Passage]) -> list[Passage]:
        wanted = query_terms(query)
        held = [set(query_terms(_read(passage))) for passage in passages]
        counts = Counter(word for words in held for word in words)
        weights = {word: math.log(1 + len(passages) / (1 + counts[word])) for word in wanted}
        whole = sum(weights.values()) or 1.0
        covered = [sum(weights[word] for word in wanted if word in words) / whole for words in held]
        return _ordered(
            passages,
            [
                (1 - self._weight) * passage.score + self._weight * share
                for passage, share in zip(passages, covered, strict=True)
            ],
        )

    async def close(self) -> None:
        """Nothing is open."""


def _read(passage: Passage) -> str:
    return "\n".join(part for part in (passage.title, passage.section, passage.text) if part)


def _ordered(passages: Sequence[Passage], scores: Sequence[float]) -> list[Passage]:
    """Best first, equal ones in their order. Scores beyond 0..1 are logits and go through the logistic function."""
    if any(not 0.0 <= score <= 1.0 for score in scores):
        scores = [1 / (1 + math.exp(-min(max(score, -60.0), 60.0))) for score in scores]
    scored = [structs.replace(passage, score=score) for passage, score in zip(passages, scores, strict=True)]
    return sorted(scored, key=lambda passage: -passage.score)


def _failed(why: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"the reranker gives no ranking: {why}: check that it runs, or remove `retrieval.reranker`",
        code="reranker_failed",
    )
