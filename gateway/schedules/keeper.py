"""Runs one schedule: waits for its time, starts the task, records both ends.

INVARIANT: a task starts only after the event that tells of it is durable. Where the log does not answer, the start
waits; a time that passed longer ago than a minute is missed then, unless the schedule catches up.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import structlog
from msgspec import Struct, structs

from gateway.domain.errors import GatewayError, StoreUnavailable
from gateway.domain.event import EventDraft, EventType
from gateway.schedules.child import Child, RunLock
from gateway.schedules.runs import LastRun, Result, RunFolder
from gateway.schedules.times import Due, due_after, looked_after
from gateway.settings import ScheduleSettings

_POLL_S: Final = 0.2
_LOOK_S: Final = 1.0  # how often it is asked whether a task that outlived its gateway has ended
_LONGEST_S: Final = 30.0  # the machine's clock may be set meanwhile

_log = structlog.get_logger("gateway.schedules")


class Surroundings(Struct, frozen=True, kw_only=True):
    """What the schedules of a node share. `command` is our own command line, to which a task's arguments are added;
    `record` blocks until an event is durable, and raises `AuditUnavailable`; `clock` is aware, in UTC."""

    folder: RunFolder
    command: Sequence[str]
    variables: Mapping[str, str]
    node: str
    record: Callable[[EventDraft], object]
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    ids: Callable[[], str]


class Keeper:
    """A part of what a node does beside serving. Made, used and closed by one thread; raises `GatewayError`."""

    def __init__(self, schedule: ScheduleSettings, arguments: Sequence[str], around: Surroundings) -> None:
        self._schedule = schedule
        self._arguments = tuple(arguments)
        self._around = around
        self._lock = RunLock(around.folder.lock(schedule.name))
        self._last: LastRun | None = None
        self._since = around.clock()
        self._child: Child | None = None
        self._started = 0.0

    def step(self) -> float:
        """Start, watch or wait; the seconds until it is worth to come again."""
        if self._last is None:
            if not self._lock.taken():
                return _LOOK_S
            self._last = self._taken_over()
        if self._child is not None:
            self._watch(self._child)
            return _POLL_S
        due = due_after(self._schedule, self._since, node=self._around.node)
        left = (due.begins - self._around.clock()).total_seconds()
        if left > 0:
            return min(left, _LONGEST_S)
        self._begin(due, self._last)
        return _POLL_S

    def close(self) -> None:
        """End a task that runs: it was interrupted. What cannot be recorded now is recorded at the next start."""
        try:
            if self._child is not None:
                self._child.end()
                with suppress(GatewayError):
                    self._end("interrupted", None)
        finally:
            self._lock.close()

    def _taken_over(self) -> LastRun:
        """What an earlier process left: its time, a run that it did not end, an end that it could not record."""
        name, now = self._schedule.name, self._around.clock()
        last = self._around.folder.read(name)
        if last is None:
            last = LastRun(since=now)
            self._around.folder.write(name, last)
        self._since = looked_after(self._schedule, last.since, now)
        if last.is_open:
            last = structs.replace(last, ended=now, result="interrupted", recorded=False, failures=last.failures + 1)
            self._around.folder.write(name, last)
        return last if last.recorded else self._recorded(last)

    def _begin(self, due: Due, before: LastRun) -> None:
        now = self._around.clock()
        last = structs.replace(
            before,
            since=now,
            run=self._around.ids(),
            planned=due.planned,
            began=now,
            ended=None,
            result="",
            exit=None,
        )
        self._around.record(self._event(last, "begun"))
        self._around.folder.write(self._schedule.name, last)
        self._last, self._since = last, now
        self._started = self._around.monotonic()
        printed = self._around.folder.printed(self._schedule.name)
        try:
            self._child = Child.start(
                [*self._around.command, *self._arguments], self._around.variables, printed=printed, lock=self._lock
            )
        except StoreUnavailable as error:
            _log.error("schedule_not_started", schedule=self._schedule.name, reason=error.message)
            self._end("failed", None)

    def _watch(self, child: Child) -> None:
        code = child.exit_code()
        if code is not None:
            self._end("failed" if code else "done", code)
        elif self._around.monotonic() - self._started > self._schedule.timeout_s:
            child.end()
            self._end("timed_out", None)

    def _end(self, result: Result, code: int | None) -> None:
        """Times that passed during the run are not made up for."""
        assert self._last is not None
        self._child = None
        now = self._around.clock()
        is_done = result == "done"
        self._last = last = structs.replace(
            self._last,
            since=now,
            ended=now,
            result=result,
            exit=code,
            recorded=False,
            failures=0 if is_done else self._last.failures + 1,
            done=now if is_done else self._last.done,
        )
        self._since = now
        name = self._schedule.name
        if is_done:
            _log.info("schedule_done", schedule=name, task=self._schedule.task, run=last.run)
        else:
            _log.error(
                "schedule_failed", schedule=name, task=self._schedule.task, run=last.run, result=result, exit=code
            )
        self._around.folder.write(name, last)
        self._last = self._recorded(last)

    def _recorded(self, last: LastRun) -> LastRun:
        self._around.record(self._event(last, last.result))
        last = structs.replace(last, recorded=True)
        self._around.folder.write(self._schedule.name, last)
        return last

    def _event(self, last: LastRun, stage: str) -> EventDraft:
        body: dict[str, Any] = {
            "schedule": self._schedule.name,
            "task": self._schedule.task,
            "run": last.run,
            "stage": stage,
            "planned": _stamp(last.planned),
        }
        if last.ended is not None and last.began is not None:
            body["seconds"] = max(0, round((last.ended - last.began).total_seconds()))
        if last.exit is not None:
            body["exit"] = last.exit
        return EventDraft(type=EventType.SCHEDULE_RUN, body=body)


def _stamp(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")
