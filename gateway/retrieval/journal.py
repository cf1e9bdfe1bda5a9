"""What ingests leave beside the index, in one SQLite file: work of an interrupted run, lineage, deletions.

    prepared   documents that are ready but not yet in the index: an interrupted run goes on from there
    revision   which run brought which revision of a document, from which file; kept when the document goes
    deleted    documents that were deleted for good: no ingest takes them in again until they are allowed

Holds passages of `prepared` until their run ends, so the file is as sensitive as the index.
"""

import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Self

import msgspec
import numpy as np
from msgspec import Struct

from gateway.domain.errors import StoreUnavailable
from gateway.domain.passage import Passage
from gateway.retrieval.store import DocumentRecord, IndexedDocument
from gateway.transaction import transaction

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS prepared (
    tenant TEXT NOT NULL, doc TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, vectors BLOB NOT NULL,
    PRIMARY KEY (tenant, doc)
);
CREATE TABLE IF NOT EXISTS revision (
    tenant TEXT NOT NULL, doc TEXT NOT NULL, revision TEXT NOT NULL, run TEXT NOT NULL, at TEXT NOT NULL,
    root TEXT NOT NULL, file TEXT NOT NULL, PRIMARY KEY (tenant, doc, revision, run)
);
CREATE TABLE IF NOT EXISTS deleted (
    tenant TEXT NOT NULL, doc TEXT NOT NULL, at TEXT NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (tenant, doc)
);
"""
_WAIT_S: Final = 10.0


class Origin(Struct, frozen=True, kw_only=True):
    """Where a revision of a document came from."""

    tenant: str
    doc: str
    revision: str
    run: str
    at: str
    root: str
    file: str


class Deletion(Struct, frozen=True, kw_only=True):
    tenant: str
    doc: str
    at: str
    who: str
    reason: str


class _Body(Struct, frozen=True):
    record: DocumentRecord
    passages: tuple[Passage, ...]


class IngestJournal:
    """Used by one thread at a time; several processes may have it open. Raises `StoreUnavailable`."""

    def __init__(self, path: Path) -> None:
        with _unavailable():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA secure_delete = ON")  # passages that are gone are gone from the file too
            self._db.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def keep(self, tenant: str, key: str, documents: Sequence[IndexedDocument]) -> None:
        """Remember prepared documents. `key` names, with a document's content, all that decides about them."""
        with self._writing():
            self._db.executemany(
                "INSERT OR REPLACE INTO prepared VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        tenant,
                        document.record.doc,
                        f"{key}/{document.record.content}/{document.record.root}",
                        msgspec.msgpack.encode(_Body(document.record, document.passages)),
                        np.ascontiguousarray(document.vectors, "<f4").tobytes(),
                    )
                    for document in documents
                ],
            )

    def kept(
        self, tenant: str, key: str, *, doc: str, content: str, root: str, dimensions: int
    ) -> IndexedDocument | None:
        """What an earlier run prepared of exactly this document, if it did."""
        with _unavailable():
            row = self._db.execute(
                "SELECT body, vectors FROM prepared WHERE tenant = ? AND doc = ? AND key = ?",
                (tenant, doc, f"{key}/{content}/{root}"),
            ).fetchone()
            if row is None:
                return None
            body = msgspec.msgpack.decode(row[0], type=_Body)
            vectors = np.frombuffer(row[1], "<f4").reshape(len(body.passages), dimensions)
        return IndexedDocument(record=body.record, passages=body.passages, vectors=vectors)

    def indexed(self, tenant: str, documents: Sequence[IndexedDocument]) -> None:
        """The documents are in the index: keep where they came from and forget the work."""
        records = [document.record for document in documents]
        with self._writing():
            self._db.execute("DELETE FROM prepared WHERE tenant = ?", (tenant,))
            self._db.executemany(
                "INSERT OR IGNORE INTO revision VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(tenant, r.doc, r.revision, r.run, r.ingested, r.root, r.file) for r in records],
            )

    def origins(self, tenant: str, doc: str) -> list[Origin]:
        """Every revision of a document that was indexed here, oldest first."""
        with _unavailable():
            rows = self._db.execute(
                "SELECT tenant, doc, revision, run, at, root, file FROM revision WHERE tenant = ? AND doc = ? "
                "ORDER BY at, rowid",
                (tenant, doc),
            ).fetchall()
        return [
            Origin(tenant=one[0], doc=one[1], revision=one[2], run=one[3], at=one[4], root=one[5], file=one[6])
            for one in rows
        ]

    def delete(self, deletion: Deletion) -> None:
        """Keep a document out from now on, and forget what was prepared of it."""
        with self._writing():
            self._db.execute(
                "INSERT OR REPLACE INTO deleted VALUES (?, ?, ?, ?, ?)",
                (deletion.tenant, deletion.doc, deletion.at, deletion.who, deletion.reason),
            )
            self._db.execute("DELETE FROM prepared WHERE tenant = ? AND doc = ?", (deletion.tenant, deletion.doc))

    def allow(self, tenant: str, doc: str) -> bool:
        """Let the next ingest take a deleted document in again. Whether it was deleted."""
        with self._writing():
            return self._db.execute("DELETE FROM deleted WHERE tenant = ? AND doc = ?", (tenant, doc)).rowcount > 0

    def deletions(self, tenant: str, docs: Collection[str] | None = None) -> dict[str, Deletion]:
        """The deleted documents of a tenant, or those among `docs`."""
        with _unavailable():
            rows = self._db.execute("SELECT doc, at, who, reason FROM deleted WHERE tenant = ?", (tenant,)).fetchall()
        return {
            doc: Deletion(tenant=tenant, doc=doc, at=at, who=who, reason=reason)
            for doc, at, who, reason in rows
            if docs is None or doc in docs
        }

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with _unavailable(), transaction(self._db):
            yield


@contextmanager
def ingest_lock(path: Path) -> Iterator[None]:
    """Held by the one ingest, deletion or release at a time that changes an index from this data folder. A process
    that dies lets go of it. Raises `StoreUnavailable` at once if another one holds it."""
    with _unavailable():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise StoreUnavailable("another ingest is running: wait for it to end", code="store_locked") from error
        yield


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error, msgspec.MsgspecError, ValueError) as error:
        raise StoreUnavailable(
            f"the journal of ingests cannot be used: {type(error).__name__}: check the data folder and its space",
            code="journal_failed",
        ) from error
