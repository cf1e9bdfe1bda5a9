"""Brings events to a sink, in order and at least once, from the log itself: nothing is queued that could be lost.

A batch is read from the log, handed over, and only then the position moves, durably. A process that ends in between
delivers the batch again. A sink that fails is asked again after a pause that doubles up to a minute; the log grows
meanwhile, and nothing waits for the sink but its own thread.
"""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.audit.outbox_places import Places
from gateway.audit.outbox_sinks import Sink
from gateway.audit.progress import Progress
from gateway.audit.read import AuditReader, Event, Filter
from gateway.domain.errors import AuditUnavailable

_IDLE_S: Final = 0.5
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0


class Delivery:
    """A part of the background: feeds one sink."""

    def __init__(
        self,
        log: Path,
        places: Path,
        sink: Sink,
        *,
        batch_events: int,
        warn: Callable[[str, str], object],
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        """Raises `AuditUnavailable`."""
        self._sink = sink
        self._batch_events = batch_events
        self._warn = warn
        self._first_pause_s = first_pause_s
        self._pause_s = 0.0
        self._places = Places(places)
        try:
            self._reader = AuditReader(log)
        except BaseException:
            self._places.close()
            raise

    def step(self) -> float:
        """Deliver a batch; the seconds until there may be another. Raises `AuditUnavailable` for a log that is not the
        one that the sink was fed from."""
        at = self._places.of(self._sink.name).progress
        if not self._reader.fits(at):
            raise AuditUnavailable(
                f"the log does not hold event {at.seq} that the sink `{self._sink.name}` got last: it was restored or "
                f"replaced; say where to go on with `gateway audit sinks --restart {self._sink.name} SEQ`"
            )
        batch = list(self._reader.search(Filter(first=at.seq + 1), limit=self._batch_events))
        if not batch:
            return _IDLE_S
        try:
            self._sink.put(batch)
        except (OSError, ValueError) as error:
            return self._failed(error)
        self._delivered(batch[-1])
        return 0.0 if len(batch) == self._batch_events else _IDLE_S

    def close(self) -> None:
        self._reader.__exit__()
        self._places.close()

    def _delivered(self, last: Event) -> None:
        self._places.delivered(self._sink.name, Progress(last.seq, bytes.fromhex(last.hash)))
        self._pause_s = 0.0

    def _failed(self, error: Exception) -> float:
        reason = _reason(error)
        if not self._pause_s:
            self._warn(self._sink.name, f"a batch was not taken: {reason}")
        self._places.failed(self._sink.name, reason)
        self._pause_s = min(2 * self._pause_s or self._first_pause_s, _LONGEST_PAUSE_S)
        return self._pause_s


def _reason(error: Exception) -> str:
    """In one line and without what a server said."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case TimeoutError():
            return "it did not answer in time"
        case ConnectionError() if error.args and isinstance(error.args[0], str):
            return error.args[0]
        case OSError():
            return (error.strerror or type(error).__name__).lower()
        case _:
            return f"an event has no such form: {type(error).__name__}"
