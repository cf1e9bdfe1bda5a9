"""Text -> tree of nodes. The subset of YAML in which a text has one meaning.

PyYAML scans and parses; its constructors, resolvers and composers are not used. What strict YAML leaves out is a
fault with its place: duplicate keys, anchors, aliases, merge keys, tags, directives, several documents, keys that are
not scalars, characters that show a reader something else than the parser sees, and texts over the caps. Events are
consumed as they are parsed, so a deep or huge text is given up when it passes a cap, not after.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from gateway.domain.errors import Fault
from gateway.strict_yaml.node import Entry, Hole, Items, Mapping, Node, Scalar
from gateway.strict_yaml.spelling import quoted

MAX_CHARS: Final = 2 * 1024 * 1024  # a thousand rules with tests need a third of this
MAX_DEPTH: Final = 32  # a policy needs about ten; far below the recursion limit
MAX_NODES: Final = 200_000

# The C parser reads the same language about ten times as fast; the Python one serves platforms without it.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Control characters, lone surrogates and non-characters; line separators that editors do not show as lines (places
# would be wrong); bidirectional controls, with which a line can read otherwise than it is parsed (CVE-2021-42574); and
# what nobody sees, so that two words that look alike would differ: soft hyphen, zero-width space, joiners of words, tag
# characters. The joiners of letters U+200C and U+200D stay: Persian, Hindi and emoji are spelled with them.
FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2064"
    "\u2066-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
"""Characters that must not stand in a text as they are; in double quotes they may be written as escapes."""


def read(text: str, file: str, faults: list[Fault], *, first_line: int = 1) -> Node:
    """The tree of the one document in `text`; a `Hole` for a text that cannot be read.

    Faults are appended. `file` and `first_line` (the line of the file on which `text` begins) give them their
    place. Nothing is resolved, constructed or executed.
    """
    text = text.removeprefix("\ufeff")
    origin = Hole(file, first_line, 1)
    if len(text) > MAX_CHARS:
        faults.append(origin.fault("YAML001", f"text has {len(text)} characters: the limit is {MAX_CHARS}, split it"))
        return origin
    forbidden = FORBIDDEN.search(text)
    if forbidden:
        before = text[: forbidden.start()]
        line = before.count("\n")
        column = forbidden.start() - (before.rfind("\n") + 1)
        point = f"U+{ord(forbidden.group()):04X}"
        place = Hole(file, first_line + line, column + 1)
        faults.append(
            place.fault("YAML002", f"character `{point}` is not allowed: remove it, or escape it in double quotes")
        )
        return origin
    try:
        return _Builder(file, first_line, faults).build(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Hole(file, first_line + mark.line, mark.column + 1) if mark else origin
        problem = " ".join(filter(None, (error.context, error.problem)))
        faults.append(place.fault("YAML003", f"not yaml: {problem}: check the indentation, quotes and colons here"))
    except yaml.YAMLError:
        faults.append(origin.fault("YAML003", "not yaml: the text has characters that cannot be read: remove them"))
    except _OverCap as over:
        faults.append(over.fault)
    return origin


class _OverCap(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class _Open:
    """A collection whose end has not been seen."""

    __slots__ = ("children", "is_mapping", "place")

    def __init__(self, place: Hole, *, is_mapping: bool) -> None:
        self.place = place
        self.is_mapping = is_mapping
        self.children: list[Node] = []


class _Builder:
    def __init__(self, file: str, first_line: int, faults: list[Fault]) -> None:
        self._file = file
        self._first_line = first_line
        self._faults = faults

    def build(self, events: Iterator[Any]) -> Node:
        root: Node | None = None
        documents = 0
        nodes = 0
        stack: list[_Open] = []
        for event in events:
            node: Node | None = None
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                self._check_document(event, documents)
                if documents > 1:
                    break
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self._check_plain(event)
                stack.append(_Open(self._place(event), is_mapping=isinstance(event, yaml.MappingStartEvent)))
                if len(stack) > MAX_DEPTH:
                    raise _OverCap(self._place(event).fault("YAML001", f"nested deeper than {MAX_DEPTH}: flatten it"))
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                node = self._close(stack.pop())
            elif isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent)):
                node = self._leaf(event)
            if node is None:
                continue
            nodes += 1
            if nodes > MAX_NODES:
                raise _OverCap(self._place(event).fault("YAML001", f"more than {MAX_NODES} values: split the file"))
            if stack:
                stack[-1].children.append(node)
            else:
                root = node
        if root is None:
            root = Hole(self._file, self._first_line, 1)
            self._faults.append(root.fault("YAML004", "the document is empty: write its keys"))
        return root

    def _place(self, event: Any) -> Hole:
        return Hole(self._file, self._first_line + event.start_mark.line, event.start_mark.column + 1)

    def _check_document(self, event: yaml.DocumentStartEvent, count: int) -> None:
        if count > 1:
            self._faults.append(self._place(event).fault("YAML005", "a second document: put it into its own file"))
        if event.version or event.tags:
            self._faults.append(self._place(event).fault("YAML006", "a `%` directive: remove it"))

    def _check_plain(self, event: Any) -> None:
        place = self._place(event)
        if event.anchor is not None:
            name = quoted("&" + event.anchor)
            self._faults.append(
                place.fault("YAML007", f"an anchor {name}: remove it and write the value where it is used")
            )
        if event.tag is not None:
            tag = quoted(event.tag.replace("tag:yaml.org,2002:", "!!"))
            self._faults.append(place.fault("YAML008", f"a tag {tag}: remove it, types follow from the key"))

    def _leaf(self, event: Any) -> Node:
        place = self._place(event)
        if isinstance(event, yaml.AliasEvent):
            name = quoted("*" + str(event.anchor))
            self._faults.append(place.fault("YAML007", f"an alias {name}: write the value here"))
            return place
        self._check_plain(event)
        # libyaml gives the style of a plain scalar as "", the Python parser as None.
        plain = not event.style
        return Scalar(self._file, place.line, place.column, event.value, plain=plain)

    def _close(self, opened: _Open) -> Node:
        place = opened.place
        if not opened.is_mapping:
            return Items(self._file, place.line, place.column, tuple(opened.children))
        entries: dict[str, Entry] = {}
        for key, value in zip(opened.children[::2], opened.children[1::2], strict=True):
            if not isinstance(key, Scalar):
                if not isinstance(key, Hole):
                    self._faults.append(key.fault("YAML009", f"a key is {key.sort}: keys are words"))
            elif key.plain and key.text == "<<":
                self._faults.append(key.fault("YAML007", "a merge key `<<`: write the keys here"))
            elif key.text in entries:
                first = entries[key.text].key.line
                name = quoted(key.text)
                self._faults.append(key.fault("YAML010", f"key {name} is already on line {first}: keep one of the two"))
            else:
                entries[key.text] = Entry(key, value)
        return Mapping(self._file, place.line, place.column, tuple(entries.values()))
