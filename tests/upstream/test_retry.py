import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import UpstreamError
from gateway.upstream.faults import TransientUpstreamError
from gateway.upstream.retry import RetryPolicy, Waiting, wait_s, with_retries

POLICY = RetryPolicy(retries=3, base_s=1.0, cap_s=4.0, budget_s=20.0)

WAITS = [
    ("first", {"attempt": 1, "spent_s": 0.0, "jitter": 0.5, "retry_after": None}, 0.5),
    ("doubles", {"attempt": 3, "spent_s": 0.0, "jitter": 0.5, "retry_after": None}, 2.0),
    ("no jitter, no wait", {"attempt": 2, "spent_s": 0.0, "jitter": 0.0, "retry_after": None}, 0.0),
    ("retry-after is a lower bound", {"attempt": 1, "spent_s": 0.0, "jitter": 0.25, "retry_after": 7.0}, 7.25),
    ("retries are counted", {"attempt": 4, "spent_s": 0.0, "jitter": 0.0, "retry_after": None}, None),
    ("the budget holds", {"attempt": 1, "spent_s": 19.9, "jitter": 0.5, "retry_after": None}, None),
    ("a long retry-after is for the client", {"attempt": 1, "spent_s": 0.0, "jitter": 0.0, "retry_after": 21.0}, None),
]


@pytest.mark.parametrize(("arguments", "expected"), [case[1:] for case in WAITS], ids=[case[0] for case in WAITS])
def test_wait(arguments, expected):
    assert wait_s(POLICY, **arguments) == expected


@given(st.integers(1, 20), st.floats(0, 30), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 100))
def test_waits_stay_within_the_budget_and_above_retry_after(attempt, spent, jitter, retry_after):
    wait = wait_s(RetryPolicy(retries=10), attempt=attempt, spent_s=spent, jitter=jitter, retry_after=retry_after)
    if wait is not None:
        assert (retry_after or 0.0) <= wait <= 10.0 - spent + 1e-9


class World:
    """Sleeping moves the clock."""

    def __init__(self, outcomes):
        self.now = 0.0
        self.outcomes = list(outcomes)
        self.calls = 0

    async def attempt(self):
        self.calls += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def sleep(self, seconds):
        self.now += seconds

    def run(self):
        return with_retries(self.attempt, POLICY, Waiting(sleep=self.sleep, random=lambda: 0.5, clock=lambda: self.now))


async def test_transient_failures_are_tried_again():
    world = World([TransientUpstreamError("x"), TransientUpstreamError("y", retry_after_s=2.0), "done"])
    assert await world.run() == "done"
    assert world.now == 0.5 + 3.0


async def test_other_failures_are_not():
    world = World([UpstreamError("bad", status=400)])
    with pytest.raises(UpstreamError, match="bad"):
        await world.run()
    assert world.calls == 1


async def test_the_last_failure_is_raised():
    world = World([TransientUpstreamError(str(number)) for number in range(4)])
    with pytest.raises(TransientUpstreamError, match="3"):
        await world.run()
    assert world.calls == 4
