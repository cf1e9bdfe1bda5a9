"""The counts of all workers of a node.

Each worker writes its own to a file, every second while they change and before it shows any: what somebody has seen is
on file, so that sums never go down, whichever worker is asked. A locked file beside it says that the worker lives; the
counts of those that ended are folded into one file by the next that starts. Files are replaced whole and not forced to
disk: after a power cut a counter may start over, which Prometheus understands.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.file_lock import taken
from gateway.loop_task import LoopTask
from gateway.metrics.counts import Counts, Gauge, Snapshot, summed

_FLUSH_S: Final = 1.0
_ENDED: Final = "ended.json"
_LOCK: Final = "lock"
_log = structlog.get_logger("gateway.metrics")


class _Told(Struct, frozen=True, kw_only=True):
    """What one worker's file holds."""

    counts: Snapshot
    gauges: list[Gauge] = []


class NodeCounts:
    """The counts of this process and of its node. `gauges` gives values as they are now. `start` first."""

    def __init__(self, folder: Path, counts: Counts, gauges: Callable[[], Sequence[Gauge]], *, name: str) -> None:
        """`name` is unique among the processes of all time. Raises `ConfigurationError` for a folder that cannot be
        used."""
        self._folder = folder
        self._counts = counts
        self._gauges = gauges
        self._file = folder / f"worker-{name}.json"
        self._written = b""
        self._task = LoopTask(self._run)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked(fcntl.LOCK_EX):
                self._fold_ended()
                self._alive = os.open(_alive(self._file), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._alive, fcntl.LOCK_EX)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise ConfigurationError(
                f"the folder `{folder}` cannot be used: {reason}: it must be writable by the gateway"
            ) from None

    def start(self) -> None:
        """Begin to write the counts, in a task of the running loop."""
        self._task.start()

    async def stop(self) -> None:
        """Write them once more. They are folded by the next worker that starts."""
        await self._task.stop()
        await self._flush()
        os.close(self._alive)

    async def total(self) -> tuple[Snapshot, list[Gauge]]:
        """The sum of all workers, and the gauges of those that live."""
        told = self._tell()
        return await asyncio.to_thread(self._total, told)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        told = self._tell()
        if told != self._written:
            await asyncio.to_thread(self._write_safely, told)

    def _tell(self) -> bytes:
        return msgspec.json.encode(_Told(counts=self._counts.snapshot(), gauges=list(self._gauges())))

    def _write_safely(self, told: bytes) -> None:
        try:
            _write(self._file, told)
        except OSError as error:  # counts are no reason to stop; a full disk stops the audit log, and says so
            _log.warning("metrics_not_written", reason=(error.strerror or type(error).__name__).lower())
        else:
            self._written = told

    def _total(self, own: bytes) -> tuple[Snapshot, list[Gauge]]:
        self._write_safely(own)
        mine = msgspec.json.decode(own, type=_Told)
        snapshots, gauges = [mine.counts], list(mine.gauges)
        with self._locked(fcntl.LOCK_SH):
            for file in [self._folder / _ENDED, *self._folder.glob("worker-*.json")]:
                told = _read(file) if file != self._file else None
                if told is not None:
                    snapshots.append(told.counts)
                    if _lives(file):
                        gauges += told.gauges
        return summed(snapshots), _combined(gauges)

    def _fold_ended(self) -> None:
        ended = [file for file in self._folder.glob("worker-*.json") if not _lives(file)]
        if not ended:
            return
        told = [one for file in [self._folder / _ENDED, *ended] if (one := _read(file)) is not None]
        _write(self._folder / _ENDED, msgspec.json.encode(_Told(counts=summed([one.counts for one in told]))))
        for file in ended:
            file.unlink(missing_ok=True)
            _alive(file).unlink(missing_ok=True)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        descriptor = os.open(self._folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)


def _alive(file: Path) -> Path:
    return file.with_suffix(".alive")


def _lives(file: Path) -> bool:
    """Whether the worker of this file still runs: then it holds the lock."""
    try:
        descriptor = os.open(_alive(file), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not taken(descriptor)
    finally:
        os.close(descriptor)


def _read(file: Path) -> _Told | None:
    """`None` for a file that is not there, or is of a release that told something else."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Told)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(file: Path, content: bytes) -> None:
    fresh = file.with_name(f".{file.name}.new")
    descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
    fresh.replace(file)


def _combined(gauges: Sequence[Gauge]) -> list[Gauge]:
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Gauge] = {}
    for one in gauges:
        key = one.name, tuple(sorted(one.labels.items()))
        known = found.get(key)
        if known is None or (one.value < known.value if one.least else one.value > known.value):
            found[key] = one
    return [one for _, one in sorted(found.items())]
