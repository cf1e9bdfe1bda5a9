"""What the workers of a node agree on: which edition is in force, and a copy of it.

One small file holds the agreement and is replaced atomically; another holds the edition's sources, so that a worker
can start while the policy folder holds something broken. Whoever changes either holds the lock.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.rollout.edition import Edition, from_kept, kept_form

_STATE: Final = "state.json"
_LOCK: Final = "lock"


class NodeState(Struct, frozen=True, kw_only=True):
    """`edition` and `policy` are digests of what is in force: of the sources, and of what they mean. `rejected` is
    the edition whose failure was recorded last. All empty before the first start."""

    edition: str = ""
    policy: str = ""
    rejected: str = ""


class Shelf:
    """The folder of one node. Methods block; those that write are called inside `locked`. Raises
    `ConfigurationError` when the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(folder, error) from None

    @contextmanager
    def locked(self) -> Iterator[NodeState]:
        """The state, which nobody else changes until the block ends. May wait for another worker."""
        descriptor = self.acquire()
        try:
            yield self.state()
        finally:
            os.close(descriptor)

    def acquire(self) -> int:
        """Wait for the lock. Closing the descriptor gives it back, and so does the end of the process."""
        try:
            descriptor = os.open(self._folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise _unusable(self._folder, error) from None
        return descriptor

    def state(self) -> NodeState:
        try:
            return msgspec.json.decode((self._folder / _STATE).read_bytes(), type=NodeState)
        except FileNotFoundError:
            return NodeState()
        except msgspec.MsgspecError:
            return NodeState()  # it is written anew with the next change; until then nothing is known to be in force
        except OSError as error:
            raise _unusable(self._folder, error) from None

    def keep(self, edition: Edition) -> None:
        """Keep a copy of an edition that compiled. Durable on return."""
        place = self._place(edition.digest)
        if not place.exists():
            self._write(place, kept_form(edition))

    def set(self, state: NodeState) -> None:
        """Agree on a state, and forget the copies that it does not need. Durable on return."""
        self._write(self._folder / _STATE, msgspec.json.encode(state))
        for other in self._folder.glob("edition-*.json"):
            if other != self._place(state.edition):
                other.unlink(missing_ok=True)

    def kept(self, digest: str) -> Edition:
        """The copy of an edition. Raises `ConfigurationError` if it is gone or is not what its digest says."""
        try:
            edition = from_kept(self._place(digest).read_bytes())
        except OSError as error:
            raise _unusable(self._folder, error) from None
        if edition.digest != digest:
            raise ConfigurationError(
                f"the kept policies in `{self._folder}` were changed: correct the policy files, and start again"
            )
        return edition

    def _place(self, digest: str) -> Path:
        return self._folder / f"edition-{digest.removeprefix('sha256:')}.json"

    def _write(self, place: Path, content: bytes) -> None:
        fresh = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            fresh.replace(place)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise _unusable(self._folder, error) from None


def _unusable(folder: Path, error: OSError) -> ConfigurationError:
    reason = (error.strerror or type(error).__name__).lower()
    return ConfigurationError(f"the folder `{folder}` cannot be used: {reason}: it must be writable by the gateway")
