"""`when` of a rule -> typed condition, with a fault for every name, operator and operand that does not fit."""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.domain.errors import Fault
from gateway.domain.vocabulary import Phase, SignalType
from gateway.policy.condition import Atom, Condition, Group, Junction, Operand, Operator, normal
from gateway.policy.fields import FIELDS, FieldType, ValueType
from gateway.policy.schema import Clause, PolicySet, When
from gateway.policy.signals import detector_of
from gateway.policy.values import Vocabulary, read_value, read_words
from gateway.strict_yaml import Document, Items, Node, Scalar, listed, quoted, suggestion
from gateway.strict_yaml.resolve import as_float

MAX_NESTING: Final = 6  # groups in groups; beyond that nobody reads a condition right

_NUMBERS: Final = frozenset({Operator.EQ, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})
_SETS: Final = frozenset({Operator.ANY_OF, Operator.ALL_OF, Operator.NONE_OF, Operator.EMPTY})
OPERATORS: Final[Mapping[ValueType, frozenset[Operator]]] = {
    SignalType.FLAG: frozenset({Operator.IS}),
    FieldType.FLAG: frozenset({Operator.IS}),
    SignalType.COUNT: _NUMBERS,
    FieldType.COUNT: _NUMBERS,
    SignalType.SCORE: _NUMBERS,
    SignalType.KINDS: _SETS,
    FieldType.KINDS: _SETS,
    FieldType.TEXT: frozenset({Operator.EQ, Operator.ONE_OF, Operator.NOT_ONE_OF}),
}
"""The operators that fit each type of signal or field."""
_ATTRIBUTES: Final = {operator: "is_" if operator is Operator.IS else operator.value for operator in Operator}

_KEYS: Final[Mapping[str, str]] = {one.encode_name: one.name for one in msgspec.structs.fields(Clause)}


class ConditionReader:
    """Reads the conditions of one set. `optional` are detectors that the set can do without."""

    def __init__(
        self,
        document: Document[PolicySet],
        vocabulary: Vocabulary,
        optional: frozenset[str],
        faults: list[Fault],
    ) -> None:
        self._document = document
        self._vocabulary = vocabulary
        self._optional = optional
        self._faults = faults

    def read(self, when: When, phases: frozenset[Phase]) -> Condition | None:
        """The normal form of a condition, `None` after a fault. An empty `when` always holds."""
        members = self._groups(when, when.all, when.any, when.none, phases, depth=1)
        return None if members is None else normal(Group(Junction.ALL, members))

    def _groups(
        self,
        owner: When | Clause,
        all_: tuple[Clause, ...] | None,
        any_: tuple[Clause, ...] | None,
        none: tuple[Clause, ...] | None,
        phases: frozenset[Phase],
        *,
        depth: int,
    ) -> tuple[Condition, ...] | None:
        found: list[Condition] = []
        sound = True
        for junction, clauses in ((Junction.ALL, all_), (Junction.ANY, any_), (Junction.NONE, none)):
            if clauses is None:
                continue
            node = self._document.node(owner, junction.value)
            if not clauses:
                # Clauses with a fault of shape were left out, and told: only a list written empty is news.
                if not (isinstance(node, Items) and node.nodes):
                    self._fault(node, "POL006", f"`{junction.value}` is empty: write a condition, or remove the key")
                sound = False
                continue
            if depth > MAX_NESTING:
                self._fault(node, "POL006", f"nested deeper than {MAX_NESTING}: split the rule")
                return None
            members = [self._clause(clause, phases, depth=depth + 1) for clause in clauses]
            known = tuple(member for member in members if member is not None)
            sound = sound and len(known) == len(members)
            found.append(Group(junction, known))
        return tuple(found) if sound else None

    def _clause(self, clause: Clause, phases: frozenset[Phase], *, depth: int) -> Condition | None:
        operators = [one for one in Operator if getattr(clause, _ATTRIBUTES[one]) is not None]
        grouped = any(group is not None for group in (clause.all, clause.any, clause.none))
        named = [name for name in (clause.signal, clause.field) if name is not None]
        node = self._document.node(clause)
        if any(getattr(clause, _KEYS.get(key, ""), None) is None for key in node.keys):
            return None  # a key with a fault of shape, already told: what is left would only give echoes of it
        if grouped:
            if named or operators:
                self._fault(node, "POL006", "a group and an atom in one entry: write them as two entries")
                return None
            members = self._groups(clause, clause.all, clause.any, clause.none, phases, depth=depth)
            return None if members is None else Group(Junction.ALL, members)
        if len(named) != 1:
            count = "both `signal` and `field`" if named else "neither `signal` nor `field`"
            self._fault(node, "POL006", f"{count}: name one")
            return None
        type_ = self._signal(clause, operators) if clause.signal is not None else self._field(clause, phases)
        if type_ is None:
            return None
        fitting = OPERATORS[type_]
        if len(operators) != 1:
            stated = f"{len(operators)} operators" if operators else "no operator"
            self._fault(node, "POL006", f"{stated} for {quoted(named[0])}: write one of {listed(fitting)}")
            return None
        if operators[0] not in fitting:
            place = self._document.node(clause, operators[0].value)
            message = f"{quoted(named[0])} is of type {type_.value}, `{operators[0].value}` does not fit it"
            self._fault(place, "POL004", f"{message}: use {listed(fitting)}")
            return None
        operand = self._operand(clause, named[0], operators[0], type_)
        return None if operand is None else Atom(named[0], type_, operators[0], operand)

    def _signal(self, clause: Clause, operators: list[Operator]) -> ValueType | None:
        name = str(clause.signal)
        known = self._vocabulary.signals
        if name in known:
            return known[name]
        detector = detector_of(name)
        if detector in self._optional and all(detector_of(signal) != detector for signal in known):
            return _guess(clause, operators)
        near = suggestion(name, known)
        if name in FIELDS:
            near = f"it is a field, write `field: {name}`"
        self._fault(self._document.node(clause, "signal"), "POL002", f"unknown signal {quoted(name)}: {near}")
        return None

    def _field(self, clause: Clause, phases: frozenset[Phase]) -> ValueType | None:
        name = str(clause.field)
        field = FIELDS.get(name)
        node = self._document.node(clause, "field")
        if field is None:
            near = suggestion(name, FIELDS)
            if name in self._vocabulary.signals:
                near = f"it is a signal, write `signal: {name}`"
            self._fault(node, "POL003", f"unknown field {quoted(name)}: {near}")
            return None
        absent = sorted(phase.value for phase in phases - field.phases)
        if absent:
            has = listed(phase.value for phase in field.phases)
            self._fault(node, "POL003", f"field {quoted(name)} does not exist in phase `{absent[0]}`: it has {has}")
            return None
        return field.type

    def _operand(self, clause: Clause, name: str, operator: Operator, type_: ValueType) -> Operand | None:
        written = getattr(clause, _ATTRIBUTES[operator])
        words = self._vocabulary.words(name)
        if isinstance(written, tuple):
            return read_words(written, words, self._faults, "POL005")
        node: Scalar = written
        if operator is Operator.EMPTY:
            type_ = FieldType.FLAG
        value = read_value(node, type_, words, self._faults, "POL005")
        # One spelling of a threshold: `1` and `1.0` are the same score.
        return float(value) if type_ is SignalType.SCORE and isinstance(value, (int, float)) else value

    def _fault(self, node: Node, code: str, message: str) -> None:
        self._faults.append(node.fault(code, message))


def _guess(clause: Clause, operators: list[Operator]) -> ValueType | None:
    """The type of a signal whose optional detector is not installed: what its operator says."""
    operator = operators[0] if operators else Operator.IS
    if operator in _SETS:
        return SignalType.KINDS
    if operator not in _NUMBERS:
        return SignalType.FLAG
    number = as_float(getattr(clause, _ATTRIBUTES[operator]))
    return SignalType.COUNT if number is not None and number > 1 else SignalType.SCORE
