"""Tree of nodes -> frozen structs, strictly typed, with every fault and its place.

Types are msgspec structs and what they are made of: `str`, `bool`, `int`, `float`, enums, literals, dates, paths,
lists, tuples, sets, string-keyed dictionaries, unions that a node's shape or type tells apart, `Any`, and `Node` for
a value that the caller reads itself. `Meta` bounds are checked. Decoding goes on after a fault: what is wrong is left
out (an optional key keeps its default), so that later checks can report their faults of the same text too. A value is
sound only if no fault was appended.
"""

import datetime as dt
import re
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast

from msgspec import inspect

from gateway.domain.errors import Fault, FaultsFound
from gateway.strict_yaml.node import Hole, Items, Mapping, Node, Scalar
from gateway.strict_yaml.read import read
from gateway.strict_yaml.resolve import as_bool, as_float, as_int, as_null, resolve
from gateway.strict_yaml.spelling import nearest, quoted, suggestion

T = TypeVar("T")


class _Failed:
    """Stands for a value whose fault is already reported."""


_FAILED: Final = _Failed()


class Document(Generic[T]):
    """A decoded text that still knows where each of its structs stood."""

    def __init__(self, value: T, root: Node, origins: dict[int, tuple[Any, Node]]) -> None:
        self.value: Final = value
        self.root: Final = root
        self._origins: Final = origins

    def node(self, of: object, *path: str | int) -> Node:
        """The node that a struct of this document was decoded from, or the deepest one along `path` below it."""
        known = self._origins.get(id(of))
        return (known[1] if known else self.root).find(*path)


def load(text: str, file: str, type_: type[T], *, first_line: int = 1) -> T:
    """The value of `text`. Raises `FaultsFound` with every fault, sorted by place."""
    faults: list[Fault] = []
    document = load_document(text, file, type_, faults, first_line=first_line)
    if faults or document is None:
        raise FaultsFound(faults)
    return document.value


def load_document(
    text: str, file: str, type_: type[T], faults: list[Fault], *, first_line: int = 1
) -> Document[T] | None:
    """The value of `text` as far as it could be decoded, `None` if it could not. Faults are appended."""
    root = read(text, file, faults, first_line=first_line)
    decoder = _Decoder(faults)
    value = decoder.decode(root, _type_info(cast("Hashable", type_)))
    return None if value is _FAILED else Document(cast("T", value), root, decoder.origins)


def decode(node: Node, type_: type[T], faults: list[Fault]) -> T | None:
    """The value of a node as far as it could be decoded, `None` if it could not. Faults are appended."""
    value = _Decoder(faults).decode(node, _type_info(cast("Hashable", type_)))
    return None if value is _FAILED else cast("T", value)


@lru_cache(maxsize=64)
def _type_info(type_: Hashable) -> inspect.Type:
    return inspect.type_info(type_)


class _Decoder:
    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self.origins: dict[int, tuple[Any, Node]] = {}  # holds the structs too: an id is unique while its owner lives

    def decode(self, node: Node, wanted: inspect.Type) -> Any:
        if isinstance(wanted, inspect.Metadata):
            return self.decode(node, wanted.type)
        if isinstance(wanted, inspect.CustomType) and issubclass(wanted.cls, Node):
            return self._raw(node, wanted.cls)
        if isinstance(node, Hole):
            return _FAILED
        if isinstance(wanted, inspect.UnionType):
            return self._union(node, wanted)
        if isinstance(wanted, inspect.AnyType):
            return self._any(node)
        if isinstance(wanted, inspect.StructType):
            return self._struct(node, wanted)
        if isinstance(wanted, inspect.DictType):
            return self._dict(node, wanted)
        if isinstance(wanted, tuple(_SEQUENCES)):
            return self._sequence(node, wanted)
        return self._scalar(node, wanted)

    def _fail(self, node: Node, code: str, message: str) -> _Failed:
        if not isinstance(node, Hole):
            self._faults.append(node.fault(code, message))
        return _FAILED

    def _raw(self, node: Node, kind: type[Node]) -> Any:
        if isinstance(node, kind):
            return node
        return self._fail(node, "YAML021", f"{node.sort} where a single value is expected")

    def _any(self, node: Node) -> Any:
        if isinstance(node, Scalar):
            return resolve(node)
        if isinstance(node, Items):
            return [value for value in map(self._any, node.nodes) if value is not _FAILED]
        if isinstance(node, Mapping):
            decoded = {entry.key.text: self._any(entry.value) for entry in node}
            return {key: value for key, value in decoded.items() if value is not _FAILED}
        return _FAILED

    def _struct(self, node: Node, wanted: inspect.StructType) -> Any:
        if not isinstance(node, Mapping):
            keys = ", ".join(quoted(field.encode_name) for field in wanted.fields if field.required)
            hint = f" with {keys}" if keys else ""
            return self._fail(node, "YAML021", f"{_shown(node)} where a mapping is expected: write a mapping{hint}")
        fields = {field.encode_name: field for field in wanted.fields}
        values: dict[str, Any] = {}
        complete = True
        for entry in node:
            field = fields.get(entry.key.text)
            if field is None:
                unused = fields.keys() - {known.key.text for known in node}
                remedy = suggestion(entry.key.text, unused or fields)
                self._fail(entry.key, "YAML020", f"unknown key {quoted(entry.key.text)}: {remedy}")
                continue
            value = self.decode(entry.value, field.type)
            if value is not _FAILED:
                values[field.name] = value
            elif field.required:
                complete = False
        written = {entry.key.text for entry in node}
        for name, field in fields.items():
            if field.required and name not in written:
                complete = False
                # A misspelled required key is one fault, not two.
                if not any(nearest(key, fields) == name for key in written - fields.keys()):
                    self._fail(node, "YAML022", f"key {quoted(name)} is missing: add it")
        if not complete:
            return _FAILED
        try:
            struct = wanted.cls(**values)
        except ValueError as error:
            return self._fail(node, "YAML024", str(error))
        self.origins[id(struct)] = (struct, node)
        return struct

    def _dict(self, node: Node, wanted: inspect.DictType) -> Any:
        if not isinstance(node, Mapping):
            return self._fail(node, "YAML021", f"{_shown(node)} where a mapping is expected: write `key: value` lines")
        decoded: dict[Any, Any] = {}
        for entry in node:
            key = self.decode(entry.key, wanted.key_type)
            value = self.decode(entry.value, wanted.value_type)
            if key is not _FAILED and value is not _FAILED:
                decoded[key] = value
        return decoded if self._sized(node, len(node.entries), wanted, "entries") else _FAILED

    def _sequence(self, node: Node, wanted: Any) -> Any:
        if not isinstance(node, Items):
            return self._fail(
                node, "YAML021", f"{_shown(node)} where a list is expected: write `[a, b]` or `- a` lines"
            )
        if not self._sized(node, len(node.nodes), wanted, "entries"):
            return _FAILED
        decoded = [self.decode(child, wanted.item_type) for child in node.nodes]
        return _SEQUENCES[type(wanted)](value for value in decoded if value is not _FAILED)

    def _union(self, node: Node, wanted: inspect.UnionType) -> Any:
        """The first member that the node's shape fits and that decodes without a fault; else the faults of the
        member that the shape points to."""
        members = [_bare(member) for member in wanted.types]
        if isinstance(node, Scalar) and as_null(node) and any(isinstance(m, inspect.NoneType) for m in members):
            return None
        # Text takes any scalar, so it is tried last.
        fitting = sorted((m for m in members if _fits(node, m)), key=lambda m: isinstance(m, inspect.StrType))
        for member in fitting:
            trial = _Decoder([])
            value = trial.decode(node, member)
            if value is not _FAILED and not trial._faults:
                self.origins.update(trial.origins)
                return value
        candidates = fitting or [m for m in members if not isinstance(m, inspect.NoneType)]
        if len(candidates) > 1 and not fitting:
            return self._fail(
                node, "YAML021", f"{_shown(node)} is not possible here: write {_wanted_words(candidates)}"
            )
        return self.decode(node, candidates[-1])

    def _scalar(self, node: Node, wanted: inspect.Type) -> Any:
        words = _words(wanted)
        if not isinstance(node, Scalar):
            return self._fail(node, "YAML021", f"{node.sort} where {words} is expected")
        if as_null(node):
            return self._fail(node, "YAML021", f"no value where {words} is expected: write one, or remove the key")
        if isinstance(wanted, inspect.EnumType):
            choices = {str(member.value): member for member in wanted.cls}
            return self._choice(node, choices)
        if isinstance(wanted, inspect.LiteralType):
            return self._choice(node, {str(value): value for value in wanted.values})
        parse = _PARSERS.get(type(wanted)) or (_path if _is_path(wanted) else None)
        if parse is None:
            raise TypeError(f"strict yaml does not decode `{wanted!r}`")
        value = parse(node)
        if value is None:
            return self._fail(node, "YAML021", f"{quoted(node.text)} is not {words}{_hint(node, wanted)}")
        return value if self._bounded(node, value, wanted) else _FAILED

    def _choice(self, node: Scalar, choices: dict[str, Any]) -> Any:
        if node.text in choices:
            return choices[node.text]
        return self._fail(node, "YAML023", f"unknown value {quoted(node.text)}: {suggestion(node.text, choices)}")

    def _bounded(self, node: Scalar, value: Any, wanted: Any) -> bool:
        if isinstance(wanted, inspect.StrType):
            if wanted.pattern is not None and not re.search(wanted.pattern, value):
                self._fail(node, "YAML024", f"{quoted(value)} has the wrong form: it must match `{wanted.pattern}`")
                return False
            return self._sized(node, len(value), wanted, "characters")
        if isinstance(wanted, (inspect.IntType, inspect.FloatType)):
            bounds: tuple[tuple[float | None, str, Callable[[Any, Any], bool]], ...] = (
                (wanted.ge, "at least", lambda a, b: a >= b),
                (wanted.gt, "more than", lambda a, b: a > b),
                (wanted.le, "at most", lambda a, b: a <= b),
                (wanted.lt, "less than", lambda a, b: a < b),
            )
            for bound, words, holds in bounds:
                if bound is not None and not holds(value, bound):
                    self._fail(node, "YAML024", f"{quoted(node.text)} is out of range: write {words} {bound:g}")
                    return False
        return True

    def _sized(self, node: Node, size: int, wanted: Any, unit: str) -> bool:
        if wanted.min_length is not None and size < wanted.min_length:
            self._fail(node, "YAML024", f"{size} {unit}: at least {wanted.min_length} are needed")
            return False
        if wanted.max_length is not None and size > wanted.max_length:
            self._fail(node, "YAML024", f"{size} {unit}: at most {wanted.max_length} are possible")
            return False
        return True


def _text(node: Scalar) -> str | None:
    return node.text


def _date(node: Scalar) -> dt.date | None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", node.text):
        return None
    try:
        return dt.date.fromisoformat(node.text)
    except ValueError:
        return None


def _path(node: Scalar) -> Path | None:
    return Path(node.text) if node.text else None


_PARSERS: Final[dict[type[inspect.Type], Callable[[Scalar], Any]]] = {
    inspect.StrType: _text,
    inspect.BoolType: as_bool,
    inspect.IntType: as_int,
    inspect.FloatType: as_float,
    inspect.DateType: _date,
}
_SEQUENCES: Final[dict[type, Callable[[Any], Any]]] = {
    inspect.ListType: list,
    inspect.VarTupleType: tuple,
    inspect.SetType: set,
    inspect.FrozenSetType: frozenset,
}
_WORDS: Final[dict[type[inspect.Type], str]] = {
    inspect.StrType: "text",
    inspect.BoolType: "`true` or `false`",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.DateType: "a date such as `2027-01-31`",
}


def _is_path(wanted: inspect.Type) -> bool:
    return isinstance(wanted, inspect.CustomType) and wanted.cls is Path


def _bare(wanted: inspect.Type) -> inspect.Type:
    return wanted.type if isinstance(wanted, inspect.Metadata) else wanted


def _fits(node: Node, wanted: inspect.Type) -> bool:
    if isinstance(wanted, inspect.NoneType):
        return False
    if isinstance(wanted, inspect.AnyType):
        return True
    if isinstance(wanted, (inspect.StructType, inspect.DictType)):
        return isinstance(node, Mapping)
    if isinstance(wanted, tuple(_SEQUENCES)):
        return isinstance(node, Items)
    if isinstance(wanted, inspect.CustomType) and issubclass(wanted.cls, Node):
        return isinstance(node, wanted.cls)
    return isinstance(node, Scalar)


def _words(wanted: inspect.Type) -> str:
    if isinstance(wanted, inspect.EnumType):
        return " | ".join(quoted(str(member.value)) for member in wanted.cls)
    if isinstance(wanted, inspect.LiteralType):
        return " | ".join(quoted(str(value)) for value in wanted.values)
    if isinstance(wanted, (inspect.StructType, inspect.DictType)):
        return "a mapping"
    if isinstance(wanted, tuple(_SEQUENCES)):
        return "a list"
    return _WORDS.get(type(wanted), "a value")


def _wanted_words(members: list[inspect.Type]) -> str:
    return " or ".join(_words(member) for member in members)


def _shown(node: Node) -> str:
    return quoted(node.text) if isinstance(node, Scalar) and node.text else node.sort


def _hint(node: Scalar, wanted: inspect.Type) -> str:
    """Why a value that looks right to a reader is not: YAML 1.1 words and quotes around numbers."""
    if isinstance(wanted, inspect.BoolType):
        folded = node.text.casefold()
        if folded in {"yes", "on", "y", "true"}:
            return ": write `true`"
        if folded in {"no", "off", "n", "false"}:
            return ": write `false`"
    elif isinstance(wanted, (inspect.IntType, inspect.FloatType)) and not node.plain:
        return ": remove the quotes"
    return ""
