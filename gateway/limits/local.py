"""Rate and concurrency limits in the memory of one process."""

import heapq
from collections.abc import Callable
from typing import Final

from gateway.domain.principal import Principal
from gateway.limits.rate import allowance, bucket_key, too_fast, too_many_at_once
from gateway.settings import LimitSettings

MAX_BUCKETS: Final = 100_000  # about 15 MB
_ROUNDING_S: Final = 1e-9  # of adding up the intervals of a whole burst


class LocalAdmission:
    """Implements `Admission`. For one event loop; `clock` gives monotonic seconds.

    Memory is bounded: a bucket that is full again is the same as no bucket and is dropped when space is needed.
    Should all be in use, the fullest half is dropped, which forgives those keys a part of one burst.
    """

    def __init__(self, settings: LimitSettings, clock: Callable[[], float], *, max_buckets: int = MAX_BUCKETS) -> None:
        self._settings = settings
        self._clock = clock
        self._max_buckets = max_buckets
        self._full_at: dict[str, float] = {}
        self._running: dict[str, int] = {}

    async def admit(self, principal: Principal) -> None:
        self.take(principal)

    def take(self, principal: Principal) -> None:
        """`admit` without a loop. A request denied for either limit spends nothing of the other."""
        key = bucket_key(principal)
        allowed = allowance(self._settings, principal)
        running = self._running.get(key, 0)
        if running >= allowed.concurrent:
            raise too_many_at_once()
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now) + allowed.interval_s
        excess = full_at - now - allowed.burst * allowed.interval_s
        if excess > _ROUNDING_S:
            raise too_fast(excess)
        if key not in self._full_at and len(self._full_at) >= self._max_buckets:
            self._make_room(now)
        self._full_at[key] = full_at
        self._running[key] = running + 1

    def release(self, principal: Principal) -> None:
        key = bucket_key(principal)
        running = self._running.get(key, 0) - 1
        if running > 0:
            self._running[key] = running
        else:
            self._running.pop(key, None)

    def _make_room(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        keep = self._max_buckets // 2
        if len(self._full_at) > keep:
            self._full_at = dict(heapq.nlargest(keep, self._full_at.items(), key=lambda item: item[1]))
