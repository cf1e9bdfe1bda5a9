"""How good a ranking is, and how good a search is on the labelled sets.

Measures over one ranking of document ids and the set of relevant ones, each in 0..1; of an id that comes more than
once the first place counts: nDCG@k with binary gain (Järvelin and Kekäläinen 2002, as trec_eval computes it),
recall@k, reciprocal rank. The two sets are read from a folder when it has them; searching is a function that the
caller gives, so this module knows no store.
"""

import gzip
import math
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

SCIFACT_CORPUS: Final = "retrieval/scifact_corpus.jsonl.gz"
SCIFACT_CLAIMS: Final = "retrieval/scifact_claims_train.jsonl.gz"
RHOBANK_DOCUMENTS: Final = "retrieval/rhobank_docs.jsonl.gz"
RHOBANK_TASKS: Final = "retrieval/rhobank_tasks.jsonl.gz"

K: Final = 10


class LabelledDocument(Struct, frozen=True, kw_only=True):
    id: str
    title: str
    text: str
    internal: bool = False


class LabelledQuery(Struct, frozen=True, kw_only=True):
    id: str
    text: str
    relevant: frozenset[str]


class RetrievalSet(Struct, frozen=True, kw_only=True):
    name: str
    documents: tuple[LabelledDocument, ...]
    queries: tuple[LabelledQuery, ...]

    def __repr__(self) -> str:
        return f"RetrievalSet({self.name!r}, {len(self.documents)} documents, {len(self.queries)} queries)"


class RetrievalScores(Struct, frozen=True, kw_only=True):
    """Means over the queries that have a relevant document."""

    name: str
    queries: int
    ndcg: float
    recall: float
    mrr: float


Search = Callable[[str], Awaitable[Sequence[str]]]
"""Query text -> document ids, best first. An id may come more than once (passages of one document); the first
counts."""


def ndcg(ranking: Sequence[str], relevant: Collection[str], k: int = K) -> float:
    """Normalised discounted cumulative gain of the first `k`. 0 if nothing is relevant."""
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(relevant)) + 1))
    gained = sum(1 / math.log2(rank + 1) for rank, item in enumerate(_first(ranking, k), start=1) if item in relevant)
    return gained / ideal if ideal else 0.0


def recall(ranking: Sequence[str], relevant: Collection[str], k: int = K) -> float:
    """The part of the relevant documents among the first `k`. 0 if nothing is relevant."""
    return len(set(_first(ranking, k)) & set(relevant)) / len(set(relevant)) if relevant else 0.0


def reciprocal_rank(ranking: Sequence[str], relevant: Collection[str], k: int = K) -> float:
    """1 / rank of the first relevant document among the first `k`, 0 if there is none."""
    return next((1 / rank for rank, item in enumerate(_first(ranking, k), start=1) if item in relevant), 0.0)


def _first(ranking: Sequence[str], k: int) -> list[str]:
    """The first `k` distinct ids."""
    return list(dict.fromkeys(ranking))[:k]


async def evaluate(labelled: RetrievalSet, search: Search, *, k: int = K) -> RetrievalScores:
    """Run every query of a set, one after the other, and average."""
    queries = [query for query in labelled.queries if query.relevant]
    rankings = [(await search(query.text), query.relevant) for query in queries]
    count = max(len(rankings), 1)
    return RetrievalScores(
        name=labelled.name,
        queries=len(rankings),
        ndcg=sum(ndcg(ranking, relevant, k) for ranking, relevant in rankings) / count,
        recall=sum(recall(ranking, relevant, k) for ranking, relevant in rankings) / count,
        mrr=sum(reciprocal_rank(ranking, relevant, k) for ranking, relevant in rankings) / count,
    )


def scifact(folder: Path) -> RetrievalSet | None:
    """SciFact (Wadden et al. 2020): scientific claims and the abstracts that speak of them. `None` if absent."""
    rows = _rows(folder / SCIFACT_CORPUS), _rows(folder / SCIFACT_CLAIMS)
    if rows[0] is None or rows[1] is None:
        return None
    return RetrievalSet(
        name="scifact",
        documents=tuple(
            LabelledDocument(id=row["id"], title=row["title"], text=" ".join(row["sentences"])) for row in rows[0]
        ),
        queries=tuple(
            LabelledQuery(id=row["id"], text=row["text"], relevant=frozenset(row["relevant"])) for row in rows[1]
        ),
    )


def rhobank(folder: Path) -> RetrievalSet | None:
    """The documents of a fictional bank and what its customers are told to want (tau2-bench, banking knowledge);
    the query is the scenario's instructions, which speak of much besides. `None` if absent."""
    rows = _rows(folder / RHOBANK_DOCUMENTS), _rows(folder / RHOBANK_TASKS)
    if rows[0] is None or rows[1] is None:
        return None
    return RetrievalSet(
        name="rhobank",
        documents=tuple(
            LabelledDocument(id=row["id"], title=row["title"], text=row["text"], internal=bool(row["internal"]))
            for row in rows[0]
        ),
        queries=tuple(
            LabelledQuery(
                id=row["id"],
                text=_without_markup(row["scenario"]["instructions"]),
                relevant=frozenset(row["required_documents"]),
            )
            for row in rows[1]
        ),
    )


def _without_markup(text: str) -> str:
    return re.sub(r"[*#_`-]+", " ", text)


def _rows(file: Path) -> list[dict[str, Any]] | None:
    if not file.is_file():
        return None
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [msgspec.json.decode(line) for line in lines]
