"""CSV -> one block a row, each cell with the name of its column, so that a row says by itself what it means.

Comma, semicolon, tab and bar are told apart by the first row, which must name the columns.
"""

import csv
import io
from typing import Final

from gateway.retrieval.markdown import Block, BlockKind, Section
from gateway.retrieval.parsing.hidden import without_invisible
from gateway.retrieval.parsing.parsed import DEFAULT_LIMITS, Parsed, ParseLimits, UnreadableDocument, check_chars

_DELIMITERS: Final = ",;\t|"
_JOINT: Final = "; "
_MAX_COLUMNS: Final = 500


def parse_csv(text: str, limits: ParseLimits = DEFAULT_LIMITS) -> Parsed:
    """Raises `UnreadableDocument`."""
    check_chars(len(text), limits)
    shown, hidden = without_invisible(text)
    first = shown.lstrip("\n").split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first.count)
    rows = csv.reader(io.StringIO(shown, newline=""), delimiter=delimiter, strict=True)
    blocks: list[Block] = []
    columns: list[str] = []
    try:
        for row in rows:
            cells = [" ".join(cell.split()) for cell in row]
            if not any(cells):
                continue
            if not columns:
                columns = _columns(cells)
                continue
            if len(blocks) >= limits.rows:
                raise UnreadableDocument(f"the table has more than {limits.rows} rows: split it")
            if len(cells) > len(columns):
                raise UnreadableDocument(f"line {rows.line_num} has more cells than there are columns: quote the cells")
            blocks.append(_block(columns, cells, rows.line_num))
    except csv.Error:
        raise UnreadableDocument(f"line {rows.line_num} is not sound csv: check its quotes") from None
    sections = (Section(path=(), line="", blocks=tuple(blocks)),) if blocks else ()
    return Parsed(sections=sections, hidden=hidden, unit="row")


def _columns(cells: list[str]) -> list[str]:
    if len(cells) > _MAX_COLUMNS:
        raise UnreadableDocument(f"the table has more than {_MAX_COLUMNS} columns: split it")
    if not all(cells) or len(set(cells)) < len(cells):
        raise UnreadableDocument("the first row does not name every column once: add a row of names")
    return cells


def _block(columns: list[str], cells: list[str], line: int) -> Block:
    units = tuple(f"{name}: {cell}" for name, cell in zip(columns, cells, strict=False) if cell)
    return Block(kind=BlockKind.LIST, text=_JOINT.join(units), units=units, joint=_JOINT, place=line)
