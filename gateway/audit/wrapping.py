"""Data keys are kept wrapped: encrypted with a key that lies elsewhere (envelope encryption, NIST SP 800-57)."""

import hashlib
from collections.abc import Sequence
from typing import Final, Protocol

from gateway.domain.sealing import Sealer, UnsealError

_NAME_BYTES: Final = 8


class KeyWrapper(Protocol):
    """Wraps and unwraps data keys with one wrapping key. Blocking and thread-safe. `context` says whose data key it
    is: another one's does not unwrap. `name` stands beside what was wrapped."""

    name: str

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Raises `AuditUnavailable` if it cannot be done now."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Raises `UnsealError` for what was altered, wrapped by another key, or for another owner, and
        `AuditUnavailable` if it cannot be done now."""
        ...


class MasterWrapper:
    """Wraps with a master key of 32 bytes, from a file or the environment."""

    def __init__(self, key: bytes) -> None:
        self.name = "m:" + hashlib.blake2b(key, digest_size=_NAME_BYTES, person=b"wrapping-key").hexdigest()
        self._sealer = Sealer(key)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        return self._sealer.seal(key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return self._sealer.open(wrapped, context)

    def __repr__(self) -> str:
        return f"MasterWrapper({self.name})"


class Wrappers:
    """The wrapping key in use, and those before it, which only unwrap."""

    def __init__(self, current: KeyWrapper, previous: Sequence[KeyWrapper] = ()) -> None:
        self.current = current
        self._by_name = {wrapper.name: wrapper for wrapper in (*previous, current)}

    def unwrap(self, name: str, wrapped: bytes, context: bytes) -> bytes:
        """Raises as `KeyWrapper.unwrap`, and `UnsealError` for a wrapping key that is not configured."""
        wrapper = self._by_name.get(name)
        if wrapper is None:
            raise UnsealError(
                f"the wrapping key `{name}` is not configured: add it to `audit.bodies.previous_keys`",
                code="wrapping_key_unknown",
            )
        return wrapper.unwrap(wrapped, context)
