"""The clock of cases: late ones go to the next tier or are refused, never approved; announcements are carried.

One process runs it, the one that holds the lock; should it end, another takes over.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog
from msgspec import Struct

from gateway.cases import machine
from gateway.cases.case import Case
from gateway.cases.courier import Courier
from gateway.cases.machine import CLOCK, Command, Refusal
from gateway.cases.store import CaseStore
from gateway.cases.transitions import Transitions
from gateway.cases.watch import QualityWatch
from gateway.domain.errors import GatewayError, RequestError
from gateway.file_lock import taken
from gateway.loop_task import LoopTask

_log = structlog.get_logger("gateway.cases")


class Tier(Struct, frozen=True):
    """Where a late case goes, and how many seconds it has there."""

    queue: str
    sla_s: int


class ClockLock(Protocol):
    """Held by at most one process of all that share a store. `held` takes it if it is free, and may block."""

    def held(self) -> bool: ...

    def close(self) -> None: ...


class FileLock:
    """For the processes of one machine: whoever has locked the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._mine = False

    def held(self) -> bool:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        self._mine = self._mine or taken(self._descriptor)
        return self._mine

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._mine = -1, False


class CaseClock:
    """`tiers` says per queue what comes after it. `lock` is shared by all processes that share the store."""

    def __init__(
        self,
        store: CaseStore,
        transitions: Transitions,
        courier: Courier,
        watch: QualityWatch,
        *,
        tiers: Mapping[str, Tier],
        lock: ClockLock,
        tick_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._transitions = transitions
        self._courier = courier
        self._watch = watch
        self._tiers = tiers
        self._lock = lock
        self._tick_s = tick_s
        self._clock = clock
        self._task = LoopTask(self._run)

    def start(self) -> None:
        """Begin to tick, in a task of the running loop."""
        self._task.start()

    async def stop(self) -> None:
        """End the task. A transition under way is finished or never began: the store writes all or nothing."""
        await self._task.stop()

    async def tick(self) -> None:
        """Move every case that is due, once, and carry the announcements that are due, and look at
        the review. Raises `GuardUnavailable`."""
        for case in await self._store.due(self._clock()):
            command = self._command(case)
            if command is not None:
                with suppress(RequestError):  # a person was faster
                    await self._transitions.move(case, command, CLOCK)
        await self._courier.carry_due()
        await self._watch.look()

    def _command(self, case: Case) -> Command | None:
        tier = self._tiers.get(case.queue, Tier("", 0))
        commands = (machine.Overdue(tier.queue, tier.sla_s), machine.LapseLease(), machine.Close())
        now = self._clock()
        return next((one for one in commands if not isinstance(machine.apply(case, one, CLOCK, now), Refusal)), None)

    async def _tick_safely(self) -> None:
        try:
            await self.tick()
        except GatewayError as error:  # the next tick tries again; until then nothing is released
            _log.error("case_clock", error=type(error).__name__, reason=error.message)

    async def _run(self) -> None:
        try:
            while True:
                if await asyncio.to_thread(self._lock.held):
                    await self._tick_safely()
                await asyncio.sleep(self._tick_s)
        finally:
            self._lock.close()
