"""A piece of text with its origin and its place in the wire body."""

from msgspec import Struct

from gateway.domain.text import outline
from gateway.domain.vocabulary import Provenance

Address = tuple[str | int, ...]
"""Path of keys and indexes from the root of a decoded JSON body to a string."""


class Segment(Struct, frozen=True, kw_only=True):
    """One text of an exchange.

    `index` is its position in the list that was inspected together; findings refer to it. `address` is where
    the text stands in the wire body, so that it can be replaced in place; `()` for text that is in no body.
    """

    index: int
    text: str
    provenance: Provenance
    address: Address = ()

    def __repr__(self) -> str:
        return f"Segment({self.index}, {self.provenance.value}, {outline(self.text)})"
