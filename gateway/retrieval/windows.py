"""Sentences packed to a size, with the end of each window repeated at the start of the next.

For text without headings, or whose headings say little: transcripts, letters, contracts as scanned.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from gateway.retrieval.chunk import ChunkingParameters
from gateway.retrieval.markdown import BlockKind
from gateway.retrieval.packing import BETWEEN_BLOCKS, Packed, Part, Piece, cut_to_size, trailing_headings, words_cut


class Unit(Struct, frozen=True):
    """A sentence, or a block that is not prose. `begins` says that a block begins with it."""

    part: Part
    begins: bool

    @property
    def size(self) -> int:
        return len(self.part.text) + (len(BETWEEN_BLOCKS) if self.begins else 1)


def windows(pieces: Sequence[Piece], parameters: ChunkingParameters) -> Iterator[Packed]:
    """Each window takes whole units up to the target, the repeated ones among them."""
    held: list[Unit] = []
    fresh = 0  # units of the window that no window had before
    for unit in units(pieces, parameters):
        if fresh and sum(one.size for one in held) + unit.size > parameters.target_chars:
            headings = trailing_headings([one.part for one in held], parameters.target_chars - unit.size)
            kept = held[: len(held) - len(headings)]
            yield joined(kept)
            room = min(parameters.overlap_chars, parameters.target_chars - unit.size)
            held = held[len(kept) :] if headings else _overlap(kept, room)
            fresh = len(headings)
        held.append(unit)
        fresh += 1
    if fresh:
        yield joined(held)


def units(pieces: Sequence[Piece], parameters: ChunkingParameters) -> Iterator[Unit]:
    """Sentences of prose; other blocks whole, or in parts of the target's size."""
    for piece in pieces:
        block = piece.block
        if block.kind is not BlockKind.PARAGRAPH:
            yield from (Unit(part, begins=True) for part in cut_to_size([piece], parameters))
            continue
        texts = [
            text for unit in block.units for text in words_cut(unit, parameters.target_chars - len(BETWEEN_BLOCKS))
        ]
        for number, text in enumerate(texts):
            yield Unit(Part(text, block.kind, piece.path, block.place), begins=number == 0)


def joined(held: Sequence[Unit]) -> Packed:
    """Sentences of one paragraph on one line, blocks apart."""
    text = "".join((BETWEEN_BLOCKS if unit.begins else " ") + unit.part.text for unit in held)
    return Packed(text.strip(), tuple(unit.part for unit in held))


def _overlap(held: Sequence[Unit], room: int) -> list[Unit]:
    """The last sentences that fit; a table or heading is never repeated."""
    kept: list[Unit] = []
    for unit in reversed(held):
        room -= unit.size
        if room < 0 or not unit.part.is_prose:
            break
        kept.insert(0, unit)
    return kept
