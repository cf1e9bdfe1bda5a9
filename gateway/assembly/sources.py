"""Deletes documents and releases passages: every change is in the audit log before it is made."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager

from gateway.assembly.ambient import stamp, utc_now
from gateway.assembly.ingest import kept_scans
from gateway.domain.errors import ConfigurationError
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.domain.passage import Passage
from gateway.domain.sealing import MasterKey, Purpose
from gateway.inspection.cache import ScanCache
from gateway.retrieval.journal import Deletion, IngestJournal, ingest_lock
from gateway.retrieval.sources import passage_name, release, withheld_passage
from gateway.retrieval.store import Catalogue, DocumentRecord, IndexedDocument, IndexUpdate, PassageStore
from gateway.settings import Settings
from gateway.settings.folder import INGEST_FILE, INGEST_LOCK, MASTER_KEY_FILE

Record = Callable[[EventDraft], object]


class SourceDesk:
    """Looks into an index and changes it, as the operator. `record` blocks until an event is durable."""

    def __init__(self, settings: Settings, store: PassageStore, record: Record) -> None:
        self._settings = settings
        self._store = store
        self._record = record

    async def tenant(self, named: str) -> str:
        """The tenant that is named, or the only one there is. Raises `ConfigurationError`."""
        known = sorted(await self._store.tenants())
        if named:
            return named
        if len(known) != 1:
            words = ", ".join(f"`{name}`" for name in known) or "none: ingest documents first"
            raise ConfigurationError(f"name the tenant with `--tenant`; the index has {words}")
        return known[0]

    async def catalogue(self, tenant: str) -> Catalogue:
        return await self._store.catalogue(tenant)

    def journal(self) -> IngestJournal:
        return IngestJournal(self._settings.data_dir / INGEST_FILE)

    async def delete(self, tenant: str, doc: str, *, by: str, reason: str) -> DocumentRecord:
        """Remove a document from the index, from prepared work and kept scans, and keep it out. Answers under way
        that are made of it end. Raises `ConfigurationError` for an unknown document."""
        with self._locked():
            document = await self._document(tenant, doc)
            record = document.record
            await self._note(
                EventDraft(
                    type=EventType.SOURCE_DELETED,
                    tenant=tenant,
                    body={
                        "doc": doc,
                        "rev": record.revision,
                        "run": record.run,
                        "passages": record.passages,
                        "by": Commitment(text=by),
                        "reason": reason,
                    },
                )
            )
            with self.journal() as journal:
                journal.delete(Deletion(tenant=tenant, doc=doc, at=stamp(utc_now()), who=by, reason=reason))
            await self._apply(tenant, removed=frozenset({doc}))
            self._forget_scans(document.passages)
            return record

    async def allow(self, tenant: str, doc: str, *, by: str, reason: str) -> None:
        """Let the next ingest take a deleted document in again. Raises `ConfigurationError` if it was not deleted."""
        with self._locked(), self.journal() as journal:
            if doc not in journal.deletions(tenant, [doc]):
                raise ConfigurationError(f"document `{doc}` was not deleted: see `gateway sources list --deleted`")
            body = {"doc": doc, "by": Commitment(text=by), "reason": reason}
            await self._note(EventDraft(type=EventType.SOURCE_ALLOWED, tenant=tenant, body=body))
            journal.allow(tenant, doc)

    async def open_withheld(self, tenant: str, name: str, *, by: str, reason: str) -> Passage:
        """A withheld passage with its text. Raises `ConfigurationError` if there is none."""
        doc, number = passage_name(name)
        document = await self._document(tenant, doc)
        withheld = withheld_passage(document.record, number)
        body = {
            "passage": name,
            "rev": document.record.revision,
            "rules": list(withheld.rules),
            "by": Commitment(text=by),
            "reason": reason,
        }
        await self._note(EventDraft(type=EventType.BODY_READ, tenant=tenant, body=body))
        return document.passages[number]

    async def release(self, tenant: str, name: str, *, by: str, reason: str) -> DocumentRecord:
        """Let the groups of a document find a withheld passage of it, whatever the rules that stopped it say of this
        text. Raises `ConfigurationError` if it is not withheld."""
        doc, number = passage_name(name)
        with self._locked():
            document = await self._document(tenant, doc)
            withheld = withheld_passage(document.record, number)
            changed = release(document, number, by=by, at=stamp(utc_now()))
            body = {
                "passage": name,
                "rev": document.record.revision,
                "effect": withheld.effect,
                "rules": list(withheld.rules),
                "by": Commitment(text=by),
                "reason": reason,
            }
            await self._note(EventDraft(type=EventType.PASSAGE_RELEASED, tenant=tenant, body=body))
            await self._apply(tenant, documents=(changed,))
            return changed.record

    async def _note(self, draft: EventDraft) -> None:
        """Returns once the event is durable; what it tells of happens after that."""
        await asyncio.to_thread(self._record, draft)

    async def _document(self, tenant: str, doc: str) -> IndexedDocument:
        found = await self._store.read(tenant, [doc])
        if not found:
            raise ConfigurationError(f"the index has no document `{doc}`: see `gateway sources list`")
        return found[0]

    async def _apply(
        self, tenant: str, *, documents: tuple[IndexedDocument, ...] = (), removed: frozenset[str] = frozenset()
    ) -> None:
        identity = (await self._store.catalogue(tenant)).identity
        assert identity is not None  # it has the document
        update = IndexUpdate(tenant=tenant, identity=identity, documents=documents, removed=removed)
        await self._store.apply(update)

    def _forget_scans(self, passages: tuple[Passage, ...]) -> None:
        data = self._settings.data_dir
        master = MasterKey.load_or_create(data / MASTER_KEY_FILE)
        digests = ScanCache(0, master.derive(Purpose.INSPECTION_CACHE))
        kept = kept_scans(data, master)
        try:
            kept.forget([digests.digest(passage.text) for passage in passages])
        finally:
            kept.close()

    def _locked(self) -> AbstractContextManager[None]:
        return ingest_lock(self._settings.data_dir / INGEST_LOCK)


@asynccontextmanager
async def opened_desk(
    settings: Settings, open_store: Callable[[], PassageStore], record: Record
) -> AsyncIterator[SourceDesk]:
    store = open_store()
    try:
        yield SourceDesk(settings, store, record)
    finally:
        await store.close()
