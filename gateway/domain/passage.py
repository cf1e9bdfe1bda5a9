"""Retrieved text with its source, revision and access labels."""

from enum import StrEnum

from msgspec import Struct

from gateway.domain.text import outline


class Passage(Struct, frozen=True, kw_only=True):
    """A passage as the store returned it.

    `access` are the groups that may see it; empty means nobody. `number` counts passages within the document
    from 0. `revision` is the document's content hash, 16 hex digits. `score` lies in 0..1 and only ranks. `released`
    are ids of passage rules whose stop of exactly this text a human has lifted.
    """

    doc: str
    number: int
    revision: str
    title: str
    section: str = ""
    text: str
    source: str = ""  # path or address the document was read from
    owner: str = ""
    classification: str = ""  # public | internal | confidential | restricted
    effective: str = ""  # ISO date the content is valid from
    valid_from: str = ""  # ISO dates between which it is found, both inclusive; "" is unbounded
    valid_to: str = ""
    place: str = ""  # where in the document it stands: `page 3`, `rows 2 to 9`
    chunker: str = ""  # method, version and sizes that cut it
    access: frozenset[str]
    released: frozenset[str] = frozenset()
    score: float = 0.0

    @property
    def id(self) -> str:
        return f"{self.doc}#{self.number}"

    def __repr__(self) -> str:
        return f"Passage({self.id}@{self.revision}, {outline(self.text)})"


class RetrievalStatus(StrEnum):
    OK = "ok"
    OFF = "off"  # by configuration or by the request, where its policy allows
    ERROR = "error"
    TIMEOUT = "timeout"


class Standing(StrEnum):
    """Whether passages that were found may still be used."""

    CURRENT = "current"
    WITHDRAWN = "withdrawn"  # a document was deleted, or closed to the caller
    UNKNOWN = "unknown"  # the store does not answer


class Retrieval(Struct, frozen=True, kw_only=True):
    """The result of one search. `filter` is a digest of the access filter that the store applied;
    `dropped` counts passages that the store returned although the principal may not see them."""

    status: RetrievalStatus
    passages: tuple[Passage, ...] = ()
    store: str = ""
    index_rev: str = ""
    filter: str = ""
    dropped: int = 0
    reason: str = ""  # stable code for error and timeout
    took_us: int = 0


RETRIEVAL_OFF = Retrieval(status=RetrievalStatus.OFF)
