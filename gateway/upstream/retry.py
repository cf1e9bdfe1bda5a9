"""When to try again: exponential backoff with full jitter, bounded in number and in time.

Full jitter draws the wait evenly from `[0, bound]` where the bound doubles; of the usual schemes it does the least
work under contention (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from msgspec import Struct

from gateway.upstream.faults import TransientUpstreamError

T = TypeVar("T")

_BASE_S: Final = 0.25
_CAP_S: Final = 4.0
_BUDGET_S: Final = 10.0  # a person waits for the answer; a longer `retry-after` is passed to the client instead


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """`retries` attempts after the first; all waits together stay within `budget_s`."""

    retries: int
    base_s: float = _BASE_S
    cap_s: float = _CAP_S
    budget_s: float = _BUDGET_S


class Waiting(Struct, frozen=True, kw_only=True):
    """Clock, sleep and randomness of the retries."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random  # evenly from [0, 1); spreads load, guards nothing
    clock: Callable[[], float] = time.monotonic


def wait_s(
    policy: RetryPolicy, *, attempt: int, spent_s: float, jitter: float, retry_after: float | None
) -> float | None:
    """How long to wait before another attempt, `None` to give up.

    `attempt` counts failed attempts from 1, `spent_s` is the time since the first began, `jitter` lies in [0, 1).
    A `retry-after` of the upstream is a lower bound: the jitter comes on top of it.
    """
    if attempt > policy.retries:
        return None
    bound = min(policy.cap_s, policy.base_s * 2.0 ** (attempt - 1))
    wait = bound * jitter + (retry_after or 0.0)
    return wait if spent_s + wait <= policy.budget_s else None


async def with_retries(attempt: Callable[[], Awaitable[T]], policy: RetryPolicy, waiting: Waiting) -> T:
    """The first success of `attempt`. Only `TransientUpstreamError` is tried again; the last one is raised."""
    began = waiting.clock()
    failures = 0
    while True:
        try:
            return await attempt()
        except TransientUpstreamError as error:
            failures += 1
            wait = wait_s(
                policy,
                attempt=failures,
                spent_s=waiting.clock() - began,
                jitter=waiting.random(),
                retry_after=error.retry_after_s,
            )
            if wait is None:
                raise
        await waiting.sleep(wait)
