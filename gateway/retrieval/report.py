"""What an ingest did."""

import hashlib
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from gateway.domain.errors import Fault, FaultsFound
from gateway.domain.event import EventDraft, EventType
from gateway.retrieval.store import IndexedDocument


class TenantReport(Struct, frozen=True, kw_only=True):
    """What an ingest did to one tenant's index. Documents are counted, not named. `manifest` is a digest of the
    documents and revisions that it indexed, which the journal of the data folder lists."""

    tenant: str
    added: int
    changed: int
    unchanged: int
    removed: int
    passages: int  # prepared by this ingest
    embedder: str
    chunker: str
    before: str  # index revisions; "" for no index
    after: str
    resumed: int = 0  # documents that an interrupted run had prepared
    withheld: int = 0  # passages kept from everyone by policies, among the prepared ones
    redacted: int = 0
    hidden: int = 0  # characters that no reader sees, left out of the prepared ones
    manifest: str = ""


class IngestReport(Struct, frozen=True, kw_only=True):
    """`faults` are those of files that were left out; their earlier revisions stay in the index."""

    store: str
    tenants: tuple[TenantReport, ...]
    run: str = ""
    policy: str = ""
    faults: tuple[Fault, ...] = ()

    def sound(self) -> "IngestReport":
        """This report. Raises `FaultsFound` if any file had a fault."""
        if self.faults:
            raise FaultsFound(self.faults)
        return self

    def events(self) -> list[EventDraft]:
        """One audit event for each tenant whose index changed."""
        return [
            EventDraft(
                type=EventType.INGEST,
                tenant=report.tenant,
                body={
                    "run": self.run,
                    "store": self.store,
                    "added": report.added,
                    "changed": report.changed,
                    "unchanged": report.unchanged,
                    "removed": report.removed,
                    "faults": len(self.faults),
                    "passages": report.passages,
                    "withheld": report.withheld,
                    "redacted": report.redacted,
                    "hidden_chars": report.hidden,
                    "embedder": report.embedder,
                    "chunker": report.chunker,
                    "policy": self.policy,
                    "manifest": report.manifest,
                    "index_rev_before": report.before,
                    "index_rev": report.after,
                },
            )
            for report in self.tenants
            if report.before != report.after
        ]


def manifest(documents: Sequence[IndexedDocument]) -> str:
    """A digest of which revisions of which documents were indexed. 64 hex digits; "" for none."""
    if not documents:
        return ""
    named = sorted((document.record.doc, document.record.revision) for document in documents)
    return hashlib.sha256(msgspec.json.encode(named)).hexdigest()
