"""The clock of cases: late ones go to the next tier or are refused, never approved; webhooks are called.

One process of a node runs it, the one that holds the lock file; should it end, another takes over.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import structlog
from msgspec import Struct

from gateway.cases import machine
from gateway.cases.case import Case
from gateway.cases.machine import CLOCK, Command, Refusal
from gateway.cases.store import SqliteCaseStore
from gateway.cases.transitions import Transitions
from gateway.cases.webhooks import WebhookCaller
from gateway.domain.errors import GatewayError, RequestError

_log = structlog.get_logger("gateway.cases")


class Tier(Struct, frozen=True):
    """Where a late case goes, and how many seconds it has there."""

    queue: str
    sla_s: int


class CaseClock:
    """`tiers` says per queue what comes after it. `lock` is a file that is the same for all processes of the node."""

    def __init__(
        self,
        store: SqliteCaseStore,
        transitions: Transitions,
        webhooks: WebhookCaller,
        *,
        tiers: Mapping[str, Tier],
        lock: Path,
        tick_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._transitions = transitions
        self._webhooks = webhooks
        self._tiers = tiers
        self._lock = lock
        self._tick_s = tick_s
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tick, in a task of the running loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the task. A transition under way is finished or never began: the store writes all or nothing."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def tick(self) -> None:
        """Move every case that is due, once, and call the webhooks that are due. Raises `GuardUnavailable`."""
        for case in await self._store.due(self._clock()):
            command = self._command(case)
            if command is not None:
                with suppress(RequestError):  # a person was faster
                    await self._transitions.move(case, command, CLOCK)
        await self._webhooks.call_due()

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
        descriptor = os.open(self._lock, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            owner = False
            while True:
                owner = owner or _taken(descriptor)
                if owner:
                    await self._tick_safely()
                await asyncio.sleep(self._tick_s)
        finally:
            os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
