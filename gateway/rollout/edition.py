"""Policy files as they stood at one moment, with what was signed about them."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.policy.load import PolicyFile, files_digest, find_files, read_files

_MAX_MANIFEST_BYTES: Final = 16 * 1024 * 1024

Look = tuple[tuple[str, int, int, int], ...]
"""Path, time of change, size and inode of each file: equal for a folder that nobody has touched."""


class Edition(Struct, frozen=True, kw_only=True):
    """`manifest` is the text of the signed manifest, `None` where none is asked for. `digest` is `sha256:…` of all
    of it: equal exactly for equal contents. `fault` says why there are no files."""

    files: tuple[PolicyFile, ...]
    manifest: str | None = None
    digest: str
    fault: str = ""

    def __repr__(self) -> str:
        return f"Edition({self.digest[:19]}, {len(self.files)} files)"


class _Kept(Struct, frozen=True, kw_only=True):
    """The form in which an edition is kept; policy files are UTF-8 text, or they would not have loaded."""

    files: tuple[tuple[str, str, str], ...]  # name, file, text
    manifest: str | None


def look(paths: Sequence[Path], manifest: Path | None) -> Look:
    """A cheap fingerprint of the files below `paths` and of the manifest. Never raises. Blocking."""
    return tuple(sorted(_stats(paths, manifest)))


def _stats(paths: Sequence[Path], manifest: Path | None) -> Iterator[tuple[str, int, int, int]]:
    files: list[Path] = [] if manifest is None else [manifest]
    with suppress(ConfigurationError, OSError):  # what cannot be found is told by whoever reads it
        files += [file for _, file in find_files(paths)]
    for file in files:
        try:
            stat = os.stat(file)  # noqa: PTH116 -- a third of the time of `Path.stat`, every few seconds
        except OSError:
            yield str(file), 0, -1, 0
        else:
            yield str(file), stat.st_mtime_ns, stat.st_size, stat.st_ino


def read_edition(paths: Sequence[Path], manifest: Path | None) -> Edition:
    """What lies there now. Never raises: what cannot be read is part of the edition and fails when it is compiled.
    Blocking."""
    try:
        files, fault = read_files(paths), ""
    except ConfigurationError as error:
        files, fault = (), error.message
    except OSError as error:  # a folder that vanished while it was read
        files, fault = (), f"the policies cannot be read: {(error.strerror or 'unknown').lower()}"
    return _edition(files, None if manifest is None else _manifest_text(manifest), fault)


def kept_form(edition: Edition) -> bytes:
    """The bytes from which `from_kept` makes an equal edition, for one whose files have all been decoded."""
    files = tuple((one.name, one.file, (one.content or b"").decode("utf-8")) for one in edition.files)
    return msgspec.json.encode(_Kept(files=files, manifest=edition.manifest))


def from_kept(form: bytes) -> Edition:
    """Raises `ConfigurationError` for bytes that are no kept edition."""
    try:
        kept = msgspec.json.decode(form, type=_Kept)
    except msgspec.MsgspecError:
        raise ConfigurationError("the kept policies are damaged: correct the policy files, and start again") from None
    files = tuple(PolicyFile(name=name, file=file, content=text.encode("utf-8")) for name, file, text in kept.files)
    return _edition(files, kept.manifest, "")


def _edition(files: tuple[PolicyFile, ...], manifest: str | None, fault: str) -> Edition:
    total = hashlib.sha256()
    for part in (files_digest(files), repr(manifest), fault):
        total.update(len(part).to_bytes(8))
        total.update(part.encode("utf-8", "surrogatepass"))
    return Edition(files=files, manifest=manifest, digest=f"sha256:{total.hexdigest()}", fault=fault)


def _manifest_text(path: Path) -> str:
    """Empty for a manifest that is not there or cannot be one: that fails when signatures are checked."""
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            return ""
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
