"""The passages of one index -> another index of the same passages with the vectors of another embedder.

Nothing is read, cut or judged again: records, withheld passages and releases go over as they are. What the other index
has already, by the same state, is left alone, so a second run after changes takes only the changes.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.domain.ports import Embedder
from gateway.retrieval.ingest import Progress, index_identity
from gateway.retrieval.journal import IngestJournal
from gateway.retrieval.preparing import embed
from gateway.retrieval.store import IndexedDocument, IndexUpdate, PassageStore

_AT_ONCE: Final = 32  # documents read and embedded together


async def reembed(
    source: PassageStore,
    target: PassageStore,
    embedder: Embedder,
    *,
    tenant: str,
    journal: IngestJournal,
    progress: Callable[[Progress], None] = lambda _: None,
) -> int:
    """Make `target` hold what `source` holds of a tenant. How many documents were embedded. What is done is kept in
    `journal`, so that an interrupted run goes on. Raises `StoreUnavailable`; then `target` is as it was."""
    identity = index_identity(embedder)
    wanted, held = await source.catalogue(tenant), await target.catalogue(tenant)
    known = held.documents if held.identity == identity else {}
    missing = [doc for doc, record in wanted.documents.items() if doc not in known or known[doc].state != record.state]
    gone = frozenset(known.keys() - wanted.documents.keys())
    if not missing and not gone and held.identity == identity:
        return 0
    prepared: list[IndexedDocument] = []
    passages = 0
    progress(Progress(done=0, total=len(missing), passages=0))
    for start in range(0, len(missing), _AT_ONCE):
        for document in await source.read(tenant, missing[start : start + _AT_ONCE]):
            prepared.append(await _embedded(document, embedder, tenant=tenant, key=identity.embedder, journal=journal))
            passages += len(document.passages)
        progress(Progress(done=len(prepared), total=len(missing), passages=passages))
    await target.apply(IndexUpdate(tenant=tenant, identity=identity, documents=prepared, removed=gone))
    await asyncio.to_thread(journal.indexed, tenant, prepared)
    return len(prepared)


async def _embedded(
    document: IndexedDocument, embedder: Embedder, *, tenant: str, key: str, journal: IngestJournal
) -> IndexedDocument:
    record = document.record
    kept = journal.kept(
        tenant, key, doc=record.doc, content=record.content, root=record.root, dimensions=embedder.dimensions
    )
    if kept is not None and kept.record.state == record.state:
        return kept
    [made] = await asyncio.to_thread(embed, [(record, document.passages)], embedder, {})
    await asyncio.to_thread(journal.keep, tenant, key, [made])
    return made
