"""Evidence bundles: chosen events with proofs, the checkpoint they stand under, public keys, and the verifier.

manifest.json      what is in the bundle, with the SHA-256 of every other file
events.jsonl       the events, each line exactly as it was hashed
events.csv, …      the same events in another form, if one was asked for; a reading of them, not evidence
proofs.jsonl       for each event its inclusion proof under the checkpoint
checkpoint         the last signed checkpoint, cosignatures included
keys.txt           verifier keys; for comparison only: trust those that you have from elsewhere
policies.json      the digests of the policies that the events name
verify_bundle.py   the verifier, one file, to be read before it is run
"""

import base64
import hashlib
import json
import re
import tempfile
import zipfile
from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

from msgspec import Struct, structs

from gateway.audit import database
from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.entry import timestamp
from gateway.audit.export_forms import Form, write_form
from gateway.audit.note import VerifierKey
from gateway.audit.proof import TlogProof
from gateway.audit.read import Event, Filter
from gateway.audit.search import AuditSearch
from gateway.audit.standalone import verify_bundle
from gateway.audit.tree import TILE, Leaves, Tree, leaves_of
from gateway.domain.errors import AuditUnavailable, RequestError

_TILES_KEPT: Final = 64
_IDENTIFIER: Final = re.compile(r"[\w.:@/#-]{1,200}")


class BundleSummary(Struct, frozen=True):
    """`left_out` counts chosen events that are newer than the checkpoint."""

    events: int
    checkpoint_size: int
    left_out: int


def write_bundle(
    target: Path,
    log: Path,
    wanted: Filter,
    *,
    keys: Iterable[VerifierKey],
    now: datetime,
    form: Form = Form.JSONL,
    most: int | None = None,
) -> BundleSummary:
    """Write a bundle into a new folder, or a new zip file where `target` ends in `.zip`. Without a checkpoint it
    holds the events alone. Memory does not grow with the events. Raises `AuditUnavailable` if the log cannot be read
    or differs from its checkpoint, `RequestError` for more events than `most`, and `FileExistsError` for a target that
    exists."""
    if target.exists():
        raise FileExistsError(target)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as made:
        folder = Path(made) / "bundle"
        folder.mkdir()
        summary = _fill(folder, log, wanted, keys=keys, now=now, form=form, most=most)
        if target.suffix == ".zip":
            _pack(folder, target)
        else:
            folder.rename(target)
    return summary


def _fill(
    folder: Path,
    log: Path,
    wanted: Filter,
    *,
    keys: Iterable[VerifierKey],
    now: datetime,
    form: Form,
    most: int | None,
) -> BundleSummary:
    signed = folder_of(log).last()
    size = signed.checkpoint.size if signed else 0
    chosen = _Chosen(size if signed else None, most)
    with AuditSearch(log) as search:
        with (folder / verify_bundle.EVENTS).open("wb") as lines:
            events = chosen.kept(search.in_order(wanted), lines)
            if form is Form.JSONL:
                for _ in events:
                    pass
            else:
                with (folder / form.file_name).open("wb") as other:
                    write_form(form, events, other)
        (folder / "keys.txt").write_text("".join(f"{key}\n" for key in keys), encoding="utf-8")
        (folder / "policies.json").write_bytes(_json(sorted(chosen.policies)))
        (folder / "verify_bundle.py").write_bytes(Path(verify_bundle.__file__).read_bytes())
    if signed:
        (folder / verify_bundle.CHECKPOINT).write_bytes(str(signed).encode())
        with (folder / verify_bundle.PROOFS).open("wb") as proofs:
            for proof in proofs_of(log, signed, chosen.places):
                proofs.write(_json(_proof(proof)))
    manifest = {
        "format": verify_bundle.FORMAT,
        "made": timestamp(now),
        "filter": plain_filter(wanted),
        "events": len(chosen.places),
        "left_out": chosen.left_out,
        "checkpoint_size": size,
        "files": {file.name: _digest(file) for file in sorted(folder.iterdir())},
    }
    (folder / verify_bundle.MANIFEST).write_bytes(_json(manifest))
    return BundleSummary(len(chosen.places), size, chosen.left_out)


class _Chosen:
    """What of the events is kept: those that the checkpoint covers (`None`: all)."""

    def __init__(self, size: int | None, most: int | None) -> None:
        self._size = size
        self._most = most
        self.places = array("q")
        self.left_out = 0
        self.policies: set[str] = set()

    def kept(self, events: Iterable[Event], lines: BinaryIO) -> Iterator[Event]:
        for event in events:
            if self._size is not None and event.seq > self._size:
                self.left_out += 1
                continue
            if self._most is not None and len(self.places) == self._most:
                raise RequestError(
                    f"these are more than {self._most} events: narrow the filter, or export on the command line",
                    code="export_too_large",
                    status=413,
                )
            lines.write(event.body + b"\n")
            self.places.append(event.seq)
            self.policies.update(_policies(event.members))
            yield event


def prove(log: Path, signed: SignedCheckpoint, places: Iterable[int]) -> list[TlogProof]:
    """Proofs that the events at these `seq` stand under a checkpoint. Reads the log once. Raises `AuditUnavailable`
    for a log that the checkpoint was not signed over."""
    return list(proofs_of(log, signed, places))


def proofs_of(log: Path, signed: SignedCheckpoint, places: Iterable[int]) -> Iterator[TlogProof]:
    """`prove`, one after the other."""
    size = signed.checkpoint.size
    db = database.open_reader(log)
    try:
        with database.unavailable_on_error(log), Tree(_remembered(leaves_of(db), size)) as tree:
            try:
                fits = tree.root(size) == signed.checkpoint.root
            except AuditUnavailable:
                fits = False  # it is shorter
            if not fits:
                raise AuditUnavailable(
                    f"the audit log `{log}` is not what its last checkpoint was signed over: "
                    "run `gateway audit verify`",
                    code="audit_rolled_back",
                )
            for seq in places:
                yield TlogProof(seq - 1, tuple(tree.inclusion(seq - 1, size)), signed)
    finally:
        db.close()


def _remembered(leaves: Leaves, size: int) -> Leaves:
    """The same leaves of a tree of `size`, the last tiles remembered: proofs of neighbours ask for the same."""

    @lru_cache(_TILES_KEPT)
    def tile(number: int) -> list[bytes]:
        return leaves(number * TILE, min((number + 1) * TILE, size))

    def some(start: int, end: int) -> list[bytes]:
        number, first = start // TILE, start // TILE * TILE
        return tile(number)[start - first : end - first]

    return some


def _policies(event: dict[str, Any]) -> Iterator[str]:
    policy = event.get("policy")
    digest = policy.get("bundle") if isinstance(policy, dict) else policy
    if isinstance(digest, str):
        yield digest


def _proof(proof: TlogProof) -> dict[str, Any]:
    return {"seq": proof.index + 1, "path": [base64.b64encode(one).decode() for one in proof.path]}


def plain_filter(wanted: Filter) -> dict[str, Any]:
    """A filter as a manifest and an event tell it. What is no identifier is not repeated: a caller wrote it."""
    told: dict[str, Any] = {}
    for name, value in structs.asdict(wanted).items():
        if isinstance(value, datetime):
            told[name] = timestamp(value)
        elif isinstance(value, frozenset):
            told[name] = sorted(map(_identifier, value))
        elif value:
            told[name] = _identifier(value) if isinstance(value, str) else value
    return told


def _identifier(text: str) -> str:
    return text if _IDENTIFIER.fullmatch(text) else "(no identifier)"


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _pack(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode() + b"\n"
