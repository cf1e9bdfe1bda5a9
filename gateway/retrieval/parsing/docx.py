"""DOCX -> sections: headings to paths, lists, tables; through python-docx.

Read element by element, so that content controls, inserted text and text boxes are not lost and deleted text does not
come back. Hidden runs, white text without shading and text below two points are left out and counted. Headers, footers,
notes and comments are not read. An archive that unpacks beyond the limit, or that declares XML entities, is refused.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any, Final

from gateway.retrieval.markdown import Block, Section, listing, prose, table
from gateway.retrieval.parsing.hidden import without_invisible
from gateway.retrieval.parsing.parsed import DEFAULT_LIMITS, Parsed, ParseLimits, UnreadableDocument, check_chars

_W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MC_FALLBACK: Final = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_HEADING: Final = re.compile(r"heading (\d)", re.IGNORECASE)
_SMALLEST_HALF_POINTS: Final = 4
_MAX_MEMBERS: Final = 10_000
_MAX_RATIO: Final = 1_000  # of one member, unpacked to packed; text reaches some ten
_DECLARES: Final = (b"<!DOCTYPE", b"<!ENTITY")
_UNCOLOURED: Final = frozenset({"", "auto", "FFFFFF", "ffffff"})
_SEEN_THROUGH: Final = frozenset(
    {"sdt", "sdtContent", "customXml", "ins", "moveTo", "smartTag", "hyperlink", "fldSimple"}
)


def parse_docx(content: bytes, limits: ParseLimits = DEFAULT_LIMITS) -> Parsed:
    """Raises `UnreadableDocument`."""
    import docx

    try:
        _check_archive(content, limits)
        document = docx.Document(io.BytesIO(content))
        reader = _Reader(document, limits)
        reader.body(document.element.body, 0)
        reader.close_section()
        title = document.core_properties.title
    except (zipfile.BadZipFile, SyntaxError, KeyError, ValueError, AttributeError, TypeError, OSError) as error:
        raise UnreadableDocument(f"the docx is broken: {type(error).__name__}: save it anew") from None
    return Parsed(sections=tuple(reader.sections), title=" ".join((title or "").split()), hidden=reader.hidden)


def _check_archive(content: bytes, limits: ParseLimits) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len(members) > _MAX_MEMBERS or sum(member.file_size for member in members) > limits.expanded_bytes:
            raise UnreadableDocument(f"the docx unpacks to more than {limits.expanded_bytes} bytes: split it")
        for member in members:
            if member.flag_bits & 1:
                raise UnreadableDocument("the docx needs a password: save it without one")
            if member.file_size > _MAX_RATIO * max(member.compress_size, 1_000):
                raise UnreadableDocument("the docx unpacks to far more than it holds: it is not sound")
            if member.filename.endswith((".xml", ".rels")) and any(word in archive.read(member) for word in _DECLARES):
                raise UnreadableDocument("the docx declares xml entities, which no word processor writes")


class _Reader:
    """One walk over the body."""

    def __init__(self, document: Any, limits: ParseLimits) -> None:
        self.sections: list[Section] = []
        self.hidden = 0
        self._limits = limits
        self._chars = 0
        self._blocks: list[Block] = []
        self._items: list[str] = []
        self._path: list[tuple[int, str]] = []
        self._heading = ""
        self._styles: dict[Any, Any] = {
            style.get(f"{_W}styleId"): style for style in document.styles.element.iter(f"{_W}style")
        }

    def body(self, container: Any, depth: int) -> None:
        if depth > self._limits.depth:
            raise UnreadableDocument(f"elements are nested deeper than {self._limits.depth}: the file is not sound")
        for element in container:
            tag = _name(element)
            if tag == "p":
                self._paragraph(element)
            elif tag == "tbl":
                rows = [[self._cell(cell, depth + 1) for cell in _cells(row)] for row in _rows(element)]
                self._close_list()
                rows = [row for row in rows if any(row)]
                self._blocks += [table(rows)] if rows else []
            elif tag in _SEEN_THROUGH:
                self.body(element, depth + 1)

    def close_section(self) -> None:
        self._close_list()
        if self._blocks or self._heading:
            path = tuple(title for _, title in self._path)
            self.sections.append(Section(path=path, line=self._heading, blocks=tuple(self._blocks)))
        self._blocks = []

    def _paragraph(self, paragraph: Any) -> None:
        text = self._text(paragraph)
        properties = paragraph.find(f"{_W}pPr")
        level = self._level(properties)
        if not text:
            self._close_list()
        elif level:
            self.close_section()
            self._path = [entry for entry in self._path if entry[0] < level]
            self._path.append((level, text))
            self._heading = f"{'#' * min(level, 6)} {text}"
        elif (indent := self._list_level(properties)) is not None:
            self._items.append("  " * indent + f"- {text}")
        else:
            self._close_list()
            self._blocks.append(prose(text))
        for box in paragraph.iter(f"{_W}txbxContent"):
            if not any(parent.tag == _MC_FALLBACK for parent in box.iterancestors()):
                for inner in box.iter(f"{_W}p"):
                    boxed = self._text(inner)
                    self._blocks += [prose(boxed)] if boxed else []

    def _text(self, paragraph: Any) -> str:
        """What is seen of a paragraph, without what stands in text boxes inside it."""
        parts: list[str] = []
        for run in _runs(paragraph, 0, self._limits.depth):
            raw, invisible = without_invisible("".join(_run_text(run)))
            self.hidden += invisible
            if self._is_hidden(run, paragraph):
                self.hidden += len(raw.strip())
                continue
            self._chars += len(raw)
            check_chars(self._chars, self._limits)
            parts.append(raw)
        return " ".join("".join(parts).split())

    def _cell(self, cell: Any, depth: int) -> str:
        if depth > self._limits.depth:
            raise UnreadableDocument(f"elements are nested deeper than {self._limits.depth}: the file is not sound")
        return " ".join(filter(None, (self._text(paragraph) for paragraph in cell.iter(f"{_W}p"))))

    def _level(self, properties: Any) -> int:
        """1 for a title or first heading, 0 for what is no heading."""
        if properties is None:
            return 0
        outline = properties.find(f"{_W}outlineLvl")
        for style in self._chain(properties.find(f"{_W}pStyle")):
            name = style.find(f"{_W}name")
            label = "" if name is None else str(name.get(f"{_W}val") or "")
            if found := _HEADING.fullmatch(label):
                return int(found[1])
            if label.casefold() == "title":
                return 1
            own = style.find(f"{_W}pPr")
            if outline is None and own is not None:
                outline = own.find(f"{_W}outlineLvl")
        level = int(outline.get(f"{_W}val") or 9) if outline is not None else 9
        return level + 1 if level < 9 else 0

    def _list_level(self, properties: Any) -> int | None:
        if properties is None:
            return None
        holders = [properties, *(style.find(f"{_W}pPr") for style in self._chain(properties.find(f"{_W}pStyle")))]
        for holder in holders:
            numbering = None if holder is None else holder.find(f"{_W}numPr")
            if numbering is not None:
                level = numbering.find(f"{_W}ilvl")
                return min(int(level.get(f"{_W}val") or 0), 8) if level is not None else 0
        return None

    def _is_hidden(self, run: Any, paragraph: Any) -> bool:
        properties = run.find(f"{_W}rPr")
        own = properties.find(f"{_W}rStyle") if properties is not None else None
        around = paragraph.find(f"{_W}pPr")
        style = around.find(f"{_W}pStyle") if around is not None else None
        chain = [*self._chain(own), *self._chain(style)]
        holders = [properties, *(one.find(f"{_W}rPr") for one in chain)]
        holders = [holder for holder in holders if holder is not None]
        if _switch(holders, "vanish"):
            return True
        size = _value(holders, "sz")
        if size.isdigit() and int(size) <= _SMALLEST_HALF_POINTS:
            return True
        return _value(holders, "color").upper() == "FFFFFF" and not _is_shaded(run, holders)

    def _chain(self, named: Any) -> Iterator[Any]:
        """The style that an element names, and those it is based on."""
        seen: set[Any] = set()
        wanted = named.get(f"{_W}val") if named is not None else None
        while wanted in self._styles and wanted not in seen:
            seen.add(wanted)
            style = self._styles[wanted]
            yield style
            based = style.find(f"{_W}basedOn")
            wanted = based.get(f"{_W}val") if based is not None else None

    def _close_list(self) -> None:
        if self._items:
            self._blocks.append(listing(self._items))
            self._items = []


def _name(element: Any) -> str:
    tag = element.tag
    return tag.removeprefix(_W) if isinstance(tag, str) and tag.startswith(_W) else ""


def _rows(container: Any) -> Iterator[Any]:
    for element in container:
        if _name(element) == "tr":
            yield element
        elif _name(element) in _SEEN_THROUGH:
            yield from _rows(element)


def _cells(row: Any) -> Iterator[Any]:
    for element in row:
        if _name(element) == "tc":
            yield element
        elif _name(element) in _SEEN_THROUGH:
            yield from _cells(element)


def _runs(container: Any, depth: int, limit: int) -> Iterator[Any]:
    if depth > limit:
        raise UnreadableDocument(f"elements are nested deeper than {limit}: the file is not sound")
    for element in container:
        if _name(element) == "r":
            yield element
        elif _name(element) in _SEEN_THROUGH:
            yield from _runs(element, depth + 1, limit)


def _run_text(run: Any) -> Iterator[str]:
    for element in run:
        match _name(element):
            case "t":
                yield element.text or ""
            case "tab" | "br" | "cr":
                yield " "
            case "noBreakHyphen":
                yield "-"
            case _:
                pass


def _switch(holders: list[Any], name: str) -> bool:
    """A property that is on by its presence, said by the nearest holder that has it."""
    for holder in holders:
        found = holder.find(f"{_W}{name}")
        if found is not None:
            return found.get(f"{_W}val") not in {"0", "false", "off"}
    return False


def _value(holders: list[Any], name: str) -> str:
    for holder in holders:
        found = holder.find(f"{_W}{name}")
        if found is not None:
            return str(found.get(f"{_W}val") or "")
    return ""


def _is_shaded(run: Any, holders: list[Any]) -> bool:
    """Whether a colour lies behind a run: its own, its paragraph's, its cell's or its table's."""
    if any(holder.find(f"{_W}highlight") is not None for holder in holders):
        return True
    places = [*holders]
    for parent in run.iterancestors():
        for name in ("pPr", "tcPr", "tblPr"):
            properties = parent.find(f"{_W}{name}")
            places += [properties] if properties is not None else []
    fills = (place.find(f"{_W}shd") for place in places)
    return any(fill is not None and str(fill.get(f"{_W}fill") or "") not in _UNCOLOURED for fill in fills)
