"""Which of two passages that disagree is in force: the one from the newer edition of a document.

Two documents are editions of one if their titles differ in little but numbers and they are valid from different
dates. A question that names a year, or asks for what was, is left alone.
"""

import re
from collections.abc import Sequence
from typing import Final

from gateway.domain.passage import Passage
from gateway.upstream.terms import terms
from gateway.upstream.units import Unit

_ALIKE: Final = 0.6  # of the terms, numbers left out
_OLDER: Final = 0.1  # what a unit of an older edition counts where the newer one is there
_PAST: Final = re.compile(
    r"\b(?:1[89]|20)\d\d\b|\b(?:old|older|previous(?:ly)?|former(?:ly)?|earlier|past|before|used to|last year|history"
    r"|alte[nrs]?|früher\w*|vorherig\w*|bisherig\w*|ehemalig\w*|vorher|letztes jahr"
    r"|antigu[oa]s?|anterior(?:es|mente)?|antes|año pasado)\b",
    re.IGNORECASE,
)

Place = tuple[int, int]


class Editions:
    """The passages of one question, compared by the dates from which they are valid. Pure."""

    def __init__(self, question: str, passages: Sequence[Passage]) -> None:
        count = len(passages)
        titles = [_named(terms(passage.title)) for passage in passages]
        dates = [passage.effective for passage in passages]
        asks_of_past = _PAST.search(question) is not None
        self._newer: list[list[int]] = [
            [] if asks_of_past or not dates[at] else [other for other in range(count) if dates[other] > dates[at]]
            for at in range(count)
        ]
        self._superseded = [
            any(_alike(titles[at], titles[other]) for other in newer) for at, newer in enumerate(self._newer)
        ]

    def weight(self, passage: int) -> float:
        """1, or less for a passage of an older edition."""
        return _OLDER if self._superseded and self._superseded[passage] else 1.0

    def newest(self, place: Place, units: Sequence[Sequence[Unit]]) -> Place:
        """The place of the unit that says the same with other numbers and is valid from a later date; else `place`."""
        passage, number = place
        unit = units[passage][number]
        names, numbers = _named(unit.terms), _numbers(unit.terms)
        if not self._newer or not numbers:
            return place
        for other in self._newer[passage]:
            for index, candidate in enumerate(units[other]):
                if _alike(names, _named(candidate.terms)) and _numbers(candidate.terms) not in (numbers, frozenset()):
                    return other, index
        return place


def _named(found: Sequence[str]) -> frozenset[str]:
    return frozenset(term for term in found if not any(map(str.isdigit, term)))


def _numbers(found: Sequence[str]) -> frozenset[str]:
    return frozenset(term for term in found if any(map(str.isdigit, term)))


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= _ALIKE * len(one | other) > 0
