"""A source file -> a document: its front matter, checked, and its text.

The front matter is strict YAML between two `---` lines at the top. `title`, `owner`, `classification` and `access` are
required; nothing is visible to anyone by default. Faults carry place and remedy:

    DOC001  the file cannot be read as text        DOC005  an id or group has characters it may not have
    DOC002  no front matter                        DOC006  the text is empty
    DOC003  `access` is missing or empty           DOC007  classification and access contradict each other
    DOC004  no tenant                              DOC008  two files have the same id
"""

import datetime as dt
import hashlib
import re
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from gateway.domain.errors import Fault
from gateway.domain.text import outline
from gateway.retrieval.chunking import TextFormat
from gateway.strict_yaml import Document as ReadDocument
from gateway.strict_yaml import load_document, quoted

MAX_FILE_BYTES: Final = 8 * 1024 * 1024  # a book of a thousand pages has two; more is an export, not a document
SUFFIXES: Final = {".md": TextFormat.MARKDOWN, ".markdown": TextFormat.MARKDOWN, ".txt": TextFormat.PLAIN}

_PUBLIC: Final = "public"
_FENCE: Final = "---"
_ID: Final = re.compile(r"[^\s#\[\]<>\"'`\x00-\x1f\x7f]{1,200}")
_GROUP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/@+-]{0,63}")
_MAX_GROUPS: Final = 32


class Classification(StrEnum):
    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


class FrontMatter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a document. `access` are the groups that may see it, `[public]` for everyone of the tenant."""

    title: str
    owner: str
    classification: Classification
    access: tuple[str, ...] = ()
    id: str = ""  # "" takes the path below the ingested folder
    tenant: str = ""  # "" takes the one of the ingest
    source: str = ""  # "" takes the path below the ingested folder
    effective: dt.date | None = None
    review_by: dt.date | None = None
    language: str = ""


class SourceDocument(Struct, frozen=True, kw_only=True):
    """A document as its author wrote it. `content` is the SHA-256 of all that its passages will be made from."""

    id: str
    tenant: str
    root: str
    source: str
    content: str
    text_format: TextFormat
    text: str
    meta: FrontMatter

    def __repr__(self) -> str:
        return f"SourceDocument({self.id!r}, {outline(self.text)})"


def read_document(path: Path, *, root: Path, tenant: str, faults: list[Fault]) -> SourceDocument | None:
    """Read and check one file below `root`. Appends every fault; `None` if there is any."""
    file = str(path)
    text = _read_text(path, faults)
    if text is None:
        return None
    front, body, line = _split(text)
    if front is None:
        remedy = "begin it with `---`, `title`, `owner`, `classification`, `access` and `---`"
        faults.append(Fault(file, 1, 1, "DOC002", f"the document has no front matter: {remedy}"))
        return None
    before = len(faults)
    read = load_document(front, file, FrontMatter, faults, first_line=line)
    if read is None:
        return None
    meta = read.value
    relative = path.relative_to(root).as_posix()
    document = SourceDocument(
        id=meta.id or quote(relative, safe="/,+()~!&=@:;"),
        tenant=meta.tenant or tenant,
        root=str(root),
        source=meta.source or relative,
        content=_digest(meta.id or relative, meta.tenant or tenant, relative, text),
        text_format=SUFFIXES[path.suffix.lower()],
        text=body,
        meta=meta,
    )
    _check(document, read, faults)
    return document if len(faults) == before else None


def _read_text(path: Path, faults: list[Fault]) -> str | None:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            message = f"the file has {size} bytes: the limit is {MAX_FILE_BYTES}, split it"
            faults.append(Fault(str(path), 0, 0, "DOC001", message))
            return None
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        faults.append(Fault(str(path), 0, 0, "DOC001", f"not utf-8 at byte {error.start}: save it as utf-8"))
        return None
    except OSError as error:
        faults.append(Fault(str(path), 0, 0, "DOC001", f"cannot be read: {error.strerror}: check its permissions"))
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")


def _split(text: str) -> tuple[str | None, str, int]:
    """Front matter, body, and the line on which the front matter begins."""
    lines = text.split("\n")
    if lines[0].rstrip() != _FENCE:
        return None, text, 1
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == _FENCE:
            return "\n".join(lines[1:number]), "\n".join(lines[number + 1 :]), 2
    return None, text, 1


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def _check(document: SourceDocument, read: ReadDocument[FrontMatter], faults: list[Fault]) -> None:
    meta = read.value

    def fault(key: str, code: str, message: str) -> None:
        faults.append(read.node(meta, key).fault(code, message))

    if not document.tenant:
        fault("tenant", "DOC004", "the document has no tenant: add `tenant`, or name one for the whole ingest")
    if not _ID.fullmatch(document.id):
        fault("id", "DOC005", f"id {quoted(document.id)} may hold no space, quote, bracket or `#`: set another `id`")
    if not meta.access:
        remedy = "name the groups that may see the document, or `[public]`"
        fault("access", "DOC003", f"`access` is missing, so nobody could see the document: {remedy}")
    if len(meta.access) > _MAX_GROUPS:
        fault("access", "DOC005", f"more than {_MAX_GROUPS} groups in `access`: use one group that holds them")
    for group in meta.access:
        if not _GROUP.fullmatch(group):
            fault("access", "DOC005", f"group {quoted(group)} is not a group name: use letters, digits and `._:/@+-`")
    public = _PUBLIC in meta.access
    if public and meta.classification is not Classification.PUBLIC:
        remedy = "remove `public` from `access`, or classify it `public`"
        fault("access", "DOC007", f"the document is `{meta.classification}` but everyone may see it: {remedy}")
    if not document.text.strip():
        fault("title", "DOC006", "the document has no text after its front matter: write some, or remove the file")
