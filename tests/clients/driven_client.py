"""Real client libraries, each in an environment of its own, driven by a script in that environment over a pipe.

A lock is made from its `.in` file as the project's own lock is (`make lock`); the next run installs it anew.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent.parent / ".venv-clients"
DRIVERS = {
    "openai-newest": "drive_openai.py",
    "openai-2025": "drive_openai.py",
    "langchain": "drive_langchain.py",
    "llamaindex": "drive_llamaindex.py",
}
_UNREACHABLE = ("Retrying (Retry", "NewConnectionError", "ConnectionError", "No matching distribution found")


class RegistryUnreachableError(Exception):
    """The libraries are not installed and cannot be."""


class ClientError(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An exception in the library; `types` from its own class up to `object`."""

    types: tuple[str, ...]
    status: int | None
    code: str | None
    message: str


class Result(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user of a library sees of one call (`drivers/loop.py` says what each field means)."""

    texts: list[str | None]
    finish: str | None
    calls: list[tuple[str, Any]]
    id: str | None
    total_tokens: int | None
    tokens: list[str] | None
    gateway: dict[str, Any] | None
    headers: dict[str, str]
    unknown: Any
    parsed: Any
    parts: int
    error: ClientError | None

    @property
    def text(self) -> str | None:
        return self.texts[0] if self.texts else None


class Driver:
    """A running driver. One call at a time."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name = name
        self._process = process

    def call(self, operation: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"operation": operation, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the driver of {self.name} has died"
        return json.loads(line)

    def result(self, operation: str, **arguments: Any) -> Result:
        return msgspec.convert(self.call(operation, **arguments), Result)


@contextmanager
def running_driver(name: str, log: Path) -> Iterator[Driver]:
    """Start the driver of a library; its errors go to `log`. Installs the library first if need be."""
    python = environment(name)
    with log.open("w") as errors:
        process = subprocess.Popen(
            [python, str(HERE / "drivers" / DRIVERS[name])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env=_only("PATH", "HOME", "LANG", "TMPDIR") | {"LANGSMITH_TRACING": "false", "PYTHONUTF8": "1"},
        )
        try:
            yield Driver(name, process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            assert process.stdout is not None
            process.stdout.close()


def environment(name: str) -> Path:
    """The interpreter of a library's environment, made anew whenever its lock has changed. Safe among processes.

    Raises `RegistryUnreachableError`.
    """
    lock_file = HERE / "locks" / f"{name}.lock"
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    wanted = hashlib.sha256(lock_file.read_bytes() + sys.version.encode()).hexdigest()
    ENVIRONMENTS.mkdir(exist_ok=True)
    with (ENVIRONMENTS / f"{name}.busy").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        if not (stamp.exists() and stamp.read_text() == wanted):
            venv.EnvBuilder(clear=True, symlinks=True, with_pip=False).create(folder)
            _install(python, lock_file)
            stamp.write_text(wanted)
    return python


def _install(python: Path, lock_file: Path) -> None:
    # `--no-compile` halves the time: most modules are never imported here.
    options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile", "--retries", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *options, "-r", str(lock_file)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode and any(sign in done.stderr for sign in _UNREACHABLE):
        raise RegistryUnreachableError(f"the libraries of `{lock_file.name}` cannot be fetched from a package registry")
    assert not done.returncode, done.stderr


def _only(*names: str) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}
