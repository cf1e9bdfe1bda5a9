"""Real faults of the disk under a running gateway, each with its cure."""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import Struct

_ROOM = 500_000  # bytes: some dozens of exchanges
_BALLAST_BLOCK = 64 * 1024


class Trouble(Struct, frozen=True):
    """`strike` makes it happen to the process with the given id, `mend` removes the cause."""

    data_dir: Path
    strike: Callable[[int], object]
    mend: Callable[[], object]


@contextmanager
def full_disk(folder: Path) -> Iterator[Trouble]:
    """A small file system on which something else takes the room."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = folder / "disk"
    disk.mkdir()
    command = [mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not allow mounts")
    ballast = disk / "ballast"

    def strike(pid: int) -> None:
        with ballast.open("wb") as file:
            while shutil.disk_usage(disk).free > _ROOM:
                file.write(bytes(_BALLAST_BLOCK))
                file.flush()

    try:
        yield Trouble(disk / "data", strike, ballast.unlink)
    finally:
        subprocess.run([umount, "--lazy", str(disk)], check=True)


@contextmanager
def file_size_limit(folder: Path) -> Iterator[Trouble]:
    """No file of the process may grow beyond some hundred kilobytes: a quota, as far as SQLite can tell."""
    yield Trouble(
        folder / "data",
        strike=lambda pid: resource.prlimit(pid, resource.RLIMIT_FSIZE, (_ROOM, _ROOM)),
        mend=lambda: None,
    )


@contextmanager
def read_only_file(folder: Path) -> Iterator[Trouble]:
    """The log's files become immutable while the gateway has them open."""
    chattr = shutil.which("chattr")
    probe = folder / "probe"
    probe.touch()
    if chattr is None or subprocess.run([chattr, "+i", str(probe)], check=False, capture_output=True).returncode != 0:
        pytest.skip("making an open file immutable needs root and a file system with that attribute")
    subprocess.run([chattr, "-i", str(probe)], check=True)
    data = folder / "data"

    def immutable(sign: str) -> None:
        files = [str(path) for path in (data / "audit.db", data / "audit.db-wal") if path.exists()]
        subprocess.run([chattr, f"{sign}i", *files], check=True)

    try:
        yield Trouble(data, strike=lambda pid: immutable("+"), mend=lambda: immutable("-"))
    finally:
        if data.exists():
            immutable("-")


TROUBLES = {"full disk": full_disk, "file size limit": file_size_limit, "read-only file": read_only_file}
