"""Which units answer, and how they are put together.

Every word of an answer stands in a passage or in the fixed texts of this module; units keep the order of the
passages, and each is followed by the number of its passage in brackets.
"""

import re
from collections.abc import Sequence
from typing import Final

from gateway.domain.passage import Passage
from gateway.domain.ports import Embedder
from gateway.upstream.ranking import Ranked, Weights, rank, read_question
from gateway.upstream.units import Unit, UnitKind, split_sentences, units_of

NO_PASSAGES: Final = "I have no documents that I could answer this from."
NO_ANSWER: Final = "The documents I was given do not answer this question."

MAX_UNITS: Final = 4
_NEAR_BEST: Final = 0.5  # a further unit must score at least this part of the best one
_MAX_READINGS: Final = 4
_BACKWARD: Final = re.compile(r"(?:It|Its|They|Their|This|These|That|Those|He|She|His|Her|Such|However)\b")
_END: Final = re.compile(r"[.!?…]+$")

Place = tuple[int, int]  # indexes of passage and unit


def answer(question: str, passages: Sequence[Passage], embedder: Embedder | None) -> str:
    """The quoted answer, or one of the two fixed texts. Deterministic; blocking if there is an embedder."""
    units = [units_of(passage.title, passage.section, passage.text) for passage in passages]
    if not any(units):
        return NO_PASSAGES
    chosen = choose(question, units, embedder)
    return compose(chosen, units) if chosen else NO_ANSWER


def choose(question: str, units: Sequence[Sequence[Unit]], embedder: Embedder | None) -> list[Place]:
    """At most `MAX_UNITS` places in the order of the passages; none if nothing scores high enough."""
    best: tuple[list[Ranked], Weights] | None = None
    for reading in _readings(question):
        ranked, weights = rank(read_question(reading), units, embedder)
        if ranked and (best is None or ranked[0].score > best[0][0].score):
            best = ranked, weights
    if best is None:
        return []
    ranked, weights = best
    floor = max(weights.threshold, _NEAR_BEST * ranked[0].score)
    chosen: list[Place] = []
    quoted: set[str] = set()
    for candidate in ranked:
        place = (candidate.passage, candidate.unit)
        unit = units[candidate.passage][candidate.unit]
        if candidate.score < floor or len(chosen) >= MAX_UNITS:
            break
        if place in chosen or unit.text in quoted or _covered(place, chosen, units):
            continue
        before = _antecedent(place, units)
        if before is not None and before not in chosen and len(chosen) + 2 <= MAX_UNITS:
            chosen.append(before)
        chosen.append(place)
        quoted.update(units[passage][number].text for passage, number in chosen)
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


def _readings(question: str) -> list[str]:
    """The whole question, and each sentence of it that asks: what else a person tells should not hide it."""
    sentences = split_sentences(" ".join(question.split()))
    asking = [sentence for sentence in sentences if sentence.endswith("?")] if len(sentences) > 1 else []
    return [question, *asking[-_MAX_READINGS + 1 :]]


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
