"""What became of a condition or a set of names, in words: thresholds from and to, members added and removed."""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from gateway.policy.condition import Atom, Condition, Operator, atoms

_MOST: Final = 5  # members told by name; of the rest their number

_COMPARISONS: Final = frozenset({Operator.EQ, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})


def changed_condition(old: Condition, new: Condition) -> tuple[str, ...]:
    """The differences of two conditions, at least one if they are not the same."""
    before, after = set(atoms(old)), set(atoms(new))
    gone, fresh = _by_text(before - after), _by_text(after - before)
    pairs = list(_pairs(gone, fresh))
    paired = {atom for pair in pairs for atom in pair}
    told = [_changed_atom(one, other) for one, other in pairs]
    told += [f"without {atom.text}" for atom in gone if atom not in paired]
    told += [f"with {atom.text}" for atom in fresh if atom not in paired]
    return tuple(told) or (f"{in_words(old)} becomes {in_words(new)}",)


def changed_members(old: frozenset[str], new: frozenset[str]) -> str:
    """What was added and removed: `adds [A, B], removes [C]`."""
    parts = [f"{verb} {_listed(names)}" for verb, names in (("adds", new - old), ("removes", old - new)) if names]
    return ", ".join(parts) or "order or repetition"


def in_words(condition: Condition) -> str:
    """A condition on one line: `all(injection.score>=0.5, none(pii.entities empty true))`."""
    if isinstance(condition, Atom):
        return condition.text
    return f"{condition.junction.value}({', '.join(map(in_words, condition.members))})"


def _by_text(found: set[Atom]) -> list[Atom]:
    return sorted(found, key=lambda atom: atom.text)


def _pairs(gone: list[Atom], fresh: list[Atom]) -> Iterator[tuple[Atom, Atom]]:
    """Atoms that took each other's place: one and one with a name and operator, or else with a name."""
    taken: set[Atom] = set()
    for alike in (_shape, _name):
        left = [atom for atom in (*gone, *fresh) if atom not in taken]
        for _, group in groupby(sorted(left, key=alike), key=alike):
            members = list(group)
            old = [atom for atom in members if atom in gone]
            new = [atom for atom in members if atom in fresh]
            if len(old) == len(new) == 1:
                taken |= {old[0], new[0]}
                yield old[0], new[0]


def _shape(atom: Atom) -> tuple[str, str]:
    return atom.name, atom.operator.value


def _name(atom: Atom) -> tuple[str, str]:
    return atom.name, ""


def _changed_atom(old: Atom, new: Atom) -> str:
    if old.operator is not new.operator:
        return f"{old.text} becomes {new.text}"
    if old.operator in _COMPARISONS:
        sign = old.text.removesuffix(str(old.operand))
        return f"threshold {sign} {old.operand} becomes {new.operand}"
    if isinstance(old.operand, frozenset) and isinstance(new.operand, frozenset):
        return f"{old.name} {old.operator.value} {changed_members(old.operand, new.operand)}"
    return f"{old.text} becomes {new.text}"


def _listed(names: frozenset[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - _MOST} more" if len(shown) > _MOST else ""
    return f"[{', '.join(shown[:_MOST])}]{more}"
