"""Text that must not leak: representations show length and a short hash, secrets show nothing (I8)."""

import hashlib
from typing import Any, Final

_HASH_CHARS: Final = 8  # enough to tell two texts of one debugging run apart, far too few to look a text up


def outline(text: str) -> str:
    """`<42 chars 1f0c2ab9>`: what a representation may show of a text."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]
    return f"<{len(text)} chars {digest}>"


class Secret:
    """A value that neither `repr`, `str` nor a log line shows. `reveal()` marks every place that uses it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not serialised")
