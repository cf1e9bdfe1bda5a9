"""A store that fails again and again is left alone for a while, so that callers hear so at once instead of waiting.

The circuit breaker of M. Nygard, "Release It!", 2nd edition, section 5.2, for a store that all searches share.
"""

from collections.abc import Callable
from typing import Final

_FAILURES: Final = 3  # in a row
_REST_S: Final = 5.0


class Rest:
    """For one event loop. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    def begin(self) -> bool:
        """Whether the store may be asked. After a rest one caller is let through; the next ones once it succeeds, or
        after another rest."""
        if self._failures < _FAILURES:
            return True
        if self._clock() < self._until:
            return False
        self._until = self._clock() + _REST_S
        return True

    def ended(self, *, failed: bool) -> None:
        """Tell how a search ended."""
        self._failures = self._failures + 1 if failed else 0
        if self._failures == _FAILURES:
            self._until = self._clock() + _REST_S
