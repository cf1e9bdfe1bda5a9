"""The only I/O of this package: policy files below the configured paths -> bundle.

Reading and compiling are two steps, so that what was compiled is exactly what was read, signed and kept.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from gateway.domain.errors import ConfigurationError, Fault
from gateway.domain.vocabulary import SignalType
from gateway.policy.bundle import Bundle
from gateway.policy.compile import compile_bundle
from gateway.policy.compiled import Levels
from gateway.policy.schema import PolicySet
from gateway.policy.source import Source
from gateway.strict_yaml import MAX_CHARS, Document, load_document

_SUFFIXES: Final = (".yaml", ".yml")
_MAX_FILES: Final = 5_000
_MAX_BYTES: Final = 4 * MAX_CHARS  # of one file


class PolicyFile(Struct, frozen=True, kw_only=True):
    """One file as it was read: its name in the bundle, where it lay, and its bytes, `None` where `fault` says why
    there are none."""

    name: str
    file: str
    content: bytes | None
    fault: str = ""

    def __repr__(self) -> str:
        return f"PolicyFile({self.name})"


def load_bundle(
    paths: Sequence[Path],
    *,
    signals: Mapping[str, SignalType],
    now: dt.datetime,
    levels: Mapping[str, Levels] | None = None,
    kinds: Mapping[str, Iterable[str]] | None = None,
) -> Bundle:
    """The bundle of all policy files at or below `paths`.

    `signals` are the full names of the signals that the installed detectors declare; those of lists, topics and
    patterns come from the files. `levels` says per app how strict it is (everything is enforced by default). Where
    `kinds` names the kinds that a signal can report, conditions may name no other. `now` is aware; it bounds how
    far ahead exceptions may expire. Raises `FaultsFound` with every fault of every file, and
    `ConfigurationError` for paths without policies. Blocking.
    """
    return compile_files(read_files(paths), signals=signals, now=now, levels=levels, kinds=kinds)


def compile_files(
    files: Sequence[PolicyFile],
    *,
    signals: Mapping[str, SignalType],
    now: dt.datetime,
    levels: Mapping[str, Levels] | None = None,
    kinds: Mapping[str, Iterable[str]] | None = None,
) -> Bundle:
    """The bundle of files that were read; arguments and errors are those of `load_bundle`. Pure."""
    faults: list[Fault] = []
    sources = decode_files(files, faults)
    return compile_bundle(sources, faults, signals=signals, now=now, levels=levels or {}, kinds=kinds or {})


def find_files(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """The policy files at or below `paths`: their names in a bundle and where they lie, sorted. Blocking. Raises
    `ConfigurationError` for a path without any."""
    found: dict[Path, tuple[str, Path]] = {}
    for path in paths:
        root = path if path.is_dir() else path.parent
        files = _files_below(path) if path.is_dir() else [path]
        if not files:
            raise ConfigurationError(f"no policy file in `{path}`: add a `.yaml` file, or correct `policies`")
        for file in files:
            name = file.relative_to(root).with_suffix("").as_posix()
            found.setdefault(file.resolve(), (name, file))
    if len(found) > _MAX_FILES:
        raise ConfigurationError(f"{len(found)} policy files: the limit is {_MAX_FILES}")
    return sorted(found.values())


def read_files(paths: Sequence[Path]) -> tuple[PolicyFile, ...]:
    """All policy files with their bytes, in order of their names. Blocking. Raises `ConfigurationError`."""
    return tuple(_read(name, file) for name, file in find_files(paths))


def files_digest(files: Sequence[PolicyFile]) -> str:
    """`sha256:…` of names and bytes, wherever the files lay: equal exactly for equal files."""
    total = hashlib.sha256()
    for one in sorted(files, key=lambda one: one.name):
        content = b"" if one.content is None else one.content
        for part in (one.name.encode("utf-8", "surrogatepass"), content, one.fault.encode()):
            total.update(len(part).to_bytes(8))
            total.update(part)
    return f"sha256:{total.hexdigest()}"


def decode_files(files: Sequence[PolicyFile], faults: list[Fault]) -> list[Source]:
    """The files decoded as far as possible, in their order. Faults are appended."""
    named: dict[str, PolicyFile] = {}
    sources = []
    for one in files:
        first = named.setdefault(one.name, one)
        if first is not one:
            message = f"a set named `{one.name}` is already in `{first.file}`: rename one"
            faults.append(Fault(one.file, 1, 1, "POL020", message))
        document = _decode(one, faults)
        if document is not None:
            sources.append(Source(one.name, one.file, document))
    return sources


def _files_below(root: Path) -> list[Path]:
    return sorted(
        file
        for file in root.rglob("*")
        if file.suffix in _SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    )


def _read(name: str, file: Path) -> PolicyFile:
    try:
        if file.stat().st_size > _MAX_BYTES:
            return PolicyFile(
                name=name, file=str(file), content=None, fault=f"file is larger than {_MAX_BYTES} bytes: split it"
            )
        return PolicyFile(name=name, file=str(file), content=file.read_bytes())
    except OSError as error:
        fault = f"file cannot be read: {(error.strerror or 'unknown').lower()}"
        return PolicyFile(name=name, file=str(file), content=None, fault=fault)


def _decode(one: PolicyFile, faults: list[Fault]) -> Document[PolicySet] | None:
    if one.content is None:
        faults.append(Fault(one.file, 1, 1, "POL021", one.fault))
        return None
    try:
        text = one.content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        faults.append(Fault(one.file, line, 1, "POL021", "not utf-8: save the file as UTF-8"))
        return None
    return load_document(text, one.file, PolicySet, faults)
