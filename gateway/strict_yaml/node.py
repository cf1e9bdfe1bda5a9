"""The tree of a YAML text: what the author wrote, and where.

Nodes are plain immutable values. Scalars are not resolved here: which type a scalar has is the business of the
field that it fills, so that `version: 1.10` and `country: NO` stay what the author wrote.
"""

from collections.abc import Iterator
from typing import Final

from gateway.domain.errors import Fault
from gateway.domain.text import outline


class Node:
    """A node with its place: `line` and `column` are 1-based and count code points."""

    __slots__ = ("column", "file", "line")

    def __init__(self, file: str, line: int, column: int) -> None:
        self.file: Final = file
        self.line: Final = line
        self.column: Final = column

    @property
    def sort(self) -> str:
        """What the node is, as a fault says it."""
        raise NotImplementedError

    def fault(self, code: str, message: str) -> Fault:
        return Fault(file=self.file, line=self.line, column=self.column, code=code, message=message)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys as written; none for anything but a mapping."""
        return ()

    def child(self, key: str | int) -> "Node":
        """The node under a key or index; this node where there is none, so that a fault always has a place."""
        del key
        return self

    def find(self, *path: str | int) -> "Node":
        """The deepest existing node along a path."""
        node: Node = self
        for key in path:
            node = node.child(key)
        return node


class Scalar(Node):
    """A scalar. `plain` tells an unquoted one, the only kind that can be a number, a boolean or null."""

    __slots__ = ("plain", "text")

    def __init__(self, file: str, line: int, column: int, text: str, *, plain: bool) -> None:
        super().__init__(file, line, column)
        self.text: Final = text
        self.plain: Final = plain

    @property
    def sort(self) -> str:
        return "a value"

    def __repr__(self) -> str:
        return f"Scalar({outline(self.text)})"


class Items(Node):
    """A sequence."""

    __slots__ = ("nodes",)

    def __init__(self, file: str, line: int, column: int, nodes: tuple[Node, ...]) -> None:
        super().__init__(file, line, column)
        self.nodes: Final = nodes

    @property
    def sort(self) -> str:
        return "a list"

    def child(self, key: str | int) -> Node:
        return self.nodes[key] if isinstance(key, int) and 0 <= key < len(self.nodes) else self

    def __repr__(self) -> str:
        return f"Items({len(self.nodes)})"


class Entry:
    """A key of a mapping with its value."""

    __slots__ = ("key", "value")

    def __init__(self, key: Scalar, value: Node) -> None:
        self.key: Final = key
        self.value: Final = value


class Mapping(Node):
    """A mapping with distinct scalar keys, in the author's order."""

    __slots__ = ("entries",)

    def __init__(self, file: str, line: int, column: int, entries: tuple[Entry, ...]) -> None:
        super().__init__(file, line, column)
        self.entries: Final = entries

    @property
    def sort(self) -> str:
        return "a mapping"

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(entry.key.text for entry in self.entries)

    def child(self, key: str | int) -> Node:
        return next((entry.value for entry in self.entries if entry.key.text == key), self)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __repr__(self) -> str:
        return f"Mapping({len(self.entries)})"


class Hole(Node):
    """Where something stood that strict YAML does not have; its fault is already reported."""

    __slots__ = ()

    @property
    def sort(self) -> str:
        return "nothing"

    def __repr__(self) -> str:
        return "Hole()"
