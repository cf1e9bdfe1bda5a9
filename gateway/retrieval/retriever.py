"""Finds the passages that a principal may see: the port `Retriever` over a passage store."""

import asyncio
import datetime as dt
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gateway.domain.errors import StoreUnavailable
from gateway.domain.passage import Passage, Retrieval, RetrievalStatus, Standing
from gateway.domain.ports import Embedder
from gateway.domain.principal import Principal
from gateway.retrieval.embedding import embedder_identity
from gateway.retrieval.store import DocumentRecord, PassageStore, SearchRequest, SearchResult, text_digest

PUBLIC: Final = "public"  # the group that every principal has

_SPARE: Final = 3  # candidates per wanted passage, for what duplicates and the budget take away
_SHINGLE_WORDS: Final = 4
_DUPLICATE: Final = 0.8  # of the shorter text's shingles; the overlap of neighbouring chunks stays far below
_WORD: Final = re.compile(r"\w+")


class PassageRetriever:
    """Port `Retriever`.

    A passage is visible to a principal of its tenant if its access labels share a group with the principal's groups
    or name `public`; nothing else can make it visible. The store filters, and each passage is checked again here:
    one that fails is dropped and counted, since it means that the store is wrong. Near-duplicates of better
    passages are left out, then passages are taken best first while they fit into `max_context_chars`.

    Never raises but for cancellation. Embedding runs in a worker thread; `timeout_s` bounds the whole call. `today`
    is the day on which passages must be valid; without it, any passage is. An index that was built with one of the
    `others` is searched with that one.
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
    ) -> None:
        self._store = store
        self._embedders = [embedder, *others]
        self._chosen: dict[str, Embedder] = {}
        self._top_k = top_k
        self._max_context_chars = max_context_chars
        self._timeout_s = timeout_s
        self._today = today

    async def retrieve(self, principal: Principal, query: str) -> Retrieval:
        started = time.perf_counter_ns()
        groups = principal.groups | {PUBLIC}
        day = self._today().isoformat() if self._today else ""
        status, reason, result = RetrievalStatus.OK, "", SearchResult()
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await self._search(principal.tenant, groups, query, day)
        except TimeoutError:
            status, reason = RetrievalStatus.TIMEOUT, "deadline"
        except StoreUnavailable as error:
            status, reason = RetrievalStatus.ERROR, error.code
        except Exception as error:  # noqa: BLE001 the contract: whatever fails is a status, with no content in it
            status, reason = RetrievalStatus.ERROR, f"exception:{type(error).__name__}"
        visible = [passage for passage in result.passages if _visible(result, passage, principal.tenant, groups, day)]
        return Retrieval(
            status=status,
            passages=_selected(visible, top_k=self._top_k, max_chars=self._max_context_chars),
            store=result.store or self._store.name,
            index_rev=result.index_rev,
            filter=filter_digest(principal.tenant, groups),
            dropped=len(result.passages) - len(visible),
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

    async def _search(self, tenant: str, groups: frozenset[str], query: str, day: str) -> SearchResult:
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
            return result
        assert failure is not None  # there is one embedder at least
        raise failure


def filter_digest(tenant: str, groups: frozenset[str]) -> str:
    """Names an access filter in the audit without listing it. 16 hex digits."""
    return hashlib.sha256(json.dumps([tenant, sorted(groups)]).encode()).hexdigest()[:16]


def _visible(result: SearchResult, passage: Passage, tenant: str, groups: frozenset[str], day: str) -> bool:
    # INVARIANT I7: verified identity alone decides; this does not trust the store's own filter
    is_valid = not day or (passage.valid_from <= day and (not passage.valid_to or day <= passage.valid_to))
    return result.tenant == tenant and bool(passage.access & groups) and is_valid


def _is_withheld(record: DocumentRecord, passages: Sequence[Passage]) -> bool:
    """Whether policies keep one of the passages from everyone by now."""
    withheld = {one.text for one in record.withheld}
    return any(passage.doc == record.doc and text_digest(passage) in withheld for passage in passages)


def _selected(passages: Iterable[Passage], *, top_k: int, max_chars: int) -> tuple[Passage, ...]:
    chosen: list[Passage] = []
    shingled: list[frozenset[tuple[str, ...]]] = []
    for passage in passages:
        shingles = _shingles(passage.text)
        if len(passage.text) > max_chars or any(_contained(shingles, other) >= _DUPLICATE for other in shingled):
            continue
        chosen.append(passage)
        shingled.append(shingles)
        max_chars -= len(passage.text)
        if len(chosen) == top_k:
            break
    return tuple(chosen)


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Runs of words (Broder 1997: On the resemblance and containment of documents)."""
    words = _WORD.findall(text.lower())
    return frozenset(_runs(words)) or frozenset([tuple(words)])


def _runs(words: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(_SHINGLE_WORDS)), strict=False)


def _contained(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    return len(one & other) / min(len(one), len(other))
