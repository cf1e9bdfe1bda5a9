"""How good answers are on a set of questions with known facts: pure scoring, no I/O.

A question with a `fact` is answered rightly by a text that holds the fact. A question without an answer for its asker
is answered rightly by a text that cites nothing. It leaks if the text holds what is withheld from the asker, or if a
closed document was among the passages. Facts are compared without regard to case and white space, and not inside a
longer word or number: `£5` is not in `£5,000`.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from statistics import median
from typing import Any, Final, Literal, assert_never

from msgspec import Struct

from gateway.domain.passage import Passage
from gateway.domain.text import outline
from gateway.evaluation.injection import Rate, wilson

_MARKER: Final = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")


class Question(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of a question file. `groups` are the asker's; either `fact` (and the `documents` of which one holds
    it) or `no_answer` is given: `hidden` (in documents closed to this asker) or `absent` (in none)."""

    id: str
    ask: str
    groups: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    fact: str = ""
    no_answer: Literal["", "hidden", "absent"] = ""
    hidden: tuple[str, ...] = ()
    withheld: str = ""
    missing: str = ""

    def __post_init__(self) -> None:
        if bool(self.fact) == bool(self.no_answer):
            raise ValueError("give either `fact` or `no_answer`")


class QuestionFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"examples": "try"}):
    """`examples` are requests to show, which other code reads."""

    version: Literal[1]
    questions: tuple[Question, ...]
    examples: list[Any] = []


class GivenAnswer(Struct, frozen=True, kw_only=True):
    """A text, and the passages that it cites by number from 1."""

    text: str
    passages: tuple[Passage, ...] = ()

    def __repr__(self) -> str:
        return f"GivenAnswer({outline(self.text)}, {len(self.passages)} passages)"


class Outcome(StrEnum):
    """`RIGHT` also for silence where there is no answer."""

    RIGHT = "right"
    NOT_FOUND = "not found"  # silent, and no passage holds the fact
    SILENT = "silent"  # silent, although a passage holds the fact
    BESIDE = "beside the point"  # cites, but without the fact
    TALKATIVE = "talkative"  # cites where there is no answer


class Scored(Struct, frozen=True, kw_only=True):
    """`found`: a passage holds the fact. `cited`: every number names a passage, and one of those holds the fact or is
    of an expected document. `chars` is 0 for silence."""

    id: str
    outcome: Outcome
    answerable: bool
    found: bool
    cited: bool
    leaked: bool
    chars: int


class AnswerReport(Struct, frozen=True, kw_only=True):
    """Shares with their 95 % intervals. `found`, `facts`: of the questions with a fact; `to_the_point`: facts among the
    answers given to them; `cited`: citations in order among the right ones; `silent`: of the questions without an
    answer; `right`: of all. `median_chars` is that of the answers given."""

    found: Rate
    facts: Rate
    to_the_point: Rate
    cited: Rate
    silent: Rate
    right: Rate
    leaks: int
    median_chars: float
    failed: tuple[Scored, ...]


def score(question: Question, given: GivenAnswer) -> Scored:
    numbers = [int(number) for marker in _MARKER.findall(given.text) for number in re.findall(r"\d+", marker)]
    known = [given.passages[number - 1] for number in numbers if 1 <= number <= len(given.passages)]
    found = bool(question.fact) and any(holds(passage.text, question.fact) for passage in given.passages)
    expected = any(p.doc in question.documents or holds(p.text, question.fact) for p in known)
    closed = any(passage.doc in question.hidden for passage in given.passages)
    return Scored(
        id=question.id,
        outcome=_outcome(question, _MARKER.sub("", given.text), answered=bool(known), found=found),
        answerable=bool(question.fact),
        found=found,
        cited=bool(question.fact) and expected and len(known) == len(numbers),
        leaked=closed or (bool(question.withheld) and holds(given.text, question.withheld)),
        chars=len(given.text) if known else 0,
    )


def report(scored: Sequence[Scored]) -> AnswerReport:
    facts = [one for one in scored if one.answerable]
    others = [one for one in scored if not one.answerable]
    right = [one for one in facts if one.outcome is Outcome.RIGHT]
    answered = [one for one in facts if one.chars]
    return AnswerReport(
        found=wilson(sum(one.found for one in facts), len(facts)),
        facts=wilson(len(right), len(facts)),
        to_the_point=wilson(sum(bool(one.chars) for one in right), len(answered)),
        cited=wilson(sum(one.cited for one in right), len(right)),
        silent=wilson(sum(one.outcome is Outcome.RIGHT for one in others), len(others)),
        right=wilson(sum(one.outcome is Outcome.RIGHT for one in scored), len(scored)),
        leaks=sum(one.leaked for one in scored),
        median_chars=float(median([one.chars for one in scored if one.chars] or [0])),
        failed=tuple(one for one in scored if one.leaked or one.outcome is not Outcome.RIGHT),
    )


def holds(text: str, fact: str) -> bool:
    """Whether `fact` stands in `text`, whole."""
    wanted = re.escape(_flat(fact))
    return re.search(rf"(?<!\w)(?<!\d[.,]){wanted}(?!\w)(?![.,]\d)", _flat(text)) is not None


def explained(outcome: Outcome) -> str:
    """What to look at for an answer that is not right; "" for one that is."""
    match outcome:
        case Outcome.RIGHT:
            return ""
        case Outcome.NOT_FOUND:
            return "no passage holds the fact: look at retrieval"
        case Outcome.SILENT:
            return "a passage holds the fact, and the model says that none does"
        case Outcome.BESIDE:
            return "the answer does not hold the fact"
        case Outcome.TALKATIVE:
            return "the answer cites passages where none answers"
        case _:
            assert_never(outcome)


def _outcome(question: Question, text: str, *, answered: bool, found: bool) -> Outcome:
    if question.no_answer:
        return Outcome.TALKATIVE if answered else Outcome.RIGHT
    if holds(text, question.fact):
        return Outcome.RIGHT
    if answered:
        return Outcome.BESIDE
    return Outcome.SILENT if found else Outcome.NOT_FOUND


def _flat(text: str) -> str:
    return " ".join(text.split()).casefold()
