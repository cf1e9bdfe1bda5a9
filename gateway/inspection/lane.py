"""One detector's lane: its cached scans, its scans in flight, and its own worker threads."""

import asyncio
import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from msgspec import Struct, field

from gateway.domain.grounds import Grounds
from gateway.domain.ports import Detector, GroundedDetector
from gateway.domain.signal import Scan
from gateway.domain.vocabulary import Placement
from gateway.inspection.cache import ScanCache
from gateway.inspection.outcome import CLOSED, DEADLINE, OVERLOADED, Outcome, scan_all

_TAG_BYTES: Final = 8
# A batch shares one pass of a model, which nearly halves the cost of a text, but holds a thread while it lasts:
# a long history must not make another caller's short question wait for all of it.
_BATCH_TEXTS: Final = 16
_BATCH_CHARS: Final = 20_000

INLINE_CHARS: Final = 16_384
"""Texts of a call that an inline detector scans on the loop, in characters together."""

_BEYOND_ASCII: Final = 4
# Normalising costs most where a text is made to look strange: 16,000 joined or accented characters took up to 60 ms
# in one detector, as much plain text 0.1 ms.


class Flight:
    """A text being scanned, possibly for several callers. Its future never holds an exception."""

    __slots__ = ("finished_us", "future", "key")

    def __init__(self, key: bytes, future: asyncio.Future[Outcome]) -> None:
        self.key = key
        self.future = future
        self.finished_us = 0


class Asked(Struct):
    """What is known, and what is in flight, about the texts of one call; keys are digests of texts."""

    lane: "Lane"
    outcomes: dict[bytes, Outcome] = field(default_factory=dict)
    flights: dict[bytes, Flight] = field(default_factory=dict)
    missing: frozenset[bytes] = frozenset()  # neither cached nor in flight before this call
    scanned: int = 0
    took_us: int = 0

    async def land(self, until: float, clock_us: Callable[[], int], started_us: int) -> None:
        """Wait for the flights until the loop's time `until`; those that are late then are `timeout`."""
        loop = asyncio.get_running_loop()
        futures = [flight.future for flight in self.flights.values()]
        await asyncio.wait(futures, timeout=max(0.0, until - loop.time()))
        finished_us = 0
        for digest, flight in self.flights.items():
            if flight.future.done():
                self.outcomes[digest] = flight.future.result()
                finished_us = max(finished_us, flight.finished_us)
            else:
                self.outcomes[digest] = DEADLINE
                finished_us = clock_us()
        self.took_us = max(0, finished_us - started_us)


class Lane:
    """A detector, run once per distinct text.

    A thread detector has threads of its own, so that one that hangs starves no other. So has an inline one for texts
    that would hold the loop: one thread, begun when first needed. At most `waiting_limit` texts wait before a
    further call is turned away with `overloaded`. Belongs to one event loop.
    """

    def __init__(
        self, detector: Detector, *, cache: ScanCache, threads: int, waiting_limit: int, clock_us: Callable[[], int]
    ) -> None:
        self.detector = detector
        self.joins_user_turns: int = getattr(detector, "joins_user_turns", 0)
        self._cache = cache
        self._clock_us = clock_us
        self._waiting_limit = waiting_limit
        self._flights: dict[bytes, Flight] = {}
        self.tag = _tag(detector, b"")
        self._inline = detector.placement is Placement.INLINE
        self._workers = _Workers(f"detector-{detector.name}", 1 if self._inline else threads)

    def on(self, grounds: Grounds) -> "Lane":
        """The lane for answers made of these grounds, on this one's threads. Of a `GroundedDetector` only."""
        assert isinstance(self.detector, GroundedDetector)
        other = copy.copy(self)
        other.detector = self.detector.on(grounds)
        other.tag = _tag(other.detector, grounds.digest)
        return other

    def ask(self, texts: Mapping[bytes, str], *, keep: bool) -> Asked:
        """Answer from the cache, join scans in flight, and begin the rest: at once for an inline detector and short
        texts, which leave the cache alone unless `keep`."""
        asked = Asked(lane=self)
        if not keep and self._inline and _weight(texts.values()) <= INLINE_CHARS:
            self._scan_inline(asked, list(texts), texts, keep=False)
            return asked
        missing: list[bytes] = []
        for digest in texts:
            key = digest + self.tag
            if (scan := self._cache.get(key)) is not None:
                asked.outcomes[digest] = scan
            elif (flight := self._flights.get(key)) is not None:
                asked.flights[digest] = flight
            else:
                missing.append(digest)
        if not missing:
            return asked
        if self._inline and _weight(texts[digest] for digest in missing) <= INLINE_CHARS:
            self._scan_inline(asked, missing, texts, keep=True)
            return asked
        asked.missing = frozenset(missing)
        asked.scanned = len(missing)
        if len(self._flights) >= self._waiting_limit:
            asked.outcomes.update(dict.fromkeys(missing, OVERLOADED))
            asked.scanned = 0
        else:
            self._take_off(asked, missing, texts)
        return asked

    def close(self) -> None:
        """Cancel what has not begun. Scans that run are left to end by themselves."""
        self._workers.close()

    def _scan_inline(self, asked: Asked, missing: Sequence[bytes], texts: Mapping[bytes, str], *, keep: bool) -> None:
        asked.missing = frozenset(missing)
        asked.scanned = len(missing)
        started_us = self._clock_us()
        outcomes = scan_all(self.detector, [texts[digest] for digest in missing])
        for digest, outcome in zip(missing, outcomes, strict=True):
            asked.outcomes[digest] = outcome
            if keep and isinstance(outcome, Scan):
                self._cache.put(digest + self.tag, outcome)
        asked.took_us = self._clock_us() - started_us

    def _take_off(self, asked: Asked, missing: Sequence[bytes], texts: Mapping[bytes, str]) -> None:
        loop = asyncio.get_running_loop()
        for batch in _batches(missing, texts):
            flights = [Flight(digest + self.tag, loop.create_future()) for digest in batch]
            for digest, flight in zip(batch, flights, strict=True):
                asked.flights[digest] = self._flights[flight.key] = flight
            try:
                task = self._workers.submit(self.detector, [texts[digest] for digest in batch])
            except RuntimeError:  # closed
                self._settle(flights, [CLOSED] * len(flights))
            else:
                task.add_done_callback(lambda task, flights=flights: self._report(loop, flights, task))  # type: ignore[misc]

    def _report(
        self, loop: asyncio.AbstractEventLoop, flights: Sequence[Flight], task: "ThreadFuture[list[Outcome]]"
    ) -> None:
        """Runs in the worker's thread."""
        outcomes = [CLOSED] * len(flights) if task.cancelled() or task.exception() is not None else task.result()
        try:
            loop.call_soon_threadsafe(self._settle, flights, outcomes)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _settle(self, flights: Sequence[Flight], outcomes: Sequence[Outcome]) -> None:
        """Keep the results, also those whose callers have given up, and wake the callers."""
        now_us = self._clock_us()
        for flight, outcome in zip(flights, outcomes, strict=True):
            self._flights.pop(flight.key, None)
            if isinstance(outcome, Scan):
                self._cache.put(flight.key, outcome)
            flight.finished_us = now_us
            if not flight.future.done():
                flight.future.set_result(outcome)


class _Workers:
    """The threads of one detector, begun when first needed. `submit` raises `RuntimeError` once closed."""

    __slots__ = ("_closed", "_name", "_pool", "_threads")

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def submit(self, detector: Detector, texts: Sequence[str]) -> "ThreadFuture[list[Outcome]]":
        if self._closed:
            raise RuntimeError("closed")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=self._name)
        return self._pool.submit(scan_all, detector, texts)

    def close(self) -> None:
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _tag(detector: Detector, grounds: bytes) -> bytes:
    """What makes the results of a detector its own in the cache."""
    named = f"{detector.name}\0{detector.version}".encode()
    return hashlib.blake2b(named + (b"\0" + grounds if grounds else b""), digest_size=_TAG_BYTES).digest()


def _weight(texts: Iterable[str]) -> int:
    return sum(len(text) if text.isascii() else _BEYOND_ASCII * len(text) for text in texts)


def _batches(digests: Sequence[bytes], texts: Mapping[bytes, str]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    chars = 0
    for digest in digests:
        length = len(texts[digest])
        if batch and (len(batch) == _BATCH_TEXTS or chars + length > _BATCH_CHARS):
            yield batch
            batch, chars = [], 0
        batch.append(digest)
        chars += length
    if batch:
        yield batch
