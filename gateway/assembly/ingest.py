"""Opens what an ingest needs: journal, lock, policies and detectors for judging passages."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from msgspec import structs

from gateway.assembly.ambient import monotonic_us, stamp, utc_now
from gateway.assembly.index import editions_of, embedder_of
from gateway.assembly.passages import PolicyPassageJudge
from gateway.assembly.policies import PolicyWorkshop
from gateway.detectors import build_detectors
from gateway.domain.ports import Embedder
from gateway.domain.sealing import MasterKey, Purpose
from gateway.domain.vocabulary import Phase
from gateway.inspection.inspector import Inspector
from gateway.inspection.kept_scans import KeptScans
from gateway.policy.compiled import ALL_LEVELS
from gateway.retrieval.chunk import ChunkingParameters, ChunkMethod
from gateway.retrieval.document import Reading
from gateway.retrieval.editions import BASE, Edition, ServingStore
from gateway.retrieval.embedding import CachingEmbedder
from gateway.retrieval.fallback import FallbackStore
from gateway.retrieval.ingest import Ingest
from gateway.retrieval.journal import IngestJournal, ingest_lock
from gateway.retrieval.judging import PassageJudge
from gateway.retrieval.parsing.parsed import ParseLimits
from gateway.retrieval.parsing.parser import Parser
from gateway.retrieval.store import Catalogue, PassageStore
from gateway.settings import Settings
from gateway.settings.folder import INGEST_FILE, INGEST_LOCK, MASTER_KEY_FILE, SCANS_FILE

_PASSAGES: Final = frozenset({Phase.PASSAGE})
_BASE: Final = Edition(name=BASE)


@asynccontextmanager
async def opened_ingest(
    settings: Settings,
    open_store: Callable[[], PassageStore],
    embedder: Embedder,
    *,
    run: str,
    others: Mapping[str, Embedder] = MappingProxyType({}),
) -> AsyncIterator[Ingest]:
    """The ingest of these settings into the serving edition, with the embedder and the way of cutting that it was
    built with; no other ingest runs from this data folder meanwhile. Raises `ConfigurationError` for policies that
    cannot be used and `StoreUnavailable` if another one runs."""
    data = settings.data_dir
    with ingest_lock(data / INGEST_LOCK), IngestJournal(data / INGEST_FILE) as journal:
        store = open_store()
        try:
            if isinstance(store, FallbackStore):
                for tenant in sorted(await store.tenants()):
                    await store.mirror(tenant)  # what an earlier ingest without it, or a failed one, has left out
            edition = await editions_of(store).serving() if isinstance(store, ServingStore | FallbackStore) else _BASE
            chosen = embedder_of(edition, embedder, others)
            async with ingest_into(
                settings, store, chosen, journal=journal, chunking=edition.chunking, run=run
            ) as ingest:
                yield ingest
        finally:
            await store.close()


@asynccontextmanager
async def ingest_into(
    settings: Settings,
    store: PassageStore,
    embedder: Embedder,
    *,
    journal: IngestJournal,
    chunking: ChunkingParameters | None,
    run: str = "",
    like: Mapping[str, Catalogue] | None = None,
) -> AsyncIterator[Ingest]:
    """An ingest into a store. `chunking` is for documents that name no way of cutting, `None` for the settings'."""
    now = utc_now()
    reading = reading_of(settings)
    async with _judging(settings, embedder, clock=lambda: now) as judge:
        yield Ingest(
            store,
            embedder,
            reading=structs.replace(reading, chunking=chunking) if chunking else reading,
            journal=journal,
            judge=judge,
            run=run,
            at=stamp(now),
            parser=parser_of(settings),
            like=like,
        )


def reading_of(settings: Settings) -> Reading:
    chosen, cut = settings.ingest, settings.ingest.chunking
    return Reading(
        default_access=chosen.default_access,
        max_file_bytes=chosen.max_file_bytes,
        chunking=ChunkingParameters(
            method=ChunkMethod(cut.method),
            target_chars=cut.target_chars,
            overlap_chars=cut.overlap_chars,
            small_chars=cut.small_chars,
        ),
    )


def parser_of(settings: Settings) -> Callable[[], Parser]:
    chosen = settings.ingest
    limits = ParseLimits(pages=chosen.max_pages, expanded_bytes=chosen.max_expanded_bytes)
    return partial(Parser, limits, timeout_s=chosen.parse_timeout_s)


def kept_scans(data: Path, keys: MasterKey) -> KeptScans:
    """The scans of passages in a data folder."""
    return KeptScans(data / SCANS_FILE, keys.derive(Purpose.INSPECTION_CACHE))


@asynccontextmanager
async def _judging(
    settings: Settings, embedder: Embedder, *, clock: Callable[[], datetime]
) -> AsyncIterator[PassageJudge | None]:
    if not settings.ingest.inspect:
        yield None
        return
    master = MasterKey.load_or_create(settings.data_dir / MASTER_KEY_FILE)
    cache_key = master.derive(Purpose.INSPECTION_CACHE)
    shared = CachingEmbedder(embedder)
    workshop = PolicyWorkshop(settings, embedder=shared, cache_key=cache_key, now=clock, clock_us=monotonic_us)
    bundle = workshop.compile(workshop.read().edition)
    kept = kept_scans(settings.data_dir, master)
    inspector = Inspector(
        build_detectors(bundle, settings.inspection, lambda: shared, phases=_PASSAGES),
        threads=settings.inspection.threads,
        cache_bytes=settings.inspection.cache_bytes,
        cache_key=cache_key,
        clock_us=monotonic_us,
        kept=kept,
    )
    try:
        yield PolicyPassageJudge(
            bundle,
            inspector,
            kept=kept,
            hash_key=master.derive(Purpose.HASH_REDACTION),
            timeout_s=settings.inspection.timeout_s,
            enforced=_enforced_everywhere(settings),
            clock=clock,
        )
    finally:
        inspector.close()
        kept.close()


def _enforced_everywhere(settings: Settings) -> int:
    levels = (app.enforce_level for app in settings.apps.values())
    return min(levels, default=ALL_LEVELS.enforce)
