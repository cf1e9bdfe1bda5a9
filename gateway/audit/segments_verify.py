"""Verifies sealed segments against the checkpoints they were sealed under, without the log.

Steps for each segment: 1 its manifest is one, and follows the one before without a gap; 2 each file has the SHA-256
that the manifest says and can be read; 3 the events are those from `first` to `last`, each once, each with the bytes
that its hash was made of, in the folder of its tenant and day; 4 they stand under the root of the checkpoint; 5 the
checkpoint is signed, and cosigned, by keys that the caller names.
"""

import hashlib
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.audit.anchoring import Trust
from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.entry import leaf_hash
from gateway.audit.merkle import HASH_BYTES
from gateway.audit.note import NoteError
from gateway.audit.segments_manifest import Manifest, SegmentDamaged, SegmentFile, manifests, read_manifest, tenant_of
from gateway.audit.segments_tree import root_with
from gateway.audit.verify import Outcome

_BATCH: Final = 2_000
_COLUMNS: Final = ("seq", "hash", "event")


class SegmentsVerified(Struct, frozen=True, kw_only=True):
    """What was found. `fault` names the first place that is wrong; `events` and `last` count what holds before it."""

    outcome: Outcome
    segments: int
    events: int
    first: int
    last: int
    unsigned: int  # segments whose checkpoint no key that the caller named has signed
    fault: str = ""


def verify_segments(folder: Path, trust: Trust) -> SegmentsVerified:
    """Read all segments, one after the other. Memory: 32 bytes an event of the largest. Never raises for what is
    wrong with the files."""
    counted, events, first, last, unsigned = 0, 0, 0, 0, 0
    outcome, fault = Outcome.VERIFIED_ANCHORED, ""
    try:
        for path in manifests(folder):
            manifest = _next(path, last)
            signed = _signed(manifest)
            _verify(folder, manifest, signed)
            unsigned += not trust.anchors(signed)
            counted, events = counted + 1, events + manifest.last - manifest.first + 1
            first, last = first or manifest.first, manifest.last
    except _Differs as error:
        outcome, fault = Outcome.DIVERGED, error.message
    except SegmentDamaged as error:
        outcome, fault = Outcome.INVALID, error.message
    if not counted and not fault:
        outcome, fault = Outcome.INVALID, f"`{folder}` holds no segment: run `gateway audit seal`"
    if unsigned and not fault:
        outcome = Outcome.VERIFIED_UNANCHORED
    return SegmentsVerified(
        outcome=outcome, segments=counted, events=events, first=first, last=last, unsigned=unsigned, fault=fault
    )


class _Differs(SegmentDamaged):
    """The events do not stand under the root."""


def _next(path: Path, last: int) -> Manifest:
    manifest = read_manifest(path)
    if last and manifest.first != last + 1:
        raise SegmentDamaged(f"segment {manifest.name} does not begin behind event {last}: one is missing")
    return manifest


def _signed(manifest: Manifest) -> SignedCheckpoint:
    try:
        signed = SignedCheckpoint.parse(manifest.checkpoint.encode())
    except NoteError as error:
        raise SegmentDamaged(f"segment {manifest.name}: its checkpoint is none: {error}") from None
    if signed.checkpoint.size < manifest.last:
        raise SegmentDamaged(f"segment {manifest.name}: its checkpoint covers {signed.checkpoint.size} events only")
    return signed


def _verify(folder: Path, manifest: Manifest, signed: SignedCheckpoint) -> None:
    leaves = _Leaves(manifest)
    for file in manifest.files:
        _read(folder, manifest, file, leaves)
    missing = leaves.first_missing()
    if missing:
        raise SegmentDamaged(f"segment {manifest.name}: event {missing} is in none of its files")
    root = root_with(manifest.beside(), manifest.first - 1, leaves, signed.checkpoint.size)
    if root != signed.checkpoint.root:
        raise _Differs(f"segment {manifest.name}: its events do not stand under the root of its checkpoint")


def _read(folder: Path, manifest: Manifest, file: SegmentFile, leaves: "_Leaves") -> None:
    from pyarrow import ArrowException, parquet

    where = f"segment {manifest.name}, `{file.path}`"
    path = folder / file.path
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SegmentDamaged(f"{where}: it lies outside the folder")
    try:
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise SegmentDamaged(f"{where}: it cannot be read: {error.strerror}") from None
    try:
        count = 0
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(_BATCH, columns=list(_COLUMNS)):
                for row in batch.to_pylist():
                    _take(manifest, file, row, leaves, where)
                    count += 1
    except (ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        raise SegmentDamaged(f"{where}: it is truncated or no Parquet: {type(error).__name__}") from None
    if count != file.events:
        raise SegmentDamaged(f"{where}: it holds {count} events, not {file.events}")
    if digest != file.sha256:
        raise SegmentDamaged(f"{where}: it does not have the SHA-256 that the manifest says")


def _take(manifest: Manifest, file: SegmentFile, row: dict[str, Any], leaves: "_Leaves", where: str) -> None:
    seq, body = row["seq"], row["event"]
    if type(seq) is not int or not manifest.first <= seq <= manifest.last or not isinstance(body, str):
        raise SegmentDamaged(f"{where}: it holds something else than events of its segment")
    if hashlib.sha256(body.encode()).hexdigest() != row["hash"]:
        raise SegmentDamaged(f"{where}: event {seq} does not have its hash")
    try:
        event = msgspec.json.decode(body)
    except msgspec.DecodeError:
        event = None
    if not isinstance(event, dict) or event.get("seq") != seq:
        raise SegmentDamaged(f"{where}: event {seq} is another one")
    if event.get("tenant") != tenant_of(file.path) or not str(event.get("ts")).startswith(manifest.day):
        raise SegmentDamaged(f"{where}: event {seq} is of another tenant or day")
    if not leaves.put(seq, leaf_hash(body.encode())):
        raise SegmentDamaged(f"{where}: event {seq} is there twice")


class _Leaves:
    """Hashes of the leaves of a segment by place, from whichever file they come."""

    def __init__(self, manifest: Manifest) -> None:
        self._first = manifest.first
        self._count = manifest.last - manifest.first + 1
        self._hashes = bytearray(self._count * HASH_BYTES)
        self._known = bytearray(self._count)

    def put(self, seq: int, leaf: bytes) -> bool:
        """`False` if there was one."""
        at = seq - self._first
        if self._known[at]:
            return False
        self._known[at] = 1
        self._hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES] = leaf
        return True

    def first_missing(self) -> int:
        """The first place without a leaf, 0 if there is none."""
        at = self._known.find(0)
        return 0 if at < 0 else self._first + at

    def __iter__(self) -> Any:
        for at in range(self._count):
            yield bytes(self._hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES])
