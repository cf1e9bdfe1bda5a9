"""The embedded passage store: one directory, no server.

    <directory>/writer.lock                 held by the one writer
    <directory>/<tenant key>/current        the name of the visible generation, replaced atomically
    <directory>/<tenant key>/<revision>/    an immutable generation

Each tenant has its own index, so neither term statistics nor a mistaken filter can cross tenants. A search compares
the identity of `current` with the generation it has open, a few microseconds, and opens the new one if it changed.
The generation before is removed from disk at once, so that deleted documents are gone; searches that still read it
end on open files.
"""

import asyncio
import hashlib
import os
import re
import shutil
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import msgspec

from gateway.domain.errors import StoreUnavailable
from gateway.retrieval.fusion import reciprocal_rank_fusion
from gateway.retrieval.generation import FORMAT, Generation, write_generation
from gateway.retrieval.revision import revision
from gateway.retrieval.store import (
    Catalogue,
    DocumentRecord,
    IndexedDocument,
    IndexUpdate,
    SearchRequest,
    SearchResult,
    another_embedder,
)
from gateway.retrieval.terms import query_terms

_DEPTH: Final = 50  # candidates of each ranking; SciFact nDCG@10 is flat from 20 to 100
_POINTER: Final = "current"
_TENANT_FILE: Final = "tenant"
_NAME: Final = re.compile(r"[0-9a-f]{16}")
_OPEN_TENANTS: Final = 64  # each holds a few file handles; the least used is closed
_RELOADS: Final = 3  # a generation may be replaced between reading its name and opening it, hardly ever twice

P = ParamSpec("P")
T = TypeVar("T")


class _Held:
    """An open generation with the searches that use it. `retired` ones close with their last search."""

    __slots__ = ("generation", "retired", "signature", "users")

    def __init__(self, generation: Generation, signature: tuple[int, int, int]) -> None:
        self.generation = generation
        self.signature = signature
        self.users = 0
        self.retired = False


class EmbeddedStore:
    """Port `PassageStore` on SQLite FTS5 and exact vector search, joined by reciprocal rank fusion.

    Comfortable to 200,000 passages a tenant. Searches run on `threads` worker threads. Many processes may search
    while one ingests. `embedder` is `IndexIdentity.embedder` of the embedder that makes the vectors of requests that
    name none; `also` are others that requests may name.
    """

    name = "embedded"

    def __init__(self, directory: Path, *, embedder: str, also: Collection[str] = (), threads: int = 2) -> None:
        self._directory = directory
        self._embedder = embedder
        self._known = frozenset([embedder, *also])
        self._threads = threads
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="passages")
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Held] = OrderedDict()

    async def start(self) -> None:
        """Raises `StoreUnavailable` for an index that no search could use: better told when the gateway starts than
        to every caller of a tenant. Without it the store works the same."""
        await self._run(self._check_all)

    async def search(self, request: SearchRequest) -> SearchResult:
        return await self._run(self._search, request)

    async def tenants(self) -> frozenset[str]:
        return await self._run(self._tenants)

    async def catalogue(self, tenant: str) -> Catalogue:
        return await self._run(self._catalogue, tenant)

    async def revision(self, tenant: str) -> str:
        # a few microseconds, of which a thread would make a hundred
        try:
            return self._pointed(tenant)
        except OSError as error:
            raise StoreUnavailable(
                f"the passage index cannot be used: {type(error).__name__}: ingest the corpus again if this stays",
                code="store_failed",
            ) from error

    async def records(self, tenant: str, docs: Collection[str]) -> Mapping[str, DocumentRecord]:
        return await self._run(self._records, tenant, docs)

    async def read(self, tenant: str, docs: Collection[str]) -> tuple[IndexedDocument, ...]:
        return await self._run(self._read, tenant, docs)

    async def apply(self, update: IndexUpdate) -> str:
        # the write goes on if its caller is cancelled: half of it would only be work to be done again
        return await asyncio.shield(self._run(self._apply, update))

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)
        with self._lock:
            held, self._open = list(self._open.values()), OrderedDict()
        for one in held:
            one.generation.close()

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, partial(call, *args, **kwargs))
        except (OSError, sqlite3.Error, ValueError, KeyError, msgspec.MsgspecError) as error:
            raise StoreUnavailable(
                f"the passage index cannot be used: {type(error).__name__}: ingest the corpus again if this stays",
                code="store_failed",
            ) from error

    def _search(self, request: SearchRequest) -> SearchResult:
        with self._using(request.tenant) as generation:
            if generation is None:
                return SearchResult()
            if generation.identity.embedder != (request.embedder or self._embedder):
                raise another_embedder()
            view = generation.view(request.groups, request.day)
            depth = max(_DEPTH, request.limit)
            near = generation.nearest(request.vector, view, depth)
            matching = generation.matching(query_terms(request.text), view, depth)
            # BM25 alone is the better ranking of the two: SciFact nDCG@10 0.705 against 0.660
            best = reciprocal_rank_fusion([matching, near])[: request.limit]
            found = generation.read([fused.item for fused in best])
            ranked = (
                msgspec.structs.replace(passage, score=fused.score) for passage, fused in zip(found, best, strict=True)
            )
            return SearchResult(tenant=generation.tenant, passages=tuple(ranked), index_rev=generation.index_rev)

    def _check_all(self) -> None:
        for tenant in sorted(self._tenants()):
            with self._using(tenant) as generation:
                if generation is not None and generation.identity.embedder not in self._known:
                    raise another_embedder()

    def _tenants(self) -> frozenset[str]:
        files = self._directory.glob(f"*/{_TENANT_FILE}")
        return frozenset(file.read_text("utf-8") for file in files if (file.parent / _POINTER).exists())

    def _catalogue(self, tenant: str) -> Catalogue:
        with self._using(tenant) as generation:
            return Catalogue() if generation is None else generation.catalogue()

    def _pointed(self, tenant: str) -> str:
        """The name that the tenant's pointer holds, read only if the file is not the one of an open generation."""
        pointer = self._home(tenant) / _POINTER
        try:
            found = pointer.stat()
        except FileNotFoundError:
            return ""
        held = self._open.get(tenant)
        if held is not None and held.signature == (found.st_ino, found.st_mtime_ns, found.st_size):
            return held.generation.index_rev
        return pointer.read_text("ascii")

    def _records(self, tenant: str, docs: Collection[str]) -> Mapping[str, DocumentRecord]:
        with self._using(tenant) as generation:
            return {} if generation is None else generation.records(docs)

    def _read(self, tenant: str, docs: Collection[str]) -> tuple[IndexedDocument, ...]:
        with self._using(tenant) as generation:
            return () if generation is None else tuple(generation.documents(docs))

    def _apply(self, update: IndexUpdate) -> str:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _writer_lock(self._directory / "writer.lock"):
            if update.complete:  # does not read what is there, so that a damaged index can be replaced
                return self._write(update, None)
            with self._using(update.tenant) as before:
                return self._write(update, before)

    def _write(self, update: IndexUpdate, before: Generation | None) -> str:
        replaced = {document.record.doc: document.record.state for document in update.documents}
        kept: dict[str, str] = {}
        if before is not None and before.identity == update.identity:
            gone = replaced.keys() | update.removed
            documents = before.catalogue().documents
            kept = {doc: record.state for doc, record in documents.items() if doc not in gone}
        index_rev = revision(FORMAT, update.tenant, update.identity, kept | replaced)
        if before is not None and before.index_rev == index_rev:
            return index_rev
        home = self._home(update.tenant)
        home.mkdir(mode=0o700, exist_ok=True)
        (home / _TENANT_FILE).write_text(update.tenant, "utf-8")
        building = home / "building"
        shutil.rmtree(building, ignore_errors=True)  # left by a writer that died
        write_generation(building, update, before.documents(kept) if before and kept else (), index_rev)
        if (home / index_rev).exists():  # damaged, or left by a writer that died
            shutil.rmtree(home / index_rev)
        building.rename(home / index_rev)
        _point(home, index_rev)
        for entry in home.iterdir():
            if entry.is_dir() and entry.name != index_rev:
                shutil.rmtree(entry)
        return index_rev

    def _home(self, tenant: str) -> Path:
        """A tenant's name may hold anything, so its directory is named by a hash."""
        return self._directory / hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @contextmanager
    def _using(self, tenant: str) -> Iterator[Generation | None]:
        """The visible generation, kept open while it is used; `None` for a tenant without one."""
        held = self._hold(tenant)
        try:
            yield held.generation if held else None
        finally:
            if held:
                self._release(held)

    def _hold(self, tenant: str) -> _Held | None:
        for attempt in range(_RELOADS):
            try:
                pointer = (self._home(tenant) / _POINTER).stat()
            except FileNotFoundError:
                return None
            signature = (pointer.st_ino, pointer.st_mtime_ns, pointer.st_size)
            with self._lock:
                held = self._open.get(tenant)
                if held and held.signature == signature:
                    self._open.move_to_end(tenant)
                    held.users += 1
                    return held
                try:
                    fresh = _Held(self._load(tenant), signature)
                except (OSError, sqlite3.Error):
                    if attempt == _RELOADS - 1:
                        raise
                    continue
                fresh.users = 1
                self._open[tenant] = fresh
                self._open.move_to_end(tenant)
                superseded = [held] if held else []
                if len(self._open) > _OPEN_TENANTS:
                    superseded.append(self._open.popitem(last=False)[1])
                idle = [one for one in superseded if not one.users]
                for one in superseded:
                    one.retired = True
            for one in idle:
                one.generation.close()
            return fresh
        raise AssertionError("the last attempt returns or raises")

    def _release(self, held: _Held) -> None:
        with self._lock:
            held.users -= 1
            finished = held.retired and not held.users
        if finished:
            held.generation.close()

    def _load(self, tenant: str) -> Generation:
        home = self._home(tenant)
        name = (home / _POINTER).read_text("ascii")
        if not _NAME.fullmatch(name):
            raise ValueError("the pointer to the index is damaged")
        generation = Generation(home / name, readers=self._threads)
        # INVARIANT: a directory copied under another tenant's key is never read as that tenant's
        if generation.tenant != tenant or generation.index_rev != name:
            generation.close()
            raise ValueError("the index belongs to another tenant or revision")
        return generation


@contextmanager
def _writer_lock(file: Path) -> Iterator[None]:
    """SQLite's own file lock: it works on every platform, and a writer that dies lets go of it."""
    connection = sqlite3.connect(file, timeout=0, isolation_level=None)
    try:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise StoreUnavailable("another ingest is running: wait for it to end", code="store_locked") from error
        yield
    finally:
        connection.close()


def _point(home: Path, name: str) -> None:
    fresh = home / f"{_POINTER}.new"
    with fresh.open("w", encoding="ascii") as file:
        file.write(name)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(home / _POINTER)
    descriptor = os.open(home, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
