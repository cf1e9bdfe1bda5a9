"""Editions of the embedded store.

<directory>/                            the base edition
<directory>/editions/<name>/            any other edition, with `edition.json` in it
<directory>/editions/serving.json       which edition serves and which did before; replaced atomically
"""

import asyncio
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gateway.domain.errors import StoreUnavailable
from gateway.retrieval.editions import BASE, Edition
from gateway.retrieval.embedded import EmbeddedStore

EDITIONS: Final = "editions"
_POINTER: Final = "serving.json"
_MANIFEST: Final = "edition.json"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


class _Pointer(Struct, frozen=True, kw_only=True):
    serving: str = BASE
    previous: str = ""


_FIRST: Final = _Pointer()


class EmbeddedShelf:
    """Port `Shelf` over directories. `embedders` are the identities of all embedders that queries can have."""

    name = EmbeddedStore.name
    is_remote = False

    def __init__(self, directory: Path, *, embedders: Collection[str], threads: int = 2) -> None:
        self._directory = directory
        self._editions = directory / EDITIONS
        self._embedders = tuple(embedders)
        self._threads = threads
        self._read: tuple[tuple[int, int, int], _Pointer] | None = None

    async def serving(self) -> str:
        # a few microseconds, of which a thread would make a hundred
        return self._pointer().serving

    async def previous(self) -> str:
        return self._pointer().previous

    async def editions(self) -> tuple[Edition, ...]:
        return await asyncio.to_thread(self._found)

    async def add(self, edition: Edition) -> None:
        if edition.name == BASE:
            raise ValueError("the base edition is there already")
        await asyncio.to_thread(self._add, edition)

    async def serve(self, name: str) -> None:
        before = self._pointer()
        if name == before.serving:
            return
        await asyncio.to_thread(self._point, _Pointer(serving=name, previous=before.serving))

    async def drop(self, name: str) -> None:
        before = self._pointer()
        if name == before.serving:
            raise ValueError("the serving edition stays")
        if name == before.previous:
            await asyncio.to_thread(self._point, _Pointer(serving=before.serving))
        await asyncio.to_thread(self._drop, name)

    def open(self, name: str) -> EmbeddedStore:
        return EmbeddedStore(
            self._home(name), embedder=self._embedders[0], also=self._embedders[1:], threads=self._threads
        )

    async def close(self) -> None:
        """Nothing is open."""

    def _home(self, name: str) -> Path:
        if name == BASE:
            return self._directory
        if not _NAME.fullmatch(name):
            raise ValueError("an edition has another name")
        return self._editions / name

    def _pointer(self) -> _Pointer:
        try:
            found = (self._editions / _POINTER).stat()
            signature = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._read is None or self._read[0] != signature:
                pointer = msgspec.json.decode((self._editions / _POINTER).read_bytes(), type=_Pointer)
                self._home(pointer.serving)
                self._read = (signature, pointer)
        except FileNotFoundError:
            return _FIRST
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            raise _unusable(error) from error
        return self._read[1]

    def _found(self) -> tuple[Edition, ...]:
        try:
            manifests = sorted(self._editions.glob(f"*/{_MANIFEST}"))
            found = [msgspec.json.decode(file.read_bytes(), type=Edition) for file in manifests]
        except (OSError, msgspec.MsgspecError) as error:
            raise _unusable(error) from error
        return (Edition(name=BASE), *sorted(found, key=lambda one: (one.built, one.name)))

    def _add(self, edition: Edition) -> None:
        home = self._home(edition.name)
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(home / _MANIFEST, msgspec.json.encode(edition))
        except OSError as error:
            raise _unusable(error) from error

    def _point(self, pointer: _Pointer) -> None:
        try:
            self._editions.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(self._editions / _POINTER, msgspec.json.encode(pointer))
        except OSError as error:
            raise _unusable(error) from error

    def _drop(self, name: str) -> None:
        try:
            if name != BASE:
                shutil.rmtree(self._home(name), ignore_errors=False)
                return
            for entry in self._directory.iterdir():
                if entry.is_dir() and entry.name != EDITIONS:
                    shutil.rmtree(entry)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unusable(error) from error


def _write(file: Path, content: bytes) -> None:
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(file)
    descriptor = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        f"the editions of the passage index cannot be used: {type(error).__name__}: check the data folder",
        code="store_failed",
    )
