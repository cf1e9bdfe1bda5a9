"""Finds the passages that a principal may see: the port `Retriever` over a passage store."""

import asyncio
import datetime as dt
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from gateway.domain.errors import StoreUnavailable
from gateway.domain.passage import Passage, Retrieval, RetrievalStatus, Standing
from gateway.domain.ports import Embedder
from gateway.domain.principal import Principal
from gateway.retrieval.counting import SearchCounts
from gateway.retrieval.embedding import TokenBound, embedder_identity
from gateway.retrieval.ranking import Budget, Ranking, fresh_first, joined, selected, varied
from gateway.retrieval.reranking import Reranker
from gateway.retrieval.resting import Rest
from gateway.retrieval.store import DocumentRecord, PassageStore, SearchRequest, SearchResult, text_digest

PUBLIC: Final = "public"  # the group that every principal has

_STORE_FAILURES: Final = frozenset({"store_failed", "store_busy", "embedder_failed"})
_SPARE: Final = 3  # candidates per wanted passage, for what duplicates and the budget take away


class PassageRetriever:
    """Port `Retriever`.

    A passage is visible to a principal of its tenant if its access labels share a group with the principal's groups
    or name `public`; nothing else can make it visible. The store filters, and each passage is checked again here:
    one that fails is dropped and counted, since it means that the store is wrong. Near-duplicates of better
    passages are left out, then passages are taken best first while they fit into `max_context_chars`.

    A store that fails or times out three times in a row is left alone for five seconds; searches fail at once then.

    Never raises but for cancellation. Embedding runs in a worker thread; `timeout_s` bounds the whole call. `today`
    is the day on which passages must be valid; without it, any passage is. An index that was built with one of the
    `others` is searched with that one. A `reranker` that fails leaves the order as it was and a reason in the result;
    where one `must_rerank`, the search has failed with it.
    """

    def __init__(
        self,
        store: PassageStore,
        embedder: Embedder,
        *,
        top_k: int,
        max_context_chars: int,
        timeout_s: float,
        today: Callable[[], dt.date] | None = None,
        others: Sequence[Embedder] = (),
        ranking: Ranking = Ranking(),  # noqa: B008 frozen
        reranker: Reranker | None = None,
        must_rerank: bool = False,
        clock: Callable[[], float] = time.monotonic,
        counts: SearchCounts | None = None,
    ) -> None:
        self._store = store
        self._embedders = [embedder, *others]
        self._chosen: dict[str, Embedder] = {}
        self._tokens = embedder.tokens if isinstance(embedder, TokenBound) else _estimated
        self._top_k = top_k
        self._max_context_chars = max_context_chars
        self._timeout_s = timeout_s
        self._today = today
        self._ranking = ranking
        self._reranker = reranker
        self._must_rerank = must_rerank
        self._rest = Rest(clock)
        self._counts = counts

    async def retrieve(self, principal: Principal, query: str) -> Retrieval:
        started = time.perf_counter_ns()
        groups = principal.groups | {PUBLIC}
        day = self._today().isoformat() if self._today else ""
        status, reason, found, asked = RetrievalStatus.OK, "", _Found(), None
        if not self._rest.begin():
            return self._nothing(principal.tenant, groups, started)
        try:
            async with asyncio.timeout(self._timeout_s):
                asked, result = await self._search(principal.tenant, groups, query, day)
                found, reason = await self._chosen_of(result, _Asker(principal.tenant, groups, day), query)
        except TimeoutError:
            status, reason = RetrievalStatus.TIMEOUT, "deadline"
        except StoreUnavailable as error:
            status, reason = RetrievalStatus.ERROR, error.code
        except Exception as error:  # noqa: BLE001 the contract: whatever fails is a status, with no content in it
            status, reason = RetrievalStatus.ERROR, f"exception:{type(error).__name__}"
        if self._counts is not None:
            best = max((passage.score for passage in found.passages), default=None)
            named, vector = (asked.embedder, asked.vector) if asked is not None else ("", None)
            self._counts.note(principal.tenant, named, vector, status, best)
        self._rest.ended(failed=status is RetrievalStatus.TIMEOUT or reason in _STORE_FAILURES)
        return Retrieval(
            status=status,
            passages=tuple(found.passages),
            store=found.store or self._store.name,
            index_rev=found.index_rev,
            filter=filter_digest(principal.tenant, groups),
            dropped=found.dropped,
            reason=reason,
            took_us=(time.perf_counter_ns() - started) // 1000,
        )

    async def standing(self, principal: Principal, found: Retrieval, passages: Sequence[Passage]) -> Standing:
        try:
            async with asyncio.timeout(self._timeout_s):
                if await self._store.revision(principal.tenant) == found.index_rev:
                    return Standing.CURRENT
                docs = {passage.doc for passage in passages}
                records = await self._store.records(principal.tenant, docs)
        except Exception:  # noqa: BLE001 the contract: whatever fails is a status
            return Standing.UNKNOWN
        groups = principal.groups | {PUBLIC}
        open_ = {doc for doc, record in records.items() if not groups.isdisjoint(record.access)}
        used = {passage.id for passage in passages}
        as_found = [passage for passage in found.passages if passage.id in used]  # `passages` may be redacted
        kept = {doc for doc in docs & open_ if not _is_withheld(records[doc], as_found)}
        return Standing.CURRENT if kept == docs else Standing.WITHDRAWN

    def _nothing(self, tenant: str, groups: frozenset[str], started: int) -> Retrieval:
        return Retrieval(
            status=RetrievalStatus.ERROR,
            store=self._store.name,
            filter=filter_digest(tenant, groups),
            reason="store_resting",
            took_us=(time.perf_counter_ns() - started) // 1000,
        )

    async def _chosen_of(self, result: SearchResult, asker: "_Asker", query: str) -> tuple["_Found", str]:
        """What the asker gets of a result, and why it is not ranked as it should be, "" if it is."""
        visible = [passage for passage in result.passages if asker.sees(passage, result.tenant)]
        dropped = len(result.passages) - len(visible)
        reason = ""
        ordered = fresh_first(visible, self._ranking, asker.day)
        if self._reranker is not None:
            try:
                ordered = await self._reranker.rerank(query, ordered)
            except StoreUnavailable as error:
                if self._must_rerank:
                    raise
                reason = error.code
        budget = Budget(chars=self._max_context_chars, max_tokens=self._ranking.max_tokens, tokens=self._tokens)
        chosen = selected(varied(ordered, self._ranking.per_document), top_k=self._top_k, budget=budget)
        if self._ranking.neighbours and chosen:
            best = chosen[: self._ranking.neighbours]
            documents = await self._store.read(asker.tenant, {passage.doc for passage in best})
            wanted = {(one.doc, one.number + step) for one in best for step in (-1, 1)}
            around = [
                passage
                for document in documents
                for passage in document.passages
                if (passage.doc, passage.number) in wanted and asker.sees(passage, result.tenant)
            ]
            chosen = joined(chosen, around, budget)
        return _Found(chosen, result.store, result.index_rev, dropped), reason

    async def _search(
        self, tenant: str, groups: frozenset[str], query: str, day: str
    ) -> tuple[SearchRequest, SearchResult]:
        """With the embedder that the tenant's index took last time; after a switch to an index of another one, with
        that. The store refuses the wrong one before it searches."""
        first = self._chosen.get(tenant, self._embedders[0])
        failure: StoreUnavailable | None = None
        for embedder in [first, *(one for one in self._embedders if one is not first)]:
            vectors = await asyncio.to_thread(embedder.embed, [query])
            request = SearchRequest(
                tenant=tenant,
                groups=groups,
                text=query,
                vector=vectors[0],
                limit=self._top_k * _SPARE,
                day=day,
                embedder=embedder_identity(embedder),
            )
            try:
                result = await self._store.search(request)
            except StoreUnavailable as error:
                if error.code != "embedder_mismatch":
                    raise
                failure = failure or error
                continue
            self._chosen[tenant] = embedder
            return request, result
        assert failure is not None  # there is one embedder at least
        raise failure


def filter_digest(tenant: str, groups: frozenset[str]) -> str:
    """Names an access filter in the audit without listing it. 16 hex digits."""
    return hashlib.sha256(json.dumps([tenant, sorted(groups)]).encode()).hexdigest()[:16]


class _Asker(Struct, frozen=True):
    """By whom and for which day passages are wanted."""

    tenant: str
    groups: frozenset[str]
    day: str

    def sees(self, passage: Passage, owner: str) -> bool:
        """Whether they may see a passage of the tenant `owner`."""
        # INVARIANT I7: verified identity alone decides; this does not trust the store's own filter
        day = self.day
        is_valid = not day or (passage.valid_from <= day and (not passage.valid_to or day <= passage.valid_to))
        return owner == self.tenant and bool(passage.access & self.groups) and is_valid


class _Found(Struct, frozen=True):
    passages: Sequence[Passage] = ()
    store: str = ""
    index_rev: str = ""
    dropped: int = 0


def _estimated(texts: Sequence[str]) -> list[int]:
    """Tokens where nothing counts them: four characters each, as in English."""
    return [-(-len(text) // 4) for text in texts]


def _is_withheld(record: DocumentRecord, passages: Sequence[Passage]) -> bool:
    """Whether policies keep one of the passages from everyone by now."""
    withheld = {one.text for one in record.withheld}
    return any(passage.doc == record.doc and text_digest(passage) in withheld for passage in passages)
