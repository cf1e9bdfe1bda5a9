"""One immutable index of one tenant on disk: `passages.db` (SQLite with FTS5) and `vectors.f32`.

A generation is written once, under a temporary name, and never changed, so readers need no locks and share its pages
in memory. Passages are ordered by access label set, validity, document and number; row `i` of the vectors is row id
`i + 1` of both tables. Passages that share labels and validity are neighbours, so the filter of the vector search is
a handful of ranges: forbidden rows are not even read.
"""

import json
import os
import queue
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.passage import Passage
from gateway.retrieval.store import Catalogue, DocumentRecord, IndexedDocument, IndexIdentity, IndexUpdate
from gateway.retrieval.terms import match_any

FORMAT: Final = "embedded-2"
_BEFORE_VALIDITY: Final = "embedded-1"  # labels without dates; read as if always valid
_DATABASE: Final = "passages.db"
_VECTORS: Final = "vectors.f32"

# Porter (1980) stems English and leaves most other words alone. SciFact nDCG@10 of BM25: 0.670 without, 0.700 with.
_TOKENIZER: Final = "porter unicode61 remove_diacritics 2"
_TITLE_WEIGHT: Final = 2.0  # title and section against text; SciFact 0.700 -> 0.704
# Passages that one search may score, about 1 us each; terms beyond are common and tell passages least apart. SciFact
# nDCG@10 of the hybrid is 0.718 without a bound, 0.714 at a sixth of the passages, 0.70 at a twelfth.
_POSTINGS: Final = 12_000

_MAPPED_BYTES: Final = 1 << 30  # readers share the pages that the system caches instead of copying them

_SCHEMA: Final = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE document (doc TEXT PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE label (id INTEGER PRIMARY KEY, access TEXT NOT NULL, opens TEXT NOT NULL, closes TEXT NOT NULL,
    first INTEGER NOT NULL, past INTEGER NOT NULL);
CREATE TABLE passage (id INTEGER PRIMARY KEY, label INTEGER NOT NULL, doc TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX passage_doc ON passage (doc);
CREATE VIRTUAL TABLE lexical USING fts5 (heading, text, content='', tokenize='{_TOKENIZER}');
"""

_decode_passage = msgspec.json.Decoder(Passage).decode
_decode_record = msgspec.json.Decoder(DocumentRecord).decode


class RowRange(Struct, frozen=True):
    """Rows `[first, past)` of the vectors, counted from 0."""

    first: int
    past: int


class _Label(Struct, frozen=True):
    """Passages that the same groups may see between the same dates."""

    id: int
    access: frozenset[str]
    opens: str
    closes: str
    rows: RowRange

    def is_open(self, day: str) -> bool:
        return not day or (self.opens <= day and (not self.closes or day <= self.closes))


class View(Struct, frozen=True):
    """What the holder of some groups may read of a generation: label ids, and their rows as merged ranges."""

    labels: tuple[int, ...]
    ranges: tuple[RowRange, ...]
    complete: bool

    @property
    def count(self) -> int:
        return sum(rows.past - rows.first for rows in self.ranges)


class Generation:
    """An open generation. Thread-safe; `readers` searches run at the same time, further ones wait.

    Raises `sqlite3.Error`, `OSError` or `ValueError` for files that are missing or damaged.
    """

    def __init__(self, directory: Path, *, readers: int) -> None:
        self._connections: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._opened = 0
        try:
            # all are opened now: a later generation may remove the files at any time, open ones stay readable
            for _ in range(readers):
                self._connections.put(_connect(directory / _DATABASE))
                self._opened += 1
            with self._connection() as connection:
                meta = _read_meta(connection)
                dates = "'', ''" if meta["format"] == _BEFORE_VALIDITY else "opens, closes"
                found = connection.execute(f"SELECT id, access, {dates}, first, past FROM label")  # noqa: S608 our own
                self._labels = [
                    _Label(id_, frozenset(json.loads(access)), opens, closes, RowRange(first, past))
                    for id_, access, opens, closes, first, past in found
                ]
            self.index_rev = meta["index_rev"]
            self.tenant = meta["tenant"]
            self.identity = msgspec.json.decode(meta["identity"], type=IndexIdentity)
            self.passages = int(meta["passages"])
            self.vectors = _open_vectors(directory / _VECTORS, self.passages, self.identity.dimensions)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Wait for running searches, then close the files."""
        for _ in range(self._opened):
            self._connections.get().close()
        self._opened = 0

    def view(self, groups: frozenset[str], day: str) -> View:
        permitted = [label for label in self._labels if label.access & groups and label.is_open(day)]
        return View(
            tuple(label.id for label in permitted),
            tuple(_merged(label.rows for label in permitted)),
            len(permitted) == len(self._labels),
        )

    def nearest(self, vector: NDArray[np.float32], view: View, limit: int) -> list[int]:
        """The permitted rows nearest to a unit vector by cosine, exactly; equal ones by row."""
        if not view.ranges:
            return []
        rows = np.concatenate([np.arange(span.first, span.past) for span in view.ranges])
        # not `@`: for one vector BLAS wakes all its threads, which costs more than it saves, most on a busy machine
        scores = np.concatenate([np.vecdot(self.vectors[span.first : span.past], vector) for span in view.ranges])
        if len(scores) > limit:
            # all rows that tie with the last one stay, so that equal scores cannot make the choice arbitrary
            least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
            kept = np.flatnonzero(scores >= least)
            rows, scores = rows[kept], scores[kept]
        order = np.lexsort((rows, -scores))[:limit]
        return [int(row) for row in rows[order]]

    def matching(self, terms: Sequence[str], view: View, limit: int) -> list[int]:
        """The permitted rows that hold any of the terms, best first by BM25 (Robertson and Zaragoza 2009; k1 = 1.2,
        b = 0.75) over this tenant's passages; equal ones by row."""
        if not view.labels:
            return []
        with self._connection() as connection:
            chosen = self._selective(connection, terms)
            if not chosen:
                return []
            # CROSS JOIN fixes the order: match first, then drop forbidden rows before any of them is scored
            join = (
                ""
                if view.complete
                else "CROSS JOIN passage ON passage.id = lexical.rowid "
                f"AND passage.label IN ({','.join(map(str, view.labels))})"
            )
            found = connection.execute(
                f"SELECT lexical.rowid FROM lexical {join} WHERE lexical MATCH ? "  # noqa: S608 integers of our own
                f"ORDER BY bm25(lexical, {_TITLE_WEIGHT}, 1.0), lexical.rowid LIMIT ?",
                (match_any(chosen), limit),
            ).fetchall()
        return [row - 1 for (row,) in found]

    def _selective(self, connection: sqlite3.Connection, terms: Sequence[str]) -> list[str]:
        """The rarest terms whose passages together stay within `_POSTINGS`; none if each is in more than that, and so
        tells little that the vectors do not. In an index no larger than that, all terms."""
        if self.passages <= _POSTINGS:
            return list(terms)
        counted = []
        for term in terms:
            count = connection.execute(
                "SELECT count(*) FROM (SELECT 1 FROM lexical WHERE lexical MATCH ? LIMIT ?)",
                (match_any([term]), _POSTINGS + 1),
            ).fetchone()[0]
            if count:
                counted.append((count, term))
        chosen: list[str] = []
        total = 0
        for count, term in sorted(counted):
            total += count
            if total > _POSTINGS:
                break
            chosen.append(term)
        return chosen

    def read(self, rows: Sequence[int]) -> list[Passage]:
        """The passages of the rows, in the order given."""
        ids = [row + 1 for row in rows]
        marks = ",".join("?" * len(ids))
        with self._connection() as connection:
            found = dict(connection.execute(f"SELECT id, body FROM passage WHERE id IN ({marks})", ids))  # noqa: S608
        return [_decode_passage(found[id_]) for id_ in ids]

    def catalogue(self) -> Catalogue:
        with self._connection() as connection:
            records = [_decode_record(record) for (record,) in connection.execute("SELECT record FROM document")]
        documents = {record.doc: record for record in records}
        return Catalogue(identity=self.identity, documents=documents, index_rev=self.index_rev)

    def records(self, wanted: Iterable[str]) -> dict[str, DocumentRecord]:
        """The records of those documents that are here."""
        with self._connection() as connection:
            rows = [
                connection.execute("SELECT record FROM document WHERE doc = ?", (doc,)).fetchone() for doc in wanted
            ]
        return {record.doc: record for record in (_decode_record(row[0]) for row in rows if row is not None)}

    def documents(self, wanted: Iterable[str]) -> Iterator[IndexedDocument]:
        """Those of the documents that are here, whole and as they were indexed, one at a time."""
        with self._connection() as connection:
            for doc in wanted:
                row = connection.execute("SELECT record FROM document WHERE doc = ?", (doc,)).fetchone()
                if row is None:
                    continue
                record = row[0]
                rows = connection.execute("SELECT id, body FROM passage WHERE doc = ?", (doc,)).fetchall()
                found = [(id_, _decode_passage(body)) for id_, body in rows]
                found.sort(key=lambda one: one[1].number)  # withheld ones stand apart
                yield IndexedDocument(
                    record=_decode_record(record),
                    passages=tuple(passage for _, passage in found),
                    vectors=self.vectors[[id_ - 1 for id_, _ in found]],
                )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = self._connections.get()
        try:
            yield connection
        finally:
            self._connections.put(connection)


def write_generation(directory: Path, update: IndexUpdate, kept: Iterable[IndexedDocument], index_rev: str) -> None:
    """Write the generation of the update's documents and those kept from before, durably, into a new directory."""
    documents = sorted([*update.documents, *kept], key=lambda document: document.record.doc)
    located = [
        ((sorted(passage.access), passage.valid_from, passage.valid_to), passage, document.vectors[index])
        for document in documents
        for index, passage in enumerate(document.passages)
    ]
    located.sort(key=lambda row: (row[0], row[1].doc, row[1].number))
    directory.mkdir(mode=0o700, parents=True)
    matrix = np.array([vector for *_, vector in located], dtype="<f4")
    with (directory / _VECTORS).open("wb") as file:
        matrix.tofile(file)
        file.flush()
        os.fsync(file.fileno())
    with closing(sqlite3.connect(directory / _DATABASE, isolation_level=None)) as connection:
        # the file is new and is synced once at its end: a journal would only double the writing
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN")
        _fill(connection, [(label, passage) for label, passage, _ in located])
        connection.executemany(
            "INSERT INTO document VALUES (?, ?)",
            [(document.record.doc, msgspec.json.encode(document.record)) for document in documents],
        )
        meta = {
            "format": FORMAT,
            "tenant": update.tenant,
            "index_rev": index_rev,
            "identity": msgspec.json.encode(update.identity).decode(),
            "passages": str(len(located)),
        }
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.execute("COMMIT")
        connection.execute("INSERT INTO lexical (lexical) VALUES ('optimize')")
    _sync(directory / _DATABASE)
    _sync(directory)


def _fill(connection: sqlite3.Connection, ordered: Sequence[tuple[tuple[list[str], str, str], Passage]]) -> None:
    labels: list[tuple[tuple[list[str], str, str], int]] = []  # label set with validity, and its first row
    for row, (label, passage) in enumerate(ordered):
        if not labels or labels[-1][0] != label:
            labels.append((label, row))
        connection.execute(
            "INSERT INTO passage VALUES (?, ?, ?, ?)",
            (row + 1, len(labels), passage.doc, msgspec.json.encode(passage, order="sorted")),
        )
        connection.execute(
            "INSERT INTO lexical (rowid, heading, text) VALUES (?, ?, ?)",
            (row + 1, f"{passage.title}\n{passage.section}", passage.text),
        )
    ends = [*(first for _, first in labels), len(ordered)][1:]
    connection.executemany(
        "INSERT INTO label VALUES (?, ?, ?, ?, ?, ?)",
        [
            (number, json.dumps(access), opens, closes, first, past)
            for number, (((access, opens, closes), first), past) in enumerate(zip(labels, ends, strict=True), start=1)
        ],
    )


def _connect(database: Path) -> sqlite3.Connection:
    uri = f"{database.resolve().as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
    connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
    return connection


def _read_meta(connection: sqlite3.Connection) -> dict[str, str]:
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    if meta.get("format") not in {FORMAT, _BEFORE_VALIDITY}:
        raise ValueError("the index has another format")
    return meta


def _open_vectors(file: Path, rows: int, dimensions: int) -> NDArray[np.float32]:
    if file.stat().st_size != rows * dimensions * 4:
        raise ValueError("the vectors do not belong to the passages")
    if rows == 0:
        return np.empty((0, dimensions), dtype=np.float32)
    return np.memmap(file, dtype="<f4", mode="r", shape=(rows, dimensions))


def _merged(ranges: Iterable[RowRange]) -> Iterator[RowRange]:
    open_: RowRange | None = None
    for rows in sorted(ranges, key=attrgetter("first")):
        if open_ and rows.first == open_.past:
            open_ = RowRange(open_.first, rows.past)
            continue
        if open_:
            yield open_
        open_ = rows
    if open_:
        yield open_


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
