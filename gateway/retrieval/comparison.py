"""What two indexes find for the same questions: how much of what is wanted, and how much of it is the same."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from gateway.domain.passage import RetrievalStatus
from gateway.domain.ports import Retriever
from gateway.domain.principal import Principal
from gateway.retrieval.store import Catalogue

DEPTH: Final = 5
_SAMPLE: Final = 200  # titles; a recall of 0.9 is then known to within 0.04


class KnownItem(Struct, frozen=True, kw_only=True):
    """A question of a caller with these groups, and the documents one of which must be found."""

    tenant: str
    ask: str
    groups: frozenset[str]
    documents: frozenset[str]


class Found(Struct, frozen=True, kw_only=True):
    """Means over the questions, each in 0..1; `failed` counts searches that failed, which found nothing."""

    recall: float
    ndcg: float
    failed: int


class Comparison(Struct, frozen=True, kw_only=True):
    """`overlap` is the mean share of documents that both have among the first ones."""

    questions: int
    before: Found
    after: Found
    overlap: float

    @property
    def drop(self) -> float:
        return self.before.recall - self.after.recall


def sampled_titles(catalogues: Mapping[str, Catalogue]) -> list[KnownItem]:
    """Titles of documents as questions for them, evenly from all that somebody may see. Deterministic."""
    found = [
        KnownItem(tenant=tenant, ask=record.title, groups=frozenset(record.access), documents=frozenset([doc]))
        for tenant, catalogue in sorted(catalogues.items())
        for doc, record in sorted(catalogue.documents.items())
        if record.title and record.access and len(record.withheld) < record.passages
    ]
    step = max(1, math.ceil(len(found) / _SAMPLE))
    return found[::step]


async def compare(before: Retriever, after: Retriever, items: Sequence[KnownItem]) -> Comparison:
    """Ask both, one question after the other."""
    old = [await _ranking(before, item) for item in items]
    new = [await _ranking(after, item) for item in items]
    shared = [_overlap(one or [], other or []) for one, other in zip(old, new, strict=True)]
    return Comparison(
        questions=len(items),
        before=_found(old, items),
        after=_found(new, items),
        overlap=sum(shared) / len(shared) if shared else 1.0,
    )


async def unfound(retriever: Retriever, items: Sequence[KnownItem]) -> list[KnownItem]:
    """Those of the questions for which none of the documents is among the first."""
    rankings = [await _ranking(retriever, item) for item in items]
    return [item for item, found in zip(items, rankings, strict=True) if item.documents.isdisjoint(found or [])]


async def _ranking(retriever: Retriever, item: KnownItem) -> list[str] | None:
    """The first documents, best first; `None` if the search failed."""
    principal = Principal(tenant=item.tenant, app="index", user="index", groups=item.groups, auth="key", ref="index")
    found = await retriever.retrieve(principal, item.ask)
    if found.status is not RetrievalStatus.OK:
        return None
    return list(dict.fromkeys(passage.doc for passage in found.passages))[:DEPTH]


def _found(rankings: Sequence[list[str] | None], items: Sequence[KnownItem]) -> Found:
    ranks = [
        next((rank for rank, doc in enumerate(ranking or [], start=1) if doc in item.documents), 0)
        for ranking, item in zip(rankings, items, strict=True)
    ]
    count = max(len(ranks), 1)
    return Found(
        recall=sum(rank > 0 for rank in ranks) / count,
        ndcg=sum(1 / math.log2(rank + 1) for rank in ranks if rank) / count,
        failed=sum(ranking is None for ranking in rankings),
    )


def _overlap(one: Sequence[str], other: Sequence[str]) -> float:
    return len(set(one) & set(other)) / max(len(one), len(other), 1) if one or other else 1.0
