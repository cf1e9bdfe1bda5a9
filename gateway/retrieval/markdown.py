"""Markdown -> sections of blocks, as far as chunking needs it.

Reads the block structure of CommonMark 0.31 and the tables of GFM: headings, fences, tables, lists, paragraphs.
Whatever it does not know (quotes, HTML, indented code) is a paragraph, so that no line is ever lost.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

_HEADING: Final = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
_UNDERLINE: Final = re.compile(r" {0,3}(=+|-+)[ \t]*")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_DELIMITER_ROW: Final = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_ITEM: Final = re.compile(r"([ \t]*)(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$)")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*\s+(?=\S)")


class BlockKind(StrEnum):
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST = "list"
    TABLE = "table"
    CODE = "code"


class Block(Struct, frozen=True, kw_only=True):
    """A block as written, and how it may be cut: between `units`, with `lead` and `tail` around every part. `place` is
    the page or row it stands on, 0 where there are none."""

    kind: BlockKind
    text: str
    units: tuple[str, ...]
    joint: str
    lead: str = ""
    tail: str = ""
    place: int = 0

    def render(self, units: tuple[str, ...]) -> str:
        return self.lead + self.joint.join(units) + self.tail

    def __repr__(self) -> str:
        return f"Block({self.kind.value}, {len(self.units)} units)"


class Section(Struct, frozen=True, kw_only=True):
    """The blocks under one heading, before the next. `path` are the headings from the outermost; `line` is the
    section's own heading as written, "" for what stands before the first heading."""

    path: tuple[str, ...]
    line: str
    blocks: tuple[Block, ...]

    def __repr__(self) -> str:
        return f"Section(level {len(self.path)}, {len(self.blocks)} blocks)"


def sections(text: str) -> list[Section]:
    """All sections in order; headings without text of their own included. Linear in the text."""
    reader = _Reader(text.split("\n"))
    reader.read()
    return reader.sections


def paragraphs(text: str) -> list[Section]:
    """Plain text as one section: blocks are what blank lines separate."""
    parts = re.split(r"\n[ \t]*\n", text)
    return [Section(path=(), line="", blocks=tuple(prose(part) for part in parts if part.strip()))]


def sentences(text: str) -> tuple[str, ...]:
    """Cut after sentence ends; abbreviations are cut too, which costs nothing where parts are joined again."""
    cuts = [match.end() for match in _SENTENCE_END.finditer(text)]
    parts = (text[start:end].strip() for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True))
    return tuple(part for part in parts if part)


def prose(written: str, *, place: int = 0) -> Block:
    """A paragraph, cut between its sentences."""
    text = "\n".join(line.rstrip() for line in written.split("\n")).strip("\n")
    return Block(kind=BlockKind.PARAGRAPH, text=text, units=sentences(text), joint=" ", place=place)


def listing(items: Sequence[str], *, place: int = 0) -> Block:
    """A list, cut between its items."""
    return Block(kind=BlockKind.LIST, text="\n".join(items), units=tuple(items), joint="\n", place=place)


def table(rows: Sequence[Sequence[str]], *, place: int = 0) -> Block:
    """Rows of cells as a Markdown table, cut between rows. The first row names the columns and heads every part. A
    single row is a line of text."""
    if len(rows) == 1:
        return prose("; ".join(filter(None, rows[0])), place=place)
    width = max(map(len, rows))
    written = ["| " + " | ".join([*map(_cell, row), *[""] * (width - len(row))]) + " |" for row in rows]
    lead = f"{written[0]}\n|{'---|' * width}\n"
    text = (lead + "\n".join(written[1:])).rstrip("\n")
    return Block(kind=BlockKind.TABLE, text=text, units=tuple(written[1:]), joint="\n", lead=lead, place=place)


def code(written: str, *, place: int = 0) -> Block:
    """Preformatted text between fences, cut between lines."""
    mark = "```"
    while mark in written:
        mark += "`"
    lead, tail = f"{mark}\n", f"\n{mark}"
    units = tuple(written.split("\n"))
    return Block(
        kind=BlockKind.CODE, text=f"{lead}{written}{tail}", units=units, joint="\n", lead=lead, tail=tail, place=place
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


class _Reader:
    """One pass over the lines; `_at` is the next line to read."""

    def __init__(self, lines: list[str]) -> None:
        self.sections: list[Section] = []
        self._lines = lines
        self._at = 0
        self._open: list[str] = []  # lines of the paragraph being read
        self._blocks: list[Block] = []
        self._path: list[tuple[int, str]] = []  # (level, heading) from the outermost
        self._heading = ""

    def read(self) -> None:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if heading := _HEADING.fullmatch(line):
                self._start_section(len(heading[1]), (heading[2] or "").strip(), line.strip())
                self._at += 1
            elif fence := _FENCE.fullmatch(line):
                self._code(fence[1])
            elif self._open and (underline := _UNDERLINE.fullmatch(line)):
                title, self._open = " ".join(part.strip() for part in self._open), []
                level = 1 if underline[1].startswith("=") else 2
                self._start_section(level, title, f"{'#' * level} {title}")
                self._at += 1
            elif self._at_table():
                self._table()
            elif _ITEM.match(line) and not self._open:
                self._list()
            else:
                if line.strip():
                    self._open.append(line)
                else:
                    self._close_paragraph()
                self._at += 1
        self._close_section()

    def _close_paragraph(self) -> None:
        if self._open:
            self._blocks.append(prose("\n".join(self._open)))
            self._open = []

    def _close_section(self) -> None:
        self._close_paragraph()
        if self._blocks or self._heading:
            path = tuple(title for _, title in self._path)
            self.sections.append(Section(path=path, line=self._heading, blocks=tuple(self._blocks)))
        self._blocks = []

    def _start_section(self, level: int, title: str, line: str) -> None:
        self._close_section()
        self._path = [entry for entry in self._path if entry[0] < level]
        self._path.append((level, title))
        self._heading = line

    def _code(self, mark: str) -> None:
        self._close_paragraph()
        start = self._at
        closing = re.compile(rf" {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}[ \t]*")
        self._at += 1
        while self._at < len(self._lines) and not closing.fullmatch(self._lines[self._at]):
            self._at += 1
        units = tuple(self._lines[start + 1 : self._at])
        self._at += 1  # the closing fence, or past the end: an open fence runs to the end of the text
        lead, tail = f"{self._lines[start]}\n", f"\n{mark}"
        text = lead + "\n".join(units) + tail
        self._blocks.append(Block(kind=BlockKind.CODE, text=text, units=units, joint="\n", lead=lead, tail=tail))

    def _at_table(self) -> bool:
        if self._at + 1 >= len(self._lines) or "|" not in self._lines[self._at]:
            return False
        rule = self._lines[self._at + 1]
        return "|" in rule and _DELIMITER_ROW.fullmatch(rule) is not None

    def _table(self) -> None:
        self._close_paragraph()
        lead = "".join(f"{line.strip()}\n" for line in self._lines[self._at : self._at + 2])
        self._at += 2
        rows: list[str] = []
        while self._at < len(self._lines) and "|" in self._lines[self._at]:
            rows.append(self._lines[self._at].strip())
            self._at += 1
        text = (lead + "\n".join(rows)).rstrip("\n")
        self._blocks.append(Block(kind=BlockKind.TABLE, text=text, units=tuple(rows), joint="\n", lead=lead))

    def _list(self) -> None:
        first = _ITEM.match(self._lines[self._at])
        assert first is not None
        indent = len(first[1].expandtabs(4))
        items: list[list[str]] = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            item = _ITEM.match(line)
            if item and len(item[1].expandtabs(4)) <= indent + 1:
                items.append([line.rstrip()])
            elif self._continues_item(line):
                items[-1].append(line.rstrip())
            else:
                break
            self._at += 1
        units = tuple("\n".join(lines).strip("\n") for lines in items)
        self._blocks.append(Block(kind=BlockKind.LIST, text="\n".join(units), units=units, joint="\n"))

    def _continues_item(self, line: str) -> bool:
        """Indented lines, lazy continuations, and blank lines that an indented line or another item follows."""
        if not line.strip():
            following = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else ""
            return following.startswith(("  ", "\t")) or _ITEM.match(following) is not None
        if line.startswith((" ", "\t")):
            return True
        lazy = bool(self._lines[self._at - 1].strip())
        return lazy and not _HEADING.fullmatch(line) and not _FENCE.fullmatch(line) and not self._at_table()
