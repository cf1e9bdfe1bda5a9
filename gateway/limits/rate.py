"""What a principal may spend, and the arithmetic that local and shared limits have in common.

The rate limit is the generic cell rate algorithm (ITU-T I.371, annex A, virtual scheduling): one time per key says
when its bucket will be full again, which is all a token bucket of `burst` tokens needs to remember.
"""

from typing import Final

from msgspec import Struct

from gateway.domain.errors import AdmissionDenied
from gateway.domain.principal import Principal
from gateway.settings import LimitSettings

BUSY_RETRY_S: Final = 1.0  # nobody knows when a call will end


class Allowance(Struct, frozen=True):
    """`interval_s` between requests in the long run, `burst` at once, `concurrent` at a time."""

    interval_s: float
    burst: int
    concurrent: int


def allowance(settings: LimitSettings, principal: Principal) -> Allowance:
    """A key with a rate of its own never bursts beyond one minute's worth of it."""
    per_minute = principal.requests_per_minute or settings.requests_per_minute
    return Allowance(60.0 / per_minute, max(1, min(settings.burst, per_minute)), settings.concurrent)


def bucket_key(principal: Principal) -> str:
    """What a limit is counted for: the API key, or the caller where there is none."""
    return principal.key_id or principal.ref


def too_fast(retry_after_s: float) -> AdmissionDenied:
    return AdmissionDenied("too many requests for this key; slow down", retry_after_s=retry_after_s)


def too_many_at_once() -> AdmissionDenied:
    return AdmissionDenied(
        "too many requests of this key are under way; wait for one to end",
        retry_after_s=BUSY_RETRY_S,
        code="concurrency_limit_exceeded",
    )
