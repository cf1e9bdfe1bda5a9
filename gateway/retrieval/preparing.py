"""A document -> passages ready for the index: parsed, cut, judged, embedded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from gateway.domain.passage import Passage
from gateway.domain.ports import Embedder
from gateway.retrieval.chunk import Chunk
from gateway.retrieval.chunking import chunks
from gateway.retrieval.document import SourceDocument, parse_document
from gateway.retrieval.embedding import TokenBound
from gateway.retrieval.judging import JudgedText
from gateway.retrieval.parsing.hidden import without_invisible
from gateway.retrieval.parsing.parser import Parser
from gateway.retrieval.store import (
    REVISION_CHARS,
    DocumentRecord,
    IndexedDocument,
    Released,
    Withheld,
    text_digest,
)

_BREAKS: Final = ("\n\n", "\n", ". ", " ")
_TITLE_CHARS: Final = 200  # it stands before every passage of the document
_SMALLEST_CHARS: Final = 100  # a text is not halved below that, whatever title and section take of the bound


class Cut(Struct, frozen=True, kw_only=True):
    """A document cut into passages that nobody has judged yet."""

    document: SourceDocument
    passages: tuple[Passage, ...]
    hidden: int

    def __repr__(self) -> str:
        return f"Cut({self.document.id!r}, {len(self.passages)} passages)"


class IngestRun(Struct, frozen=True, kw_only=True):
    """Which run prepares, when, and by which policies."""

    id: str = ""
    at: str = ""
    policy: str = ""


def cut(document: SourceDocument, parser: Parser, embedder: Embedder) -> Cut:
    """Parse a document and cut it. No passage has more tokens than the embedder reads, where it says how many that
    are. Raises `UnreadableDocument`. Blocking."""
    parsed = parse_document(document, parser)
    named, _ = without_invisible(document.meta.title or parsed.name or document.path.stem)
    title = " ".join(named.split())[:_TITLE_CHARS]
    made = chunks(parsed.sections, title=title, parameters=document.chunking, embedder=embedder)
    if isinstance(embedder, TokenBound):
        bound = embedder.max_tokens
        count = embedder.tokens
        made = list(_within(made, lambda chunk: count([_embedded(title, chunk)])[0] <= bound))
    meta = document.meta
    assert meta.classification is not None
    passages = tuple(
        Passage(
            doc=document.id,
            number=number,
            revision=document.content[:REVISION_CHARS],
            title=title,
            section=chunk.section,
            text=chunk.text,
            source=document.source,
            owner=meta.owner,
            classification=meta.classification.value,
            effective=effective(document),
            valid_from=_iso(meta.valid_from),
            valid_to=_iso(meta.valid_to),
            place=chunk.place(parsed.unit),
            chunker=document.chunking.identity,
            access=frozenset(meta.access or ()),
        )
        for number, chunk in enumerate(made)
    )
    return Cut(document=document, passages=passages, hidden=parsed.hidden)


def judged_record(
    made: Cut, judged: Sequence[JudgedText], earlier: Sequence[Released], run: IngestRun
) -> tuple[DocumentRecord, tuple[Passage, ...]]:
    """The record of a judged document, and its passages as they are indexed: a stopped one without access labels,
    unless a human has released exactly its text from all the rules that stop it. Such decisions are carried on while
    the text stays."""
    released = {one.text: one for one in earlier}
    withheld: list[Withheld] = []
    kept: list[Released] = []
    passages: list[Passage] = []
    for number, one in enumerate(judged):
        passage, text = one.passage, text_digest(one.passage)
        decision = released.get(text)
        if decision is not None and decision not in kept:
            kept.append(decision)
        if one.effect.stops and (decision is None or not set(one.rules) <= set(decision.rules)):
            withheld.append(Withheld(number=number, text=text, effect=one.effect.value, rules=one.rules))
            passage = structs.replace(passage, access=frozenset())
        elif decision is not None:
            passage = structs.replace(passage, released=frozenset(decision.rules))
        passages.append(passage)
    complete = all(one.complete for one in judged)
    record = structs.replace(
        record_of(made.document, made.passages, run),
        policy=run.policy if complete else "",
        hidden=made.hidden,
        redacted=sum(one.redacted for one in judged),
        withheld=tuple(withheld),
        released=tuple(kept),
    )
    return record, tuple(passages)


def record_of(document: SourceDocument, passages: Sequence[Passage], run: IngestRun) -> DocumentRecord:
    meta = document.meta
    return DocumentRecord(
        doc=document.id,
        content=document.content,
        root=document.root,
        passages=len(passages),
        effective=effective(document),
        review_by=_iso(meta.review_by),
        language=meta.language,
        file=document.file,
        title=passages[0].title if passages else meta.title,
        source=document.source,
        owner=meta.owner,
        classification=meta.classification.value if meta.classification else "",
        access=tuple(sorted(meta.access or ())),
        valid_from=_iso(meta.valid_from),
        valid_to=_iso(meta.valid_to),
        parser=document.parser,
        chunker=document.chunking.identity,
        run=run.id,
        ingested=run.at,
        origin=document.origin,
    )


def embedded_text(passage: Passage) -> str:
    """What stands for a passage in the vector index: title and section give a short text its subject."""
    return "\n".join(part for part in (passage.title, passage.section, passage.text) if part)


def embed(
    documents: Sequence[tuple[DocumentRecord, tuple[Passage, ...]]],
    embedder: Embedder,
    known: Mapping[str, NDArray[np.float32]],
) -> list[IndexedDocument]:
    """Embed what is not `known` by its text, all documents in one go. Blocking."""
    texts = list(dict.fromkeys(embedded_text(passage) for _, passages in documents for passage in passages))
    new = [text for text in texts if text not in known]
    vectors = {**known, **dict(zip(new, embedder.embed(new), strict=True))} if new else known
    return [
        IndexedDocument(
            record=record,
            passages=passages,
            vectors=np.array([vectors[embedded_text(passage)] for passage in passages], np.float32).reshape(
                len(passages), embedder.dimensions
            ),
        )
        for record, passages in documents
    ]


def effective(document: SourceDocument) -> str:
    """The date that content applies from; where none is named, the first day on which it is found."""
    return _iso(document.meta.effective or document.meta.valid_from)


def _embedded(title: str, chunk: Chunk) -> str:
    return "\n".join(part for part in (title, chunk.section, chunk.text) if part)


def _within(made: Sequence[Chunk], fits: Callable[[Chunk], bool]) -> Iterator[Chunk]:
    """Chunks that fit; one that does not is halved at the best break near its middle until its parts do."""
    for chunk in made:
        if len(chunk.text) <= _SMALLEST_CHARS or fits(chunk):
            yield chunk
            continue
        at = _middle(chunk.text)
        halves = (chunk.text[:at].strip(), chunk.text[at:].strip())
        yield from _within([structs.replace(chunk, text=half) for half in halves if half], fits)


def _middle(text: str) -> int:
    """The break nearest to the middle: between blocks, lines, sentences, words, and only then inside a word."""
    middle = len(text) // 2
    for mark in _BREAKS:
        before = text.rfind(mark, len(text) // 4, middle)
        after = text.find(mark, middle, 3 * len(text) // 4)
        places = [place + len(mark) for place in (before, after) if place >= 0]
        if places:
            return min(places, key=lambda place: abs(place - middle))
    return middle


def _iso(date: object) -> str:
    return str(date) if date else ""
