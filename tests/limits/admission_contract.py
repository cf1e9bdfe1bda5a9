"""What every implementation of `Admission` must do. A test module subclasses `AdmissionContract`, gives a fixture
`world` and gets these tests."""

import asyncio

import pytest

from gateway.domain.errors import AdmissionDenied
from gateway.domain.principal import Principal
from gateway.settings import LimitSettings

LIMITS = LimitSettings(requests_per_minute=600, burst=5, concurrent=3)  # 0.1 s a request


def principal(key_id="k1", *, ref="p:1", requests_per_minute=0):
    return Principal(
        tenant="t",
        app="a",
        user="u",
        groups=frozenset(),
        auth="key",
        key_id=key_id,
        ref=ref,
        requests_per_minute=requests_per_minute,
    )


class AdmissionContract:
    """`world.open(settings)` gives an admission that knows of no caller; `await world.pass_time(seconds)` waits."""

    async def spend(self, admission, caller, times):
        """How many of `times` requests, one after the other, are admitted."""
        admitted = 0
        for _ in range(times):
            try:
                await admission.admit(caller)
            except AdmissionDenied:
                continue
            admission.release(caller)
            await world_settles()
            admitted += 1
        return admitted

    async def test_a_burst_and_no_more(self, world):
        admission = world.open(LIMITS)
        assert await self.spend(admission, principal(), 12) in {5, 6}  # one may be earned on the way

    async def test_retry_after_says_when(self, world):
        admission = world.open(LimitSettings(requests_per_minute=60, burst=1, concurrent=3))
        caller = principal()
        await admission.admit(caller)
        admission.release(caller)
        with pytest.raises(AdmissionDenied) as caught:
            await admission.admit(caller)
        assert caught.value.code == "rate_limit_exceeded"
        assert caught.value.status == 429
        assert 0.5 < caught.value.retry_after_s <= 1.0
        await world.pass_time(caught.value.retry_after_s)
        await admission.admit(caller)

    async def test_time_gives_back(self, world):
        admission = world.open(LIMITS)
        await self.spend(admission, principal(), 6)
        await world.pass_time(0.25)
        assert await self.spend(admission, principal(), 6) in {2, 3}

    async def test_a_long_rest_gives_no_more_than_a_burst(self, world):
        admission = world.open(LIMITS)
        await self.spend(admission, principal(), 6)
        await world.pass_time(1.0)
        assert await self.spend(admission, principal(), 12) in {5, 6}

    async def test_callers_do_not_share(self, world):
        admission = world.open(LIMITS)
        await self.spend(admission, principal("k1"), 6)
        assert await self.spend(admission, principal("k2"), 5) == 5
        assert await self.spend(admission, principal("", ref="p:2"), 5) == 5
        assert await self.spend(admission, principal("", ref="p:3"), 5) == 5

    async def test_a_rate_of_its_own(self, world):
        admission = world.open(LIMITS)
        assert await self.spend(admission, principal(requests_per_minute=2), 5) == 2

    async def test_concurrency(self, world):
        admission = world.open(LIMITS)
        caller = principal()
        for _ in range(3):
            await admission.admit(caller)
        with pytest.raises(AdmissionDenied) as caught:
            await admission.admit(caller)
        assert caught.value.code == "concurrency_limit_exceeded"
        assert caught.value.retry_after_s > 0
        await admission.admit(principal("k2"))
        admission.release(caller)
        await world_settles()
        await admission.admit(caller)

    async def test_a_denied_request_spends_nothing(self, world):
        admission = world.open(LIMITS)
        caller = principal()
        for _ in range(3):
            await admission.admit(caller)
        for _ in range(10):
            with pytest.raises(AdmissionDenied, match="under way"):
                await admission.admit(caller)
        for _ in range(3):
            admission.release(caller)
        await world_settles()
        assert await self.spend(admission, caller, 5) in {2, 3}

    async def test_requests_at_the_same_time_are_counted_each(self, world):
        admission = world.open(LimitSettings(requests_per_minute=60, burst=50, concurrent=7))
        results = await asyncio.gather(*(admission.admit(principal()) for _ in range(20)), return_exceptions=True)
        assert sum(result is None for result in results) == 7
        assert all(isinstance(result, AdmissionDenied) for result in results if result is not None)


async def world_settles():
    """Time for a slot to travel back."""
    await asyncio.sleep(0.003)
