"""Sections of a document -> chunks: pieces of a size that an embedding can hold, cut where the author made a break.

By default a chunk never crosses into a section that is not its sibling, parent or child; other methods
(`ChunkMethod`) suit texts without headings, tables, or long prose. Deterministic; `ChunkingParameters.identity` is
recorded with every passage.
"""

from collections.abc import Iterator, Sequence
from typing import Final, assert_never

from gateway.domain.ports import Embedder
from gateway.retrieval.chunk import DEFAULT_CHUNKING, Chunk, ChunkingParameters, ChunkMethod
from gateway.retrieval.markdown import Block, BlockKind, Section
from gateway.retrieval.packing import BETWEEN_BLOCKS, Packed, Path, Piece, packed
from gateway.retrieval.topics import topics
from gateway.retrieval.windows import windows

_BETWEEN_HEADINGS: Final = " > "
_PATH_CHARS: Final = 300  # of all headings above a chunk; what is longer leaves no room for the text in an embedding
_HEADING_CHARS: Final = 200  # a longer heading is a sentence: it stands in the text too


def chunks(
    read: Sequence[Section],
    *,
    title: str = "",
    parameters: ChunkingParameters = DEFAULT_CHUNKING,
    embedder: Embedder | None = None,
) -> list[Chunk]:
    """The chunks of a document in order. A first heading that repeats `title` is left out of the paths. `embedder`
    is needed by the semantic method, which embeds every sentence."""
    return [_chunk(found, title) for found in _found(read, title, parameters, embedder) if found.text]


def _found(
    read: Sequence[Section], title: str, parameters: ChunkingParameters, embedder: Embedder | None
) -> Iterator[Packed]:
    match parameters.method:
        case ChunkMethod.SECTION:
            for group in _groups(_with_content(read), parameters):
                alone = len(group) == 1
                shared = _shared([section.path for section in group])
                pieces = [
                    Piece(block, shared) for section in group for block in _blocks(section, title=title, alone=alone)
                ]
                yield from packed(pieces, parameters)
        case ChunkMethod.PARAGRAPH:
            yield from packed(_pieces(read, title), parameters)
        case ChunkMethod.WINDOW:
            yield from windows(_pieces(read, title), parameters)
        case ChunkMethod.SEMANTIC:
            if embedder is None:
                raise ValueError("the semantic method needs an embedder")
            yield from topics(_pieces(read, title), parameters, embedder)
        case ChunkMethod.ROW:
            for section in _with_content(read):
                for block in section.blocks or _blocks(section, title=title, alone=True):
                    yield from packed([Piece(block, section.path)], parameters)
        case _:
            assert_never(parameters.method)


def _pieces(read: Sequence[Section], title: str) -> list[Piece]:
    """All blocks in order, each section under its heading."""
    return [Piece(block, section.path) for section in read for block in _blocks(section, title=title, alone=False)]


def _chunk(found: Packed, title: str) -> Chunk:
    path = _shared([part.path for part in found.parts])
    if path and path[0].casefold() == title.casefold():
        path = path[1:]
    first, last = found.places
    return Chunk(section=_BETWEEN_HEADINGS.join(path)[:_PATH_CHARS], text=found.text, first=first, last=last)


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
    return sum(len(text) + len(BETWEEN_BLOCKS) for text in texts)


def _related(before: Section, after: Section) -> bool:
    """Siblings, or parent and child. No heading lies between that neither path nor text of the chunk would say."""
    shared = len(_shared([before.path, after.path]))
    return shared >= len(after.path) - 1 and shared >= min(
        len(before.path), len(after.path), max(len(before.path), len(after.path)) - 1
    )


def _shared(paths: Sequence[Path]) -> Path:
    """The longest path that all begin with."""
    shared = paths[0]
    for path in paths[1:]:
        length = next((at for at, (a, b) in enumerate(zip(shared, path, strict=False)) if a != b), len(path))
        shared = shared[:length]
    return shared


def _blocks(section: Section, *, title: str, alone: bool) -> list[Block]:
    """The blocks of a section, under its heading where neither title nor path of the chunk says it."""
    said = (alone or section.path[-1:] == (title,)) and len(section.line) <= _HEADING_CHARS
    if section.line and not (said and section.blocks):
        heading = Block(kind=BlockKind.HEADING, text=section.line, units=(section.line,), joint=" ")
        return [heading, *section.blocks]
    return list(section.blocks)
