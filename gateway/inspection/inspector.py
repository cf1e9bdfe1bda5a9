"""Runs the requested detectors over the segments of a phase."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import lru_cache, partial
from typing import Final

from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.domain.grounds import Grounds
from gateway.domain.ports import Detector, GroundedDetector
from gateway.domain.segment import Segment
from gateway.domain.signal import Inspection, Scan
from gateway.domain.vocabulary import Placement, Provenance
from gateway.inspection.cache import ScanCache
from gateway.inspection.kept_scans import KeptScans
from gateway.inspection.lane import Asked, Lane
from gateway.inspection.merge import Part, merge

_CREWS: Final = 256  # sets of detectors that are remembered; policies ask for a few

WAITING_LIMIT: Final = 4_096
"""Texts that may wait for one detector: at 5 ms each about ten seconds of two threads, beyond any deadline."""


class Inspector:
    """Runs detectors once per distinct text, in parallel, with deadlines.

    Inline detectors run on the loop in one batch, and in a thread of their own for texts so long that the loop would
    stand still. Each thread detector has `threads` threads of its own. Results are kept in one cache of at most
    `cache_bytes` under keyed hashes of (detector name, version, text); texts being scanned are shared by concurrent
    calls. When everything is cached, or inline and short, a call never leaves the loop.

    A failure is a status, never an exception (I3): a detector that is not installed is `not_run`, one that raises
    or returns nonsense `error`, one that is late `timeout` (its late result is still cached), and a lane in which
    more than `waiting_limit` texts wait answers `error` with reason `overloaded`.

    A detector with an attribute `joins_user_turns: int > 0` also sees the last so many user segments joined by line
    ends, which catches what is split over turns; values of that view count for provenance `user`, its
    findings have no place and are dropped.

    Belongs to one event loop. `clock_us` is monotonic. Raises `ConfigurationError` for two detectors of one name.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        *,
        threads: int,
        cache_bytes: int,
        cache_key: bytes,
        clock_us: Callable[[], int],
        waiting_limit: int = WAITING_LIMIT,
        kept: KeptScans | None = None,
    ) -> None:
        """`kept` are scans of passages from their ingest, asked for when a call is about passages alone."""
        self._kept = kept
        self._cache = ScanCache(cache_bytes, cache_key)
        self._clock_us = clock_us
        self._open = partial(Lane, cache=self._cache, threads=threads, waiting_limit=waiting_limit, clock_us=clock_us)
        self._install(detectors, {})

    def with_detectors(self, detectors: Sequence[Detector]) -> "Inspector":
        """An inspector of these detectors with this one's cache. A detector that both have keeps its threads and the
        scans it is at. The threads of one that only this inspector has end with the last reference to it."""
        other = copy(self)
        other._install(detectors, self._lanes)  # noqa: SLF001 -- its own class
        return other

    def _install(self, detectors: Sequence[Detector], known: Mapping[str, Lane]) -> None:
        lanes: dict[str, Lane] = {}
        for detector in detectors:
            if detector.name in lanes:
                raise ConfigurationError(f"two detectors are named `{detector.name}`: rename one")
            lane = known.get(detector.name)
            lanes[detector.name] = lane if lane is not None and lane.detector is detector else self._open(detector)
        self._use(lanes)

    def on(self, grounds: Grounds) -> "Inspector":
        """The inspector of answers made of these grounds; this one where no detector asks for them."""
        if not self._grounded:
            return self
        other = copy(self)
        other._use({**self._lanes, **{name: self._lanes[name].on(grounds) for name in self._grounded}})  # noqa: SLF001
        return other

    def _use(self, lanes: Mapping[str, Lane]) -> None:
        self._lanes = lanes
        self._grounded = tuple(name for name, lane in lanes.items() if isinstance(lane.detector, GroundedDetector))
        # Of the lanes alone, not of this object: nothing then refers to itself, and what is replaced goes at once.
        self._crew = lru_cache(maxsize=_CREWS)(partial(_choose, lanes))

    @property
    def detectors(self) -> Mapping[str, Detector]:
        """The installed detectors by name."""
        return {name: lane.detector for name, lane in self._lanes.items()}

    async def inspect(
        self,
        segments: Sequence[Segment],
        *,
        detectors: frozenset[str],
        timeouts: Mapping[str, float],
        default_timeout_s: float,
        keep: bool = True,
    ) -> Inspection:
        """All that `detectors` see in `segments`. `timeouts` are seconds by detector name, counted from the call
        and including the wait for a thread. A cancelled call leaves its scans running for the cache. Unless
        `keep`, inline detectors neither ask the cache nor fill it for short texts."""
        loop = asyncio.get_running_loop()
        started_s, started_us = loop.time(), self._clock_us()
        distinct: dict[bytes, str] = {}
        digests = []
        for segment in segments:
            digest = self._cache.digest(segment.text)
            digests.append(digest)
            distinct[digest] = segment.text

        crew = self._crew(detectors)
        if self._kept is not None and all(segment.provenance is Provenance.PASSAGE for segment in segments):
            self._recall(self._kept, crew, distinct)
        asked = [self._ask(lane, segments, distinct, keep=keep) for lane in crew.lanes]

        # Every scan has begun, so that waiting in turn takes as long as the slowest one, not as their sum.
        for question in asked:
            if question.asked.flights:
                timeout_s = timeouts.get(question.asked.lane.detector.name, default_timeout_s)
                await question.asked.land(started_s + timeout_s, self._clock_us, started_us)

        return merge(segments, [question.part(digests) for question in asked], crew.not_installed)

    def cached(self, texts: Iterable[str], detectors: frozenset[str]) -> dict[bytes, Scan]:
        """What the cache holds of these texts for these detectors, under the keys of `KeptScans`."""
        digests = [self._cache.digest(text) for text in texts]
        keys = [digest + lane.tag for digest in digests for lane in self._crew(detectors).lanes]
        return {key: scan for key in keys if (scan := self._cache.get(key)) is not None}

    def _recall(self, kept: KeptScans, crew: "_Crew", digests: Iterable[bytes]) -> None:
        """Fill the cache with what was seen of these texts at their ingest."""
        keys = [digest + lane.tag for digest in digests for lane in crew.lanes]
        missing = [key for key in keys if self._cache.get(key) is None]
        if missing:
            for key, scan in kept.find(missing).items():
                self._cache.put(key, scan)

    def close(self) -> None:
        """Stop taking thread scans: those that wait end as `error` with reason `closed`."""
        for lane in self._lanes.values():
            lane.close()

    def _ask(
        self, lane: Lane, segments: Sequence[Segment], distinct: Mapping[bytes, str], *, keep: bool
    ) -> "_Question":
        joined = _join_user_turns(segments, lane.joins_user_turns) if lane.joins_user_turns else None
        if joined is None:
            return _Question(asked=lane.ask(distinct, keep=keep))
        digest = self._cache.digest(joined)
        return _Question(asked=lane.ask({**distinct, digest: joined}, keep=keep), joined=digest)


class _Crew(Struct, frozen=True):
    """The lanes that a set of names stands for, and the names that stand for none."""

    lanes: tuple[Lane, ...]
    not_installed: tuple[str, ...]


class _Question(Struct):
    """One detector's part of a call; `joined` is the digest of the joined user turns."""

    asked: Asked
    joined: bytes | None = None

    def part(self, digests: Sequence[bytes]) -> Part:
        detector = self.asked.lane.detector
        outcomes = self.asked.outcomes
        return Part(
            detector=detector.name,
            version=detector.version,
            signals=detector.signals,
            outcomes=[outcomes[digest] for digest in digests],
            joined=outcomes[self.joined] if self.joined is not None else None,
            took_us=self.asked.took_us,
            cached=len(digests) - sum(map(self.asked.missing.__contains__, digests)),
            scanned=self.asked.scanned,
        )


def _choose(installed: Mapping[str, Lane], detectors: frozenset[str]) -> _Crew:
    # Thread detectors first: they work while the inline ones hold the loop.
    lanes = [lane for name in detectors if (lane := installed.get(name)) is not None]
    lanes.sort(key=lambda lane: (lane.detector.placement is Placement.INLINE, lane.detector.name))
    return _Crew(tuple(lanes), tuple(name for name in sorted(detectors) if name not in installed))


def _join_user_turns(segments: Sequence[Segment], turns: int) -> str | None:
    said = [segment.text for segment in segments if segment.provenance is Provenance.USER][-turns:]
    return "\n".join(said) if len(said) > 1 else None
