"""Processes under measurement: started, pinned to a core where the machine has two, and asked what they spent."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.identity.key_store import KeyStore
from gateway.settings.folder import IDENTITY_FILE

ROOT: Final = Path(__file__).parents[2]
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_S: Final = 90.0


def cores() -> tuple[int | None, int | None]:
    """A core for what is measured and one for what measures; none where the process may not choose."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[-1], allowed[0]) if len(allowed) > 1 else (None, None)


def pin(pid: int, core: int | None) -> None:
    """Keep all threads of a process on one core."""
    if core is None:
        return
    threads = Path(f"/proc/{pid}/task")
    for thread in [int(found.name) for found in threads.iterdir()] if threads.exists() else [pid]:
        os.sched_setaffinity(thread, {core})


class Server:
    """A process that is to listen on `port`; `ready` waits until it does."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, core: int | None, log: Path) -> None:
        self.port = port
        self._process = process
        self._core = core
        self._log = log

    def ready(self) -> None:
        """Wait until the process listens, and pin it then: while it loads it may use all cores."""
        until = time.monotonic() + _START_S
        while not self._listens():
            if self._process.poll() is not None:
                raise RuntimeError(f"a server ended at once: {self._log.read_text(errors='replace')[-2_000:]}")
            if time.monotonic() > until:
                raise RuntimeError("a server did not begin to listen")
            time.sleep(0.05)
        pin(self._process.pid, self._core)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def cpu_us(self) -> int:
        """Processor time of all threads so far, in steps of a clock tick (10 ms)."""
        if not Path("/proc/self/stat").exists():
            return 0
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000 // _TICKS

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.exists():
            return 0.0
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


@contextmanager
def server(arguments: Sequence[str], *, port: int, core: int | None, log: Path) -> Iterator[Server]:
    """Run `python <arguments>`, which is to listen on `port`, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
        try:
            yield Server(process, port, core, log)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def create_key(folder: Path) -> str:
    """A key for the gateway whose data folder is `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    store = KeyStore.open(folder / IDENTITY_FILE)
    try:
        return store.create(tenant="bench", app="bench", user="load", now=datetime.now(UTC)).key.reveal()
    finally:
        store.close()
