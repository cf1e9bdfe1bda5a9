"""The contract of a passage store.

Every implementation MUST hold these; `tests/retrieval/store_contract.py` checks them for each:

S1  A search returns only passages of its tenant whose access labels share a group with the request. The filter acts
    before the best passages are chosen: forbidden passages cannot crowd out permitted ones, so a search returns
    `min(limit, permitted)` passages, each once, best first.
S2  No groups, or an unknown tenant, finds nothing. It is no failure.
S3  Another tenant's passages have no influence on the ranking (no shared term statistics).
S4  `apply` becomes visible as a whole or not at all, whatever fails or is cancelled on the way. Searches go on
    meanwhile and see either the index before or the index after. Other processes see the new index with their next
    search.
S5  The index revision is a function of the tenant's documents, of what policies withheld of them, of the embedder and
    of the layout of passages: equal content has an equal revision, whatever order it came in.
S6  An index built with another embedder is refused, never searched: its vectors mean something else.
S7  Any failure is a `StoreUnavailable` with a stable code and without content.
S8  A search for a day finds no passage that is not valid on it, and this too decides before the best are chosen.

The store does not decide who may see what: it applies the groups it is given, and the retriever checks again.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.errors import StoreUnavailable
from gateway.domain.passage import Passage
from gateway.domain.text import outline

REVISION_CHARS: Final = 16


class SearchRequest(Struct, frozen=True, kw_only=True):
    """`vector` is the query's embedding, of unit length, made by `embedder` ("": by that of the store). `groups` are
    all groups the caller may read as; `day` is the ISO date on which what is found must be valid, "" for any."""

    tenant: str
    groups: frozenset[str]
    text: str
    vector: NDArray[np.float32]
    limit: int
    day: str = ""
    embedder: str = ""

    def __repr__(self) -> str:
        return f"SearchRequest({self.tenant!r}, {len(self.groups)} groups, {outline(self.text)}, limit {self.limit})"


class SearchResult(Struct, frozen=True, kw_only=True):
    """Passages best first with scores in 0..1; the tenant that the index they were read from names as its owner,
    and the revision of that index. Both are "" for a tenant without an index. `store` names the store that was
    searched, where that is not the one that was asked."""

    tenant: str = ""
    passages: tuple[Passage, ...] = ()
    index_rev: str = ""
    store: str = ""


class Withheld(Struct, frozen=True, kw_only=True):
    """A passage that policies keep from everyone. It stays in the index without access labels, so that no search
    finds it, until it is released or judged anew. `text` is `text_digest` of title, section and text."""

    number: int
    text: str
    effect: str
    rules: tuple[str, ...]


class Released(Struct, frozen=True, kw_only=True):
    """A human's decision that exactly this text may be found although these rules stop it."""

    text: str
    rules: tuple[str, ...]
    by: str
    at: str  # UTC, ISO


class DocumentRecord(Struct, frozen=True, kw_only=True):
    """What the index knows of a document besides its passages. `content` is a hash of all that its passages were
    made from; `root` names what was ingested, so that a document that vanished from it can be removed; `file` is the
    path below it. `run` and `ingested` say which ingest brought it and when; `policy` under which bundle its passages
    were judged, "" if under none or not by all detectors; `hidden` counts characters that no reader sees."""

    doc: str
    content: str
    root: str
    passages: int
    effective: str = ""
    review_by: str = ""
    language: str = ""
    file: str = ""
    title: str = ""
    source: str = ""
    owner: str = ""
    classification: str = ""
    access: tuple[str, ...] = ()
    valid_from: str = ""
    valid_to: str = ""
    parser: str = ""
    chunker: str = ""
    run: str = ""
    ingested: str = ""
    policy: str = ""
    hidden: int = 0
    redacted: int = 0  # passages whose text was redacted before it was indexed
    withheld: tuple[Withheld, ...] = ()
    released: tuple[Released, ...] = ()
    origin: str = ""  # digest of the file and its metadata, whatever cuts it; "" if indexed before records had one

    @property
    def revision(self) -> str:
        """The revision that its passages carry."""
        return self.content[:REVISION_CHARS]

    @property
    def state(self) -> str:
        """Names what is indexed of the document: its content, and what policies and people made of it."""
        judged = [self.policy, self.redacted, self.withheld, self.released]
        if not any(judged):
            return self.content
        return hashlib.sha256(self.content.encode() + msgspec.json.encode(judged)).hexdigest()


class IndexedDocument(Struct, frozen=True, kw_only=True):
    """A document ready to be searched: `vectors[i]` embeds `passages[i]`, shape `(len(passages), dimensions)`."""

    record: DocumentRecord
    passages: tuple[Passage, ...]
    vectors: NDArray[np.float32]

    def __repr__(self) -> str:
        return f"IndexedDocument({self.record.doc!r}, {len(self.passages)} passages)"


class IndexIdentity(Struct, frozen=True, kw_only=True):
    """What made the passages and vectors of an index. Documents of different identities do not mix."""

    embedder: str
    dimensions: int
    chunker: str


class IndexUpdate(Struct, frozen=True, kw_only=True):
    """One change of one tenant's index: `documents` replace those of the same id, `removed` go. Where it is
    `complete`, or the index has another identity, `documents` replace all that the index holds."""

    tenant: str
    identity: IndexIdentity
    documents: Sequence[IndexedDocument] = ()
    removed: frozenset[str] = frozenset()
    complete: bool = False


class Catalogue(Struct, frozen=True, kw_only=True):
    """The documents of one tenant's index; empty for a tenant without one."""

    identity: IndexIdentity | None = None
    documents: Mapping[str, DocumentRecord] = {}
    index_rev: str = ""


def another_embedder() -> StoreUnavailable:
    return StoreUnavailable(
        "the passage index was built with another embedding model: ingest the corpus again, or name the model among "
        "`retrieval.embedders`",
        code="embedder_mismatch",
    )


def text_digest(passage: Passage) -> str:
    """Names what people and models read of a passage. 32 hex digits."""
    parts = msgspec.json.encode([passage.title, passage.section, passage.text])
    return hashlib.sha256(parts).hexdigest()[:32]


class PassageStore(Protocol):
    """See the contract above. One caller of `apply` at a time; a second one fails at once."""

    name: str

    async def search(self, request: SearchRequest) -> SearchResult: ...

    async def tenants(self) -> frozenset[str]:
        """Tenants that have an index, even an empty one."""
        ...

    async def catalogue(self, tenant: str) -> Catalogue: ...

    async def revision(self, tenant: str) -> str:
        """The revision of the index that the next search sees, "" for none. Cheap: it is asked for every answer."""
        ...

    async def records(self, tenant: str, docs: Collection[str]) -> Mapping[str, DocumentRecord]:
        """The records of those documents that the index has."""
        ...

    async def read(self, tenant: str, docs: Collection[str]) -> tuple[IndexedDocument, ...]:
        """Those of the documents that the index has, as they were indexed, withheld passages included."""
        ...

    async def apply(self, update: IndexUpdate) -> str:
        """Return the new index revision once it is durable and visible."""
        ...

    async def close(self) -> None: ...
