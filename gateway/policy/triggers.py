"""Which evidence can make a condition true at all: the index that keeps a thousand idle rules free.

A trigger is a name with a value: `("pii.entities", "US_SSN")` for a kind or a text that must be present, or
`("injection.score", "")` for any value but the default. A set of triggers says: while none of them is there, and no
detector failed and no field is missing, the condition is false. `None` says nothing: the rule is always visited.
"""

from typing import Final

from gateway.domain.vocabulary import SignalType
from gateway.policy.condition import Atom, Condition, Junction, Operator, predicate
from gateway.policy.fields import FieldType
from gateway.policy.signals import DEFAULTS

Trigger = tuple[str, str]
Triggers = frozenset[Trigger]

ANY_VALUE: Final = ""


def triggers(condition: Condition) -> Triggers | None:
    """What must be there for the condition not to be false."""
    return _needed(condition, truth=True)


def _needed(condition: Condition, *, truth: bool) -> Triggers | None:
    """What must be there for the condition to have this truth."""
    if isinstance(condition, Atom):
        return _of_atom(condition, truth=truth)
    wanted = truth is not (condition.junction is Junction.NONE)
    parts = [_needed(member, truth=wanted) for member in condition.members]
    # `all` true, `any` false and `none` true need every member: one member's triggers are enough.
    every = truth is not (condition.junction is Junction.ANY)
    known = [part for part in parts if part is not None]
    if every:
        return min(known, key=_cost, default=None)
    if len(known) < len(parts):
        return None
    return frozenset().union(*known)


def _cost(found: Triggers) -> tuple[int, int, list[Trigger]]:
    """Signals are rarer than fields, kinds rarer than any value, fewer better; then a stable order."""
    fields = sum(name.startswith(("principal.", "request.", "passage.", "tool.", "retrieval.")) for name, _ in found)
    return fields, len(found), sorted(found)


def _of_atom(atom: Atom, *, truth: bool) -> Triggers | None:
    positive = (atom.operator in {Operator.ANY_OF, Operator.ALL_OF, Operator.ONE_OF} and truth) or (
        atom.operator in {Operator.NONE_OF, Operator.NOT_ONE_OF} and not truth
    )
    if positive and isinstance(atom.operand, frozenset):
        # For `all_of` one of the kinds is enough; the first is as good as any.
        words = sorted(atom.operand)[:1] if atom.operator is Operator.ALL_OF else atom.operand
        # An empty text cannot be told from "any value" in the index.
        return None if ANY_VALUE in words else frozenset((atom.name, word) for word in words)
    if isinstance(atom.type, FieldType):
        return None
    assert isinstance(atom.type, SignalType)
    at_default = predicate(atom.operator, atom.operand)(DEFAULTS[atom.type])
    return None if at_default is truth else frozenset({(atom.name, ANY_VALUE)})
