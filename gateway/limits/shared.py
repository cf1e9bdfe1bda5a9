"""Rate and concurrency limits shared by all nodes through Redis: one script, one round trip a request.

1. Time is the server's own, so nodes need not agree on theirs.
2. A slot is a lease that expires: a node that dies gives its slots back after `lease_s`.
3. Redis failing is no reason to stop answering, nor to stop limiting: each node then applies the limits in its own
   memory (at worst each node grants a whole allowance), says so in `health`, and tries Redis again after a pause.
   A limit protects capacity, not content; what protects content fails closed elsewhere.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from msgspec import Struct, structs
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.domain.principal import Principal
from gateway.limits.local import LocalAdmission
from gateway.limits.rate import allowance, bucket_key, too_fast, too_many_at_once
from gateway.settings import LimitSettings

LEASE_S: Final = 660.0  # longer than any exchange: the default total timeout of a model is 600 s
_ANSWER_S: Final = 0.25  # a healthy Redis answers in well under a millisecond
_PAUSE_S: Final = 1.0  # between attempts while Redis is down, so that not every request waits for it
_US: Final = 1_000_000
_BUSY: Final = -1

_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, concurrent = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local lease = tonumber(ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
if redis.call('ZCARD', KEYS[2]) >= concurrent then return -1 end
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + interval
local excess = full_at - now - burst * interval
if excess > 0 then return excess end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
redis.call('ZADD', KEYS[2], string.format('%.0f', now + lease), ARGV[5])
redis.call('PEXPIRE', KEYS[2], math.ceil(lease / 1000))
return 0
"""


class LimitHealth(Struct, frozen=True):
    """`shared` is false while each node limits alone; `local_decisions` counts the requests decided that way."""

    shared: bool
    local_decisions: int


class RedisAdmission:
    """Implements `Admission` over Redis. For one event loop; `clock` gives monotonic seconds and times only the
    pauses; `node` is unique among all processes that share the Redis."""

    def __init__(
        self,
        settings: LimitSettings,
        client: Redis,
        clock: Callable[[], float],
        *,
        node: str,
        lease_s: float = LEASE_S,
    ) -> None:
        self._settings = settings
        self._client = client
        self._script = client.register_script(_SCRIPT)
        self._clock = clock
        self._node = node
        self._lease_us = int(lease_s * _US)
        self._local = LocalAdmission(settings, clock)
        self._numbers = count()
        self._leases: defaultdict[str, list[str | None]] = defaultdict(list)  # `None`: granted by this node alone
        self._retry_at = float("-inf")
        self._local_decisions = 0
        self._returning: set[asyncio.Task[None]] = set()

    @classmethod
    def connect(cls, settings: LimitSettings, clock: Callable[[], float], *, node: str) -> "RedisAdmission":
        """Make the client for `settings.redis_url`, an address and no reference; the connection opens with the first
        request. The address is not kept: it may hold a password."""
        client = Redis.from_url(
            settings.redis_url,
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
            retry=Retry(NoBackoff(), 1),  # a pooled connection may have died unnoticed
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        return cls(structs.replace(settings, redis_url=""), client, clock, node=node)

    @property
    def health(self) -> LimitHealth:
        return LimitHealth(self._clock() >= self._retry_at, self._local_decisions)

    async def admit(self, principal: Principal) -> None:
        key = bucket_key(principal)
        allowed = allowance(self._settings, principal)
        lease = f"{self._node}:{next(self._numbers)}"
        arguments = [max(1, round(allowed.interval_s * _US)), allowed.burst, allowed.concurrent, self._lease_us, lease]
        answer = await self._ask(key, arguments)
        if answer is None:
            self._local_decisions += 1
            self._local.take(principal)
            self._leases[key].append(None)
        elif answer == _BUSY:
            raise too_many_at_once()
        elif answer > 0:
            raise too_fast(answer / _US)
        else:
            self._leases[key].append(lease)

    def release(self, principal: Principal) -> None:
        """Give one slot of this caller back; leases of one key are interchangeable."""
        key = bucket_key(principal)
        leases = self._leases[key]
        lease = leases.pop()
        if not leases:
            del self._leases[key]
        if lease is None:
            self._local.release(principal)
        else:
            self._give_back(key, lease)

    async def close(self) -> None:
        """Wait for slots on their way back, then close the connections."""
        if self._returning:
            await asyncio.wait(self._returning, timeout=_ANSWER_S * 4)
        await self._client.aclose()

    async def _ask(self, key: str, arguments: list[Any]) -> int | None:
        """The script's answer, `None` if Redis did not give one."""
        if self._clock() < self._retry_at:
            return None
        call = asyncio.ensure_future(self._script(keys=[_rate_key(key), _slots_key(key)], args=arguments))
        try:
            return int(await asyncio.shield(call))
        except (RedisError, OSError, TimeoutError):
            self._retry_at = self._clock() + _PAUSE_S
            return None
        except asyncio.CancelledError:  # the script may run all the same, and take a slot that nobody would return
            call.add_done_callback(lambda done: self._return_unused(key, arguments[-1], done))
            raise

    def _return_unused(self, key: str, lease: str, done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and done.exception() is None and done.result() == 0:
            self._give_back(key, lease)

    def _give_back(self, key: str, lease: str) -> None:
        task = asyncio.get_running_loop().create_task(self._remove(key, lease))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _remove(self, key: str, lease: str) -> None:
        try:
            await self._client.zrem(_slots_key(key), lease)
        except (RedisError, OSError, TimeoutError):
            self._retry_at = self._clock() + _PAUSE_S  # the lease expires by itself


def _rate_key(key: str) -> str:
    return f"gateway:{{{key}}}:rate"  # the braces keep both keys of a caller on one node of a cluster


def _slots_key(key: str) -> str:
    return f"gateway:{{{key}}}:slots"
