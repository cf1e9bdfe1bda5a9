"""A source file -> a document: its metadata, checked, and where its text is. Parsing comes later, if it is needed.

DOC001  the file cannot be read, is broken or over a limit    DOC007  keys contradict each other
DOC002  no front matter, sidecar or folder file               DOC008  two files have the same id
DOC003  `access` is missing or empty                          DOC009  a key is missing, or stands twice
DOC004  no tenant                                             DOC010  a sidecar without its document
DOC005  an id or group has characters it may not have         DOC011  the document was deleted for good
DOC006  the text is empty
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from gateway.domain.errors import Fault
from gateway.retrieval.chunk import DEFAULT_CHUNKING, ChunkingParameters
from gateway.retrieval.metadata import (
    SIDECAR_SUFFIX,
    DocumentMetadata,
    Effective,
    FolderMetadata,
    Layer,
    check,
    merged,
    parse_layer,
    read_layer,
    sidecar_of,
)
from gateway.retrieval.parsing.kinds import SUFFIXES, format_of
from gateway.retrieval.parsing.parse import decoded
from gateway.retrieval.parsing.parsed import PARSER_VERSIONS, DocumentFormat, Parsed, UnreadableDocument
from gateway.retrieval.parsing.parser import Parser
from gateway.strict_yaml import quoted

MAX_FILE_BYTES: Final = 32 * 1024 * 1024  # a scanned book; more is an export, not a document

_FENCE: Final = "---"
_ID: Final = re.compile(r"[^\s#\[\]<>\"'`\x00-\x1f\x7f]{1,200}")
_WITH_FRONT_MATTER: Final = frozenset({DocumentFormat.MARKDOWN, DocumentFormat.PLAIN})


class Reading(Struct, frozen=True, kw_only=True):
    """What holds for documents that say nothing else. Without `default_access` a document must name its groups."""

    tenant: str = ""
    default_access: tuple[str, ...] = ()
    chunking: ChunkingParameters = DEFAULT_CHUNKING
    max_file_bytes: int = MAX_FILE_BYTES


class SourceDocument(Struct, frozen=True, kw_only=True):
    """A document as it lies on disk. `content` is the SHA-256 of all that its passages will be made from: bytes,
    metadata, parser and chunker; `origin` of the same but the chunker. `file` is the path below `root`."""

    id: str
    tenant: str
    root: str
    file: str
    source: str
    content: str
    origin: str
    sha256: str  # of the bytes alone
    format: DocumentFormat
    meta: DocumentMetadata
    chunking: ChunkingParameters

    @property
    def path(self) -> Path:
        return Path(self.root) / self.file

    @property
    def parser(self) -> str:
        return PARSER_VERSIONS[self.format]


def read_document(
    path: Path, *, root: Path, reading: Reading, folders: FolderMetadata, faults: list[Fault]
) -> SourceDocument | None:
    """Read and check one file below `root`. Appends every fault; `None` if there is any."""
    before = len(faults)
    content = _read(path, reading.max_file_bytes, faults)
    if content is None:
        return None
    try:
        format_ = format_of(path.suffix.lower(), content)
        front = _front_matter(decoded(content)) if format_ in _WITH_FRONT_MATTER else None
    except UnreadableDocument as error:
        faults.append(Fault(str(path), 0, 0, "DOC001", error.message))
        return None
    above = folders.layers(path.parent)
    own = _own_layers(path, front, faults)
    if above is None or len(faults) > before:
        return None
    if not own and not above:
        faults.append(Fault(str(path), 1, 1, "DOC002", _no_metadata(path, format_)))
        return None
    found = merged(own, above, faults, default_access=reading.default_access)
    digest = hashlib.sha256(content).hexdigest()
    document = _document(path, root, reading, format_=format_, sha256=digest, meta=found.meta)
    check(found, faults)
    _check_names(document, found, faults)
    return document if len(faults) == before else None


def parse_document(document: SourceDocument, parser: Parser) -> Parsed:
    """Parse the file of a document. Raises `UnreadableDocument`, also for a file that has changed meanwhile and for
    one without any text that is seen."""
    try:
        content = document.path.read_bytes()
    except OSError as error:
        raise UnreadableDocument(f"cannot be read: {error.strerror}: check its permissions") from None
    if hashlib.sha256(content).hexdigest() != document.sha256:
        raise UnreadableDocument("the file changed while it was read: ingest again")
    if document.format in _WITH_FRONT_MATTER:
        content = _body(decoded(content)).encode()
    parsed = parser.parse(content, document.format)
    if not any(section.line or section.blocks for section in parsed.sections):
        raise EmptyDocument("the document has no text that a reader sees: write some, or remove the file")
    return parsed


class EmptyDocument(UnreadableDocument):
    code = "empty_document"


def orphaned_sidecars(root: Path) -> list[Fault]:
    """A fault for every sidecar below `root` whose document is not there."""
    return [
        Fault(str(file), 1, 1, "DOC010", "the sidecar belongs to no document: rename it after its file, or remove it")
        for file in sorted(root.rglob(f"*{SIDECAR_SUFFIX}"))
        if not file.name.startswith(".") and not file.with_name(file.name.removesuffix(SIDECAR_SUFFIX)).is_file()
    ]


def _read(path: Path, limit: int, faults: list[Fault]) -> bytes | None:
    try:
        size = path.stat().st_size
        if size > limit:
            message = f"the file has {size} bytes: the limit is {limit}, split it"
            faults.append(Fault(str(path), 0, 0, "DOC001", message))
            return None
        return path.read_bytes()
    except OSError as error:
        faults.append(Fault(str(path), 0, 0, "DOC001", f"cannot be read: {error.strerror}: check its permissions"))
        return None


def _own_layers(path: Path, front: tuple[str, int] | None, faults: list[Fault]) -> list[Layer]:
    sidecar = sidecar_of(path)
    layers = [
        parse_layer(front[0], str(path), faults, first_line=front[1]) if front is not None else None,
        read_layer(sidecar, faults) if sidecar.is_file() else None,
    ]
    return [layer for layer in layers if layer is not None]


def _no_metadata(path: Path, format_: DocumentFormat) -> str:
    remedy = f"write `owner`, `classification` and `access` into `{sidecar_of(path).name}`"
    if format_ in _WITH_FRONT_MATTER:
        return f"the document has no front matter: begin it with `---`, its keys and `---`, or {remedy}"
    return f"the document has no metadata: {remedy}, or into a `_meta.yaml` for its folder"


def _document(
    path: Path, root: Path, reading: Reading, *, format_: DocumentFormat, sha256: str, meta: DocumentMetadata
) -> SourceDocument:
    relative = path.relative_to(root).as_posix()
    chunking = meta.chunking or reading.chunking
    tenant = meta.tenant or reading.tenant
    plain = json.dumps(msgspec.to_builtins(meta), sort_keys=True)
    made_from = [meta.id or relative, tenant, relative, sha256, plain, PARSER_VERSIONS[format_]]
    return SourceDocument(
        id=meta.id or quote(relative, safe="/,+()~!&=@:;"),
        tenant=tenant,
        root=str(root),
        file=relative,
        source=meta.source or relative,
        content=hashlib.sha256(json.dumps([*made_from, chunking.identity]).encode()).hexdigest(),
        origin=hashlib.sha256(json.dumps(made_from).encode()).hexdigest(),
        sha256=sha256,
        format=format_,
        meta=meta,
        chunking=chunking,
    )


def _check_names(document: SourceDocument, found: Effective, faults: list[Fault]) -> None:
    if not document.tenant:
        message = "the document has no tenant: add `tenant`, or name one for the whole ingest"
        faults.append(found.fault("tenant", "DOC004", message))
    if not _ID.fullmatch(document.id):
        message = f"id {quoted(document.id)} may hold no space, quote, bracket or `#`: set another `id`"
        faults.append(found.fault("id", "DOC005", message))


def _front_matter(text: str) -> tuple[str, int] | None:
    """The front matter and the line on which it begins; `None` if there is none."""
    end = _front_end(text)
    return ("\n".join(text.split("\n")[1:end]), 2) if end else None


def _body(text: str) -> str:
    end = _front_end(text)
    return "\n".join(text.split("\n")[end + 1 :]) if end else text


def _front_end(text: str) -> int:
    """The index of the line that ends the front matter, 0 if there is none."""
    lines = text.split("\n")
    if lines[0].rstrip() != _FENCE:
        return 0
    return next((number for number, line in enumerate(lines[1:], start=1) if line.rstrip() == _FENCE), 0)


SUFFIX_LIST: Final = ", ".join(f"`{suffix}`" for suffix in SUFFIXES)
