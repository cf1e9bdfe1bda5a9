"""The index of a tenant as a page shows it: its documents, what policies keep back, who finds what."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from gateway.audit.read import AuditReader, Filter
from gateway.domain.event import EventType
from gateway.retrieval.sources import visible
from gateway.retrieval.store import Catalogue, DocumentRecord, Withheld

SHOWN: Final = 200


class DocumentLine(Struct, frozen=True, kw_only=True):
    """A document with what makes it remarkable on a day: `expired`, `not yet valid`, `review is overdue`."""

    record: DocumentRecord
    states: tuple[str, ...]


class WithheldLine(Struct, frozen=True, kw_only=True):
    """A passage that policies keep from everyone. `name` is `DOCUMENT#NUMBER`."""

    name: str
    record: DocumentRecord
    passage: Withheld


class IndexView(Struct, frozen=True, kw_only=True):
    """`documents` are those that were asked for, `more` how many of them are not listed. `chunkers` count documents by
    what cut them; `ingest` and `drift` are the last events of an ingest and of a drift report, empty for none."""

    total: int
    passages: int
    embedder: str
    revision: str
    chunkers: tuple[tuple[str, int], ...]
    expired: int
    stale: int
    redacted: int
    withheld: tuple[WithheldLine, ...]
    documents: tuple[DocumentLine, ...]
    more: int
    ingest: dict[str, Any]
    drift: dict[str, Any]


class Wanted(Struct, frozen=True, kw_only=True):
    """Which documents to list: by words in id or title, and those that these groups find (`None`: whoever asks)."""

    words: str = ""
    groups: frozenset[str] | None = None


def index_view(
    catalogue: Catalogue, wanted: Wanted, *, day: str, ingest: dict[str, Any], drift: dict[str, Any]
) -> IndexView:
    """`day` is the ISO date on which documents must be valid."""
    records = sorted(catalogue.documents.values(), key=lambda record: record.doc)
    asked = [record for record in records if _named(record, wanted.words)]
    if wanted.groups is not None:
        asked = list(visible(asked, wanted.groups, day))
    lines = [DocumentLine(record=record, states=tuple(_states(record, day))) for record in asked]
    lines.sort(key=lambda line: (not line.states, line.record.doc))
    states = Counter(state for record in records for state in _states(record, day))
    return IndexView(
        total=len(records),
        passages=sum(record.passages for record in records),
        embedder=catalogue.identity.embedder if catalogue.identity else "",
        revision=catalogue.index_rev,
        chunkers=tuple(Counter(record.chunker for record in records if record.chunker).most_common()),
        expired=states["expired"],
        stale=states["review is overdue"],
        redacted=sum(record.redacted for record in records),
        withheld=tuple(
            WithheldLine(name=f"{record.doc}#{one.number}", record=record, passage=one)
            for record in records
            for one in record.withheld
        ),
        documents=tuple(lines[:SHOWN]),
        more=max(0, len(lines) - SHOWN),
        ingest=ingest,
        drift=drift,
    )


def last_event(log: Path, tenant: str, kind: EventType) -> dict[str, Any]:
    """The members of the tenant's newest event of this type, empty for none. Blocking. Raises `AuditUnavailable`."""
    wanted = Filter(types=frozenset({kind.value}), tenants=frozenset({tenant}))
    with AuditReader(log) as reader:
        return next((event.members for event in reader.search(wanted, limit=1, newest=True)), {})


def _named(record: DocumentRecord, words: str) -> bool:
    name = f"{record.doc} {record.title}".lower()
    return all(word in name for word in words.lower().split())


def _states(record: DocumentRecord, day: str) -> Iterable[str]:
    if record.valid_to and record.valid_to < day:
        yield "expired"
    if record.valid_from > day:
        yield "not yet valid"
    if record.review_by and record.review_by < day:
        yield "review is overdue"
