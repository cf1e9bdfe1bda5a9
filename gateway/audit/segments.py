"""Seals events that a signed checkpoint covers as Parquet, partitioned by tenant and day, once and for good.

A segment is a run of neighbouring events of one day (UTC), at most `most` of them. A day is sealed when it is over, and
before that whenever a whole segment of it has come together. Files are written and synced first, the manifest last: a
crash leaves no half segment, and the next run writes the same one. Any engine that reads Parquet reads them; an auditor
verifies them against the checkpoint without the log (`segments_verify`).
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.audit import database
from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.checkpoint_folder import folder_of, replace_file
from gateway.audit.export_forms import parquet_schema
from gateway.audit.export_rows import ExportRow, row_of
from gateway.audit.read import AuditReader, Event, Filter
from gateway.audit.segments_manifest import Manifest, SegmentFile, encoded, manifests, partition, read_manifest
from gateway.audit.segments_tree import beside
from gateway.audit.tree import Tree, leaves_of
from gateway.domain.errors import AuditUnavailable

MOST_EVENTS: Final = 250_000
_BUFFERED: Final = 10_000  # rows of all tenants together; some 30 MB
_DAY_CHARS: Final = 10


class Sealed(Struct, frozen=True):
    """What a run sealed, and the events under the checkpoint that wait for their day to end."""

    segments: tuple[str, ...]
    events: int
    waiting: int


def seal(log: Path, target: Path, *, now: datetime, most: int = MOST_EVENTS, today: bool = False) -> Sealed:
    """Seal what is due; `today` seals an unfinished day as well. Raises `AuditUnavailable` for a log without a
    checkpoint, or one that it does not fit, and `SegmentDamaged` for manifests that are not in order."""
    signed = folder_of(log).last()
    if signed is None:
        raise AuditUnavailable("there is no checkpoint to seal events under: run `gateway signer`")
    names: list[str] = []
    first = begun = _next_place(target)
    with ExitStack() as opened:
        reader = opened.enter_context(AuditReader(log))
        db = database.open_reader(log)
        opened.callback(db.close)
        opened.enter_context(database.unavailable_on_error(log))
        tree = opened.enter_context(Tree(leaves_of(db)))
        size = signed.checkpoint.size
        if tree.root(size) != signed.checkpoint.root:
            raise AuditUnavailable(
                f"the audit log `{log}` is not what its last checkpoint was signed over: run `gateway audit verify`",
                code="audit_rolled_back",
            )
        limit = f"{now.astimezone(UTC):%Y-%m-%d}"
        while first <= size:
            last, day = _run(reader, first, min(size, first + most - 1))
            if not (today or day < limit or last - first + 1 == most):
                break
            proof = beside(tree.subtree, first - 1, last, size)
            names.append(_write(reader, target, signed, first=first, last=last, day=day, sides=encoded(proof)))
            first = last + 1
    return Sealed(tuple(names), first - begun, max(0, size - first + 1))


def _next_place(target: Path) -> int:
    found = manifests(target)
    return read_manifest(found[-1]).last + 1 if found else 1


def _run(reader: AuditReader, first: int, end: int) -> tuple[int, str]:
    """The last of the events from `first` to `end` that are of one day, and that day."""
    day = _day(reader.checked(first))
    low, high = first, end
    while low < high:  # time never decreases along the log
        middle = (low + high + 1) // 2
        if _day(reader.checked(middle)) == day:
            low = middle
        else:
            high = middle - 1
    return low, day


def _day(event: Event) -> str:
    return str(event.members["ts"])[:_DAY_CHARS]


def _write(
    reader: AuditReader,
    target: Path,
    signed: SignedCheckpoint,
    *,
    first: int,
    last: int,
    day: str,
    sides: tuple[tuple[str, ...], tuple[str, ...]],
) -> str:
    name = f"{first:012d}-{last:012d}"
    with _Files(target, day, name) as files:
        for event in reader.search(Filter(first=first, last=last)):
            files.add(row_of(event))
    manifest = Manifest(
        log=signed.checkpoint.origin,
        day=day,
        first=first,
        last=last,
        checkpoint=str(signed),
        before=sides[0],
        behind=sides[1],
        files=tuple(files.written()),
    )
    if sum(file.events for file in manifest.files) != last - first + 1:
        raise AuditUnavailable(f"the audit log lacks events between {first} and {last}: run `gateway audit verify`")
    folder = target / "manifests"
    folder.mkdir(mode=0o700, exist_ok=True)
    replace_file(folder / f"{name}.json", msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    database.sync_folder(folder)
    return name


class _Files:
    """One Parquet file a tenant, filled side by side."""

    def __init__(self, target: Path, day: str, name: str) -> None:
        self._target = target
        self._day = day
        self._name = name
        self._schema = sealed_schema()
        self._writers: dict[str, Any] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._counts: dict[str, int] = {}
        self._buffered = 0

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for tenant in list(self._rows):
            if kind is None:
                self._flush(tenant)
        for writer in self._writers.values():
            writer.close()

    def add(self, row: ExportRow) -> None:
        plain = msgspec.structs.asdict(row)
        del plain["tenant"]  # it is in the path
        self._rows.setdefault(row.tenant, []).append(plain)
        self._counts[row.tenant] = self._counts.get(row.tenant, 0) + 1
        self._buffered += 1
        if self._buffered >= _BUFFERED:
            self._flush(max(self._rows, key=lambda tenant: len(self._rows[tenant])))

    def written(self) -> Iterator[SegmentFile]:
        """After the end: each file, synced, with its digest."""
        for tenant, count in sorted(self._counts.items()):
            path = self._path(tenant)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            database.sync_folder(path.parent)
            relative = path.relative_to(self._target).as_posix()
            yield SegmentFile(path=relative, sha256=digest, events=count)

    def _flush(self, tenant: str) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        if tenant not in self._writers:
            path = self._path(tenant)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._writers[tenant] = parquet.ParquetWriter(path, self._schema, compression="zstd")
        rows = self._rows.pop(tenant)
        self._buffered -= len(rows)
        self._writers[tenant].write_table(pa.Table.from_pylist(rows, self._schema))

    def _path(self, tenant: str) -> Path:
        return self._target / partition(tenant, self._day) / f"{self._name}.parquet"


def sealed_schema() -> Any:
    """Arrow types of a sealed file: the columns of an export but for the tenant."""
    schema = parquet_schema()
    return schema.remove(schema.get_field_index("tenant"))
