"""Signed manifests of bundles: who made a bundle and who approved it, checked before it goes live.

A manifest states the digest of the compiled bundle, one digest per rule, the SHA-256 of each file, its author and its
time. Approvals are Ed25519 signatures (RFC 8032) over the canonical JSON of that statement and the approver's name,
with a prefix of our own so that no other signature of the same key can stand for one.
"""

import base64
import binascii
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.policy.bundle import Bundle, canonical_rule

FORM: Final = "gateway/policy-manifest/v1"

_RAW: Final = "ed25519:"
_ANY_TIME: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)  # the time of a manifest is not compared


class Statement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is approved. `digest` is `Bundle.files_digest`, `files` are names in the bundle with the SHA-256 of their
    bytes, `created` is RFC 3339."""

    form: str
    digest: str
    rules: dict[str, str]
    files: dict[str, str]
    author: str
    created: str


class Approval(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`signature` is base64 of an Ed25519 signature by the key of `by`."""

    by: str
    signature: str


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    statement: Statement
    approvals: tuple[Approval, ...] = ()


def state(bundle: Bundle, files: Mapping[str, bytes], *, author: str, now: dt.datetime) -> Manifest:
    """An unsigned manifest of a bundle."""
    return Manifest(
        statement=Statement(
            form=FORM,
            digest=bundle.files_digest,
            rules={rule.id: _sha256(_canonical(canonical_rule(rule))) for rule in bundle.rules},
            files={name: _sha256(content) for name, content in sorted(files.items())},
            author=author,
            created=now.astimezone(dt.UTC).isoformat(timespec="seconds"),
        )
    )


def approve(manifest: Manifest, key: Ed25519PrivateKey, *, by: str) -> Manifest:
    """The manifest with an approval by `by`, which replaces an earlier one of the same name."""
    signature = base64.b64encode(key.sign(_signed_bytes(manifest.statement, by))).decode("ascii")
    others = tuple(one for one in manifest.approvals if one.by != by)
    approvals = tuple(sorted((*others, Approval(by=by, signature=signature)), key=lambda one: one.by))
    return msgspec.structs.replace(manifest, approvals=approvals)


def check_subject(manifest: Manifest, bundle: Bundle, files: Mapping[str, bytes]) -> None:
    """Raises `ConfigurationError` unless the manifest is of exactly this bundle and these files."""
    stated = manifest.statement
    found = state(bundle, files, author=stated.author, now=_ANY_TIME).statement
    if stated.form != FORM:
        raise ConfigurationError("manifest has an unknown form: sign the bundle again")
    for name in sorted(found.files.keys() | stated.files.keys()):
        if found.files.get(name) != stated.files.get(name):
            raise ConfigurationError(f"policy file `{name}` is not the one that was signed: review and sign again")
    if found.digest != stated.digest or found.rules != stated.rules:
        raise ConfigurationError("the bundle means something else than the one that was signed: review and sign again")


def verify_bundle(
    manifest: Manifest,
    bundle: Bundle,
    files: Mapping[str, bytes],
    keys: Mapping[str, Ed25519PublicKey],
    *,
    required: int,
) -> tuple[str, ...]:
    """The approvers other than the author, sorted. Raises `ConfigurationError` unless the manifest is of exactly this
    bundle and these files (`Source.name` to bytes) and `required` different people, each with a key of their own,
    signed it."""
    check_subject(manifest, bundle, files)
    stated = manifest.statement
    author_key = keys.get(stated.author)
    approvers: dict[bytes, str] = {}
    for approval in manifest.approvals:
        key = keys.get(approval.by)
        if key is None:
            raise ConfigurationError(f"no public key of `{approval.by}`: add it to the keys, or remove the approval")
        try:
            key.verify(base64.b64decode(approval.signature, validate=True), _signed_bytes(stated, approval.by))
        except (InvalidSignature, binascii.Error):
            raise ConfigurationError(f"signature of `{approval.by}` is wrong: sign again with that key") from None
        same = author_key is not None and key.public_bytes_raw() == author_key.public_bytes_raw()
        if approval.by != stated.author and not same:
            approvers.setdefault(key.public_bytes_raw(), approval.by)
    if len(approvers) < required:
        message = f"{len(approvers)} approvals by people other than the author `{stated.author}`: {required} are needed"
        raise ConfigurationError(message)
    return tuple(sorted(approvers.values()))


def write_manifest(manifest: Manifest) -> str:
    return json.dumps(msgspec.to_builtins(manifest), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_manifest(text: str) -> Manifest:
    """Raises `ConfigurationError` for a text that is no manifest."""
    try:
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"manifest is not readable: {str(error).splitlines()[0].lower()}") from None


def private_key(pem: bytes) -> Ed25519PrivateKey:
    """An unencrypted PKCS#8 PEM key. Raises `ConfigurationError` for anything else."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise ConfigurationError("key is no unencrypted pem private key: make one with `openssl genpkey`") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError("key is not ed25519: make one with `openssl genpkey -algorithm ed25519`")
    return key


def public_key(pem: bytes) -> Ed25519PublicKey:
    """A PEM public key. Raises `ConfigurationError` for anything else."""
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        raise ConfigurationError("key is no pem public key: export it with `openssl pkey -pubout`") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError("key is not ed25519: make one with `openssl genpkey -algorithm ed25519`")
    return key


def public_keys(entries: Iterable[str]) -> dict[str, Ed25519PublicKey]:
    """Keys by name, from `NAME=FILE` (PEM) or `NAME=ed25519:BASE64` (the 32 bytes of RFC 8032). Blocking. Raises
    `ConfigurationError`, also for a name that is there twice."""
    found: dict[str, Ed25519PublicKey] = {}
    for entry in entries:
        name, _, value = entry.partition("=")
        if not name or not value:
            raise ConfigurationError("a public key is written `NAME=FILE` or `NAME=ed25519:BASE64`: correct it")
        if name in found:
            raise ConfigurationError(f"two public keys of `{name}`: a person has one, remove the other")
        found[name] = _raw_key(value) if value.startswith(_RAW) else public_key(_key_file(Path(value)))
    return found


def _raw_key(value: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(value.removeprefix(_RAW), validate=True))
    except ValueError:
        raise ConfigurationError("a public key after `ed25519:` must be base64 of 32 bytes: correct it") from None


def _key_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "unknown").lower()
        raise ConfigurationError(f"the public key `{path}` cannot be read: {reason}: correct the path") from None


def _signed_bytes(statement: Statement, by: str) -> bytes:
    return _canonical([FORM, msgspec.to_builtins(statement), by])


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
