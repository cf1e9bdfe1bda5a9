"""Signs of life of an idle log: silence without `log.retired` is a finding for whoever watches its checkpoints."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.audit import database
from gateway.audit.entry import parse_timestamp
from gateway.domain.errors import GatewayError
from gateway.domain.event import EventDraft, EventType
from gateway.domain.ports import AuditLog
from gateway.loop_task import LoopTask


class Heartbeat:
    """Appends `log.heartbeat` when nothing was appended for `every_s`. Workers of a node need not agree on who does
    it: the first event makes the others see a log that is not idle."""

    def __init__(
        self,
        path: Path,
        audit: AuditLog,
        *,
        every_s: float,
        clock: Callable[[], datetime],
        warn: Callable[[str, str], object],
    ) -> None:
        self._path = path
        self._audit = audit
        self._every = timedelta(seconds=every_s)
        self._clock = clock
        self._warn = warn
        self._task = LoopTask(self._run)

    def start(self) -> None:
        """Begin, in a task of the running loop."""
        self._task.start()

    async def stop(self) -> None:
        """End the task."""
        await self._task.stop()

    async def beat(self) -> timedelta:
        """Append a sign of life if it is due; the time until the next may be. Raises `AuditUnavailable`."""
        last = await asyncio.to_thread(_last, self._path)
        left = self._every - (self._clock() - last)
        if left > timedelta():
            return min(left, self._every)
        idle = round((self._clock() - last).total_seconds())
        await self._audit.append(EventDraft(type=EventType.LOG_HEARTBEAT, body={"idle_s": max(0, idle)}))
        return self._every

    async def _run(self) -> None:
        pause = self._every
        while True:
            await asyncio.sleep(pause.total_seconds())
            try:
                pause = await self.beat()
            except GatewayError as error:
                self._warn("heartbeat", error.message)
                pause = self._every


def _last(path: Path) -> datetime:
    """When the last event of a log was written; long ago for an empty one."""
    db = database.open_reader(path)
    try:
        with database.unavailable_on_error(path):
            ts = database.read_tip(db).ts
    finally:
        db.close()
    return parse_timestamp(ts) if ts else datetime.min.replace(tzinfo=UTC)
