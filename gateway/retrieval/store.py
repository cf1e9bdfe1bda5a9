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
S5  The index revision is a function of the tenant's documents, of the embedder and of the chunker: equal content has
    an equal revision, whatever order it came in.
S6  An index built with another embedder is refused, never searched: its vectors mean something else.
S7  Any failure is a `StoreUnavailable` with a stable code and without content.

The store does not decide who may see what: it applies the groups it is given, and the retriever checks again.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.passage import Passage
from gateway.domain.text import outline


class SearchRequest(Struct, frozen=True, kw_only=True):
    """`vector` is the query's embedding, of unit length; `groups` are all groups the caller may read as."""

    tenant: str
    groups: frozenset[str]
    text: str
    vector: NDArray[np.float32]
    limit: int

    def __repr__(self) -> str:
        return f"SearchRequest({self.tenant!r}, {len(self.groups)} groups, {outline(self.text)}, limit {self.limit})"


class SearchResult(Struct, frozen=True, kw_only=True):
    """Passages best first with scores in 0..1; the tenant that the index they were read from names as its owner,
    and the revision of that index. Both are "" for a tenant without an index."""

    tenant: str = ""
    passages: tuple[Passage, ...] = ()
    index_rev: str = ""


class DocumentRecord(Struct, frozen=True, kw_only=True):
    """What the index knows of a document besides its passages. `content` is a hash of all that its passages were
    made from; `root` names what was ingested, so that a document that vanished from it can be removed."""

    doc: str
    content: str
    root: str
    passages: int
    effective: str = ""
    review_by: str = ""
    language: str = ""


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


class PassageStore(Protocol):
    """See the contract above. One caller of `apply` at a time; a second one fails at once."""

    name: str

    async def search(self, request: SearchRequest) -> SearchResult: ...

    async def tenants(self) -> frozenset[str]:
        """Tenants that have an index, even an empty one."""
        ...

    async def catalogue(self, tenant: str) -> Catalogue: ...

    async def apply(self, update: IndexUpdate) -> str:
        """Return the new index revision once it is durable and visible."""
        ...

    async def close(self) -> None: ...
