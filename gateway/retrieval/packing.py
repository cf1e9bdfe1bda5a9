"""Blocks -> texts no longer than a size. A block over it is cut between sentences, items, rows or lines, a table with
its header rows and a code block with its fences around every part; only a single unit over the size is cut between
words. No word is lost."""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from gateway.retrieval.chunk import ChunkingParameters
from gateway.retrieval.markdown import Block, BlockKind, sentences

BETWEEN_BLOCKS: Final = "\n\n"

Path = tuple[str, ...]


class Piece(Struct, frozen=True):
    """A block where it stands: under which headings."""

    block: Block
    path: Path = ()


class Part(Struct, frozen=True):
    """A text that fits a chunk, with the headings and the place it comes from."""

    text: str
    kind: BlockKind
    path: Path
    place: int

    @property
    def is_prose(self) -> bool:
        return self.kind is BlockKind.PARAGRAPH


class Packed(Struct, frozen=True):
    """The text of a chunk and the parts it was made of."""

    text: str
    parts: tuple[Part, ...]

    @property
    def places(self) -> tuple[int, int]:
        found = [part.place for part in self.parts if part.place]
        return (min(found), max(found)) if found else (0, 0)


def packed(pieces: Sequence[Piece], parameters: ChunkingParameters) -> Iterator[Packed]:
    """Parts packed until the target size. Where prose was cut, its last sentences begin the next text too."""
    texts: list[str] = []
    held: list[Part] = []
    size = 0
    carried = ""  # the end of the chunk before, where prose was cut
    for part in cut_to_size(pieces, parameters):
        if held and size + len(BETWEEN_BLOCKS) + len(part.text) > parameters.target_chars:
            headings = trailing_headings(held, parameters.target_chars - len(part.text))
            kept = len(held) - len(headings)
            yield Packed(BETWEEN_BLOCKS.join(texts[: len(texts) - len(headings)]), tuple(held[:kept]))
            room = min(parameters.overlap_chars, parameters.target_chars - len(part.text) - len(BETWEEN_BLOCKS))
            again = _ending(carried, room) if part.is_prose and carried else ""
            texts, held = [again] if again else [heading.text for heading in headings], headings
            size = len(BETWEEN_BLOCKS.join(texts))
        texts.append(part.text)
        held.append(part)
        size += len(part.text) + len(BETWEEN_BLOCKS) * (len(texts) > 1)
        carried = part.text if part.is_prose else ""
    if held:
        yield Packed(BETWEEN_BLOCKS.join(texts), tuple(held))


def trailing_headings(held: Sequence[Part], room: int) -> list[Part]:
    """The headings at the end of what a chunk would hold, if they can begin the next one instead: a heading belongs
    to what follows it."""
    count = next((n for n, part in enumerate(reversed(held)) if part.kind is not BlockKind.HEADING), len(held))
    found = list(held[len(held) - count :])
    fits = sum(len(part.text) + len(BETWEEN_BLOCKS) for part in found) <= room
    return found if fits and count < len(held) else []


def cut_to_size(pieces: Sequence[Piece], parameters: ChunkingParameters) -> Iterator[Part]:
    """Texts no longer than the target. Prose is cut shorter, to leave room for what the next chunk repeats."""
    for piece in pieces:
        block = piece.block
        is_prose = block.kind is BlockKind.PARAGRAPH
        if len(block.text) <= parameters.target_chars:
            yield Part(block.text, block.kind, piece.path, block.place)
            continue
        limit = parameters.target_chars - (parameters.overlap_chars + len(BETWEEN_BLOCKS)) * is_prose
        for text in _cut(block, limit):
            yield Part(text, block.kind, piece.path, block.place)


def words_cut(unit: str, limit: int) -> Iterator[str]:
    """A unit over the limit, cut at white space, and within a word only where there is none."""
    while len(unit) > limit:
        gap = max(unit.rfind(" ", 1, limit + 1), unit.rfind("\n", 1, limit + 1))
        cut = gap if gap > 0 else limit
        yield unit[:cut]
        unit = unit[cut:].lstrip(" \n") if gap > 0 else unit[cut:]
    if unit:
        yield unit


def _cut(block: Block, limit: int) -> Iterator[str]:
    frame = len(block.lead) + len(block.tail)
    if frame > limit // 2:  # a header as long as a chunk cannot be repeated
        units = (block.lead, *block.units, block.tail)
        block = Block(kind=block.kind, text=block.text, units=units, joint=block.joint)
        frame = 0
    taken: list[str] = []
    size = frame
    for unit in block.units:
        for piece in words_cut(unit, limit - frame):
            if taken and size + len(block.joint) + len(piece) > limit:
                yield block.render(tuple(taken))
                taken, size = [], frame
            size += len(piece) + len(block.joint) * bool(taken)
            taken.append(piece)
    if taken:
        yield block.render(tuple(taken))


def _ending(text: str, room: int) -> str:
    """The last whole sentences of a text that fit."""
    kept: list[str] = []
    for sentence in reversed(sentences(text)):
        room -= len(sentence) + 1
        if room < 0:
            break
        kept.insert(0, sentence)
    return " ".join(kept)
