"""`gateway serve` in processes of its own, as an operator runs it: for tests of crashes, disks, signals and workers."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from gateway.audit.verify import Verification
from support.server import free_port

ROOT = Path(__file__).parent.parent.parent
FAST_POLICIES = Path(__file__).parent / "policies"


def write_config(folder: Path, **settings: Any) -> Path:
    """A settings file with these keys; JSON is YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "gateway.yaml"
    file.write_text(json.dumps(settings, default=str), "utf-8")
    return file


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the processes of a test inherit: no setting of whoever runs the tests, and nothing that would keep a
    library from reporting in place of the gateway."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "ORT_", "HF_"))}
    own.pop("CI", None)
    return {**own, **(more or {})}


def command(config: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess:
    """Run one command of the gateway to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", "--config", str(config), *arguments],
        cwd=ROOT,
        env=environment(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def verify(config: Path) -> tuple[int, Verification]:
    """`gateway audit verify`: its exit code and what it found."""
    done = command(config, "audit", "verify", "--format", "json")
    assert done.stdout, done.stderr
    return done.returncode, msgspec.json.decode(done.stdout, type=Verification)


class Served:
    """A gateway that was started. All its processes are one group."""

    def __init__(self, process: subprocess.Popen, config: Path, port: int, log: Path) -> None:
        self.process = process
        self.config = config
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

    @property
    def output(self) -> str:
        """Standard output and error so far."""
        return self._log.read_text("utf-8", "replace")

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def workers(self) -> list[int]:
        """Process ids of the workers under a supervisor."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def stop(self, *, timeout_s: float = 30.0) -> int:
        """Ask it to stop, wait, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def key(self, *, user: str = "alice", app: str = "desk", tenant: str = "acme", groups: Sequence[str] = ()) -> str:
        """A new key, made by the command line beside the running gateway."""
        options = [part for group in groups for part in ("--group", group)]
        done = command(self.config, "keys", "create", "--tenant", tenant, "--app", app, "--user", user, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Status and body of `/health/ready`; status 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        except OSError:
            return 0, {}


def launch(
    config: Path,
    *options: str,
    environ: Mapping[str, str] | None = None,
    port: int = 0,
) -> Served:
    """Start it and return at once."""
    port = port or free_port()
    log = config.with_name(f"{config.stem}.{time.monotonic_ns()}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "--config", str(config), "serve", "--port", str(port), *options],
            cwd=ROOT,
            env=environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Served(process, config, port, log)


@contextmanager
def served(
    config: Path,
    *options: str,
    environ: Mapping[str, str] | None = None,
    ready_s: float = 60.0,
) -> Iterator[Served]:
    """Serve until the block ends; nothing of it is left running then, whatever happened."""
    gateway = launch(config, *options, environ=environ)
    try:
        until = time.monotonic() + ready_s
        while gateway.ready()[0] != 200:
            if gateway.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the gateway did not start:\n{gateway.output}")
            time.sleep(0.05)
        yield gateway
        gateway.stop()
    finally:
        with suppress(ProcessLookupError):
            gateway.signal(signal.SIGKILL)
        gateway.process.wait(10)


def refused(config: Path, *options: str, environ: Mapping[str, str] | None = None, port: int = 0) -> tuple[int, str]:
    """Exit code and output of a gateway that is expected not to start."""
    gateway = launch(config, *options, environ=environ, port=port)
    try:
        return gateway.process.wait(60), gateway.output
    finally:
        if gateway.process.poll() is None:
            gateway.signal(signal.SIGKILL)
            gateway.process.wait(10)
