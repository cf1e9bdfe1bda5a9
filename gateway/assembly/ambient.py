"""What a process takes from its machine: time and chance. Everything else gets them as arguments."""

import os
import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Aware, in UTC; follows the machine's clock, corrections included."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """An aware time in UTC as stores keep it: ISO 8601, whole seconds, `Z`."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def monotonic_us() -> int:
    """Microseconds from some beginning; never goes back. For durations."""
    return time.monotonic_ns() // 1000


def random_id() -> str:
    """32 hex digits that nobody can guess."""
    return os.urandom(16).hex()


def ascending_id() -> str:
    """32 hex digits: microseconds, then 72 random bits. Ascending ids keep an index compact."""
    return f"{time.time_ns() // 1000:014x}{os.urandom(9).hex()}"
