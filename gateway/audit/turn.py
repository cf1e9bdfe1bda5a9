"""Whose turn it is to append, among the processes of a node."""

import fcntl
import os
from pathlib import Path
from typing import Self


class Turn:
    """A queue at the door of the log. SQLite's own lock keeps the chain right but has no queue: waiting for it
    means polling, which on two cores cost four busy processes a quarter of their throughput and doubled the
    slowest tenth of a per cent. `flock` lets the kernel wake the next one. A courtesy, not a safeguard: who
    does not ask for a turn is still kept out by SQLite. Used by one thread at a time."""

    __slots__ = ("_descriptor",)

    def __init__(self, log: Path) -> None:
        self._descriptor = os.open(log.with_name(log.name + ".turn"), os.O_CREAT | os.O_RDWR, 0o600)

    def __enter__(self) -> Self:
        """Wait without a bound: a stopped process that holds the turn shows as a stalled log to the callers."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._descriptor)
