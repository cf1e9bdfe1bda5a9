"""How fast the embedded store searches 100,000 passages with an access filter: `python -m tests.bench.retrieval_speed`.

Texts are words drawn by Zipf's law (seeded), so that term statistics look like those of prose; vectors are random unit
vectors, for which an exact search costs what it costs for real ones. A tenth of the passages is open to the asker's
groups in the first measurement, all of them in the second.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from gateway.domain.passage import Passage
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.store import DocumentRecord, IndexedDocument, IndexIdentity, IndexUpdate, SearchRequest

DIMENSIONS = 384
PER_DOCUMENT = 10
WORDS = 100
VOCABULARY = 30_000
IDENTITY = IndexIdentity(embedder="bench@1", dimensions=DIMENSIONS, chunker="bench/1")


def corpus(passages: int, rng: np.random.Generator) -> list[IndexedDocument]:
    vectors = rng.standard_normal((passages, DIMENSIONS), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    documents = []
    for number in range(passages // PER_DOCUMENT):
        doc = f"d{number:06d}"
        access = frozenset([f"group-{number % 10}", "all"])
        found = tuple(
            Passage(doc=doc, number=at, revision="0" * 16, title=words(rng, 5), text=words(rng, WORDS), access=access)
            for at in range(PER_DOCUMENT)
        )
        record = DocumentRecord(doc=doc, content=doc, root="bench", passages=PER_DOCUMENT, access=tuple(sorted(access)))
        own = vectors[number * PER_DOCUMENT : (number + 1) * PER_DOCUMENT]
        documents.append(IndexedDocument(record=record, passages=found, vectors=own))
    return documents


def words(rng: np.random.Generator, count: int) -> str:
    return " ".join(f"w{min(int(word), VOCABULARY)}" for word in rng.zipf(1.3, count))


async def measure(
    store: EmbeddedStore, rng: np.random.Generator, groups: frozenset[str], queries: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of each search as a caller sees them, and as the processor does, each sorted."""
    took, spent = [], []
    for _ in range(queries):
        vector = rng.standard_normal(DIMENSIONS, np.float32)
        vector /= np.linalg.norm(vector)
        request = SearchRequest(tenant="bench", groups=groups, text=words(rng, 12), vector=vector, limit=15)
        started, began = time.perf_counter(), time.process_time()
        await store.search(request)
        took.append((time.perf_counter() - started) * 1000)
        spent.append((time.process_time() - began) * 1000)
    return sorted(took), sorted(spent)


async def main(passages: int, queries: int) -> None:
    rng = np.random.default_rng(7)
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        store = EmbeddedStore(Path(folder), embedder=IDENTITY.embedder)
        started = time.perf_counter()
        await store.apply(IndexUpdate(tenant="bench", identity=IDENTITY, documents=corpus(passages, rng)))
        figures: dict[str, float] = {"passages": passages, "build_s": round(time.perf_counter() - started, 1)}
        for name, groups in (("tenth", frozenset(["group-3"])), ("all", frozenset(["all"]))):
            await measure(store, rng, groups, 20)
            took, spent = await measure(store, rng, groups, queries)
            for share in (0.5, 0.95, 0.99):
                figures[f"{name}_p{round(share * 100)}_ms"] = round(took[int(share * len(took))], 2)
                figures[f"{name}_p{round(share * 100)}_cpu_ms"] = round(spent[int(share * len(spent))], 2)
        await store.close()
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.passages, chosen.queries))
