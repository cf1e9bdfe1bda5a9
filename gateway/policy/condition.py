"""Compiled conditions: typed atoms under `all`, `any` and `none`, with a three-valued truth (Kleene, 1938).

An atom on a signal whose detector did not end in `ok` is unknown, whatever the value; so is one on a field that the
evidence lacks and one on a value of the wrong type. `all` is the minimum, `any` the maximum, `none` the complement of
`any`. Conditions are values: evaluated, explained, digested and analysed from the same structure.
"""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, assert_never

from msgspec import Struct

from gateway.domain.vocabulary import RuleStatus, SignalType
from gateway.policy.fields import FieldType, ValueType
from gateway.policy.signals import DEFAULTS, detector_of

FALSE: Final = 0
UNKNOWN: Final = 1
TRUE: Final = 2

Operand = bool | int | float | str | frozenset[str]


class Operator(StrEnum):
    IS = "is"
    EQ = "eq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    ANY_OF = "any_of"
    ALL_OF = "all_of"
    NONE_OF = "none_of"
    EMPTY = "empty"
    ONE_OF = "one_of"
    NOT_ONE_OF = "not_one_of"


class Junction(StrEnum):
    ALL = "all"
    ANY = "any"
    NONE = "none"


class Atom(Struct, frozen=True):
    """`name operator operand` over a signal or a field."""

    name: str
    type: ValueType
    operator: Operator
    operand: Operand

    @property
    def is_signal(self) -> bool:
        return isinstance(self.type, SignalType)

    @property
    def detector(self) -> str:
        """The detector that decides the atom, "" for a field."""
        return detector_of(self.name) if self.is_signal else ""

    @property
    def text(self) -> str:
        """How verdicts and explanations name the atom: `topic.credit_decision>=0.7`."""
        operand = self.operand
        if isinstance(operand, frozenset):
            shown = f"[{', '.join(sorted(operand))}]"
        elif isinstance(operand, bool):
            shown = str(operand).lower()
        else:
            shown = str(operand)
        symbol = _SYMBOLS.get(self.operator)
        return f"{self.name}{symbol}{shown}" if symbol else f"{self.name} {self.operator.value} {shown}"


class Group(Struct, frozen=True):
    """A junction of conditions; an empty `all` is true."""

    junction: Junction
    members: tuple["Condition", ...]


Condition = Atom | Group

_SYMBOLS: Final = {
    Operator.EQ: "=",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
}


class Failure(Struct, frozen=True):
    """Why a detector's signals are unknown: nobody ran it, or it erred; `why` says it in stable words."""

    status: RuleStatus
    why: str


class Sight:
    """What one rule sees: merged signal values, fields, and the detectors that did not end in `ok`."""

    __slots__ = ("failed", "fields", "values")

    def __init__(self, values: Mapping[str, Any], fields: Mapping[str, Any], failed: Mapping[str, Failure]) -> None:
        self.values = values
        self.fields = fields
        self.failed = failed


Test = Callable[[Sight], int]


def compile_test(condition: Condition) -> Test:
    """The condition as a closure: the compiled evaluator that serving, tests and replay share."""
    return _compile(condition, _signal_test)


def compile_settled(condition: Condition) -> Test:
    """The truth that holds however the texts turn out that a failed detector did not finish.

    Scores, counts, flags and kinds of a phase can only grow with more text. So an atom that asks for more is true
    once its partial value satisfies it, one that asks for less is false once its partial value breaks it; anything
    else about a failed detector stays unknown.
    """
    return _compile(condition, _settled_test)


class Leaf(Struct, frozen=True, eq=False):
    """An atom with its test; `argues` tells whether it stands under an even number of `none`s."""

    atom: Atom
    text: str
    detector: str
    argues: bool
    test: Test


def leaves(condition: Condition) -> tuple[Leaf, ...]:
    """All atoms, each once, in order of their texts."""
    arguing = set(positive_atoms(condition))
    return tuple(Leaf(atom, atom.text, atom.detector, atom in arguing, compile_test(atom)) for atom in atoms(condition))


def _compile(condition: Condition, signal_test: Callable[[Atom], Test]) -> Test:
    if isinstance(condition, Atom):
        return signal_test(condition) if condition.is_signal else _field_test(condition)
    members = tuple(_compile(member, signal_test) for member in condition.members)
    match condition.junction:
        case Junction.ALL:
            return members[0] if len(members) == 1 else _all_test(members)
        case Junction.ANY:
            return members[0] if len(members) == 1 else _any_test(members)
        case Junction.NONE:
            some = _any_test(members)
            return lambda sight: TRUE - some(sight)
        case _:
            assert_never(condition.junction)


def _all_test(members: tuple[Test, ...]) -> Test:
    def test(sight: Sight) -> int:
        truth = TRUE
        for member in members:
            found = member(sight)
            if found < truth:
                if found == FALSE:
                    return FALSE
                truth = found
        return truth

    return test


def _any_test(members: tuple[Test, ...]) -> Test:
    def test(sight: Sight) -> int:
        truth = FALSE
        for member in members:
            found = member(sight)
            if found > truth:
                if found == TRUE:
                    return TRUE
                truth = found
        return truth

    return test


def _signal_test(atom: Atom) -> Test:
    holds = predicate(atom.operator, atom.operand)
    assert isinstance(atom.type, SignalType)
    name, detector, expected = atom.name, atom.detector, _TYPES[atom.type]
    default = TRUE if holds(DEFAULTS[atom.type]) else FALSE

    def test(sight: Sight) -> int:
        if detector in sight.failed:
            return UNKNOWN
        value = sight.values.get(name)
        if value is None:
            return default
        # Not a number equals not even itself; it must not pass a threshold unseen.
        if not isinstance(value, expected) or value != value:  # noqa: PLR0124
            return UNKNOWN
        return TRUE if holds(value) else FALSE

    return test


def _settled_test(atom: Atom) -> Test:
    plain, detector, nothing_failed = _signal_test(atom), atom.detector, dict[str, Failure]()
    grows = atom.operator in _GROWING or (atom.operator, atom.operand) in _GROWING_WORDS
    shrinks = atom.operator in _SHRINKING or (atom.operator, atom.operand) in _SHRINKING_WORDS
    kept = TRUE if grows else FALSE

    def test(sight: Sight) -> int:
        if detector not in sight.failed:
            return plain(sight)
        partial = plain(Sight(sight.values, sight.fields, nothing_failed))
        return partial if partial == kept and (grows or shrinks) else UNKNOWN

    return test


_GROWING: Final = frozenset({Operator.GT, Operator.GTE, Operator.ANY_OF, Operator.ALL_OF})
_SHRINKING: Final = frozenset({Operator.LT, Operator.LTE, Operator.NONE_OF})
_GROWING_WORDS: Final = frozenset({(Operator.IS, True), (Operator.EMPTY, False)})
_SHRINKING_WORDS: Final = frozenset({(Operator.IS, False), (Operator.EMPTY, True)})


def _field_test(atom: Atom) -> Test:
    holds = predicate(atom.operator, atom.operand)
    name, expected = atom.name, _TYPES[atom.type]

    def test(sight: Sight) -> int:
        value = sight.fields.get(name)
        if not isinstance(value, expected):
            return UNKNOWN
        return TRUE if holds(value) else FALSE

    return test


_TYPES: Final[dict[ValueType, Any]] = {
    SignalType.FLAG: bool,
    SignalType.COUNT: int,
    SignalType.SCORE: (float, int),
    SignalType.KINDS: frozenset,
    FieldType.FLAG: bool,
    FieldType.COUNT: int,
    FieldType.TEXT: str,
    FieldType.KINDS: frozenset,
}


def predicate(operator: Operator, operand: Any) -> Callable[[Any], bool]:
    """Whether a known value of the right type satisfies an operator."""
    match operator:
        case Operator.IS | Operator.EQ:
            return lambda value: bool(value == operand)
        case Operator.GT:
            return lambda value: bool(value > operand)
        case Operator.GTE:
            return lambda value: bool(value >= operand)
        case Operator.LT:
            return lambda value: bool(value < operand)
        case Operator.LTE:
            return lambda value: bool(value <= operand)
        case Operator.ANY_OF:
            return lambda value: not operand.isdisjoint(value)
        case Operator.ALL_OF:
            return lambda value: bool(operand <= value)
        case Operator.NONE_OF:
            return lambda value: bool(operand.isdisjoint(value))
        case Operator.EMPTY:
            return lambda value: (not value) == operand
        case Operator.ONE_OF:
            return lambda value: value in operand
        case Operator.NOT_ONE_OF:
            return lambda value: value not in operand
        case _:
            assert_never(operator)


def atoms(condition: Condition) -> tuple[Atom, ...]:
    """All atoms, each once, in canonical order."""
    if isinstance(condition, Atom):
        return (condition,)
    found = {atom for member in condition.members for atom in atoms(member)}
    return tuple(sorted(found, key=lambda atom: atom.text))


def positive_atoms(condition: Condition) -> tuple[Atom, ...]:
    """The atoms that are not under an odd number of `none`s: those that argue for a match."""
    return tuple(sorted(_signed(condition, positive=True), key=lambda atom: atom.text))


def _signed(condition: Condition, *, positive: bool) -> set[Atom]:
    if isinstance(condition, Atom):
        return {condition} if positive else set()
    below = positive is not (condition.junction is Junction.NONE)
    return {atom for member in condition.members for atom in _signed(member, positive=below)}


def normal(condition: Condition) -> Condition:
    """The canonical form: nested groups of one junction joined, members unique and sorted, groups of one unwrapped.
    Two conditions that differ only in layout, order and repetition have the same normal form."""
    if isinstance(condition, Atom):
        if condition.operator is Operator.EQ and condition.type is FieldType.TEXT:
            return Atom(condition.name, condition.type, Operator.ONE_OF, frozenset({str(condition.operand)}))
        return condition
    junction = condition.junction
    inner = Junction.ANY if junction is Junction.NONE else junction  # none(any(a, b)) is none(a, b)
    members: dict[str, Condition] = {}
    for member in map(normal, condition.members):
        joined = member.members if isinstance(member, Group) and member.junction is inner else (member,)
        members |= {json.dumps(canonical(one)): one for one in joined}
    ordered = tuple(members[key] for key in sorted(members))
    if len(ordered) == 1 and junction is not Junction.NONE:
        return ordered[0]
    return Group(junction, ordered)


def canonical(condition: Condition) -> Any:
    """A condition as JSON values with one spelling."""
    if isinstance(condition, Group):
        return {condition.junction.value: [canonical(member) for member in condition.members]}
    operand: Any = condition.operand
    if isinstance(operand, frozenset):
        operand = sorted(operand)
    elif isinstance(operand, float):
        operand = repr(operand)
    return [condition.name, condition.type.value, condition.operator.value, operand]
