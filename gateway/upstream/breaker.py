"""A circuit breaker: after several consecutive failures a model is left alone for a while.

closed -(failures in a row)-> open -(reset time)-> half open -(one call works)-> closed, -(it fails)-> open.
See M. Nygard, "Release It!", 2nd edition, section 5.2. Half open lets one call through at a time.
"""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct


class Circuit(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Permit(Struct, frozen=True):
    """Leave for one call. Its result counts only for the period in which it was given: a slow call from before
    the circuit opened says nothing about the model now."""

    period: int


class Breaker:
    """Counts the results of one model. Every permit ends in exactly one of `succeeded`, `failed`, `abandoned`.

    For one event loop: no method waits, none is thread-safe.
    """

    def __init__(self, *, failures: int, reset_s: float, clock: Callable[[], float]) -> None:
        self._allowed_failures = failures
        self._reset_s = reset_s
        self._clock = clock
        self._period = 0
        self._failures = 0
        self._opened: float | None = None
        self._probing = False

    @property
    def circuit(self) -> Circuit:
        if self._opened is None:
            return Circuit.CLOSED
        return Circuit.OPEN if self.retry_after_s > 0 else Circuit.HALF_OPEN

    @property
    def retry_after_s(self) -> float:
        """Seconds until a call may be tried; 0 when it may now."""
        return 0.0 if self._opened is None else max(0.0, self._opened + self._reset_s - self._clock())

    def enter(self) -> Permit | None:
        """A permit, or `None` while the circuit is open or its one probe is under way."""
        if self._opened is None:
            return Permit(self._period)
        if self._probing or self.retry_after_s > 0:
            return None
        self._probing = True
        return Permit(self._period)

    def responded(self, permit: Permit) -> None:
        """The first part of a stream arrived: enough to close a half-open circuit, too little to forget failures."""
        if permit.period == self._period and self._opened is not None:
            self._close()

    def succeeded(self, permit: Permit) -> None:
        if permit.period != self._period:
            return
        if self._opened is not None:
            self._close()
        self._failures = 0

    def failed(self, permit: Permit) -> None:
        if permit.period != self._period:
            return
        self._failures += 1
        if self._opened is not None or self._failures >= self._allowed_failures:
            self._opened = self._clock()
            self._next_period()

    def abandoned(self, permit: Permit) -> None:
        """The caller went away or was at fault: nothing is learnt, another call may probe."""
        if permit.period == self._period:
            self._probing = False

    def _close(self) -> None:
        self._opened = None
        self._next_period()

    def _next_period(self) -> None:
        self._period += 1
        self._failures = 0
        self._probing = False
