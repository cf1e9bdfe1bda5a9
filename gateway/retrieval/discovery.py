"""Paths -> the documents below them, and every fault of every file. A bad file is told and left out, no more."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from gateway.domain.errors import ConfigurationError, Fault
from gateway.retrieval.document import SUFFIX_LIST, Reading, SourceDocument, orphaned_sidecars, read_document
from gateway.retrieval.metadata import FolderMetadata
from gateway.retrieval.parsing.kinds import SUFFIXES


class Place(Struct, frozen=True, order=True):
    """A file by the folder it was ingested from and the path below that."""

    root: str
    file: str


class Found(Struct, frozen=True, kw_only=True):
    """Sound documents in order of path; the faults of the others, and where those are. `roots` are the folders that
    were looked through as a whole."""

    documents: tuple[SourceDocument, ...]
    faults: tuple[Fault, ...]
    faulty: frozenset[Place]
    roots: frozenset[str]


def find_documents(paths: Sequence[Path], reading: Reading) -> Found:
    """Raises `ConfigurationError` for a path that is no corpus. Blocking: reads and hashes every file."""
    faults: list[Fault] = []
    faulty: set[Place] = set()
    documents: list[SourceDocument] = []
    folders: dict[Path, FolderMetadata] = {}
    for root, file in _files(paths):
        if root not in folders:
            folders[root] = FolderMetadata(root, faults)
        document = read_document(file, root=root, reading=reading, folders=folders[root], faults=faults)
        if document is None:
            faulty.add(Place(str(root), file.relative_to(root).as_posix()))
        else:
            documents.append(document)
    roots = [root for root, is_folder in _roots(paths) if is_folder]
    for root in roots:
        faults += orphaned_sidecars(root)
    sound = list(_distinct(documents, faults, faulty))
    return Found(
        documents=tuple(sound),
        faults=tuple(sorted(set(faults))),
        faulty=frozenset(faulty),
        roots=frozenset(map(str, roots)),
    )


def _distinct(documents: Sequence[SourceDocument], faults: list[Fault], faulty: set[Place]) -> Iterator[SourceDocument]:
    """Documents whose id no other has. Which of two is meant cannot be known, so neither is taken."""
    named: dict[tuple[str, str], list[SourceDocument]] = {}
    for document in documents:
        named.setdefault((document.tenant, document.id), []).append(document)
    for document in documents:
        if len(named[document.tenant, document.id]) == 1:
            yield document
            continue
        message = f"another file has the id `{document.id}` too: give one of them another `id`"
        faults.append(Fault(str(document.path), 0, 0, "DOC008", message))
        faulty.add(Place(document.root, document.file))


def _roots(paths: Iterable[Path]) -> Iterator[tuple[Path, bool]]:
    """Each path made absolute, and whether it is a folder."""
    for path in paths:
        absolute = Path(os.path.normpath(path.absolute()))
        if not absolute.exists():
            raise ConfigurationError(f"`{path}` does not exist: name a file or a folder of documents")
        if absolute.is_file() and absolute.suffix.lower() not in SUFFIXES:
            raise ConfigurationError(
                f"`{path}` is no document: name a folder, or a file that ends with one of {SUFFIX_LIST}"
            )
        yield absolute, absolute.is_dir()


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """(folder that ids are relative to, file), each file once. Hidden files, and links that lead out of the folder,
    are left out: a corpus cannot pull in files that nobody meant."""
    seen: set[Path] = set()
    for root, is_folder in _roots(paths):
        found = sorted(root.rglob("*")) if is_folder else [root]
        base = root if is_folder else root.parent
        for file in found:
            hidden = any(part.startswith(".") for part in file.relative_to(base).parts)
            if hidden or file.suffix.lower() not in SUFFIXES or not file.is_file():
                continue
            resolved = file.resolve()
            if resolved in seen or not resolved.is_relative_to(base.resolve()):
                continue
            seen.add(resolved)
            yield base, file
