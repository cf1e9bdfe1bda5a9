"""Markdown -> units that can be quoted by themselves: sentences, list items, whole lists, table rows.

Markup is removed, words are not changed. Bracketed numbers are markup too: a footnote mark in a passage must not
pass for one of our citations.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Final

from msgspec import Struct

from gateway.domain.text import outline
from gateway.upstream.asking import Kind, held_kinds
from gateway.upstream.languages import Language, language_of
from gateway.upstream.terms import Bag, bag, terms

MAX_LIST_ITEMS: Final = 10
MAX_LIST_CHARS: Final = 900  # a longer list is quoted by its items

_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|approx|No|Nos|Art|Sec|Fig|Inc|Ltd|Co|Corp|cf|al|e\.g|i\.e"
    r"|a\.m|p\.m|U\.S|U\.K|max|min|incl|excl))\.$"
)
_SENTENCE_END: Final = re.compile(
    r"(?<=[.!?])[\"”’)\]]*\s+(?=[\"“‘(\[]?[^\W_a-z])|(?<=[a-z]{2}[.!?])(?=[A-Z][a-z]+[ ,])"
)
_HEADING: Final = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*$")
_ITEM: Final = re.compile(r"^(\s*)(?:[-*+•]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?(.*)$")
_RULE: Final = re.compile(r"^\s*(?:[-*_]\s*){3,}$")
_FENCE: Final = re.compile(r"^\s*(?:```|~~~)")
_SEPARATOR_CELL: Final = re.compile(r"^:?-{1,}:?$")
_UNESCAPED_PIPE: Final = re.compile(r"(?<!\\)\|")
_TAG: Final = re.compile(
    r"</?(?:a|b|br|code|div|em|h[1-6]|hr|i|img|li|ol|p|pre|s|small|span|strong|sub|sup|table|tbody|td|th|thead|tr|u|ul)"
    r"\b[^<>]*>|<!--.*?-->"
)
_INLINE: Final = (
    (re.compile(r"!?\[([^\]\[]*)\]\([^()\s]*(?:\s+\"[^\"]*\")?\)"), r"\1"),  # links and images
    (re.compile(r"\[([^\]\[]+)\]\[[^\]\[]*\]"), r"\1"),
    (re.compile(r"\s?\[\^?\d{1,4}\]:?"), ""),  # footnote marks
    (re.compile(r"<(https?://[^<>\s]+)>"), r"\1"),
    (_TAG, " "),
    (re.compile(r"`+([^`]+)`+"), r"\1"),
    (re.compile(r"(?<!\\)(\*\*\*|\*\*|___|__|~~)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*\\])\*(?=\S)([^*]+)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<![\w_\\])_(?=\S)([^_]+)(?<=\S)_(?![\w_])"), r"\1"),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!|~<>-])"), r"\1"),
    (re.compile(r"\s+"), " "),
)


class UnitKind(StrEnum):
    SENTENCE = "sentence"
    ITEM = "item"
    LIST = "list"
    ROW = "row"


class Unit(Struct, frozen=True, kw_only=True):
    """A quotable piece. `text` is quoted, after `lead` where there is one (the line that introduces a list).
    `block` numbers paragraphs, lists and tables within the passage. `terms` and `own` are those of the text,
    `context` those of title, headings and lead; `kinds` says what the text holds."""

    kind: UnitKind
    block: int
    text: str
    lead: str = ""
    terms: tuple[str, ...]
    own: Bag
    context: Bag
    kinds: frozenset[Kind]

    def __repr__(self) -> str:
        return f"Unit({self.kind.value}, {self.block}, {outline(self.text)})"


@lru_cache(maxsize=1_024)
def units_of(title: str, section: str, text: str) -> tuple[Unit, ...]:
    """The units of a passage, in order. Pure; results are kept, since the same passages are found again and again."""
    language = language_of(f"{title} {section} {text}")
    units: list[Unit] = []
    lead = ""
    heading = ""
    for number, block in enumerate(_blocks(text)):
        if isinstance(block, _Heading):
            heading, lead = block.text, ""
            continue
        context = _Context(language, frozenset(terms(f"{title} {section} {heading}", language)))
        if isinstance(block, _Paragraph):
            sentences = split_sentences(block.text)
            units += [_unit(UnitKind.SENTENCE, number, sentence, context) for sentence in sentences]
            lead = sentences[-1] if sentences and sentences[-1].endswith(":") else ""
        elif isinstance(block, _Items):
            if lead and units and units[-1].text == lead:
                units.pop()  # it says nothing without its list
            units += _list_units(number, block.items, lead, context)
            lead = ""
        else:
            units += _row_units(number, block.rows, context)
            lead = ""
    return tuple(units)


def split_sentences(text: str) -> list[str]:
    """Sentences of one paragraph, trimmed; a full stop after an abbreviation or an initial ends none."""
    sentences: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        head = text[start : match.start()]
        if _ABBREVIATION.search(head):
            continue
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if any(map(str.isalnum, sentence))]


def plain(text: str) -> str:
    """Text without inline markup, white space made single."""
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text.strip()


# --- blocks ----------------------------------------------------------------------------------------------------


class _Heading(Struct, frozen=True):
    text: str


class _Paragraph(Struct, frozen=True):
    text: str


class _Items(Struct, frozen=True):
    items: tuple[str, ...]


class _Table(Struct, frozen=True):
    rows: tuple[tuple[str, ...], ...]  # with the separator row where the author wrote one


_Block = _Heading | _Paragraph | _Items | _Table


class _Kind(StrEnum):
    TEXT = "text"
    ITEMS = "items"
    TABLE = "table"


def _blocks(text: str) -> Iterator[_Block]:
    """Headings, paragraphs, lists and tables, in order. Empty lines inside a list do not end it."""
    kind = _Kind.TEXT
    lines: list[str] = []
    gap = False
    for raw in text.splitlines():
        line = re.sub(r"^\s{0,3}(?:>\s?)+", "", raw)
        if not line.strip() or _RULE.match(line) or _FENCE.match(line):
            gap = True
            continue
        heading = _HEADING.match(line)
        item = _ITEM.match(line)
        table = line.count("|") >= 2 or (kind is _Kind.TABLE and "|" in line)
        continues = kind is _Kind.ITEMS and (not gap or line.startswith((" ", "\t"))) and not table
        new = _Kind.TABLE if table else _Kind.ITEMS if item or continues else _Kind.TEXT
        if lines and (heading or new is not kind or (gap and new is not _Kind.ITEMS)):
            yield from _block(kind, lines)
            lines = []
        gap = False
        if heading:
            yield _Heading(plain(heading[1]))
            kind = _Kind.TEXT
            continue
        kind = new
        if new is _Kind.ITEMS and item is None:
            lines[-1] += " " + line.strip()
        else:
            lines.append(item[2] if item else line)
    if lines:
        yield from _block(kind, lines)


def _block(kind: _Kind, lines: list[str]) -> Iterator[_Block]:
    if kind is _Kind.TABLE:
        yield _Table(tuple(tuple(map(plain, _cells(line))) for line in lines))
    elif kind is _Kind.ITEMS:
        yield _Items(tuple(filter(None, map(plain, lines))))
    else:
        yield _Paragraph(plain(" ".join(lines)))


def _cells(line: str) -> list[str]:
    return _UNESCAPED_PIPE.split(line.strip().removeprefix("|").removesuffix("|"))


# --- units -----------------------------------------------------------------------------------------------------


class _Context(Struct, frozen=True):
    """What units stand under."""

    language: Language
    terms: frozenset[str]


def _unit(
    kind: UnitKind, block: int, text: str, context: _Context, *, lead: str = "", matched: str | None = None
) -> Unit:
    """`matched` is what questions are compared with, if it is not the text."""
    found = terms(text if matched is None else matched, context.language)
    return Unit(
        kind=kind,
        block=block,
        text=text,
        lead=lead,
        terms=found,
        own=bag(found, context.language),
        context=bag(context.terms, context.language),
        kinds=held_kinds(text),
    )


def _list_units(block: int, items: tuple[str, ...], lead: str, context: _Context) -> Iterator[Unit]:
    """The items, each with the lead; before them the whole list, if it is short, for a question that asks for it."""
    whole = "; ".join(item.rstrip(" .;") for item in items)
    if lead and len(items) <= MAX_LIST_ITEMS and len(whole) <= MAX_LIST_CHARS:
        yield _unit(UnitKind.LIST, block, whole, context, lead=lead, matched=lead)
    inner = _Context(context.language, context.terms | set(terms(lead, context.language)))
    for item in items:
        yield _unit(UnitKind.ITEM, block, item, inner, lead=lead)


def _row_units(block: int, rows: tuple[tuple[str, ...], ...], context: _Context) -> Iterator[Unit]:
    """Rows as `header: cell; header: cell`; as `cell; cell` where the passage holds no header."""
    header: tuple[str, ...] = ()
    body = rows
    if len(rows) > 1 and all(_SEPARATOR_CELL.match(cell) for cell in rows[1]):
        header, body = rows[0], rows[2:]
    for row in body:
        if all(_SEPARATOR_CELL.match(cell) or not cell for cell in row):
            continue
        pairs = [(header[at] if at < len(header) else "", cell) for at, cell in enumerate(row) if cell]
        text = "; ".join(f"{name}: {cell}" if name else cell for name, cell in pairs)
        yield _unit(UnitKind.ROW, block, text, context)
