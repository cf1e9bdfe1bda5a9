"""Evidence bundles: chosen events with proofs, the checkpoint they stand under, public keys, and the verifier.

manifest.json      what is in the bundle, with the SHA-256 of every other file
events.jsonl       the events, each line exactly as it was hashed
proofs.jsonl       for each event its inclusion proof under the checkpoint
checkpoint         the last signed checkpoint, cosignatures included
keys.txt           verifier keys; for comparison only: trust those that you have from elsewhere
policies.json      the digests of the policies that the events name
verify_bundle.py   the verifier, one file, to be read before it is run
"""

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, structs

from gateway.audit import database
from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.entry import leaf_hash, timestamp
from gateway.audit.note import VerifierKey
from gateway.audit.proof import TlogProof
from gateway.audit.read import AuditReader, Filter
from gateway.audit.standalone import verify_bundle
from gateway.audit.tree import Tree
from gateway.domain.errors import AuditUnavailable

_CHUNK: Final = 1_000


class BundleSummary(Struct, frozen=True):
    """`left_out` counts chosen events that are newer than the checkpoint."""

    events: int
    checkpoint_size: int
    left_out: int


def write_bundle(
    target: Path, log: Path, wanted: Filter, *, keys: Iterable[VerifierKey], now: datetime
) -> BundleSummary:
    """Write a bundle into a new folder, or a new zip file where `target` ends in `.zip`. Without a checkpoint it
    holds the events alone. Raises `AuditUnavailable` if the log cannot be read or differs from its checkpoint, and
    `FileExistsError` for a target that exists."""
    signed = folder_of(log).last()
    size = signed.checkpoint.size if signed else 0
    with AuditReader(log) as reader:
        chosen = list(reader.search(wanted))
    kept = [event for event in chosen if event.seq <= size] if signed else chosen
    files = {
        verify_bundle.EVENTS: b"".join(event.body + b"\n" for event in kept),
        "keys.txt": "".join(f"{key}\n" for key in keys).encode(),
        "policies.json": _json(sorted({digest for event in kept for digest in _policies(event.members)})),
        "verify_bundle.py": Path(verify_bundle.__file__).read_bytes(),
    }
    if signed:
        files[verify_bundle.CHECKPOINT] = str(signed).encode()
        proofs = prove(log, signed, [event.seq for event in kept])
        files[verify_bundle.PROOFS] = b"".join(_json(_proof(one)) for one in proofs)
    manifest = {
        "format": verify_bundle.FORMAT,
        "made": timestamp(now),
        "filter": {name: value for name, value in _plain(wanted) if value},
        "events": len(kept),
        "left_out": len(chosen) - len(kept),
        "checkpoint_size": size,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    _write(target, {verify_bundle.MANIFEST: _json(manifest), **files})
    return BundleSummary(len(kept), size, len(chosen) - len(kept))


def prove(log: Path, signed: SignedCheckpoint, places: Iterable[int]) -> list[TlogProof]:
    """Proofs that the events at these `seq` stand under a checkpoint. Reads the log once. Raises `AuditUnavailable`
    for a log that the checkpoint was not signed over."""
    size = signed.checkpoint.size
    db = database.open_reader(log)
    try:
        with database.unavailable_on_error(log):
            leaves = list(_leaves(db, size))
    finally:
        db.close()
    with Tree(lambda start, end: leaves[start:end]) as tree:
        if len(leaves) != size or tree.root(size) != signed.checkpoint.root:
            raise AuditUnavailable(
                f"the audit log `{log}` is not what its last checkpoint was signed over: run `gateway audit verify`",
                code="audit_rolled_back",
            )
        return [TlogProof(seq - 1, tuple(tree.inclusion(seq - 1, size)), signed) for seq in places]


def _leaves(db: Any, size: int) -> Iterator[bytes]:
    for start in range(0, size, _CHUNK):
        end = min(start + _CHUNK, size)
        for row in database.rows(db, "WHERE seq > ? AND seq <= ? ORDER BY seq", (start, end)):
            yield leaf_hash(row.body)


def _policies(event: dict[str, Any]) -> Iterator[str]:
    policy = event.get("policy")
    digest = policy.get("bundle") if isinstance(policy, dict) else policy
    if isinstance(digest, str):
        yield digest


def _proof(proof: TlogProof) -> dict[str, Any]:
    return {"seq": proof.index + 1, "path": [base64.b64encode(one).decode() for one in proof.path]}


def _plain(wanted: Filter) -> Iterator[tuple[str, Any]]:
    for name, value in structs.asdict(wanted).items():
        if isinstance(value, datetime):
            yield name, timestamp(value)
        else:
            yield name, sorted(value) if isinstance(value, frozenset) else value


def _write(target: Path, files: dict[str, bytes]) -> None:
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return
    target.mkdir(parents=True)
    for name, content in files.items():
        (target / name).write_bytes(content)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode() + b"\n"
