import time

import pytest
from admission_contract import LIMITS, AdmissionContract, principal
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import AdmissionDenied
from gateway.limits.local import LocalAdmission
from gateway.settings import LimitSettings


class World:
    now = 1000.0

    def open(self, settings, **options):
        return LocalAdmission(settings, lambda: self.now, **options)

    async def pass_time(self, seconds):
        self.now += seconds


@pytest.fixture
def world():
    return World()


class TestLocalAdmission(AdmissionContract):
    async def test_exactly_a_burst(self, world):
        assert await self.spend(world.open(LIMITS), principal(), 20) == 5


@given(
    st.lists(st.floats(0, 3), max_size=60),
    st.integers(1, 10),
    st.integers(1, 1_000),
)
def test_never_more_than_burst_and_rate_allow(waits, burst, per_minute):
    world = World()
    admission = world.open(LimitSettings(requests_per_minute=per_minute, burst=burst, concurrent=1))
    began = world.now
    admitted = 0
    for wait in waits:
        world.now += wait
        try:
            admission.take(principal())
        except AdmissionDenied:
            continue
        else:
            admitted += 1
            admission.release(principal())
    assert admitted <= min(burst, per_minute) + (world.now - began) * per_minute / 60 + 1e-6


@given(st.integers(1, 10), st.integers(1, 1_000))
def test_whoever_waits_as_told_is_admitted(burst, per_minute):
    world = World()
    admission = world.open(LimitSettings(requests_per_minute=per_minute, burst=burst, concurrent=100))
    for _ in range(burst * 2):
        try:
            admission.take(principal())
        except AdmissionDenied as denied:
            world.now += denied.retry_after_s
            admission.take(principal())


def test_memory_is_bounded_and_keys_in_use_are_kept():
    world = World()
    admission = world.open(LimitSettings(requests_per_minute=60, burst=2, concurrent=9), max_buckets=100)
    for _ in range(2):
        admission.take(principal("busy"))
        admission.release(principal("busy"))
    for number in range(1_000):
        admission.take(principal(f"k{number}"))
        admission.release(principal(f"k{number}"))
    assert len(admission._full_at) <= 100
    assert not admission._running
    with pytest.raises(AdmissionDenied):
        admission.take(principal("busy"))


def test_full_buckets_make_room_first():
    world = World()
    admission = world.open(LimitSettings(requests_per_minute=60, burst=5, concurrent=9), max_buckets=10)
    for number in range(10):
        admission.take(principal(f"old{number}"))
    world.now += 2.0
    admission.take(principal("new"))
    assert set(admission._full_at) == {"new"}


def test_an_extra_release_gives_nothing():
    admission = World().open(LimitSettings(requests_per_minute=600, burst=9, concurrent=1))
    admission.release(principal())
    admission.take(principal())
    with pytest.raises(AdmissionDenied):
        admission.take(principal())


def test_it_takes_microseconds():
    admission = LocalAdmission(LimitSettings(requests_per_minute=10_000_000, burst=1_000_000), time.monotonic)
    caller = principal()
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(1_000):
            admission.take(caller)
            admission.release(caller)
        best = min(best, (time.perf_counter() - began) / 1_000)
    assert best < 30e-6, "about 2 us on an idle machine"
