"""Files -> searchable passages.

1. read      every file, all faults together; any fault and nothing is changed
2. compare   with what the index holds, by content hash: unchanged documents cost nothing more
3. prepare   chunk and embed what is new or changed
4. apply     one update a tenant, visible at once and as a whole; documents that vanished from the ingested
             folders go with it

What vanished is judged by folder: a document that an earlier ingest of the same folder brought and that is not there
now is removed, in whichever tenant it was. Documents from other folders stay.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from gateway.domain.errors import ConfigurationError, Fault, FaultsFound
from gateway.domain.event import EventDraft, EventType
from gateway.domain.passage import Passage
from gateway.domain.ports import Embedder
from gateway.retrieval.chunking import DEFAULT_CHUNKING, ChunkingParameters, chunks
from gateway.retrieval.document import SUFFIXES, SourceDocument, read_document
from gateway.retrieval.store import (
    Catalogue,
    DocumentRecord,
    IndexedDocument,
    IndexIdentity,
    IndexUpdate,
    PassageStore,
)

_REVISION_CHARS: Final = 16
_EMBED_AT_ONCE: Final = 64  # passages between two reports of progress

Progress = Callable[[int, int], None]
"""Called with the number of documents prepared and the number to prepare."""


class TenantReport(Struct, frozen=True, kw_only=True):
    """What an ingest did to one tenant's index. Documents are counted, not named, but for `removed_documents`."""

    tenant: str
    added: int
    changed: int
    unchanged: int
    removed: int
    passages: int  # embedded by this ingest
    embedder: str
    chunker: str
    before: str  # index revisions; "" for no index
    after: str


class IngestReport(Struct, frozen=True, kw_only=True):
    store: str
    tenants: tuple[TenantReport, ...]

    def events(self) -> list[EventDraft]:
        """One audit event for each tenant whose index changed."""
        return [
            EventDraft(
                type=EventType.INGEST,
                tenant=report.tenant,
                body={
                    "store": self.store,
                    "added": report.added,
                    "changed": report.changed,
                    "unchanged": report.unchanged,
                    "removed": report.removed,
                    "passages": report.passages,
                    "embedder": report.embedder,
                    "chunker": report.chunker,
                    "index_rev_before": report.before,
                    "index_rev": report.after,
                },
            )
            for report in self.tenants
            if report.before != report.after
        ]


class Ingest:
    """Brings an index up to date with files. One at a time for a store. `rebuild` prepares every document again
    and replaces the whole index of each tenant found, which also repairs a damaged one."""

    def __init__(
        self,
        store: PassageStore,
        embedder: Embedder,
        *,
        chunking: ChunkingParameters = DEFAULT_CHUNKING,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._chunking = chunking
        self._identity = index_identity(embedder, chunking)

    async def run(
        self,
        paths: Sequence[Path],
        *,
        tenant: str = "",
        rebuild: bool = False,
        progress: Progress = lambda _done, _total: None,
    ) -> IngestReport:
        """Raises `FaultsFound` with the faults of all files, `ConfigurationError`, or `StoreUnavailable`; then no
        tenant or, if the store failed in between, not every tenant has been changed."""
        documents = await asyncio.to_thread(read_documents, paths, tenant=tenant)
        by_tenant: dict[str, list[SourceDocument]] = {}
        for document in documents:
            by_tenant.setdefault(document.tenant, []).append(document)
        roots = {str(root) for root, _ in _roots(paths)}
        names = by_tenant.keys() if rebuild else by_tenant.keys() | await self._store.tenants()
        catalogues = {name: Catalogue() if rebuild else await self._store.catalogue(name) for name in sorted(names)}
        pending = {name: self._changed(by_tenant.get(name, []), catalogues[name]) for name in catalogues}
        told = _Told(progress, sum(map(len, pending.values())))
        prepared = {name: await asyncio.to_thread(self._prepare, changed, told) for name, changed in pending.items()}
        reports = [
            await self._apply(name, by_tenant.get(name, []), prepared[name], catalogue, roots, rebuild=rebuild)
            for name, catalogue in catalogues.items()
        ]
        return IngestReport(store=self._store.name, tenants=tuple(filter(None, reports)))

    def _changed(self, documents: Iterable[SourceDocument], catalogue: Catalogue) -> list[SourceDocument]:
        known: Mapping[str, DocumentRecord] = catalogue.documents if catalogue.identity == self._identity else {}
        return [
            document
            for document in documents
            if document.id not in known
            or (known[document.id].content, known[document.id].root) != (document.content, document.root)
        ]

    def _prepare(self, documents: Sequence[SourceDocument], told: "_Told") -> list[IndexedDocument]:
        prepared: list[IndexedDocument] = []
        for batch in _batches([(document, _passages(document, self._chunking)) for document in documents]):
            texts = [embedded_text(passage) for _, passages in batch for passage in passages]
            vectors = self._embedder.embed(texts)
            at = 0
            for document, passages in batch:
                rows = vectors[at : at + len(passages)]
                prepared.append(
                    IndexedDocument(record=_record(document, len(passages)), passages=passages, vectors=rows)
                )
                at += len(passages)
            told.more(len(batch))
        return prepared

    async def _apply(
        self,
        tenant: str,
        documents: Sequence[SourceDocument],
        prepared: Sequence[IndexedDocument],
        catalogue: Catalogue,
        roots: set[str],
        *,
        rebuild: bool,
    ) -> TenantReport | None:
        here = {document.id for document in documents}
        vanished = {doc for doc, record in catalogue.documents.items() if record.root in roots and doc not in here}
        if not documents and not vanished:
            return None  # a tenant that this ingest has nothing to do with
        added = sum(document.record.doc not in catalogue.documents for document in prepared)
        update = IndexUpdate(
            tenant=tenant,
            identity=self._identity,
            documents=prepared,
            removed=frozenset(vanished),
            complete=rebuild,
        )
        changes = bool(prepared or vanished or rebuild)
        return TenantReport(
            tenant=tenant,
            added=added,
            changed=len(prepared) - added,
            unchanged=len(documents) - len(prepared),
            removed=len(vanished),
            passages=sum(len(document.passages) for document in prepared),
            embedder=self._identity.embedder,
            chunker=self._identity.chunker,
            before=catalogue.index_rev,
            after=await self._store.apply(update) if changes else catalogue.index_rev,
        )


class _Told:
    """Progress over all tenants, told to the caller."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._done = 0
        self._total = total
        progress(0, total)

    def more(self, documents: int) -> None:
        self._done += documents
        self._progress(self._done, self._total)


def embedder_identity(embedder: Embedder) -> str:
    """How an index names the embedder that made its vectors."""
    return f"{embedder.name}@{embedder.version}"


def index_identity(embedder: Embedder, chunking: ChunkingParameters = DEFAULT_CHUNKING) -> IndexIdentity:
    return IndexIdentity(
        embedder=embedder_identity(embedder), dimensions=embedder.dimensions, chunker=chunking.identity
    )


def embedded_text(passage: Passage) -> str:
    """What stands for a passage in the vector index: title and section give a short text its subject."""
    return "\n".join(part for part in (passage.title, passage.section, passage.text) if part)


def read_documents(paths: Sequence[Path], *, tenant: str) -> list[SourceDocument]:
    """All documents of files and folders, in order of path. Raises `FaultsFound` with the faults of all of them."""
    faults: list[Fault] = []
    documents: list[SourceDocument] = []
    for root, file in _files(paths):
        document = read_document(file, root=root, tenant=tenant, faults=faults)
        if document is not None:
            documents.append(document)
    first: dict[tuple[str, str], SourceDocument] = {}
    for document in documents:
        other = first.setdefault((document.tenant, document.id), document)
        if other is not document:
            place = str(Path(document.root) / document.source)
            message = f"another file has the id `{document.id}` too: give one of them another `id`"
            faults.append(Fault(place, 0, 0, "DOC008", message))
    if faults:
        raise FaultsFound(faults)
    return documents


def _roots(paths: Iterable[Path]) -> Iterator[tuple[Path, bool]]:
    """Each path made absolute, and whether it is a folder."""
    for path in paths:
        absolute = Path(os.path.normpath(path.absolute()))
        if not absolute.exists():
            raise ConfigurationError(f"`{path}` does not exist: name a file or a folder of documents")
        if absolute.is_file() and absolute.suffix.lower() not in SUFFIXES:
            known = ", ".join(f"`{suffix}`" for suffix in SUFFIXES)
            raise ConfigurationError(f"`{path}` is no document: name a folder, or a file that ends with one of {known}")
        yield absolute, absolute.is_dir()


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """(folder that ids are relative to, file), each file once. Hidden files, and links that lead out of the folder,
    are left out: a corpus cannot pull in files that nobody meant."""
    seen: set[Path] = set()
    for root, is_folder in _roots(paths):
        found = sorted(root.rglob("*")) if is_folder else [root]
        base = root if is_folder else root.parent
        for file in found:
            hidden = any(part.startswith(".") for part in file.relative_to(base).parts)
            if hidden or file.suffix.lower() not in SUFFIXES or not file.is_file():
                continue
            resolved = file.resolve()
            if resolved in seen or not resolved.is_relative_to(base.resolve()):
                continue
            seen.add(resolved)
            yield base, file


def _passages(document: SourceDocument, chunking: ChunkingParameters) -> tuple[Passage, ...]:
    meta = document.meta
    made = chunks(document.text, document.text_format, title=meta.title, parameters=chunking)
    return tuple(
        Passage(
            doc=document.id,
            number=number,
            revision=document.content[:_REVISION_CHARS],
            title=meta.title,
            section=chunk.section,
            text=chunk.text,
            source=document.source,
            owner=meta.owner,
            classification=meta.classification.value,
            effective=meta.effective.isoformat() if meta.effective else "",
            access=frozenset(meta.access),
        )
        for number, chunk in enumerate(made)
    )


def _record(document: SourceDocument, passages: int) -> DocumentRecord:
    meta = document.meta
    return DocumentRecord(
        doc=document.id,
        content=document.content,
        root=document.root,
        passages=passages,
        effective=meta.effective.isoformat() if meta.effective else "",
        review_by=meta.review_by.isoformat() if meta.review_by else "",
        language=meta.language,
    )


def _batches(
    documents: Iterable[tuple[SourceDocument, tuple[Passage, ...]]],
) -> Iterator[list[tuple[SourceDocument, tuple[Passage, ...]]]]:
    """Whole documents of at least `_EMBED_AT_ONCE` passages together."""
    batch: list[tuple[SourceDocument, tuple[Passage, ...]]] = []
    size = 0
    for document, passages in documents:
        batch.append((document, passages))
        size += len(passages)
        if size >= _EMBED_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
