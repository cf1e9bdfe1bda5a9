"""Builds another edition of the passage index beside the serving one, and lets it serve once it finds as much.

1. build     everything that the serving edition holds, with another embedder or cut in another way; ingests and
             serving go on meanwhile
2. compare   the same questions to both; an edition that finds less is not switched to
3. catch up  what ingests and deletions changed meanwhile; from here on they wait
4. switch    the audit event first, then the pointer: every worker takes the new edition with its next search
"""

import asyncio
import datetime as dt
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from gateway.assembly.ambient import stamp, utc_now
from gateway.assembly.index import BUILTIN, editions_of, embedder_of
from gateway.assembly.ingest import ingest_into
from gateway.domain.errors import ConfigurationError, StoreUnavailable
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.domain.ports import Embedder
from gateway.retrieval.chunk import ChunkingParameters
from gateway.retrieval.comparison import Comparison, KnownItem, compare, sampled_titles, unfound
from gateway.retrieval.counting import read_window
from gateway.retrieval.drift import DriftReport, drift
from gateway.retrieval.editions import BASE, Edition, ServingStore, remove
from gateway.retrieval.embedding import embedder_identity
from gateway.retrieval.fallback import FallbackStore
from gateway.retrieval.ingest import Progress
from gateway.retrieval.journal import IngestJournal, ingest_lock
from gateway.retrieval.reembedding import reembed
from gateway.retrieval.retriever import PassageRetriever
from gateway.retrieval.store import Catalogue, DocumentRecord, PassageStore
from gateway.settings import Settings
from gateway.settings.folder import INDEX_BUILD_FILE, INDEX_BUILD_LOCK, INGEST_LOCK, RETRIEVAL_COUNTS_FILE

_TIMEOUT_S: Final = 60.0  # for one search of a comparison, on a machine that builds at the same time

Record = Callable[[EventDraft], object]
AnyStore = ServingStore | FallbackStore[ServingStore]


class Standing(Struct, frozen=True, kw_only=True):
    """An edition with its size. `role` is `serving`, `previous` or "" for one that was built and not switched to."""

    edition: Edition
    role: str
    documents: int
    passages: int

    @property
    def is_there(self) -> bool:
        """The base edition has its place even when there is nothing in it."""
        return self.edition.name != BASE or self.documents > 0


class Built(Struct, frozen=True, kw_only=True):
    """What a build did. `switched` says whether the edition serves now."""

    edition: Edition
    documents: int
    comparison: Comparison
    switched: bool


class _Work(Struct, frozen=True, kw_only=True):
    """What a build has to do. `recut` says how documents are cut anew, `None` that their passages stay."""

    source: PassageStore
    target: PassageStore
    embedder: Embedder
    recut: ChunkingParameters | None
    journal: IngestJournal
    progress: Callable[[Progress], None]


class IndexDesk:
    """Looks after the editions of an index, as the operator. `record` blocks until an event is durable."""

    def __init__(
        self, settings: Settings, store: AnyStore, embedders: tuple[Embedder, Mapping[str, Embedder]], record: Record
    ) -> None:
        """`embedders` are the packaged one, and those on servers by name."""
        self._settings = settings
        self._store = store
        self._editions = editions_of(store)
        self._builtin, self._others = embedders
        self._record = record

    async def standing(self) -> list[Standing]:
        shelf = self._editions.shelf
        roles = {await shelf.previous(): "previous", await shelf.serving(): "serving"}
        found = []
        for edition in await shelf.editions():
            catalogues = await _catalogues(self._editions.edition(edition.name))
            records = [record for catalogue in catalogues.values() for record in catalogue.documents.values()]
            found.append(
                Standing(
                    edition=edition,
                    role=roles.get(edition.name, ""),
                    documents=len(records),
                    passages=sum(record.passages for record in records),
                )
            )
        return found

    async def build(
        self,
        *,
        embedder: str,
        chunking: ChunkingParameters | None,
        items: Sequence[KnownItem],
        max_drop: float,
        force: bool,
        by: str,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> Built:
        """Build and switch. `embedder` is a name of the settings or `builtin`, "" for that of the serving edition.
        Without `items`, titles are asked. An edition whose recall is lower by more than `max_drop` is kept and not
        switched to unless `force`. Raises `ConfigurationError`, `FaultsFound`, `StoreUnavailable`; then the serving
        edition is as it was."""
        data = self._settings.data_dir
        with ingest_lock(data / INDEX_BUILD_LOCK), IngestJournal(data / INDEX_BUILD_FILE) as journal:
            before = await self._editions.serving()
            chosen = self._chosen(embedder, before)
            cut = chunking or before.chunking
            at = stamp(utc_now())
            edition = await self._room(
                Edition(name=_name(at), embedder=embedder_identity(chosen), chunking=cut, built=at)
            )
            source, target = self._editions.edition(before.name), self._editions.edition(edition.name)
            work = _Work(
                source=source,
                target=target,
                embedder=chosen,
                recut=edition.chunking if edition.chunking != before.chunking else None,
                journal=journal,
                progress=progress,
            )
            documents = await self._fill(work)
            asked = items or sampled_titles(await _catalogues(source))
            comparison = await compare(self._retriever(source), self._retriever(target), asked)
            switched = force or (comparison.drop <= max_drop and not comparison.after.failed)
            if switched:
                with ingest_lock(data / INGEST_LOCK):
                    documents += await self._fill(work)
                    body = {
                        "questions": comparison.questions,
                        "recall_before_e6": round(comparison.before.recall * 1_000_000),
                        "recall_e6": round(comparison.after.recall * 1_000_000),
                        "overlap_e6": round(comparison.overlap * 1_000_000),
                        "forced": comparison.drop > max_drop,
                    }
                    await self._switch(edition, before, cause="build", by=by, more=body)
        (data / INDEX_BUILD_FILE).unlink(missing_ok=True)
        return Built(edition=edition, documents=documents, comparison=comparison, switched=switched)

    async def rollback(self, name: str, *, by: str) -> tuple[Edition, int]:
        """Let an earlier edition serve again, "" for the one before. Documents that were deleted, changed or closed
        since are taken out of it first; how many. The next ingest brings them back as they are now."""
        with ingest_lock(self._settings.data_dir / INGEST_LOCK):
            before = await self._editions.serving()
            wanted = name or await self._editions.shelf.previous()
            edition = next((one for one in await self._editions.shelf.editions() if one.name == wanted), None)
            if edition is None or wanted == before.name:
                raise ConfigurationError("there is no such earlier edition: see `gateway index list`")
            left_out = 0
            source, target = self._editions.edition(before.name), self._editions.edition(edition.name)
            now = await _catalogues(source)
            for tenant, catalogue in (await _catalogues(target)).items():
                current = now.get(tenant, Catalogue()).documents
                stale = {
                    doc for doc, record in catalogue.documents.items() if not _is_current(record, current.get(doc))
                }
                await remove(target, tenant, stale)
                left_out += len(stale)
            await self._switch(edition, before, cause="rollback", by=by, more={"left_out": left_out})
            return edition, left_out

    async def prune(self, *, keep_previous: bool) -> list[str]:
        """Remove editions that neither serve nor, where it is kept, did before. Their names."""
        with (
            ingest_lock(self._settings.data_dir / INDEX_BUILD_LOCK),
            ingest_lock(self._settings.data_dir / INGEST_LOCK),
        ):
            shelf = self._editions.shelf
            kept = {await shelf.serving(), await shelf.previous() if keep_previous else ""}
            gone = [one.edition.name for one in await self.standing() if one.edition.name not in kept and one.is_there]
            for name in gone:
                await self._editions.forget(name)
                await shelf.drop(name)
            return gone

    async def drift(self, *, days: int, canaries: Sequence[KnownItem], today: dt.date) -> list[DriftReport]:
        """A report for every tenant: the last `days` against as many before. Each is in the audit before it is
        returned. Raises `StoreUnavailable` and `AuditUnavailable`."""
        file = self._settings.data_dir / RETRIEVAL_COUNTS_FILE
        since = today - dt.timedelta(days=days - 1)
        reports = []
        for tenant, catalogue in (await _catalogues(self._store)).items():
            embedder = catalogue.identity.embedder if catalogue.identity else ""
            known = [item for item in canaries if item.tenant == tenant]
            try:
                now = read_window(file, tenant, since, today, embedder)
                last = since - dt.timedelta(days=1)
                before = read_window(file, tenant, since - dt.timedelta(days=days), last, embedder)
            except sqlite3.Error as error:
                raise StoreUnavailable(
                    f"the counts of searches cannot be read: {type(error).__name__}: check `{file.name}` in the data "
                    "folder, or remove it to begin anew",
                    code="counts_failed",
                ) from error
            report = drift(
                tenant,
                catalogue,
                before=before,
                now=now,
                since=since,
                today=today,
                canaries=known,
                missed=await unfound(self._retriever(self._store), known),
            )
            await asyncio.to_thread(self._record, report.event())
            reports.append(report)
        return reports

    def _chosen(self, name: str, before: Edition) -> Embedder:
        if not name:
            return embedder_of(before, self._builtin, self._others)
        if name == BUILTIN:
            return self._builtin
        if name not in self._others:
            names = ", ".join(f"`{one}`" for one in (BUILTIN, *self._others))
            raise ConfigurationError(f"no embedder is named `{name}`: name one of {names}")
        return self._others[name]

    async def _room(self, wanted: Edition) -> Edition:
        """A place for an edition: that of an interrupted or refused build of the same kind, or a new one."""
        shelf = self._editions.shelf
        used = {await shelf.serving(), await shelf.previous(), BASE}
        there = await shelf.editions()
        for one in there:
            if one.name not in used and (one.embedder, one.chunking) == (wanted.embedder, wanted.chunking):
                return one
        taken = sum(one.name.startswith(wanted.name) for one in there)  # of builds within the same second
        fresh = structs.replace(wanted, name=f"{wanted.name}-{taken}") if taken else wanted
        await shelf.add(fresh)
        return fresh

    async def _fill(self, work: "_Work") -> int:
        """Bring the target up to the source. How many documents were made for it."""
        wanted = await _catalogues(work.source)
        held = await _catalogues(work.target)
        for tenant in held.keys() - wanted.keys():
            await remove(work.target, tenant, held[tenant].documents.keys())
        made = [await self._fill_tenant(work, tenant, catalogue) for tenant, catalogue in sorted(wanted.items())]
        return sum(made)

    async def _fill_tenant(self, work: "_Work", tenant: str, catalogue: Catalogue) -> int:
        if work.recut is None:
            return await reembed(
                work.source,
                work.target,
                work.embedder,
                tenant=tenant,
                journal=work.journal,
                progress=work.progress,
            )
        held = (await work.target.catalogue(tenant)).documents
        await remove(work.target, tenant, held.keys() - catalogue.documents.keys())
        roots = sorted({Path(record.root) for record in catalogue.documents.values()})
        if not roots:
            return 0
        async with ingest_into(
            self._settings,
            work.target,
            work.embedder,
            journal=work.journal,
            chunking=work.recut,
            like={tenant: catalogue},
        ) as ingest:
            report = await ingest.run(roots, tenant=tenant, progress=work.progress)
        _refuse_missing(tenant, catalogue, await work.target.catalogue(tenant))
        return sum(one.added + one.changed for one in report.tenants)

    async def _switch(
        self, edition: Edition, before: Edition, *, cause: str, by: str, more: Mapping[str, object]
    ) -> None:
        body = {
            "store": self._store.name,
            "edition": edition.name,
            "previous": before.name,
            "cause": cause,
            "embedder": edition.embedder,
            "by": Commitment(text=by),
            **more,
        }
        await asyncio.to_thread(self._record, EventDraft(type=EventType.INDEX_SWITCHED, body=body))
        await self._editions.shelf.serve(edition.name)
        if isinstance(self._store, FallbackStore):
            for tenant in sorted(await self._store.tenants()):
                await self._store.mirror(tenant)

    def _retriever(self, store: PassageStore) -> PassageRetriever:
        return PassageRetriever(
            store,
            self._builtin,
            top_k=10,
            max_context_chars=1_000_000,
            timeout_s=_TIMEOUT_S,
            others=tuple(self._others.values()),
        )


@asynccontextmanager
async def opened_index(
    settings: Settings,
    open_store: Callable[[], AnyStore],
    embedders: Callable[[], tuple[Embedder, Mapping[str, Embedder]]],
    record: Record,
) -> AsyncIterator[IndexDesk]:
    store = open_store()
    try:
        yield IndexDesk(settings, store, embedders(), record)
    finally:
        await store.close()


async def _catalogues(store: PassageStore) -> dict[str, Catalogue]:
    return {tenant: await store.catalogue(tenant) for tenant in sorted(await store.tenants())}


def _is_current(record: DocumentRecord, now: DocumentRecord | None) -> bool:
    """Whether an earlier edition's document is made of what the serving one is made of, and stays as open."""
    if now is None:
        return False
    same = record.state == now.state or bool(record.origin and record.origin == now.origin)
    return same and record.access == now.access


def _refuse_missing(tenant: str, wanted: Catalogue, made: Catalogue) -> None:
    missing = len(wanted.documents.keys() - made.documents.keys())
    if missing:
        raise ConfigurationError(
            f"{missing} documents of `{tenant}` cannot be read from their files any more: ingest their folders first, "
            "so that the serving index and the files agree"
        )


def _name(at: str) -> str:
    return "e" + "".join(char for char in at if char.isdigit())
