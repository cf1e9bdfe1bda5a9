"""Which units answer, and how they are put together.

Every word of an answer stands in a passage or in the fixed texts of this module; units keep the order of the
passages, and each is followed by the number of its passage in brackets.
"""

import re
from collections.abc import Sequence
from typing import Final

from gateway.domain.passage import Passage
from gateway.domain.ports import Embedder
from gateway.upstream.editions import Editions
from gateway.upstream.languages import Language, language_of
from gateway.upstream.question import Question, readings
from gateway.upstream.ranking import Ranking, rank
from gateway.upstream.units import Unit, UnitKind, units_of

NO_PASSAGES: Final = {
    Language.ENGLISH: "I have no documents that I could answer this from.",
    Language.GERMAN: "Ich habe keine Dokumente, aus denen ich das beantworten könnte.",
    Language.SPANISH: "No tengo documentos con los que pueda responder a esto.",
}
NO_ANSWER: Final = {
    Language.ENGLISH: "The documents I was given do not answer this question.",
    Language.GERMAN: "Die mir vorliegenden Dokumente beantworten diese Frage nicht.",
    Language.SPANISH: "Los documentos que tengo no responden a esta pregunta.",
}

MAX_UNITS: Final = 4
_NEAR_BEST: Final = 0.1  # a further unit must score at least this part of the best one
_TIE: Final = 0.6  # from this part on nobody can tell which of the two answers
_ADDS: Final = 0.15  # below a tie it must match this much of the question that nothing quoted yet matches
_BACKWARD: Final = re.compile(
    r"(?:It|Its|They|Their|This|These|That|Those|He|She|His|Her|Such|However|Er|Sie|Es|Dies\w*|Ihre?|Sein\w*|Dabei|Dafür"
    r"|Jedoch|Est[aeo]s?|Es[aeo]s?|Ella|Ellos|Ellas|Su|Sus|Sin embargo)\b"
)
_END: Final = re.compile(r"[.!?…]+$")

Place = tuple[int, int]  # indexes of passage and unit


def answer(question: str, passages: Sequence[Passage], embedder: Embedder | None) -> str:
    """The quoted answer, or a fixed text in the language of the question. Deterministic; blocks with an embedder."""
    units = [units_of(passage.title, passage.section, passage.text) for passage in passages]
    if not any(units):
        return NO_PASSAGES[language_of(question)]
    chosen = choose(question, units, embedder, Editions(question, passages))
    return compose(chosen, units) if chosen else NO_ANSWER[language_of(question)]


def choose(
    question: str, units: Sequence[Sequence[Unit]], embedder: Embedder | None, editions: Editions | None = None
) -> list[Place]:
    """At most `MAX_UNITS` places in the order of the passages; none if nothing scores high enough."""
    parts = readings(question)
    known = editions or Editions(question, ())
    chosen: list[Place] = []
    for number, part in enumerate(parts):
        ranked = [(rank(reading, units, embedder), reading) for reading in part]
        ranking, reading = max(ranked, key=lambda one: one[0].margin)
        room = MAX_UNITS - len(chosen) - (len(parts) - 1 - number)  # one for each part still to come
        chosen += _for_part(reading, ranking, units, known, before=chosen, room=room)
    return sorted(chosen)


def compose(chosen: Sequence[Place], units: Sequence[Sequence[Unit]]) -> str:
    """The text of the places, which are sorted. Items that follow each other share their lead and citation."""
    runs: list[list[Place]] = []
    for place in chosen:
        if runs and _same_list(runs[-1][-1], place, units):
            runs[-1].append(place)
        else:
            runs.append([place])
    return " ".join(_cited([units[passage][number] for passage, number in run], run[0][0] + 1) for run in runs)


def _for_part(
    question: Question,
    ranking: Ranking,
    units: Sequence[Sequence[Unit]],
    editions: Editions,
    *,
    before: Sequence[Place],
    room: int,
) -> list[Place]:
    """What answers one part of the question, beyond what is quoted `before`."""
    chosen: list[Place] = []
    best = 0.0
    matched = [0.0] * len(question.terms)
    for candidate in sorted(ranking.units, key=lambda one: -one.score * editions.weight(one.passage)):
        score = candidate.score * editions.weight(candidate.passage)
        if len(chosen) >= room or score < _NEAR_BEST * best:
            break
        if candidate.answers < ranking.threshold:
            if not best:
                break
            continue
        place = editions.newest((candidate.passage, candidate.unit), units)
        unit = units[place[0]][place[1]]
        own = [unit.own.match(term) for term in question.terms]
        adds = sum(
            share * max(0.0, match - known) for share, match, known in zip(ranking.shares, own, matched, strict=True)
        )
        if best and score < _TIE * best and adds < _ADDS:
            continue
        best = max(best, score)
        matched = [max(pair) for pair in zip(matched, own, strict=True)]
        quoted = [*before, *chosen]
        if place in quoted or _repeats(unit, quoted, units) or _covered(place, quoted, units):
            continue
        antecedent = _antecedent(place, units)
        if antecedent is not None and antecedent not in quoted and len(chosen) + 2 <= room:
            chosen.append(antecedent)
        chosen.append(place)
    return chosen


def _repeats(unit: Unit, quoted: Sequence[Place], units: Sequence[Sequence[Unit]]) -> bool:
    return any(units[passage][number].text == unit.text for passage, number in quoted)


def _covered(place: Place, chosen: Sequence[Place], units: Sequence[Sequence[Unit]]) -> bool:
    """Whether a list and an item of it would both be quoted."""
    unit = units[place[0]][place[1]]
    others = [units[passage][number] for passage, number in chosen if passage == place[0]]
    same = [other.kind for other in others if other.block == unit.block]
    return (unit.kind is UnitKind.ITEM and UnitKind.LIST in same) or (unit.kind is UnitKind.LIST and bool(same))


def _antecedent(place: Place, units: Sequence[Sequence[Unit]]) -> Place | None:
    """The sentence before one that points back to it."""
    passage, number = place
    unit = units[passage][number]
    if unit.kind is not UnitKind.SENTENCE or number == 0 or not _BACKWARD.match(unit.text):
        return None
    return (passage, number - 1) if units[passage][number - 1].block == unit.block else None


def _same_list(first: Place, second: Place, units: Sequence[Sequence[Unit]]) -> bool:
    a, b = (units[passage][number] for passage, number in (first, second))
    return first[0] == second[0] and a.block == b.block and a.kind is b.kind is UnitKind.ITEM


def _cited(run: Sequence[Unit], number: int) -> str:
    """One sentence with its citation before the full stop, where sentence splitters leave it."""
    texts = [unit.text for unit in run]
    body = "; ".join(text.rstrip(" .;") for text in texts[:-1])
    text = f"{body}; {texts[-1]}" if body else texts[-1]
    text = f"{run[0].lead} {text}".strip()
    end = _END.search(text)
    if end is None:
        return f"{text.rstrip(' :;,')} [{number}]."
    return f"{text[: end.start()].rstrip()} [{number}]{end[0]}"
