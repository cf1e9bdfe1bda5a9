"""The search behind proofs: a finite quotient of evidence, walked depth first and cut where bounds already answer.

In the manner of DPLL (M. Davis, G. Logemann, D. Loveland, "A machine program for theorem-proving", 1962), with the
next variable always one that can still change the answer: what no rule in question looks at any more is never tried.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from gateway.domain.signal import DetectorRun
from gateway.domain.verdict import Evidence, FieldValue
from gateway.domain.vocabulary import Provenance, SignalStatus
from gateway.policy.fields import FIELDS
from gateway.policy.space import DOWN, UP, Space, Variable
from gateway.policy.trials import EMPTY_FIELDS

Assignment = Mapping[Variable, Any]
Found = TypeVar("Found")


class Question(Generic[Found]):
    """What a search asks of an assignment.

    `undecided`: whether some completion may still be a witness. `open`: variables that are not assigned and may
    change that, those that decide most first; none: the assignment stands for its completions. `confirm`: the
    witness that it is, `None` if the evaluator does not agree.
    """

    def __init__(
        self,
        *,
        undecided: Callable[[Assignment], bool],
        open_: Callable[[Assignment], Iterable[Variable]],
        confirm: Callable[[Assignment], Found | None],
    ) -> None:
        self.undecided = undecided
        self.open = open_
        self.confirm = confirm


class Search:
    """One search with a budget of assignments. `exhausted`: it gave up. `unconfirmed`: a case that should have been
    a witness was none, so that finding nothing proves nothing. `tried` counts assignments."""

    def __init__(self, space: Space, budget: int) -> None:
        self.space = space
        self._budget = budget
        self.tried = 0
        self.exhausted = False
        self.unconfirmed = False

    def run(self, question: Question[Found]) -> Found | None:
        """A witness, or `None`: then there is none, if the search is `complete`."""
        stack: list[dict[Variable, Any]] = [{}]
        while stack:
            known = stack.pop()
            self.tried += 1
            if self.tried > self._budget:
                self.exhausted = True
                return None
            if not question.undecided(known):
                continue
            variable = next(iter(question.open(known)), None)
            if variable is None:
                witness = question.confirm(known)
                if witness is not None:
                    return witness
                self.unconfirmed = True
                continue
            stack += ({**known, variable: value} for value in reversed(self.space.domains[variable]))
        return None

    @property
    def complete(self) -> bool:
        """Whether finding nothing means that there is nothing."""
        return self.space.exact and not self.exhausted and not self.unconfirmed


def evidence_of(space: Space, known: Assignment, *, user: str = "") -> tuple[Evidence, dt.datetime]:
    """The evidence and moment that an assignment stands for; what is not assigned is harmless."""
    fields: dict[str, FieldValue] = {
        name: EMPTY_FIELDS[field.type] for name, field in FIELDS.items() if space.phase in field.phases
    }
    values: dict[Provenance, dict[str, Any]] = {}
    runs: dict[str, DetectorRun] = {}
    for variable, default in ((one, domain[0]) for one, domain in space.domains.items()):
        value = known.get(variable, default)
        match variable:
            case ("run", detector):
                status = SignalStatus.ERROR if value == DOWN else SignalStatus.OK
                version = UP if value == DOWN else value
                runs[detector] = DetectorRun(
                    detector=detector, version=version, status=status, reason="test" if value == DOWN else ""
                )
            case ("value", source, name) if variable in known:
                values.setdefault(Provenance(source), {})[name] = value
            case ("word", source, name, word) if value:
                mine = values.setdefault(Provenance(source), {})
                mine[name] = mine.get(name, frozenset()) | {word}
            case ("field", name):
                fields[name] = value
            case ("in", name, word) if value:
                present = fields[name]
                assert isinstance(present, frozenset)
                fields[name] = present | {word}
            case _:
                pass
    if user:
        fields["principal.user"] = user
    now = known.get(("now",), space.domains["now",][0])
    return Evidence(phase=space.phase, fields=fields, values=values, runs=runs), now
