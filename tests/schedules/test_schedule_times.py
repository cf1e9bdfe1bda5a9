"""When schedules run."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.schedules.arguments import arguments_of
from gateway.schedules.times import GRACE_S, due_after, looked_after
from gateway.settings import ScheduleSettings

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def schedule(cron: str = "30 2 * * *", **more: Any) -> ScheduleSettings:
    return structs.replace(ScheduleSettings(name="purge", cron=cron, task="retention_purge"), **more)


@pytest.mark.parametrize(
    ("cron", "planned"),
    [
        ("30 2 * * *", datetime(2026, 3, 2, 2, 30, tzinfo=UTC)),
        ("*/15 * * * *", datetime(2026, 3, 1, 12, 15, tzinfo=UTC)),
        ("0 12 * * *", datetime(2026, 3, 2, 12, 0, tzinfo=UTC)),
        ("0 4 * * MON", datetime(2026, 3, 2, 4, 0, tzinfo=UTC)),
        ("0 0 L * *", datetime(2026, 3, 31, tzinfo=UTC)),
    ],
)
def test_the_next_time_is_strictly_later_and_in_utc(cron: str, planned: datetime) -> None:
    due = due_after(schedule(cron), NOON, node="n")
    assert (due.planned, due.begins) == (planned, planned)


@given(node=st.text(max_size=20), jitter=st.floats(0, 3600))
def test_the_delay_is_within_its_bound_and_always_the_same(node: str, jitter: float) -> None:
    one = schedule(jitter_s=jitter)
    due = due_after(one, NOON, node=node)
    assert timedelta() <= due.begins - due.planned <= timedelta(seconds=jitter)
    assert due == due_after(one, NOON + timedelta(hours=1), node=node)


def test_nodes_do_not_begin_together() -> None:
    begins = {due_after(schedule(jitter_s=600), NOON, node=f"node-{number}").begins for number in range(20)}
    assert len(begins) == 20


def test_missed_times_count_only_for_a_schedule_that_catches_up() -> None:
    before = NOON - timedelta(days=3)
    assert looked_after(schedule(catch_up=True), before, NOON) == before
    assert looked_after(schedule(), before, NOON) == NOON - timedelta(seconds=GRACE_S)
    assert looked_after(schedule(), NOON - timedelta(seconds=5), NOON) == NOON - timedelta(seconds=5)


def test_a_clock_that_was_set_back_holds_up_nothing() -> None:
    for catch_up in (False, True):
        assert looked_after(schedule(catch_up=catch_up), NOON + timedelta(days=400), NOON) == NOON


@pytest.mark.parametrize(
    ("chosen", "arguments"),
    [
        ({"task": "retention_purge"}, ["audit", "retention", "--purge"]),
        (
            {"task": "ingest", "paths": ("-docs", "b"), "tenant": "acme"},
            ["ingest", "--tenant=acme", "--", "-docs", "b"],
        ),
        ({"task": "drift"}, ["index", "drift"]),
        (
            {"task": "drift", "days": 14, "questions": "q.yaml", "tenant": "acme"},
            ["index", "drift", "--since=14", "--canaries=q.yaml", "--tenant=acme"],
        ),
        (
            {"task": "index_build", "embedder": "e5", "chunker": "row", "target_chars": 800},
            ["index", "build", "--embedder=e5", "--chunker=row", "--target-chars=800", "--by=schedule purge"],
        ),
    ],
)
def test_a_task_is_a_command_of_ours(chosen: dict[str, Any], arguments: list[str]) -> None:
    assert arguments_of(schedule(**chosen)) == arguments
