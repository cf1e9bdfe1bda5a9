"""Which boots of a log are alive, told by the kernel, and space kept free for the day the disk is full.

Each boot holds a locked file beside the log. The kernel drops the lock when its process ends, however it ends, so
an intent without an outcome is known to be lost and not merely slow. The same file occupies `reserve_bytes` on the
disk, which `release_reserve` gives back, so that a full disk still takes the event that says so. Locks are `flock`
(Linux, macOS); a log lies on a local file system.
"""

import fcntl
import os
from pathlib import Path
from typing import Self

from gateway.audit.database import sync_folder


class BootFile:
    """The locked file of a running boot."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def create(cls, log: Path, boot: str, reserve_bytes: int) -> Self:
        """Raises `OSError` when there is no room for the reserve."""
        folder = _folder(log)
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / boot
        descriptor = _create_locked(path)
        try:
            if reserve_bytes > 0:
                os.posix_fallocate(descriptor, 0, reserve_bytes)
                os.fsync(descriptor)
            sync_folder(folder)
        except BaseException:
            path.unlink()
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def release_reserve(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.fsync(self._descriptor)

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def live_boots(log: Path) -> frozenset[str]:
    """The boots whose process runs on this machine. Empty for a log that was copied elsewhere."""
    return frozenset(path.name for path in _files(log) if _is_held(path))


def remove_dead(log: Path) -> None:
    """Remove the files of boots that are over, and with them their reserve."""
    for path in _files(log):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)  # while we hold it: `_create_locked` notices
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)


def _create_locked(path: Path) -> int:
    """Create and lock a file. Between the two another process may take it for a dead boot's and remove it; then
    the locked file is not the one under that name, and is created again."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def _folder(log: Path) -> Path:
    return log.with_name(log.name + ".boots")


def _files(log: Path) -> list[Path]:
    try:
        return sorted(_folder(log).iterdir())
    except OSError:  # a log without boots: never opened for writing here, or copied from elsewhere
        return []


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # not ours to ask; a boot that may be alive is not called dead
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
