"""The thread that encrypts and stores texts: those that wait together share one transaction and one sync.

A failed write closes the files; the next texts open them again, since they do not depend on what failed.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from gateway.audit.body_store import BodyStore, SealedBody, seal
from gateway.audit.data_keys import DataKeys, KeyOwner
from gateway.audit.wrapping import Wrappers
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import BodyText
from gateway.domain.sealing import UnsealError


class _Waiting(Struct, frozen=True):
    request: str
    owner: KeyOwner
    texts: Sequence[BodyText]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[str]


class BodyWriter:
    """Keeps texts. `clock` is aware UTC; `timeout_s` bounds the wait of a caller. Thread-safe."""

    def __init__(
        self, store: Path, keys: Path, wrappers: Wrappers, *, clock: Callable[[], datetime], timeout_s: float
    ) -> None:
        """Opens both files. Raises `AuditUnavailable`."""
        self._paths = store, keys
        self._wrappers = wrappers
        self._clock = clock
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._pending: list[_Waiting] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit-bodies")
        self._opened: tuple[BodyStore, DataKeys] | None = self._open()
        self.healthy = True

    async def keep(self, request: str, owner: KeyOwner, texts: Sequence[BodyText]) -> str:
        """The ref of the data key that they are encrypted with, once they are on disk. Raises `AuditUnavailable` if
        they may not be."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        with self._lock:
            self._pending.append(_Waiting(request, owner, texts, loop, future))
            first = len(self._pending) == 1
        if first:
            self._thread.submit(self._write)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await future
        except TimeoutError:
            self.healthy = False
            raise AuditUnavailable(f"the body store did not answer within {self._timeout_s:g} s") from None

    def close(self) -> None:
        """Write what waits and close the files."""
        self._thread.shutdown(wait=True)
        self._close()

    def _open(self) -> tuple[BodyStore, DataKeys]:
        store, keys = self._paths
        opened = BodyStore.open(store)
        try:
            return opened, DataKeys.open(keys, self._wrappers)
        except BaseException:
            opened.close()
            raise

    def _close(self) -> None:
        if self._opened is not None:
            for one in self._opened:
                one.close()
        self._opened = None

    def _write(self) -> None:
        with self._lock:
            group, self._pending = self._pending, []
        try:
            self._opened = self._opened or self._open()
            store, keys = self._opened
            results = [self._sealed(keys, waiting) for waiting in group]
            store.add([body for result in results if isinstance(result, list) for body in result])
        except Exception as error:  # noqa: BLE001 whatever it is, nobody is told that the texts are kept
            self._close()
            failure = error if isinstance(error, AuditUnavailable) else _failed(error)
            results = [failure] * len(group)
        self.healthy = any(isinstance(result, list) for result in results)
        for waiting, result in zip(group, results, strict=True):
            waiting.loop.call_soon_threadsafe(_settle, waiting.future, result)

    def _sealed(self, keys: DataKeys, waiting: _Waiting) -> list[SealedBody] | AuditUnavailable:
        """The texts of one caller, encrypted; a key that cannot be had fails them alone."""
        try:
            key = keys.current(waiting.owner, self._clock())
        except AuditUnavailable as error:
            return error
        except UnsealError as error:
            return AuditUnavailable(f"the texts cannot be encrypted: {error.message}", code=error.code)
        return [
            seal(text.text, key.key, request=waiting.request, field=text.field, ref=key.ref) for text in waiting.texts
        ]


def _failed(error: Exception) -> AuditUnavailable:
    return AuditUnavailable(f"the body store cannot be written: {type(error).__name__}")


def _settle(future: asyncio.Future[str], result: list[SealedBody] | AuditUnavailable) -> None:
    if future.done():
        return
    if isinstance(result, AuditUnavailable):
        future.set_exception(AuditUnavailable(result.message, code=result.code))
    else:
        future.set_result(result[0].key)
