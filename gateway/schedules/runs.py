"""The last run of each schedule of a node, a file each: what one process writes, all of them and commands read."""

import os
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from gateway.domain.errors import StoreUnavailable

Result = Literal["", "done", "failed", "timed_out", "interrupted"]


class LastRun(Struct, frozen=True, kw_only=True):
    """All times are aware, in UTC. `result` is "" while it runs, or before the first; `recorded` says whether the
    log has its end."""

    since: datetime  # times until then are dealt with
    run: str = ""
    planned: datetime | None = None
    began: datetime | None = None
    ended: datetime | None = None
    result: Result = ""
    exit: int | None = None
    recorded: bool = True
    failures: int = 0  # in a row
    done: datetime | None = None  # when the last one ended that did not fail

    @property
    def is_open(self) -> bool:
        return self.began is not None and self.ended is None


class RunFolder:
    """`NAME.json` holds the last run of a schedule, `NAME.log` what it printed, `NAME.lock` is locked while it runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder. Raises `StoreUnavailable`."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self._folder, error) from None

    def lock(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    def printed(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def read(self, name: str) -> LastRun | None:
        """`None` for a schedule that no process has looked after yet. Raises `StoreUnavailable`."""
        file = self._folder / f"{name}.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=LastRun)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(file, error) from None
        except msgspec.MsgspecError:
            raise StoreUnavailable(f"the file `{file}` is damaged: remove it, its schedule begins anew") from None

    def write(self, name: str, last: LastRun) -> None:
        """Replace it, durably. Raises `StoreUnavailable`."""
        fresh = self._folder / f".{name}.new"
        try:
            descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(msgspec.json.encode(last))
                opened.flush()
                os.fsync(descriptor)
            fresh.replace(self._folder / f"{name}.json")
        except OSError as error:
            raise _unusable(fresh, error) from None


def _unusable(path: Path, error: OSError) -> StoreUnavailable:
    reason = (error.strerror or type(error).__name__).lower()
    return StoreUnavailable(f"`{path}` cannot be used: {reason}: it must be writable by the gateway")
