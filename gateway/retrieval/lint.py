"""Checks files and metadata without an index: all faults, and notices of what is sound but may not be meant.

DOC101  its review is overdue          DOC103  text was left out that no reader sees
DOC102  it is no longer valid          DOC104  it names no language
"""

import datetime as dt
from collections.abc import Callable, Iterator

from msgspec import Struct

from gateway.domain.errors import Fault
from gateway.retrieval.discovery import Found
from gateway.retrieval.document import EmptyDocument, SourceDocument, parse_document
from gateway.retrieval.parsing.parsed import Parsed, UnreadableDocument
from gateway.retrieval.parsing.parser import Parser


class Notice(Struct, frozen=True, order=True):
    file: str
    code: str
    message: str


class Linted(Struct, frozen=True):
    faults: tuple[Fault, ...]
    notices: tuple[Notice, ...]


def lint(found: Found, parser: Callable[[], Parser], today: dt.date) -> Linted:
    """Parses every document. Blocking."""
    faults = list(found.faults)
    notices: list[Notice] = []
    with parser() as opened:
        for document in found.documents:
            try:
                parsed = parse_document(document, opened)
            except UnreadableDocument as error:
                code = "DOC006" if isinstance(error, EmptyDocument) else "DOC001"
                faults.append(Fault(str(document.path), 0, 0, code, error.message))
                continue
            notices += _notices(document, parsed, today)
    return Linted(tuple(sorted(faults)), tuple(sorted(notices)))


def _notices(document: SourceDocument, parsed: Parsed, today: dt.date) -> Iterator[Notice]:
    file, meta = str(document.path), document.meta
    if meta.review_by and meta.review_by < today:
        yield Notice(file, "DOC101", f"its review was due on {meta.review_by}: ask `{meta.owner}`")
    if meta.valid_to and meta.valid_to < today:
        yield Notice(file, "DOC102", f"it is not found since {meta.valid_to}: remove it, or extend `valid_to`")
    if parsed.hidden:
        yield Notice(file, "DOC103", f"{parsed.hidden} characters are left out that no reader sees: look at the file")
    if not meta.language:
        yield Notice(file, "DOC104", "it names no language: add `language`")
