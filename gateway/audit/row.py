"""An event as it is stored."""

from msgspec import Struct


class Row(Struct, frozen=True):
    """A row of the table `events`, in the order of its columns, unchecked. `body` are the canonical bytes."""

    seq: int
    id: str
    type: str
    ts: str
    request: str
    tenant: str
    app: str
    hash: bytes
    body: bytes

    def __repr__(self) -> str:
        return f"Row({self.seq}, {self.id!r}, {self.type!r})"
