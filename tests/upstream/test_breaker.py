import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.upstream.breaker import Breaker, Circuit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(failures=3, reset_s=10.0, clock=clock)


def fail(breaker, times):
    for _ in range(times):
        breaker.failed(breaker.enter())


def test_opens_after_consecutive_failures_only(breaker):
    fail(breaker, 2)
    breaker.succeeded(breaker.enter())
    fail(breaker, 2)
    assert breaker.circuit is Circuit.CLOSED
    fail(breaker, 1)
    assert breaker.circuit is Circuit.OPEN
    assert breaker.enter() is None
    assert breaker.retry_after_s == 10.0


def test_half_open_lets_one_call_through(breaker, clock):
    fail(breaker, 3)
    clock.now = 10.0
    assert breaker.circuit is Circuit.HALF_OPEN
    probe = breaker.enter()
    assert probe is not None
    assert breaker.enter() is None
    breaker.succeeded(probe)
    assert breaker.circuit is Circuit.CLOSED
    assert breaker.enter() is not None


def test_a_failed_probe_opens_again(breaker, clock):
    fail(breaker, 3)
    clock.now = 10.0
    breaker.failed(breaker.enter())
    assert breaker.circuit is Circuit.OPEN
    clock.now = 19.9
    assert breaker.enter() is None


def test_an_abandoned_probe_lets_another_try(breaker, clock):
    fail(breaker, 3)
    clock.now = 10.0
    breaker.abandoned(breaker.enter())
    assert breaker.enter() is not None


def test_a_stream_that_began_closes_a_half_open_circuit_and_forgets_nothing_of_a_closed_one(breaker, clock):
    fail(breaker, 2)
    breaker.responded(breaker.enter())
    fail(breaker, 1)
    assert breaker.circuit is Circuit.OPEN
    clock.now = 10.0
    breaker.responded(breaker.enter())
    assert breaker.circuit is Circuit.CLOSED


def test_results_from_before_the_circuit_opened_mean_nothing(breaker, clock):
    late = [breaker.enter() for _ in range(4)]
    fail(breaker, 3)
    breaker.succeeded(late[0])
    assert breaker.circuit is Circuit.OPEN
    clock.now = 10.0
    probe = breaker.enter()
    breaker.failed(late[1])
    breaker.abandoned(late[2])
    assert breaker.circuit is Circuit.HALF_OPEN
    assert breaker.enter() is None, "the probe is still under way"
    breaker.succeeded(probe)
    breaker.failed(late[3])
    assert breaker.circuit is Circuit.CLOSED


class AnyHistory(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(failures=2, reset_s=5.0, clock=self.clock)
        self.permits = []

    @rule()
    def enter(self):
        permit = self.breaker.enter()
        if permit is not None:
            self.permits.append(permit)

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), end=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end_call(self, data, end):
        permit = self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1)))
        getattr(self.breaker, end)(permit)

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds):
        self.clock.now += seconds

    @invariant()
    def an_open_circuit_lets_nothing_through_and_never_stays_stuck(self):
        if self.breaker.circuit is Circuit.OPEN:
            assert self.breaker.enter() is None
            assert self.breaker.retry_after_s > 0
        elif not self.permits:
            permit = self.breaker.enter()
            assert permit is not None
            self.breaker.abandoned(permit)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
