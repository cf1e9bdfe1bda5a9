"""Carries what was announced to those who are told: at least once, with growing pauses after failures."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog
from msgspec import structs

from gateway.cases.store import CaseStore, Notice

_log = structlog.get_logger("gateway.cases")
_FIRST_PAUSE_S: Final = 5
_LONGEST_PAUSE_S: Final = 3600


class Carrier(Protocol):
    """Takes notices to one target."""

    async def carry(self, notice: Notice) -> bool:
        """Whether it was taken. Bounded in time; never raises for a target that fails."""
        ...


class Courier:
    """`carriers` are by target; what is for nobody any more is dropped. `attempts` failures give a notice up, which
    the log says. One courier runs at a time per store."""

    def __init__(
        self, store: CaseStore, carriers: Mapping[str, Carrier], *, attempts: int, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._carriers = carriers
        self._attempts = attempts
        self._clock = clock

    async def carry_due(self) -> None:
        """Try each notice that is due once. Targets do not wait for each other; behind a failure the rest of its target
        waits for the next time, so that a dead server costs one timeout."""
        targets: dict[str, list[Notice]] = defaultdict(list)
        for notice in await self._store.notices(self._clock()):
            targets[notice.target].append(notice)
        await asyncio.gather(*(self._carry(target, notices) for target, notices in targets.items()))

    async def _carry(self, target: str, notices: Sequence[Notice]) -> None:
        carrier = self._carriers.get(target)
        for notice in notices:
            if carrier is None or await carrier.carry(notice):
                await self._store.forget(notice)
            else:
                await self._later(notice)
                return

    async def _later(self, notice: Notice) -> None:
        failed = notice.attempts + 1
        if failed >= self._attempts:
            _log.error("notice_given_up", target=notice.target, notice=notice.id, attempts=failed)
            await self._store.forget(notice)
            return
        pause = min(_FIRST_PAUSE_S * 2 ** min(failed - 1, 20), _LONGEST_PAUSE_S)
        next_at = self._clock() + timedelta(seconds=pause)
        await self._store.postpone(structs.replace(notice, attempts=failed, next_at=next_at))
