"""What one process of a node does beside serving: follow the log into its index, and to its sinks.

Each part has a thread of its own, so that a slow sink holds up neither the index nor another sink. The process that
holds the lock file runs them; should it end, another takes over. No request waits for any of this: the log is the only
thing that they share, and it is opened for reading.
"""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from gateway.domain.errors import GatewayError
from gateway.file_lock import taken

_LOOK_S: Final = 1.0  # how often a process asks whether it may take over
_RETRY_S: Final = 5.0  # after a failure of a part
_JOIN_S: Final = 10.0


class Part(Protocol):
    """Work in small steps. Made, used and closed by one thread."""

    def step(self) -> float:
        """Do a little; the seconds until it is worth to come again. Raises `GatewayError`."""
        ...

    def close(self) -> None: ...


Makes = tuple[str, Callable[[], Part]]
"""A name, and what makes the part; may raise `GatewayError`, and is called again later then."""


class Background:
    """`warn` is told the name of a part and an error's text, once for each new text. Thread-safe."""

    def __init__(
        self, lock: Path, parts: Sequence[Makes], *, warn: Callable[[str, str], object], retry_s: float = _RETRY_S
    ) -> None:
        self._lock = lock
        self._parts = tuple(parts)
        self._warn = warn
        self._retry_s = retry_s
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin, as soon as no other process of the node does it."""
        waiting = threading.Thread(target=self._wait, name="audit-background", daemon=True)
        self._threads = [waiting]
        waiting.start()

    def stop(self) -> None:
        """End all threads; a step under way is finished, within its own bounds."""
        self._stopping.set()
        for thread in list(self._threads):
            thread.join(_JOIN_S)

    def _wait(self) -> None:
        descriptor = os.open(self._lock, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            while not taken(descriptor):
                if self._stopping.wait(_LOOK_S):
                    return
            own = [threading.Thread(target=self._run, args=part, name=part[0], daemon=True) for part in self._parts]
            for thread in own:
                thread.start()
            for thread in own:
                thread.join()
        finally:
            os.close(descriptor)

    def _run(self, name: str, make: Callable[[], Part]) -> None:
        told, part = "", None
        pause = 0.0
        while not self._stopping.wait(pause):
            try:
                part = part or make()
                pause, told = part.step(), ""
            except Exception as error:  # noqa: BLE001 -- a thread that ends unseen would leave its work undone for good
                reason = error.message if isinstance(error, GatewayError) else f"a defect: {type(error).__name__}"
                if reason != told:
                    self._warn(name, reason)
                told, pause = reason, self._retry_s
                _close(part)
                part = None
        _close(part)


def _close(part: Part | None) -> None:
    if part is not None:
        part.close()
