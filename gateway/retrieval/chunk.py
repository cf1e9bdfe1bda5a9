"""What a document is cut into, and by which method and sizes."""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from gateway.domain.text import outline


class ChunkMethod(StrEnum):
    SECTION = "section"  # at headings; small neighbouring sections share a chunk
    PARAGRAPH = "paragraph"  # whole paragraphs packed to the size, across headings
    WINDOW = "window"  # sentences packed to the size, the last ones repeated at the start of the next
    SEMANTIC = "semantic"  # where neighbouring sentences have least to do with each other
    ROW = "row"  # every paragraph, or row of a table file, by itself


_VERSIONS: Final = {
    # Moves when the same blocks could give other chunks.
    ChunkMethod.SECTION: 2,
    ChunkMethod.PARAGRAPH: 1,
    ChunkMethod.WINDOW: 1,
    ChunkMethod.SEMANTIC: 1,
    ChunkMethod.ROW: 1,
}

Chars = Annotated[int, Meta(ge=0, le=20_000)]


class ChunkingParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes in characters. English has about four to a token, so the target stays under the embedding's 256
    tokens with title and section in front."""

    method: ChunkMethod = ChunkMethod.SECTION
    target_chars: Chars = 900
    overlap_chars: Chars = 120
    small_chars: Chars = 240  # sections below it join a neighbour; no topic is cut to less

    def __post_init__(self) -> None:
        if self.target_chars < 100:
            raise ValueError("`target_chars` must be at least 100")
        if not 0 <= self.overlap_chars < self.target_chars // 2:
            raise ValueError("`overlap_chars` must be less than half of `target_chars`")

    @property
    def identity(self) -> str:
        """Recorded with every passage; moves with the behaviour."""
        version = _VERSIONS[self.method]
        return f"{self.method.value}-{version}/{self.target_chars}/{self.overlap_chars}/{self.small_chars}"


DEFAULT_CHUNKING: Final = ChunkingParameters()


class Chunk(Struct, frozen=True, kw_only=True):
    """`section` is the path of headings above the text, joined by ` > `; "" at the top of a document. `first` and
    `last` are the places (pages, rows) that the text stands on, 0 where there are none."""

    section: str
    text: str
    first: int = 0
    last: int = 0

    def place(self, unit: str) -> str:
        """`page 3`, `pages 3 to 5`, or "" for a text without places."""
        if not self.first or not unit:
            return ""
        return f"{unit} {self.first}" if self.first == self.last else f"{unit}s {self.first} to {self.last}"

    def __repr__(self) -> str:
        return f"Chunk({outline(self.text)})"
