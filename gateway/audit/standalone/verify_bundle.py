"""Verifies an evidence bundle of an answer gateway's audit log, offline, believing nothing that the gateway says.

This one file is the whole verifier. It needs Python 3.11 and `cryptography`, and nothing of the gateway:

    python verify_bundle.py BUNDLE --key 'NAME+HASH+BASE64' [--witness 'NAME+HASH+BASE64'] [--json]

BUNDLE is a folder or a zip file. The keys must come from elsewhere than the bundle: from the gateway's operator and
from the witness. What is checked: 1 every file has the SHA-256 that the manifest says, and none is added; 2 the
checkpoint is signed by the key, and cosigned by the witnesses; 3 every event is canonical JSON (RFC 8785) of one
log, and neighbours are chained by `prev`; 4 every event stands under the checkpoint's root (RFC 6962, RFC 9162); 5
every exchange in the bundle that began also ended.

Outcome and exit code: verified-anchored 0, could not run 2, incomplete 3, invalid 4, diverged 5,
verified-unanchored 6 (all holds, but no key that was given signed the checkpoint).
"""

import argparse
import base64
import binascii
import hashlib
import json
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT: Final = "answer-gateway/evidence/v1"
MANIFEST: Final = "manifest.json"
EVENTS: Final = "events.jsonl"
PROOFS: Final = "proofs.jsonl"
CHECKPOINT: Final = "checkpoint"
EXIT_CODES: Final = {
    "verified-anchored": 0,
    "incomplete": 3,
    "invalid": 4,
    "diverged": 5,
    "verified-unanchored": 6,
}
COULD_NOT_RUN: Final = 2

_MAX_INTEGER: Final = 2**53 - 1
_MAX_MEMBER_BYTES: Final = 4 * 1024**3  # of a zip file, unpacked
# What a damaged zip file makes the standard library raise.
_ZIP_FAULTS: Final = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_NOTE_KEY: Final = 1
_COSIGNATURE_KEY: Final = 4
_ENVELOPE: Final = (
    ("app", str),
    ("boot", str),
    ("id", str),
    ("log", str),
    ("prev", str),
    ("principal", str),
    ("request", str),
    ("seq", int),
    ("tenant", str),
    ("ts", str),
    ("type", str),
    ("v", int),
)


class Fault(Exception):
    """What is wrong, and the outcome that this means."""

    def __init__(self, outcome: str, what: str) -> None:
        super().__init__(what)
        self.outcome = outcome


class CannotRun(Exception):
    """The bundle or an argument cannot be read at all."""


@dataclass(frozen=True)
class Key:
    """A verifier key: `name+hash+base64(type ‖ public key)`."""

    name: str
    key_id: bytes
    type: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "Key":
        parts = text.strip().split("+", 2)
        try:
            name, key_id, content = parts[0], bytes.fromhex(parts[1]), _base64(parts[2])
        except (IndexError, ValueError):
            raise CannotRun(f"`{text.strip()[:80]}` is no verifier key: it is `name+hash+base64`") from None
        expected = hashlib.sha256(name.encode() + b"\n" + content).digest()[:4]
        if len(content) != 33 or content[0] not in (_NOTE_KEY, _COSIGNATURE_KEY) or key_id != expected:
            raise CannotRun(f"the verifier key of `{name[:80]}` is damaged, or of a type that is not known")
        return cls(name, key_id, content[0], content[1:])

    def signed(self, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Checkpoint:
    """A signed note with the size and root of a log. `lines` are key name, key id and signature of each line."""

    text: str
    origin: str
    size: int
    root: bytes
    lines: tuple[tuple[str, bytes, bytes], ...]


@dataclass
class Result:
    """What was found. `events` counts the good ones before the first bad one."""

    outcome: str = "verified-unanchored"
    log: str = ""
    events: int = 0
    first_seq: int = 0
    last_seq: int = 0
    checkpoint_size: int = 0
    signed_by: str = ""
    witnesses: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    fault: str = ""

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]


Read = Callable[[str], bytes]


def verify_path(path: Path, keys: Sequence[str], witnesses: Sequence[str], quorum: int = 1) -> Result:
    """Verify a folder or zip file. `keys` and `witnesses` are verifier keys; at least `quorum` of the witnesses must
    have cosigned if there are any. Raises `CannotRun`."""
    trusted = _parse_keys(keys, _NOTE_KEY, "signer"), _parse_keys(witnesses, _COSIGNATURE_KEY, "witness")
    if path.is_dir():
        names = [found.relative_to(path).as_posix() for found in path.rglob("*") if not found.is_dir()]
        return _verify(lambda name: (path / name).read_bytes(), names, *trusted, quorum)
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.file_size > _MAX_MEMBER_BYTES for member in archive.infolist()):
                raise CannotRun(f"`{path}` holds a file of more than 4 GiB: unpack it and name the folder")
            return _verify(_reader(archive), archive.namelist(), *trusted, quorum)
    except FileNotFoundError:
        raise CannotRun(f"`{path}` does not exist") from None
    except _ZIP_FAULTS as error:
        raise CannotRun(
            f"`{path}` is neither a folder nor a zip file that can be read: {type(error).__name__}"
        ) from None


def _parse_keys(texts: Sequence[str], key_type: int, whose: str) -> list[Key]:
    keys = [Key.parse(text) for text in texts]
    for key in keys:
        if key.type != key_type:
            raise CannotRun(f"the verifier key of `{key.name[:80]}` is not one of a {whose}")
    return keys


def _reader(archive: zipfile.ZipFile) -> Read:
    def read(name: str) -> bytes:
        try:
            return archive.read(name)
        except _ZIP_FAULTS as error:
            raise Fault("invalid", f"`{name[:80]}` cannot be unpacked: {type(error).__name__}") from None

    return read


def _verify(read: Read, names: list[str], keys: list[Key], witnesses: list[Key], quorum: int) -> Result:
    result = Result()
    try:
        _check_files(read, names)
        checkpoint = _checkpoint(read, names)
        anchored = checkpoint is not None and _check_signatures(checkpoint, keys, witnesses, quorum, result)
        _check_events(read, names, checkpoint, result)
    except Fault as fault:
        result.outcome, result.fault = fault.outcome, str(fault)
        return result
    except OSError as error:
        result.outcome, result.fault = "invalid", f"a file cannot be read: {type(error).__name__}"
        return result
    if result.unfinished:
        result.outcome = "incomplete"
    elif anchored:
        result.outcome = "verified-anchored"
    return result


def _check_files(read: Read, names: list[str]) -> None:
    """1: the manifest names every file with its hash."""
    if MANIFEST not in names:
        raise CannotRun(f"there is no `{MANIFEST}`: this is no evidence bundle")
    if len(set(names)) != len(names):
        raise Fault("invalid", "two files of the bundle have the same name")
    manifest = _object(read(MANIFEST), MANIFEST)
    if manifest.get("format") != FORMAT:
        raise CannotRun(f"`{MANIFEST}` is not of the format {FORMAT}: use the verifier that came with the bundle")
    files = manifest.get("files")
    if not isinstance(files, dict) or EVENTS not in files:
        raise Fault("invalid", f"`{MANIFEST}` does not list the files")
    for name in sorted(set(names) - {MANIFEST} - set(files)):
        raise Fault("invalid", f"`{name[:80]}` was added to the bundle")
    for name, expected in files.items():
        if name not in names:
            raise Fault("invalid", f"`{name[:80]}` is missing")
        if hashlib.sha256(read(name)).hexdigest() != expected:
            raise Fault("invalid", f"`{name[:80]}` does not have the SHA-256 that `{MANIFEST}` says")


def _checkpoint(read: Read, names: list[str]) -> Checkpoint | None:
    if CHECKPOINT not in names:
        return None
    try:
        return _parse_checkpoint(read(CHECKPOINT).decode("utf-8"))
    except (ValueError, IndexError):
        raise Fault("invalid", f"`{CHECKPOINT}` is not a checkpoint") from None


def _parse_checkpoint(note: str) -> Checkpoint:
    """Raises `ValueError` or `IndexError`."""
    text, gap, block = note.rpartition("\n\n")
    text += "\n"
    parts = text.split("\n")
    size, root = int(parts[1]), _base64(parts[2])
    if not gap or not parts[0] or len(root) != 32 or str(size) != parts[1] or size < 1:
        raise ValueError
    return Checkpoint(text, parts[0], size, root, tuple(map(_parse_signature, block.split("\n")[:-1])))


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    dash, name, encoded = line.split(" ")
    content = _base64(encoded)
    if dash != "\u2014" or len(content) < 5:
        raise ValueError
    return name, content[:4], content[4:]


def _check_signatures(
    checkpoint: Checkpoint, keys: list[Key], witnesses: list[Key], quorum: int, result: Result
) -> bool:
    """2: whether the given keys anchor the checkpoint."""
    result.checkpoint_size = checkpoint.size
    for name, key_id, signature in checkpoint.lines:
        for key in keys:
            if (key.name, key.key_id) == (name, key_id):
                if not key.signed(checkpoint.text.encode(), signature):
                    raise Fault("invalid", f"the signature of `{name}` on `{CHECKPOINT}` does not verify")
                result.signed_by = name
        for key in witnesses:
            if (key.name, key.key_id) == (name, key_id):
                moment = int.from_bytes(signature[:8], "big")
                message = f"cosignature/v1\ntime {moment}\n{checkpoint.text}".encode()
                if not key.signed(message, signature[8:]):
                    raise Fault("invalid", f"the cosignature of `{name}` on `{CHECKPOINT}` does not verify")
                if name not in result.witnesses:
                    result.witnesses.append(name)
    if not keys and not witnesses:
        return False
    return (not keys or bool(result.signed_by)) and (not witnesses or len(result.witnesses) >= quorum)


def _check_events(read: Read, names: list[str], checkpoint: Checkpoint | None, result: Result) -> None:
    """3, 4 and 5."""
    if checkpoint and PROOFS not in names:
        raise Fault("invalid", f"`{PROOFS}` is missing")
    proofs = _proofs(read) if checkpoint else None
    prev = ""
    open_exchanges: dict[str, int] = {}
    for line in _lines(read(EVENTS), EVENTS):
        event = _event(line, result)
        seq = event["seq"]
        place = f"event {seq} (id `{event['id'][:80]}`)"
        if seq <= result.last_seq:
            raise Fault("invalid", f"{place} does not stand behind the one before it")
        if seq == result.last_seq + 1 and result.last_seq and event["prev"] != prev:
            raise Fault("invalid", f"{place}: its `prev` is not the hash of the event before it")
        if result.log and event["log"] != result.log:
            raise Fault("invalid", f"{place} belongs to the log `{event['log'][:80]}`, not to `{result.log[:80]}`")
        if checkpoint and proofs is not None:
            path = next(proofs, None)
            if path is None or path[0] != seq:
                raise Fault("invalid", f"{place} has no proof")
            leaf = hashlib.sha256(b"\x00" + line).digest()
            if not _included(leaf, seq - 1, checkpoint.size, path[1], checkpoint.root):
                raise Fault("diverged", f"{place} does not stand under the root of the checkpoint")
        _follow(event, open_exchanges)
        prev = f"sha256:{hashlib.sha256(line).hexdigest()}"
        result.log, result.last_seq = event["log"], seq
        result.first_seq = result.first_seq or seq
        result.events += 1
    if proofs is not None and next(proofs, None) is not None:
        raise Fault("invalid", f"`{PROOFS}` has proofs of events that are not in the bundle")
    result.unfinished = sorted(open_exchanges)


def _follow(event: dict[str, Any], open_exchanges: dict[str, int]) -> None:
    if event["type"] == "intent":
        open_exchanges[event["request"]] = event["seq"]
    elif event["type"] in {"outcome", "stream.close"}:
        open_exchanges.pop(event["request"], None)


def _event(line: bytes, result: Result) -> dict[str, Any]:
    after = f"the event after {result.last_seq or 'the beginning'}"
    event: dict[str, Any]
    try:
        event = json.loads(line, parse_float=_no_float, parse_constant=_no_float)
        is_canonical = isinstance(event, dict) and canonical(event).encode() == line
    except (ValueError, RecursionError):
        is_canonical = False
    if not is_canonical:
        raise Fault("invalid", f"{after} is not canonical JSON")
    if event.get("v") != 1:
        raise Fault("invalid", f"{after} is not of version 1: use a newer verifier")
    if not all(type(event.get(name)) is kind for name, kind in _ENVELOPE) or event["seq"] < 1:
        raise Fault("invalid", f"{after} lacks a member that every event has")
    return event


def _proofs(read: Read) -> Iterator[tuple[int, list[bytes]]]:
    for line in _lines(read(PROOFS), PROOFS):
        proof = _object(line, PROOFS)
        try:
            yield int(proof["seq"]), [_base64(one) for one in proof["path"]]
        except (KeyError, TypeError, ValueError):
            raise Fault("invalid", f"a line of `{PROOFS}` is no proof") from None


def _included(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    """RFC 9162 section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    at, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def canonical(value: Any) -> str:
    """RFC 8785 for the values that events hold. Raises `ValueError` for others."""
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if type(value) is int and -_MAX_INTEGER <= value <= _MAX_INTEGER:
        return str(value)
    if isinstance(value, list):
        return f"[{','.join(map(canonical, value))}]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in names) + "}"
    raise ValueError("not a value of an event")


def _lines(content: bytes, name: str) -> Iterator[bytes]:
    if content and not content.endswith(b"\n"):
        raise Fault("invalid", f"the last line of `{name}` is torn")
    yield from content.split(b"\n")[:-1]


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Fault("invalid", f"`{name}` is not of its form")
    return value


def _base64(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if base64.b64encode(content).decode() != text:
        raise ValueError("not canonical base64")
    return content


def _no_float(text: str) -> Any:
    raise ValueError(text)


def report(path: Path, result: Result) -> list[str]:
    """For people."""
    lines = [f"{path}: {result.outcome}"]
    if result.fault:
        lines.append(f"first fault: {result.fault}")
    lines.append(f"{result.events} events of the log `{result.log}` hold, from {result.first_seq} to {result.last_seq}")
    if result.signed_by or result.witnesses:
        by = ", ".join([*([result.signed_by] if result.signed_by else []), *result.witnesses])
        lines.append(f"the checkpoint over {result.checkpoint_size} events is signed by {by}")
    elif result.checkpoint_size:
        lines.append("no key that was given signed the checkpoint: get the key from the operator, not from the bundle")
    else:
        lines.append("there is no checkpoint: nothing shows that these are the events that were written")
    lines += [f"exchange `{request[:80]}` has no end in this bundle" for request in result.unfinished[:20]]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="Verify an evidence bundle of an answer gateway's audit log.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", action="append", default=[], help="verifier key of the log's signer")
    parser.add_argument("--witness", action="append", default=[], help="verifier key of a witness")
    parser.add_argument("--quorum", type=int, default=1, help="how many witnesses must have cosigned (default 1)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        result = verify_path(given.bundle, given.key, given.witness, given.quorum)
    except CannotRun as error:
        sys.stderr.write(f"error: {error}\n")
        return COULD_NOT_RUN
    text = json.dumps(asdict(result)) if given.json else "\n".join(report(given.bundle, result))
    sys.stdout.write(text + "\n")
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
