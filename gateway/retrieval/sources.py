"""The documents of an index as people ask about them: who sees what, what is withheld, what a release makes of it."""

from collections.abc import Iterable, Iterator

from msgspec import structs

from gateway.domain.errors import ConfigurationError
from gateway.retrieval.retriever import PUBLIC
from gateway.retrieval.store import DocumentRecord, IndexedDocument, Released, Withheld, text_digest


def visible(records: Iterable[DocumentRecord], groups: frozenset[str], day: str) -> Iterator[DocumentRecord]:
    """Documents that a principal with these groups can find on a day, as the search decides it. Documents indexed
    before records named their groups are left out: ingest them again."""
    seen = groups | {PUBLIC}
    for record in records:
        is_valid = record.valid_from <= day and (not record.valid_to or day <= record.valid_to)
        if is_valid and not seen.isdisjoint(record.access) and len(record.withheld) < record.passages:
            yield record


def withheld_passage(record: DocumentRecord, number: int) -> Withheld:
    """The withheld passage of this number. Raises `ConfigurationError`."""
    for one in record.withheld:
        if one.number == number:
            return one
    raise ConfigurationError(
        f"passage `{record.doc}#{number}` is not withheld: see `gateway sources quarantine list`",
        code="not_withheld",
    )


def release(document: IndexedDocument, number: int, *, by: str, at: str) -> IndexedDocument:
    """The document with one withheld passage open to its groups again, and the decision that made it so. Raises
    `ConfigurationError` if it is not withheld."""
    record = document.record
    withheld = withheld_passage(record, number)
    decision = Released(text=withheld.text, rules=withheld.rules, by=by, at=at)
    earlier = tuple(one for one in record.released if one.text != decision.text)
    same = [one for one in record.withheld if one.text == decision.text]  # equal texts are decided alike
    return IndexedDocument(
        record=structs.replace(
            record,
            withheld=tuple(one for one in record.withheld if one not in same),
            released=(*earlier, decision),
        ),
        passages=tuple(
            structs.replace(passage, access=frozenset(record.access), released=frozenset(decision.rules))
            if text_digest(passage) == decision.text
            else passage
            for passage in document.passages
        ),
        vectors=document.vectors,
    )


def passage_name(name: str) -> tuple[str, int]:
    """`DOC#NUMBER` -> document and number. Raises `ConfigurationError`."""
    doc, _, number = name.rpartition("#")
    if not doc or not number.isdecimal() or not number.isascii():
        raise ConfigurationError(f"`{name}` names no passage: write `DOCUMENT#NUMBER`", code="passage_name")
    return doc, int(number)
