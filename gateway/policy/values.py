"""Values that authors write for signals and fields: operands, test evidence, exception matches."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar, assert_never

from gateway.domain.errors import Fault
from gateway.domain.signal import SignalValue
from gateway.domain.verdict import FieldValue
from gateway.domain.vocabulary import SignalType
from gateway.policy.fields import FIELDS, FieldType, ValueType
from gateway.strict_yaml import Items, Node, Scalar, quoted, suggestion
from gateway.strict_yaml.resolve import as_bool, as_float, as_int

T = TypeVar("T")

SHAPES: Final[Mapping[ValueType, str]] = {
    SignalType.FLAG: "`true` or `false`",
    FieldType.FLAG: "`true` or `false`",
    SignalType.COUNT: "a whole number from 0",
    FieldType.COUNT: "a whole number from 0",
    SignalType.SCORE: "a number from 0 to 1",
    SignalType.KINDS: "a list of kinds",
    FieldType.KINDS: "a list of names",
    FieldType.TEXT: "a text",
}


class Vocabulary:
    """Everything that a condition may name: signals with types, and the kinds a signal can report where known."""

    def __init__(self, signals: Mapping[str, SignalType], kinds: Mapping[str, Iterable[str]]) -> None:
        self.signals: Final = dict(signals)
        self._kinds: Final = {name: frozenset(words) for name, words in kinds.items()}

    def words(self, name: str) -> frozenset[str]:
        """The closed set of values of a signal or field, empty if it is open."""
        field = FIELDS.get(name)
        return field.values if field is not None else self._kinds.get(name, frozenset())


def read_value(
    node: Node, type_: ValueType, allowed: frozenset[str], faults: list[Fault], code: str
) -> SignalValue | FieldValue | None:
    """The value of a node for a signal or field of this type, `None` after a fault."""
    match type_:
        case SignalType.FLAG | FieldType.FLAG:
            flag = as_bool(node) if isinstance(node, Scalar) else None
            return _expect(flag, node, type_, faults, code)
        case SignalType.COUNT | FieldType.COUNT:
            count = as_int(node) if isinstance(node, Scalar) else None
            return _expect(count if count is not None and count >= 0 else None, node, type_, faults, code)
        case SignalType.SCORE:
            score = as_float(node) if isinstance(node, Scalar) else None
            return _expect(score if score is not None and 0 <= score <= 1 else None, node, type_, faults, code)
        case SignalType.KINDS | FieldType.KINDS:
            if not isinstance(node, Items):
                return _expect(None, node, type_, faults, code)
            return read_words(node.nodes, allowed, faults, code)
        case FieldType.TEXT:
            if not isinstance(node, Scalar):
                return _expect(None, node, type_, faults, code)
            words = read_words((node,), allowed, faults, code)
            return None if words is None else next(iter(words))
        case _:
            assert_never(type_)


def read_words(nodes: Iterable[Node], allowed: frozenset[str], faults: list[Fault], code: str) -> frozenset[str] | None:
    """The texts of scalars, each one of `allowed` unless that is empty; `None` after a fault."""
    words: set[str] = set()
    sound = True
    for node in nodes:
        if not isinstance(node, Scalar):
            faults.append(node.fault(code, f"{node.sort} where a word is expected"))
            sound = False
        elif allowed and node.text not in allowed:
            faults.append(node.fault(code, f"unknown value {quoted(node.text)}: {suggestion(node.text, allowed)}"))
            sound = False
        else:
            words.add(node.text)
    return frozenset(words) if sound else None


def _expect(value: T | None, node: Node, type_: ValueType, faults: list[Fault], code: str) -> T | None:
    if value is None:
        shown = quoted(node.text) if isinstance(node, Scalar) else node.sort
        faults.append(node.fault(code, f"{shown} is not {SHAPES[type_]}"))
    return value
