"""The one layout of a policy file: keys in the order of the reference, two spaces, a blank line between rules.

Comments, quotes, escapes of what cannot be seen, and what is written in braces stay as the author has them. Strict
YAML decides first whether a text is a policy file; after that ruamel.yaml lays it out with every scalar as an opaque
word, so that `NO`, `1.10` and `12:30` keep their spelling, and the keys are put in order as lines, each with its
comments. Last, the result is read again: unless it has the same tree and the same comments, nothing is changed.
"""

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec.inspect as types
import yaml
from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from gateway.domain.errors import Fault, FaultsFound
from gateway.policy.schema import PolicySet
from gateway.strict_yaml import FORBIDDEN, Items, Mapping, Node, Scalar, load_document, read

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WIDTH: Final = 1_000_000  # never break a line: what is on one line was put there
_ROUNDS: Final = 4  # what is in braces over several lines is joined first and put in order next
_SPACED: Final = ("rules",)  # lists whose entries have a blank line between them
_ESCAPE: Final = re.compile(r"\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\U(000[0-9A-Fa-f]{5}|0010[0-9A-Fa-f]{4})")
_COMMENT: Final = re.compile(r"(?:^|(?<=\s))#.*")


def formatted(text: str, file: str) -> str:
    """The text in the canonical layout; formatting it again changes nothing, and it means the same to the letter.

    Raises `FaultsFound` for a text that is no policy file, or (`POL302`) that cannot be laid out without losing
    something. Pure, CPU-bound: about a second for two thousand lines.
    """
    faults: list[Fault] = []
    if load_document(text, file, PolicySet, faults) is None or faults:
        raise FaultsFound(faults)
    before = text.removeprefix("\ufeff").replace("\r\n", "\n")
    result = before
    for _ in range(_ROUNDS):
        earlier, result = result, _spaced(_in_order(_laid_out(_in_order(result))))
        if result == earlier:
            break
    if _tree(result, file) != _tree(before, file) or _comments(result) != _comments(before):
        message = "file cannot be laid out without losing something: write its keys and comments on lines of their own"
        raise FaultsFound([Fault(file, 1, 1, "POL302", message)])
    return result


class _Words(VersionedResolver):
    """Every scalar is a word; only the empty one is nothing."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is ScalarNode:
            word = "null" if value == "" and implicit[0] else "str"
            return Tag(suffix=f"tag:yaml.org,2002:{word}")
        return super().resolve(kind, value, implicit)


def _laid_out(text: str) -> str:
    layout = YAML()
    layout.Resolver = _Words
    layout.preserve_quotes = True
    layout.width = _WIDTH
    layout.indent(mapping=2, sequence=4, offset=2)
    written = io.StringIO()
    layout.dump(layout.load(text), written)
    return _indented(text, _escaped(written.getvalue(), text))


def _escaped(after: str, before: str) -> str:
    """`after` with what nobody sees spelled as `before` has it. It stands nowhere as it is in `before`, so wherever it
    is now it was an escape in double quotes, and still is in these: ruamel.yaml writes what it means."""
    spelled = {chr(int(found[1] or found[2] or found[3], 16)): found[0] for found in _ESCAPE.finditer(before)}
    return FORBIDDEN.sub(lambda found: spelled.get(found[0], f"\\U{ord(found[0]):08X}"), after)


def _indented(before: str, after: str) -> str:
    """`after` with each comment that has a line of its own at the depth that it had in `before`: ruamel.yaml keeps the
    column of a comment and moves what it is about."""
    lines = after.split("\n")
    root = yaml.compose(after, Loader=_LOADER)
    places = _own_lines(lines, _inside_scalars(root))
    depths = _depths(before)
    if len(depths) != len(places):
        return after
    for place, depth in reversed(list(zip(places, depths, strict=True))):
        if depth is None:
            following = next(line for line in lines[place + 1 :] if line.strip(" \t") and not _is_remark(line, 0))
            column = len(following) - len(following.lstrip(" "))
        else:
            columns = _columns(root, _above(lines, place))
            column = columns[min(depth, len(columns) - 1)]
        lines[place] = " " * column + lines[place].lstrip(" ")
    return "\n".join(lines)


def _depths(text: str) -> list[int | None]:
    """For each comment with a line of its own: `None` if it is about what follows, else how deep the block is that it
    ends."""
    lines = text.split("\n")
    root = yaml.compose(text, Loader=_LOADER)
    kept = _inside_scalars(root)
    depths: list[int | None] = []
    for place in _own_lines(lines, kept):
        column = len(lines[place]) - len(lines[place].lstrip(" "))
        following = next((line for line in lines[place + 1 :] if line.strip(" \t") and not _is_remark(line, 0)), None)
        if following is not None and column <= len(following) - len(following.lstrip(" ")):
            depths.append(None)
        else:
            columns = _columns(root, _above(lines, place))
            depths.append(max((depth for depth, one in enumerate(columns) if one <= column), default=0))
    return depths


def _own_lines(lines: Sequence[str], kept: set[int]) -> list[int]:
    return [row for row, line in enumerate(lines) if row not in kept and line.lstrip(" ").startswith("#")]


def _above(lines: Sequence[str], place: int) -> int:
    """The nearest line with content above a place."""
    return next(
        (row for row in range(place - 1, -1, -1) if lines[row].strip(" \t") and not _is_remark(lines[row], 0)), 0
    )


def _columns(node: Any, row: int) -> list[int]:
    """The columns of all blocks around a line, outermost first."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.start_mark.line <= row <= _last_line(node):
        return []
    parts = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
    return [node.start_mark.column, *(column for part in parts for column in _columns(part, row))]


# Keys


class _Keyed(Struct, frozen=True):
    """A mapping with the order that its keys should have."""

    node: Any
    order: tuple[str, ...]


def _in_order(text: str) -> str:
    """The text with the keys of every struct in the order of the schema, each with its comments."""
    root = yaml.compose(text, Loader=_LOADER)
    lines = text.split("\n")
    kept = _inside_scalars(root)
    for one in _keyed(root, types.type_info(PolicySet)):  # innermost first, so that places outside stay true
        entries = sorted(one.node.value, key=lambda entry: one.order.index(entry[0].value))
        if entries == one.node.value:
            continue
        if one.node.flow_style:
            _reorder_flow(lines, one.node.value, entries)
        else:
            _reorder_block(lines, one.node, entries, kept)
    return "\n".join(lines)


def _keyed(node: Any, type_: types.Type) -> Iterator[_Keyed]:
    """The mappings that a struct describes, those inside before those around them."""
    if isinstance(type_, types.Metadata):
        yield from _keyed(node, type_.type)
    elif isinstance(type_, types.UnionType):
        for one in type_.types:
            yield from _keyed(node, one)
    elif isinstance(node, yaml.MappingNode) and isinstance(type_, types.StructType):
        fields = {field.encode_name: field.type for field in type_.fields}
        if all(key.value in fields for key, _ in node.value):
            for key, value in node.value:
                yield from _keyed(value, fields[key.value])
            yield _Keyed(node, tuple(fields))
    elif isinstance(node, yaml.MappingNode) and isinstance(type_, types.DictType):
        for _, value in node.value:
            yield from _keyed(value, type_.value_type)
    elif isinstance(node, yaml.SequenceNode) and isinstance(type_, types.VarTupleType):
        for value in node.value:
            yield from _keyed(value, type_.item_type)


def _reorder_flow(lines: list[str], before: Sequence[Any], after: Sequence[Any]) -> None:
    """Put the entries of a mapping in braces in order; one over several lines or with a comment inside stays."""
    row = before[0][0].start_mark.line
    if before[-1][1].end_mark.line != row:
        return
    line = lines[row]
    pieces = {id(key): line[key.start_mark.column : value.end_mark.column] for key, value in before}
    gaps = [line[one[1].end_mark.column : other[0].start_mark.column] for one, other in pairwise(before)]
    start, end = before[0][0].start_mark.column, before[-1][1].end_mark.column
    joined = "".join(pieces[id(key)] + gap for (key, _), gap in zip(after, [*gaps, ""], strict=True))
    lines[row] = line[:start] + joined + line[end:]


def _reorder_block(lines: list[str], node: Any, after: Sequence[Any], kept: set[int]) -> None:
    """Move the lines of each entry, with the comments above it; a dash before the first key stays first."""
    column = node.start_mark.column
    starts = [key.start_mark.line for key, _ in node.value]
    heads = [starts[0]]
    for start in starts[1:]:
        head = start
        while head - 1 > heads[-1] and head - 1 not in kept and _leads(lines[head - 1], column):
            head -= 1
        heads.append(head)
    end = _last_line(node) + 1
    while end < len(lines) and lines[end].strip(" \t") and _is_remark(lines[end], column):
        end += 1
    dash = lines[starts[0]][:column]
    lines[starts[0]] = " " * column + lines[starts[0]][column:]
    chunks = {
        id(key): lines[head:stop] for (key, _), head, stop in zip(node.value, heads, [*heads[1:], end], strict=True)
    }
    moved = [line for key, _ in after for line in chunks[id(key)]]
    first = next(index for index, line in enumerate(moved) if not _is_remark(line, 0))
    above = [line for line in moved[:first] if line.strip(" \t")]
    if dash.strip(" \t"):
        above = [" " * (len(dash) - len(dash.lstrip())) + line.lstrip() for line in above]
    blanks = [""] * (first - len(above))
    moved = [*above, dash + moved[first][column:], *moved[first + 1 :], *blanks]
    lines[heads[0] : end] = moved


def _leads(line: str, column: int) -> bool:
    """Whether a line is blank, or a comment on what begins below it in this column."""
    bare = line.lstrip(" ")
    return not bare.strip(" \t") or (bare.startswith("#") and len(line) - len(bare) == column)


def _is_remark(line: str, column: int) -> bool:
    """Whether a line is blank, or a comment that is indented at least so far."""
    bare = line.lstrip(" ")
    return not bare.strip(" \t") or (bare.startswith("#") and len(line) - len(bare) >= column)


def _last_line(node: Any) -> int:
    """The last line with content of a node; the parser's own end of a block is where the next one begins."""
    if isinstance(node, yaml.ScalarNode):
        mark = node.end_mark
        last: int = mark.line - 1 if mark.column == 0 and mark.line > node.start_mark.line else mark.line
        return last
    if node.flow_style:
        closed: int = node.end_mark.line
        return closed
    parts = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
    return max((_last_line(part) for part in parts), default=node.start_mark.line)


def _inside_scalars(root: Any) -> set[int]:
    """Lines that belong to a text over several lines: what looks like a comment there is none."""
    return {
        line
        for scalar in _scalars(root)
        for line in range(scalar.start_mark.line + 1, scalar.end_mark.line + int(scalar.end_mark.column > 0))
    }


def _scalars(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.ScalarNode):
        yield node
        return
    for entry in node.value:
        for part in entry if isinstance(entry, tuple) else (entry,):
            yield from _scalars(part)


# Blank lines


def _spaced(text: str) -> str:
    """One blank line between rules, none doubled, none at the ends, no spaces at the ends of lines."""
    lines = text.split("\n")
    root: Any = yaml.compose(text, Loader=_LOADER)
    kept = _inside_scalars(root)
    apart = set()
    for key, value in root.value:
        if key.value in _SPACED and isinstance(value, yaml.SequenceNode) and not value.flow_style:
            for entry in value.value[1:]:
                head = entry.start_mark.line
                dash = lines[head].find("-")
                while head - 1 not in kept and lines[head - 1].strip(" \t") and _leads(lines[head - 1], dash):
                    head -= 1
                apart.add(head)
    result: list[str] = []
    for number, line in enumerate(lines):
        if number in kept:
            result.append(line)
            continue
        if number in apart and result[-1]:
            result.append("")
        bare = line.rstrip(" \t")
        if bare or (result and result[-1]):
            result.append(bare)
    return "\n".join(result).strip("\n") + "\n"


# What must stay


def _tree(text: str, file: str) -> Any:
    faults: list[Fault] = []
    tree = _plain(read(text, file, faults))
    return tree if not faults else None


def _plain(node: Node) -> Any:
    """Content and spelling of a tree, without places and without the order of keys."""
    if isinstance(node, Scalar):
        return (node.text, node.plain)
    if isinstance(node, Items):
        return [_plain(one) for one in node.nodes]
    assert isinstance(node, Mapping)
    return {entry.key.text: _plain(entry.value) for entry in node}


def _comments(text: str) -> Counter[str]:
    """All comments with how often each is there. Scalars are blanked first: a `#` inside them is none."""
    lines = text.split("\n")
    for scalar in _scalars(yaml.compose(text, Loader=_LOADER)):
        start, end = scalar.start_mark, scalar.end_mark
        for row in range(start.line, min(end.line, len(lines) - 1) + 1):
            low = start.column if row == start.line else 0
            high = end.column if row == end.line else len(lines[row])
            lines[row] = lines[row][:low] + "x" * (high - low) + lines[row][high:]
    return Counter(found.group().rstrip(" \t") for line in lines for found in _COMMENT.finditer(line))
