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

from gateway.app import IDENTITY_FILE
from gateway.identity.key_store import KeyStore

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
    if core is not None:
        os.sched_setaffinity(pid, {core})


class Server:
    """A process that listens on `port`."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.port = port
        self._process = process

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
    """Run `python <arguments>` until the block ends; it has to listen on `port`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
        try:
            pin(process.pid, core)
            _wait(process, port, log)
            yield Server(process, port)
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


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"a server ended at once: {log.read_text(errors='replace')[-2_000:]}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("a server did not begin to listen")
