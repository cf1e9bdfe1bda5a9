"""The only I/O of this package: policy files below the configured paths -> bundle."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

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
    faults: list[Fault] = []
    sources = read_sources(paths, faults)
    return compile_bundle(sources, faults, signals=signals, now=now, levels=levels or {}, kinds=kinds or {})


def read_sources(paths: Sequence[Path], faults: list[Fault]) -> list[Source]:
    """All policy files, decoded as far as possible, in order of their names."""
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
    named: dict[str, Path] = {}
    sources = []
    for name, file in sorted(found.values()):
        first = named.setdefault(name, file)
        if first is not file:
            faults.append(_fault(file, "POL020", f"a set named `{name}` is already in `{first}`: rename one"))
        document = _read(file, faults)
        if document is not None:
            sources.append(Source(name, str(file), document))
    return sources


def _files_below(root: Path) -> list[Path]:
    return sorted(
        file
        for file in root.rglob("*")
        if file.suffix in _SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    )


def _read(file: Path, faults: list[Fault]) -> Document[PolicySet] | None:
    try:
        if file.stat().st_size > 4 * MAX_CHARS:
            faults.append(_fault(file, "POL021", f"file is larger than {4 * MAX_CHARS} bytes: split it"))
            return None
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        faults.append(Fault(str(file), line, 1, "POL021", "not utf-8: save the file as UTF-8"))
        return None
    except OSError as error:
        faults.append(_fault(file, "POL021", f"file cannot be read: {(error.strerror or 'unknown').lower()}"))
        return None
    return load_document(text, str(file), PolicySet, faults)


def _fault(file: Path, code: str, message: str) -> Fault:
    return Fault(str(file), 1, 1, code, message)
