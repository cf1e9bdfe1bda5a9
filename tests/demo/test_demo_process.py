"""`gateway demo` as a process: what it started ends with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.served import ROOT, environment
from support.server import free_port


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_signer_ends_with_the_demo(tmp_path: Path, number: signal.Signals) -> None:
    options = ["--folder", str(tmp_path / "demo"), "--port", str(free_port()), "--with-signer"]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo", *options],
            cwd=ROOT,
            env=environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 120
        while b"The gateway answers at" not in (tmp_path / "output").read_bytes():
            assert process.poll() is None
            assert time.monotonic() < until, (tmp_path / "output").read_text()
            time.sleep(0.2)
        (signer,) = children(process.pid)
        process.send_signal(number)
        assert process.wait(60) == 0
        assert not Path(f"/proc/{signer}").exists()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
