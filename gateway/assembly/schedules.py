"""Wires the schedules of the settings: what runs them beside the requests, and what tells how they went."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Final

import structlog
from msgspec import Struct

from gateway.assembly.ambient import random_id
from gateway.audit.background import Background, Makes
from gateway.domain.errors import StoreUnavailable
from gateway.domain.event import EventDraft
from gateway.metrics.counts import Gauge
from gateway.schedules.arguments import arguments_of
from gateway.schedules.keeper import Keeper, Surroundings
from gateway.schedules.runs import LastRun, RunFolder
from gateway.schedules.times import due_after, looked_after
from gateway.settings import ScheduleSettings, Settings
from gateway.settings.folder import SCHEDULES_DIR, SCHEDULES_LOCK

_FRESH_S: Final = 5.0
_COMMAND: Final = (sys.executable, "-m", "gateway")

_log = structlog.get_logger("gateway.schedules")


class Standing(Struct, frozen=True, kw_only=True):
    """A schedule with its next run and its last one. `next` is `None` while it runs."""

    name: str
    task: str
    cron: str
    next: datetime | None
    last: LastRun | None
    printed: str


def start_schedules(
    settings: Settings,
    environ: Mapping[str, str],
    record: Callable[[EventDraft], object],
    closing: AsyncExitStack,
    *,
    clock: Callable[[], datetime],
    command: Sequence[str] = _COMMAND,
) -> None:
    """Run them in a thread each, in one process of the node, until the gateway ends. `record` blocks until an event is
    durable. Raises `StoreUnavailable` for a data folder that cannot be used."""
    if not settings.schedules:
        return
    folder = runs_of(settings)
    folder.prepare()
    around = Surroundings(
        folder=folder,
        command=command,
        variables=environ,
        node=settings.audit.log_name,
        record=record,
        clock=clock,
        monotonic=time.monotonic,
        ids=random_id,
    )
    parts = [_part(schedule, around) for schedule in settings.schedules]
    background = Background(settings.data_dir / SCHEDULES_LOCK, parts, warn=_warn)
    background.start()
    closing.push_async_callback(asyncio.to_thread, background.stop)


def runs_of(settings: Settings) -> RunFolder:
    return RunFolder(settings.data_dir / SCHEDULES_DIR)


def standing(settings: Settings, now: datetime) -> list[Standing]:
    """Every schedule of the settings. Raises `StoreUnavailable`."""
    folder = runs_of(settings)
    return [_standing(settings, schedule, folder, now) for schedule in settings.schedules]


class ScheduleWatch:
    """How the schedules went, looked up at most every five seconds. For probes and metrics; one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._folder = runs_of(settings)
        self._names = tuple(schedule.name for schedule in settings.schedules)
        self._looked = -_FRESH_S
        self._last: dict[str, LastRun] = {}

    def last(self) -> Mapping[str, LastRun]:
        """By name, those that a process looks after; what was known last where a file cannot be read."""
        if self._names and time.monotonic() - self._looked >= _FRESH_S:
            self._looked = time.monotonic()
            for name in self._names:
                try:
                    found = self._folder.read(name)
                except StoreUnavailable:
                    continue  # the process that runs them warns of it
                if found is not None:
                    self._last[name] = found
        return self._last

    def sound(self) -> bool | None:
        """Whether the last run of none of them failed; `None` without schedules."""
        return not any(last.failures for last in self.last().values()) if self._names else None

    def gauges(self) -> list[Gauge]:
        found = []
        for name, last in sorted(self.last().items()):
            found.append(
                Gauge(
                    name="gateway_schedule_failures",
                    about="Runs of a schedule that failed since the last that did not",
                    labels={"schedule": name},
                    value=float(last.failures),
                )
            )
            if last.done is not None:
                found.append(
                    Gauge(
                        name="gateway_schedule_done_timestamp_seconds",
                        about="When a run of a schedule ended last that did not fail",
                        labels={"schedule": name},
                        value=last.done.timestamp(),
                    )
                )
        return found


def _part(schedule: ScheduleSettings, around: Surroundings) -> Makes:
    return f"schedule-{schedule.name}", lambda: Keeper(schedule, arguments_of(schedule), around)


def _standing(settings: Settings, schedule: ScheduleSettings, folder: RunFolder, now: datetime) -> Standing:
    last = folder.read(schedule.name)
    since = now if last is None else looked_after(schedule, last.since, now)
    due = due_after(schedule, since, node=settings.audit.log_name)
    return Standing(
        name=schedule.name,
        task=schedule.task,
        cron=schedule.cron,
        next=None if last is not None and last.is_open else due.begins,
        last=last,
        printed=str(folder.printed(schedule.name)),
    )


def _warn(part: str, reason: str) -> None:
    _log.warning("schedule_waits", part=part, reason=reason)
