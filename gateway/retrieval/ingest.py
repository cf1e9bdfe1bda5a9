"""Files -> searchable passages.

1. find      every file and its metadata; a file with a fault is told and left out, its earlier revision stays
2. compare   with what the index holds, by content hash and policy digest: unchanged documents cost nothing more
3. prepare   parse, cut, judge and embed what is new or changed; kept in the journal, so that an interrupted run goes on
4. apply     one update a tenant, visible at once and as a whole; documents that vanished from the ingested
             folders go with it

What vanished is judged by folder: a document that an earlier ingest of the same folder brought and that is not there
now is removed, in whichever tenant it was. Documents from other folders stay.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from gateway.domain.errors import ConfigurationError, Fault
from gateway.domain.passage import Passage
from gateway.domain.ports import Embedder
from gateway.domain.vocabulary import Effect
from gateway.retrieval.discovery import Found, Place, find_documents
from gateway.retrieval.document import EmptyDocument, Reading, SourceDocument
from gateway.retrieval.embedding import embedder_identity
from gateway.retrieval.journal import IngestJournal
from gateway.retrieval.judging import JudgedText, PassageJudge
from gateway.retrieval.parsing.parsed import UnreadableDocument
from gateway.retrieval.parsing.parser import Parser
from gateway.retrieval.preparing import Cut, IngestRun, cut, embed, embedded_text, judged_record
from gateway.retrieval.report import IngestReport, TenantReport, manifest
from gateway.retrieval.store import (
    Catalogue,
    DocumentRecord,
    IndexedDocument,
    IndexIdentity,
    IndexUpdate,
    PassageStore,
    Released,
)

LAYOUT: Final = "passages-2"  # moves when the same document could give other passages, whatever cuts it
_EMBED_AT_ONCE: Final = 64  # passages between two reports of progress

_ALLOWED: Final = Effect.ALLOW


class Progress(Struct, frozen=True, kw_only=True):
    """How far an ingest is: documents prepared of those to prepare, and passages so far."""

    done: int
    total: int
    passages: int


class Ingest:
    """Brings an index up to date with files. One at a time for a store.

    Without a `journal` an interrupted run begins anew and deletions do not last; without a `judge` passages are
    indexed as they are. `run` names the run in records and audit. `like` are the catalogues of another index by
    tenant: only documents that they have are taken, and what people have released there is released here.
    """

    def __init__(
        self,
        store: PassageStore,
        embedder: Embedder,
        *,
        reading: Reading = Reading(),  # noqa: B008 frozen
        journal: IngestJournal | None = None,
        judge: PassageJudge | None = None,
        run: str = "",
        at: str = "",
        parser: Callable[[], Parser] = Parser,
        like: Mapping[str, Catalogue] | None = None,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._reading = reading
        self._journal = journal
        self._judge = judge
        self._run = IngestRun(id=run, at=at, policy=judge.policy if judge else "")
        self._parser = parser
        self._identity = index_identity(embedder)
        self._like = like

    async def run(
        self,
        paths: Sequence[Path],
        *,
        tenant: str = "",
        rebuild: bool = False,
        allow_empty: bool = False,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> IngestReport:
        """`rebuild` prepares every document again and replaces the whole index of each tenant found, which also
        repairs a damaged one. A folder that holds nothing, though the index has documents from it, is taken for a
        mistake unless `allow_empty`. Raises `ConfigurationError` or `StoreUnavailable`; then no tenant or, if the
        store failed in between, not every tenant has been changed."""
        reading = structs.replace(self._reading, tenant=tenant or self._reading.tenant)
        found = await asyncio.to_thread(find_documents, paths, reading)
        names = {document.tenant for document in found.documents}
        if self._like is not None:
            names &= self._like.keys()
        elif not rebuild:
            names |= await self._store.tenants()
        works = [await self._compare(name, found, rebuild=rebuild) for name in sorted(names)]
        if not allow_empty:
            _refuse_empty(found, works)
        told = _Told(progress, sum(len(work.pending) for work in works))
        faults = list(found.faults)
        with self._parser() as parser:
            for work in works:
                await self._prepare(work, parser, told)
                faults += work.faults
        reports = [await self._apply(work, found, rebuild=rebuild) for work in works]
        return IngestReport(
            store=self._store.name,
            tenants=tuple(report for report in reports if report is not None),
            run=self._run.id,
            policy=self._run.policy,
            faults=tuple(sorted(set(faults))),
        )

    async def _compare(self, tenant: str, found: Found, *, rebuild: bool) -> "_Work":
        catalogue = Catalogue() if rebuild else await self._store.catalogue(tenant)
        documents = [document for document in found.documents if document.tenant == tenant and self._takes(document)]
        work = _Work(tenant=tenant, catalogue=catalogue, faulty=set(found.faulty))
        gone = self._journal.deletions(tenant) if self._journal is not None else {}
        same = catalogue.identity == self._identity
        for document in documents:
            if document.id in gone:
                message = "the document was deleted for good: remove the file, or run `gateway sources allow`"
                work.reject(document, "DOC011", message)
                continue
            work.here.append(document)
            record = catalogue.documents.get(document.id) if same else None
            if record is None or not self._is_current(record, document):
                work.pending.append(document)
        return work

    def _takes(self, document: SourceDocument) -> bool:
        return self._like is None or document.id in self._like.get(document.tenant, Catalogue()).documents

    def _released(self, work: "_Work", doc: str) -> tuple[Released, ...]:
        catalogue = work.catalogue if self._like is None else self._like.get(work.tenant, Catalogue())
        record = catalogue.documents.get(doc)
        return record.released if record else ()

    def _is_current(self, record: DocumentRecord, document: SourceDocument) -> bool:
        judged = self._judge is None or record.policy == self._run.policy
        return judged and (record.content, record.root) == (document.content, document.root)

    async def _prepare(self, work: "_Work", parser: Parser, told: "_Told") -> None:
        """Fill `work.prepared`. Whole documents of at least `_EMBED_AT_ONCE` passages are embedded together."""
        batch: list[tuple[Cut, DocumentRecord, tuple[Passage, ...]]] = []
        for document in work.pending:
            ready = self._kept(work.tenant, document)
            if ready is not None:
                work.prepared.append(ready)
                work.resumed += 1
                told.more(1, 0)
                continue
            try:
                made = await asyncio.to_thread(cut, document, parser, self._embedder)
            except UnreadableDocument as error:
                work.reject(document, "DOC006" if isinstance(error, EmptyDocument) else "DOC001", error.message)
                told.more(1, 0)
                continue
            judged = await self._judged(work.tenant, made.passages)
            record, passages = judged_record(made, judged, self._released(work, document.id), self._run)
            batch.append((made, record, passages))
            if sum(len(one) for *_, one in batch) >= _EMBED_AT_ONCE:
                await self._embed(work, batch, told)
                batch = []
        await self._embed(work, batch, told)

    async def _judged(self, tenant: str, passages: Sequence[Passage]) -> list[JudgedText]:
        if self._judge is None:
            return [JudgedText(passage=passage, effect=_ALLOWED) for passage in passages]
        return await self._judge.judge(tenant, passages)

    async def _embed(
        self, work: "_Work", batch: Sequence[tuple[Cut, DocumentRecord, tuple[Passage, ...]]], told: "_Told"
    ) -> None:
        if not batch:
            return
        known = await self._known(work, [record.doc for _, record, _ in batch])
        documents = await asyncio.to_thread(
            embed, [(record, passages) for _, record, passages in batch], self._embedder, known
        )
        work.prepared += documents
        if self._journal is not None:
            await asyncio.to_thread(self._journal.keep, work.tenant, self._key(), documents)
        told.more(len(batch), sum(len(document.passages) for document in documents))

    async def _known(self, work: "_Work", docs: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors of the documents' earlier revisions, by the text that they stand for."""
        if work.catalogue.identity != self._identity:
            return {}
        earlier = await self._store.read(work.tenant, [doc for doc in docs if doc in work.catalogue.documents])
        return {
            embedded_text(passage): vector
            for document in earlier
            for passage, vector in zip(document.passages, document.vectors, strict=True)
        }

    def _kept(self, tenant: str, document: SourceDocument) -> IndexedDocument | None:
        if self._journal is None:
            return None
        return self._journal.kept(
            tenant,
            self._key(),
            doc=document.id,
            content=document.content,
            root=document.root,
            dimensions=self._embedder.dimensions,
        )

    def _key(self) -> str:
        return f"{self._identity.embedder}/{self._identity.chunker}/{self._run.policy}"

    async def _apply(self, work: "_Work", found: Found, *, rebuild: bool) -> TenantReport | None:
        catalogue, prepared = work.catalogue, work.prepared
        vanished = work.vanished(found.roots)
        if not work.here and not vanished and not prepared:
            return None  # a tenant that this ingest has nothing to do with
        added = sum(document.record.doc not in catalogue.documents for document in prepared)
        rejected = len(work.pending) - len(prepared)
        after = catalogue.index_rev
        if prepared or vanished or (rebuild and work.here):
            after = await self._store.apply(
                IndexUpdate(
                    tenant=work.tenant,
                    identity=self._identity,
                    documents=prepared,
                    removed=frozenset(vanished),
                    complete=rebuild,
                )
            )
            if self._journal is not None:
                await asyncio.to_thread(self._journal.indexed, work.tenant, prepared)
        return TenantReport(
            tenant=work.tenant,
            added=added,
            changed=len(prepared) - added,
            unchanged=len(work.here) - len(prepared) - rejected,
            removed=len(vanished),
            passages=sum(len(document.passages) for document in prepared),
            embedder=self._identity.embedder,
            chunker=self._identity.chunker,
            before=catalogue.index_rev,
            after=after,
            resumed=work.resumed,
            withheld=sum(len(document.record.withheld) for document in prepared),
            redacted=sum(document.record.redacted for document in prepared),
            hidden=sum(document.record.hidden for document in prepared),
            manifest=manifest(prepared),
        )


class _Work(Struct, kw_only=True):
    """What an ingest has to do for one tenant. `here` are the documents of this run, `pending` those to prepare."""

    tenant: str
    catalogue: Catalogue
    faulty: set[Place]
    here: list[SourceDocument] = []
    pending: list[SourceDocument] = []
    prepared: list[IndexedDocument] = []
    faults: list[Fault] = []
    resumed: int = 0

    def reject(self, document: SourceDocument, code: str, message: str) -> None:
        self.faults.append(Fault(str(document.path), 0, 0, code, message))
        self.faulty.add(Place(document.root, document.file))

    def vanished(self, roots: frozenset[str]) -> list[str]:
        """Documents that an earlier ingest of these folders brought and that are not there now. One whose file has a
        fault is there."""
        here = {document.id for document in self.here}
        return [doc for doc, record in self._from(roots) if doc not in here and not self._is_faulty(record)]

    def _from(self, roots: frozenset[str]) -> Iterator[tuple[str, DocumentRecord]]:
        return ((doc, record) for doc, record in self.catalogue.documents.items() if record.root in roots)

    def _is_faulty(self, record: DocumentRecord) -> bool:
        if not record.file:  # indexed before records named files: any fault in its folder may be its own
            return any(place.root == record.root for place in self.faulty)
        return Place(record.root, record.file) in self.faulty


class _Told:
    """Progress over all tenants, told to the caller."""

    def __init__(self, progress: Callable[[Progress], None], total: int) -> None:
        self._progress = progress
        self._done = self._passages = 0
        self._total = total
        self.more(0, 0)

    def more(self, documents: int, passages: int) -> None:
        self._done += documents
        self._passages += passages
        self._progress(Progress(done=self._done, total=self._total, passages=self._passages))


def index_identity(embedder: Embedder) -> IndexIdentity:
    return IndexIdentity(embedder=embedder_identity(embedder), dimensions=embedder.dimensions, chunker=LAYOUT)


def _refuse_empty(found: Found, works: Sequence[_Work]) -> None:
    """An unmounted disk looks like a folder from which everything vanished."""
    filled = {document.root for document in found.documents} | {place.root for place in found.faulty}
    for root in sorted(found.roots - filled):
        count = sum(record.root == root for work in works for record in work.catalogue.documents.values())
        if count:
            raise ConfigurationError(
                f"`{root}` holds no document, but the index has {count} from it: check the folder, "
                "or say `--allow-empty` to remove them"
            )
