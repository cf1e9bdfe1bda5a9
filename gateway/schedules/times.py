"""When a schedule runs: cron times in UTC, and a delay that differs from node to node."""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from cronsim import CronSim
from msgspec import Struct

from gateway.settings import ScheduleSettings

GRACE_S: Final = 60.0
"""A time that passed so long ago has not been missed: another worker took over, or the log did not answer."""

_FRACTIONS: Final = 2**64


class Due(Struct, frozen=True, kw_only=True):
    """The time that the expression names, and when the run begins, both aware in UTC."""

    planned: datetime
    begins: datetime


def due_after(schedule: ScheduleSettings, since: datetime, *, node: str) -> Due:
    """The first time after `since` (aware, UTC). The delay is drawn from node, schedule and time, so that whoever asks
    gets the same one."""
    planned: datetime = next(CronSim(schedule.cron, since))
    digest = hashlib.sha256(f"{node}\n{schedule.name}\n{planned.isoformat()}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / _FRACTIONS
    return Due(planned=planned, begins=planned + timedelta(seconds=schedule.jitter_s * share))


def looked_after(schedule: ScheduleSettings, since: datetime, now: datetime) -> datetime:
    """From when on times count for a process that takes over `now` while all until `since` are dealt with: without
    `catch_up`, those that passed before are left out."""
    if schedule.catch_up:
        return min(since, now)
    missed = now - timedelta(seconds=GRACE_S + schedule.jitter_s)
    return min(max(since, missed), now)
