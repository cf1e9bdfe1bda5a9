"""A task in a process of its own, so that no request waits for it; it can be ended, and cannot run twice.

The lock of a schedule is handed to the process. Should the gateway be killed while a task runs, the lock stays held
until the task itself has ended: whoever takes over waits for it.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from gateway.domain.errors import StoreUnavailable
from gateway.file_lock import taken

_YIELDS: Final = 10  # of 19: requests come first where processors are short
_END_S: Final = 5.0


class RunLock:
    """At most one holder at a time among all processes of a machine. `taken` does not block."""

    def __init__(self, path: Path) -> None:
        try:
            self.descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise StoreUnavailable(f"`{path}` cannot be used: {reason}: it must be writable by the gateway") from None

    def taken(self) -> bool:
        return taken(self.descriptor)

    def close(self) -> None:
        """Let go of it; a task that has it keeps it. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Child:
    """A running task. Used by one thread."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, command: Sequence[str], environ: Mapping[str, str], *, printed: Path, lock: RunLock) -> Self:
        """Begin; what it prints goes to `printed`, which is begun anew. Raises `StoreUnavailable`."""
        try:
            target = os.open(printed, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                process = subprocess.Popen(  # noqa: S603 -- our own command line, without a shell
                    command,
                    env=dict(environ),
                    stdin=subprocess.DEVNULL,
                    stdout=target,
                    stderr=target,
                    pass_fds=(lock.descriptor,),
                    start_new_session=True,  # an interrupt at the terminal is for the gateway, which then ends the task
                )
            finally:
                os.close(target)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise StoreUnavailable(f"a task cannot be started: {reason}: look at processes and memory") from None
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _YIELDS)
        return cls(process)

    def exit_code(self) -> int | None:
        """`None` while it runs; negative for the signal that ended it."""
        return self._process.poll()

    def end(self) -> None:
        """Terminate it with all that it started; kill what does not end within five seconds."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
