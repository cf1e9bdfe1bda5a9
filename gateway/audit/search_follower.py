"""Keeps the index of a running gateway close behind its log."""

import time
from pathlib import Path
from typing import Final

from gateway.audit.search_index import SearchIndex

# 64 events are about 5 ms of a processor; sixteen times as long a pause leaves the interpreter to requests.
_PORTION: Final = 64
_REST: Final = 16
_IDLE_S: Final = 0.5


class IndexFollower:
    """A part of the background. Up to about 750 events a second; more is caught up with when it is quieter, and
    searches read what is not indexed yet from the log."""

    def __init__(self, log: Path) -> None:
        """Raises `AuditUnavailable`."""
        self._index = SearchIndex(log)

    def step(self) -> float:
        begun = time.monotonic()
        left = self._index.take_in(_PORTION)
        return _REST * (time.monotonic() - begun) if left else _IDLE_S

    def close(self) -> None:
        self._index.close()
