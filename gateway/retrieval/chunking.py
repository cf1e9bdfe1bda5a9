"""Document text -> chunks: pieces of a size that an embedding can hold, cut where the author made a break.

A chunk never crosses into a section that is not its sibling, parent or child. Blocks are packed until the target
size; a block over it is cut between sentences, items, rows or lines, a table with its header rows and a code block
with its fences around every part; only a single unit over the size is cut between words. Where prose is cut, the
last sentences are repeated at the start of the next chunk. Small neighbouring sections share a chunk. No word of the
text is lost. Deterministic; `ChunkingParameters.identity` is recorded with every index and moves with the behaviour.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from gateway.domain.text import outline
from gateway.retrieval.markdown import Block, BlockKind, Section, paragraphs, sections, sentences

_ALGORITHM: Final = "section-1"
_BETWEEN_BLOCKS: Final = "\n\n"
_BETWEEN_HEADINGS: Final = " > "


class TextFormat(StrEnum):
    MARKDOWN = "markdown"
    PLAIN = "plain"


class ChunkingParameters(Struct, frozen=True, kw_only=True):
    """Sizes in characters. English has about four to a token, so the target stays under the embedding's 256
    tokens with title and section in front."""

    target_chars: int = 900
    overlap_chars: int = 120
    small_chars: int = 240  # sections below it join a neighbour

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_chars < self.target_chars // 2:
            raise ValueError("`overlap_chars` must be less than half of `target_chars`")

    @property
    def identity(self) -> str:
        return f"{_ALGORITHM}/{self.target_chars}/{self.overlap_chars}/{self.small_chars}"


DEFAULT_CHUNKING: Final = ChunkingParameters()


class Chunk(Struct, frozen=True, kw_only=True):
    """`section` is the path of headings above the text, joined by ` > `; "" at the top of a document."""

    section: str
    text: str

    def __repr__(self) -> str:
        return f"Chunk({outline(self.text)})"


def chunks(
    text: str, text_format: TextFormat, *, title: str = "", parameters: ChunkingParameters = DEFAULT_CHUNKING
) -> list[Chunk]:
    """The chunks of a document in order. A first heading that repeats `title` is left out of the paths."""
    read = sections(text) if text_format is TextFormat.MARKDOWN else paragraphs(text)
    found = []
    for group in _groups(_with_content(read), parameters):
        path = list(_shared([section.path for section in group]))
        blocks = [block for section in group for block in _blocks(section, title=title, alone=len(group) == 1)]
        if path and path[0].casefold() == title.casefold():
            path = path[1:]
        found += [
            Chunk(section=_BETWEEN_HEADINGS.join(path), text=part) for part in _packed(blocks, parameters) if part
        ]
    return found


def _with_content(read: Sequence[Section]) -> list[Section]:
    """Leave out headings whose only content are deeper sections, which carry them in their paths."""
    kept = []
    for index, section in enumerate(read):
        follower = read[index + 1].path if index + 1 < len(read) else ()
        if section.blocks or follower[: len(section.path)] != section.path or len(follower) <= len(section.path):
            kept.append(section)
    return kept


def _groups(found: Sequence[Section], parameters: ChunkingParameters) -> Iterator[list[Section]]:
    group: list[Section] = []
    size = 0
    for section in found:
        own = _size(section)
        small = size < parameters.small_chars or own < parameters.small_chars
        if group and (not small or size + own > parameters.target_chars or not _related(group[-1], section)):
            yield group
            group, size = [], 0
        group.append(section)
        size += own
    if group:
        yield group


def _size(section: Section) -> int:
    texts = [section.line, *(block.text for block in section.blocks)]
    return sum(len(text) + len(_BETWEEN_BLOCKS) for text in texts)


def _related(before: Section, after: Section) -> bool:
    """Siblings, or parent and child."""
    shared = len(_shared([before.path, after.path]))
    return shared >= min(len(before.path), len(after.path), max(len(before.path), len(after.path)) - 1)


def _shared(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The longest path that all begin with."""
    shared = paths[0]
    for path in paths[1:]:
        length = next((at for at, (a, b) in enumerate(zip(shared, path, strict=False)) if a != b), len(path))
        shared = shared[:length]
    return shared


def _blocks(section: Section, *, title: str, alone: bool) -> list[Block]:
    """The blocks of a section, under its heading where neither title nor path of the chunk says it."""
    said = alone or section.path[-1:] == (title,)
    if section.line and not (said and section.blocks):
        # of a kind that is not prose: never cut into sentences, never repeated
        heading = Block(kind=BlockKind.LIST, text=section.line, units=(section.line,), joint=" ")
        return [heading, *section.blocks]
    return list(section.blocks)


def _packed(blocks: Sequence[Block], parameters: ChunkingParameters) -> Iterator[str]:
    parts: list[str] = []
    size = 0
    carried = ""  # the end of the chunk before, where prose was cut
    for text, is_prose in _parts(blocks, parameters):
        if parts and size + len(_BETWEEN_BLOCKS) + len(text) > parameters.target_chars:
            yield _BETWEEN_BLOCKS.join(parts)
            room = min(parameters.overlap_chars, parameters.target_chars - len(text) - len(_BETWEEN_BLOCKS))
            parts = [_ending(carried, room)] if is_prose and carried else []
            parts = [part for part in parts if part]
            size = sum(map(len, parts))
        parts.append(text)
        size += len(text) + len(_BETWEEN_BLOCKS) * (len(parts) > 1)
        carried = text if is_prose else ""
    if parts:
        yield _BETWEEN_BLOCKS.join(parts)


def _parts(blocks: Sequence[Block], parameters: ChunkingParameters) -> Iterator[tuple[str, bool]]:
    """Texts no longer than the target, and whether they are prose. Prose is cut shorter, to leave room for what
    the next chunk repeats."""
    for block in blocks:
        is_prose = block.kind is BlockKind.PARAGRAPH
        if len(block.text) <= parameters.target_chars:
            yield block.text, is_prose
            continue
        limit = parameters.target_chars - (parameters.overlap_chars + len(_BETWEEN_BLOCKS)) * is_prose
        for part in _cut(block, limit):
            yield part, is_prose


def _cut(block: Block, limit: int) -> Iterator[str]:
    frame = len(block.lead) + len(block.tail)
    if frame > limit // 2:  # a header as long as a chunk cannot be repeated
        units = (block.lead, *block.units, block.tail)
        block = Block(kind=block.kind, text=block.text, units=units, joint=block.joint)
        frame = 0
    taken: list[str] = []
    size = frame
    for unit in block.units:
        for piece in _words_cut(unit, limit - frame):
            if taken and size + len(block.joint) + len(piece) > limit:
                yield block.render(tuple(taken))
                taken, size = [], frame
            size += len(piece) + len(block.joint) * bool(taken)
            taken.append(piece)
    if taken:
        yield block.render(tuple(taken))


def _words_cut(unit: str, limit: int) -> Iterator[str]:
    """A unit over the limit, cut at white space, and within a word only where there is none."""
    while len(unit) > limit:
        gap = max(unit.rfind(" ", 1, limit + 1), unit.rfind("\n", 1, limit + 1))
        cut = gap if gap > 0 else limit
        yield unit[:cut]
        unit = unit[cut:].lstrip(" \n") if gap > 0 else unit[cut:]
    if unit:
        yield unit


def _ending(text: str, room: int) -> str:
    """The last whole sentences of a text that fit."""
    kept: list[str] = []
    for sentence in reversed(sentences(text)):
        room -= len(sentence) + 1
        if room < 0:
            break
        kept.insert(0, sentence)
    return " ".join(kept)
