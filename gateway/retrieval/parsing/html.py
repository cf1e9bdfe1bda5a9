"""HTML -> sections: headings to paths, tables and lists to blocks; menus, scripts and forms are not text.

Parsed by lexbor (HTML5 as browsers read it) through selectolax. Nothing is fetched: images, frames and style sheets
of other files do not exist here.
"""

from collections.abc import Iterator
from typing import Any, Final

from gateway.retrieval.markdown import Block, Section, code, listing, prose, table
from gateway.retrieval.parsing.hidden import Inherited, declarations, inherit, rules, without_invisible
from gateway.retrieval.parsing.parsed import DEFAULT_LIMITS, Parsed, ParseLimits, UnreadableDocument, check_chars

_DROPPED: Final = frozenset(
    """
    script style nav head title meta link noscript template iframe object embed svg canvas math audio video button
    select textarea input option datalist
    """.split()  # noqa: SIM905 - a list of quoted words would be a page
)
_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_BLOCKS: Final = frozenset(
    """
    address article aside blockquote body center dd details dialog div dl dt fieldset figcaption figure footer form
    header hr html legend main p section summary caption hgroup search menu dir table tbody thead tfoot tr td th li
    """.split()  # noqa: SIM905 - as above
)
_LISTS: Final = frozenset({"ul", "ol"})
_MAX_STYLED: Final = 200_000  # elements that rules of style sheets may be matched with, all rules together


def parse_html(text: str, limits: ParseLimits = DEFAULT_LIMITS) -> Parsed:
    """Raises `UnreadableDocument`."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(text)
    if tree.body is None:
        return Parsed(sections=())
    reader = _Reader(_sheet_styles(tree), limits)
    reader.block(tree.body, Inherited(), 0)
    reader.close_section()
    title = tree.css_first("title")
    return Parsed(
        sections=tuple(reader.sections),
        title=" ".join(title.text().split()) if title is not None else "",
        hidden=reader.hidden,
    )


def _sheet_styles(tree: Any) -> dict[int, dict[str, str]]:
    """What the document's own style sheets say of each element, by its address. Later rules count more."""
    from selectolax.lexbor import SelectolaxError

    styles: dict[int, dict[str, str]] = {}
    matched = 0
    for sheet in tree.css("style"):
        for selector, found in rules(sheet.text()):
            try:
                nodes = tree.css(selector)
            except (SelectolaxError, ValueError):
                continue  # a selector that only browsers know matches nothing
            matched += len(nodes)
            if matched > _MAX_STYLED:
                raise UnreadableDocument("the style sheets match too many elements: save the document without styles")
            for node in nodes:
                styles.setdefault(node.mem_id, {}).update(found)
    return styles


class _Reader:
    """One walk over the tree. `_line` is the text of the paragraph being read."""

    def __init__(self, styles: dict[int, dict[str, str]], limits: ParseLimits) -> None:
        self.sections: list[Section] = []
        self.hidden = 0
        self._chars = 0
        self._styles = styles
        self._limits = limits
        self._line: list[str] = []
        self._blocks: list[Block] = []
        self._path: list[tuple[int, str]] = []
        self._heading = ""

    def block(self, node: Any, around: Inherited, depth: int) -> None:
        """Read the children of an element that begins and ends paragraphs, or is inside one."""
        if depth > self._limits.depth:
            raise UnreadableDocument(f"elements are nested deeper than {self._limits.depth}: the file is not sound")
        for child in node.iter(include_text=True):
            if child.is_text_node:
                self._line.append(self._seen(child, around))
                continue
            tag = child.tag
            if not child.is_element_node or tag in _DROPPED:
                continue
            inside = self._inside(child, around)
            if tag == "br":
                self._line.append("\n")
            elif tag in _HEADINGS:
                self._start_section(_HEADINGS[tag], self._inline(child, inside, depth + 1))
            elif tag in _LISTS:
                self._add(listing, self._items(child, inside, depth + 1, 0))
            elif tag == "table" and all(one.mem_id == child.mem_id for one in child.css("table")):
                self._add(table, [row for row in self._rows(child, inside, depth + 1) if any(row)])
            elif tag == "pre":
                self._preformatted(child, inside, depth + 1)
            elif tag in _BLOCKS:
                self._close_paragraph()
                self.block(child, inside, depth + 1)
                self._close_paragraph()
            else:
                self.block(child, inside, depth + 1)

    def close_section(self) -> None:
        self._close_paragraph()
        if self._blocks or self._heading:
            path = tuple(title for _, title in self._path)
            self.sections.append(Section(path=path, line=self._heading, blocks=tuple(self._blocks)))
        self._blocks = []

    def _inside(self, node: Any, around: Inherited) -> Inherited:
        attributes = node.attributes
        style = dict(self._styles.get(node.mem_id, {}))
        if attributes.get("color"):
            style["color"] = str(attributes["color"]).lower()
        if attributes.get("bgcolor"):
            style["background-color"] = str(attributes["bgcolor"]).lower()
        style |= declarations(attributes.get("style") or "")
        inside = inherit(around, style) if style else around
        if "hidden" in attributes and attributes.get("hidden") != "until-found":
            return Inherited(colour=inside.colour, background=inside.background, hidden=True)
        return inside

    def _seen(self, node: Any, around: Inherited) -> str:
        text, invisible = without_invisible(node.text(deep=False))
        self.hidden += invisible
        if around.unseen:
            self.hidden += len(text.strip())
            return ""
        self._chars += len(text)
        check_chars(self._chars, self._limits)
        return str(text)

    def _inline(self, node: Any, around: Inherited, depth: int) -> str:
        """All that is seen of an element, as one line."""
        return " ".join("".join(self._texts(node, around, depth)).split())

    def _texts(self, node: Any, around: Inherited, depth: int) -> Iterator[str]:
        if depth > self._limits.depth:
            raise UnreadableDocument(f"elements are nested deeper than {self._limits.depth}: the file is not sound")
        for child in node.iter(include_text=True):
            if child.is_text_node:
                yield self._seen(child, around)
            elif child.is_element_node and child.tag not in _DROPPED:
                apart = child.tag in _BLOCKS or child.tag in _LISTS or child.tag == "br"
                yield " " if apart else ""
                yield from self._texts(child, self._inside(child, around), depth + 1)
                yield " " if apart else ""

    def _items(self, node: Any, around: Inherited, depth: int, level: int) -> list[str]:
        if depth > self._limits.depth:
            raise UnreadableDocument(f"elements are nested deeper than {self._limits.depth}: the file is not sound")
        items: list[str] = []
        number = 0
        for child in node.iter(include_text=True):
            if child.is_text_node:  # straight inside the list
                line = " ".join(self._seen(child, around).split())
                items += ["  " * level + line] if line else []
                continue
            if not child.is_element_node or child.tag in _DROPPED:
                continue
            inside = self._inside(child, around)
            if child.tag in _LISTS:  # a list straight inside a list
                items += self._items(child, inside, depth + 1, level + 1)
                continue
            number += 1
            mark = f"{number}." if node.tag == "ol" else "-"
            own: list[str] = []
            nested: list[str] = []
            for part in child.iter(include_text=True):
                if part.is_text_node:
                    own.append(self._seen(part, inside))
                elif part.is_element_node and part.tag in _LISTS:
                    nested += self._items(part, self._inside(part, inside), depth + 1, level + 1)
                elif part.is_element_node and part.tag not in _DROPPED:
                    apart = " " if part.tag in _BLOCKS or part.tag == "br" else ""
                    own += [apart, *self._texts(part, self._inside(part, inside), depth + 1), apart]
            line = " ".join("".join(own).split())
            items += ["  " * level + f"{mark} {line}"] if line else []
            items += nested
        return items

    def _rows(self, node: Any, around: Inherited, depth: int) -> Iterator[list[str]]:
        for child in node.iter(include_text=False):
            inside = self._inside(child, around)
            if child.tag == "tr":
                cells = [cell for cell in child.iter(include_text=False) if cell.tag in {"td", "th"}]
                yield [self._inline(cell, self._inside(cell, inside), depth + 1) for cell in cells]
            elif child.tag in {"thead", "tbody", "tfoot"}:
                yield from self._rows(child, inside, depth + 1)
            elif child.tag == "caption":
                yield [self._inline(child, inside, depth + 1)]

    def _preformatted(self, node: Any, around: Inherited, depth: int) -> None:
        self._close_paragraph()
        written = "".join(self._texts(node, around, depth)).strip("\n")
        if written.strip():
            self._blocks.append(code(written))

    def _add(self, make: Any, parts: list[Any]) -> None:
        self._close_paragraph()
        if parts:
            self._blocks.append(make(parts))

    def _close_paragraph(self) -> None:
        lines = (" ".join(line.split()) for line in "".join(self._line).split("\n"))
        text = " ".join(line for line in lines if line)
        self._line = []
        if text:
            self._blocks.append(prose(text))

    def _start_section(self, level: int, title: str) -> None:
        if not title:
            self._close_paragraph()
            return
        self.close_section()
        self._path = [entry for entry in self._path if entry[0] < level]
        self._path.append((level, title))
        self._heading = f"{'#' * level} {title}"
