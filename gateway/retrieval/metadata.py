"""What is known of a document besides its text: front matter, a sidecar beside it, and defaults of its folders.

    fees.md              front matter between two `---` lines at the top
    fees.pdf.meta.yaml   sidecar of `fees.pdf`, for formats without front matter
    _meta.yaml           defaults for all documents in its folder and below; the nearest folder counts most

A key stands in the front matter or in the sidecar, not in both. All of it is strict YAML; faults carry place and
remedy. `owner`, `classification` and `access` are required; nothing is visible to anyone by default.
"""

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from gateway.domain.errors import Fault
from gateway.retrieval.chunk import ChunkingParameters
from gateway.strict_yaml import Document as ReadDocument
from gateway.strict_yaml import load_document, quoted

FOLDER_FILE: Final = "_meta.yaml"
SIDECAR_SUFFIX: Final = ".meta.yaml"

_PUBLIC: Final = "public"
_GROUP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/@+-]{0,63}")
_MAX_GROUPS: Final = 32
_MAX_BYTES: Final = 64 * 1024
_OF_ONE: Final = ("id", "title", "source")  # keys that several documents cannot share


class Classification(StrEnum):
    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


def _about(text: str) -> Meta:
    return Meta(description=text)


class DocumentMetadata(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a document. An empty one is filled from the next place that has it."""

    title: Annotated[str, _about("what people call it; else the file's own title, else its name")] = ""
    owner: Annotated[str, _about("who answers for its content")] = ""
    classification: Annotated[Classification | None, _about("how sensitive it is")] = None
    access: Annotated[tuple[str, ...] | None, _about("groups that may see it; `[public]` for everyone")] = None
    id: Annotated[str, _about("its name in citations and audit; else the path below the ingested folder")] = ""
    tenant: Annotated[str, _about("the tenant it belongs to; else that of the ingest")] = ""
    source: Annotated[str, _about("where people find the original; else the path below the ingested folder")] = ""
    effective: Annotated[dt.date | None, _about("date its content applies from; newer editions are preferred")] = None
    valid_from: Annotated[dt.date | None, _about("first day on which it is found; not before")] = None
    valid_to: Annotated[dt.date | None, _about("last day on which it is found")] = None
    review_by: Annotated[dt.date | None, _about("date by which its owner looks at it again")] = None
    language: Annotated[
        str, Meta(pattern="^([a-z]{2,3}(-[A-Za-z0-9]{2,8})*)?$", description="language tag such as `en` or `de-CH`")
    ] = ""
    chunking: Annotated[ChunkingParameters | None, _about("how it is cut; else as the settings say")] = None


_KEYS: Final = DocumentMetadata.__struct_fields__


class Layer(Struct, frozen=True, kw_only=True):
    """Metadata from one place. `read` knows where each key stands."""

    file: str
    read: ReadDocument[DocumentMetadata]

    @property
    def meta(self) -> DocumentMetadata:
        return self.read.value

    def has(self, key: str) -> bool:
        return getattr(self.meta, key) not in ("", None)

    def fault(self, key: str, code: str, message: str) -> Fault:
        return self.read.node(self.meta, key).fault(code, message)


class Effective(Struct, frozen=True, kw_only=True):
    """What holds for a document after all layers, nearest first."""

    meta: DocumentMetadata
    layers: tuple[Layer, ...]

    def fault(self, key: str, code: str, message: str) -> Fault:
        """A fault at the place that says `key`, or at the top of the nearest one."""
        layer = next((layer for layer in self.layers if layer.has(key)), self.layers[0])
        return layer.fault(key, code, message)


class FolderMetadata:
    """Reads the `_meta.yaml` files on the way from a document to its root, each once."""

    def __init__(self, root: Path, faults: list[Fault]) -> None:
        self._root = root
        self._faults = faults
        self._known: dict[Path, tuple[Layer, ...] | None] = {}

    def layers(self, folder: Path) -> tuple[Layer, ...] | None:
        """Nearest first. `None` if any of the files has a fault, which then is reported once."""
        if folder not in self._known:
            self._known[folder] = self._read(folder)
        return self._known[folder]

    def _read(self, folder: Path) -> tuple[Layer, ...] | None:
        above = () if folder == self._root or self._root not in folder.parents else self.layers(folder.parent)
        file = folder / FOLDER_FILE
        if above is None or not file.is_file():
            return above
        before = len(self._faults)
        layer = read_layer(file, self._faults)
        if layer is not None:
            self._faults += [
                layer.fault(key, "DOC009", f"`{key}` cannot hold for a whole folder: write it beside each document")
                for key in _OF_ONE
                if layer.has(key)
            ]
        return None if layer is None or len(self._faults) > before else (layer, *above)


def sidecar_of(path: Path) -> Path:
    return path.with_name(path.name + SIDECAR_SUFFIX)


def read_layer(file: Path, faults: list[Fault]) -> Layer | None:
    """The metadata of a YAML file; faults are appended."""
    try:
        if file.stat().st_size > _MAX_BYTES:
            faults.append(Fault(str(file), 0, 0, "DOC001", f"the file has more than {_MAX_BYTES} bytes: shorten it"))
            return None
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        faults.append(Fault(str(file), 0, 0, "DOC001", f"not utf-8 at byte {error.start}: save it as utf-8"))
        return None
    except OSError as error:
        faults.append(Fault(str(file), 0, 0, "DOC001", f"cannot be read: {error.strerror}: check its permissions"))
        return None
    return parse_layer(text, str(file), faults)


def parse_layer(text: str, file: str, faults: list[Fault], *, first_line: int = 1) -> Layer | None:
    before = len(faults)
    read = load_document(text, file, DocumentMetadata, faults, first_line=first_line)
    return Layer(file=file, read=read) if read is not None and len(faults) == before else None


def merged(
    own: Sequence[Layer], folders: Sequence[Layer], faults: list[Fault], *, default_access: tuple[str, ...]
) -> Effective:
    """All layers as one, nearest first. There is at least one layer."""
    twice = [key for key in _KEYS if len(own) > 1 and all(layer.has(key) for layer in own)]
    faults += [
        own[1].fault(key, "DOC009", f"`{key}` stands in the front matter too: remove one of the two") for key in twice
    ]
    layers = (*own, *folders)
    values: dict[str, Any] = {
        key: next((getattr(layer.meta, key) for layer in layers if layer.has(key)), None) for key in _KEYS
    }
    if values["access"] is None and default_access:
        values["access"] = default_access
    meta = DocumentMetadata(**{key: value for key, value in values.items() if value is not None})
    return Effective(meta=meta, layers=layers)


def check(found: Effective, faults: list[Fault]) -> None:
    """Append what is wrong with the metadata of one document."""
    faults.extend(_faults(found))


def _faults(found: Effective) -> Iterator[Fault]:
    meta = found.meta
    for key in ("owner", "classification"):
        if not getattr(meta, key):
            yield found.fault(key, "DOC009", f"the document has no `{key}`: add it")
    if not meta.access:
        remedy = "name the groups that may see the document, or `[public]`"
        yield found.fault("access", "DOC003", f"`access` is missing, so nobody could see the document: {remedy}")
    groups = meta.access or ()
    if len(groups) > _MAX_GROUPS:
        yield found.fault("access", "DOC005", f"more than {_MAX_GROUPS} groups in `access`: use one that holds them")
    for group in groups:
        if not _GROUP.fullmatch(group):
            remedy = "use letters, digits and `._:/@+-`"
            yield found.fault("access", "DOC005", f"group {quoted(group)} is not a group name: {remedy}")
    if _PUBLIC in groups and meta.classification not in (Classification.PUBLIC, None):
        remedy = "remove `public` from `access`, or classify it `public`"
        yield found.fault(
            "access", "DOC007", f"the document is `{meta.classification}` but everyone may see it: {remedy}"
        )
    if meta.valid_from and meta.valid_to and meta.valid_to < meta.valid_from:
        yield found.fault("valid_to", "DOC007", "`valid_to` is before `valid_from`: correct one of them")


def metadata_schema() -> Mapping[str, Any]:
    """JSON Schema of sidecars, folder files and front matter, for editors."""
    schema = msgspec.json.schema(DocumentMetadata)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Metadata of documents", **schema}
