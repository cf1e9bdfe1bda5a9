"""What a search found -> what a model reads: order, variety, surroundings, budget. Pure.

Everything here works on passages that the caller may see already; none of it can add one.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct, structs

from gateway.domain.passage import Passage

_SHINGLE_WORDS: Final = 4
_DUPLICATE: Final = 0.8  # of the shorter text's shingles; the overlap of neighbouring chunks stays far below
_WORD: Final = re.compile(r"\w+")
_ALL_DAYS: Final = 36_500


class Ranking(Struct, frozen=True, kw_only=True):
    """`half_life_days` is the age at which a dated passage has lost half of `freshness_weight` of its score, 0 for
    never; `per_document` bounds the passages of one document while others are left, 0 for no bound; `neighbours` is
    how many best passages get those before and after them; `max_tokens` bounds the context beside its characters, 0
    for no bound."""

    half_life_days: int = 0
    freshness_weight: float = 0.1
    per_document: int = 0
    neighbours: int = 0
    max_tokens: int = 0


class Budget:
    """What is left of the context. `tokens` counts the tokens of texts."""

    def __init__(self, *, chars: int, max_tokens: int = 0, tokens: Callable[[Sequence[str]], list[int]] | None) -> None:
        self._chars = chars
        self._left = max_tokens
        self._tokens = tokens if max_tokens else None

    def takes(self, text: str) -> bool:
        """Whether the text still fits; then it is paid for."""
        if len(text) > self._chars:
            return False
        if self._tokens is not None:
            [cost] = self._tokens([text])
            if cost > self._left:
                return False
            self._left -= cost
        self._chars -= len(text)
        return True


def fresh_first(passages: Sequence[Passage], ranking: Ranking, day: str) -> list[Passage]:
    """Passages with their scores lowered by age, best first. One without a date, or from the future, keeps its own."""
    if not ranking.half_life_days or not day:
        return list(passages)
    today = dt.date.fromisoformat(day)
    weighed = [structs.replace(one, score=one.score * _freshness(one, ranking, today)) for one in passages]
    return sorted(weighed, key=lambda one: -one.score)  # stable


def varied(passages: Sequence[Passage], per_document: int) -> list[Passage]:
    """The same passages: those beyond `per_document` of one document come after all others."""
    if not per_document:
        return list(passages)
    seen: Counter[str] = Counter()
    first: list[Passage] = []
    rest: list[Passage] = []
    for passage in passages:
        seen[passage.doc] += 1
        (first if seen[passage.doc] <= per_document else rest).append(passage)
    return first + rest


def selected(passages: Iterable[Passage], *, top_k: int, budget: Budget) -> list[Passage]:
    """The first `top_k` that fit and are no near-duplicates of better ones."""
    chosen: list[Passage] = []
    shingled: list[frozenset[tuple[str, ...]]] = []
    for passage in passages:
        shingles = _shingles(passage.text)
        if any(_contained(shingles, other) >= _DUPLICATE for other in shingled) or not budget.takes(passage.text):
            continue
        chosen.append(passage)
        shingled.append(shingles)
        if len(chosen) == top_k:
            break
    return chosen


def joined(chosen: Sequence[Passage], around: Iterable[Passage], budget: Budget) -> list[Passage]:
    """`chosen` with those of `around` that fit beside them: each before or after the chosen passage that it adjoins,
    with that one's score, so that a model reads them in the order of the document."""
    have = {passage.id for passage in chosen}
    places = {(passage.doc, passage.number): passage for passage in chosen}
    beside: dict[str, list[Passage]] = {}
    for passage in around:
        of = places.get((passage.doc, passage.number + 1)) or places.get((passage.doc, passage.number - 1))
        # another revision's passage of that number may stand anywhere
        if of is None or passage.id in have or passage.revision != of.revision or not budget.takes(passage.text):
            continue
        have.add(passage.id)
        beside.setdefault(of.id, []).append(structs.replace(passage, score=of.score))
    return [
        one
        for passage in chosen
        for one in sorted([passage, *beside.get(passage.id, ())], key=lambda found: found.number)
    ]


def _freshness(passage: Passage, ranking: Ranking, today: dt.date) -> float:
    if not passage.effective:
        return 1.0
    age = min(max((today - dt.date.fromisoformat(passage.effective)).days, 0), _ALL_DAYS)
    faded: float = 0.5 ** (age / ranking.half_life_days)
    return 1.0 - ranking.freshness_weight * (1.0 - faded)


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Runs of words (Broder 1997: On the resemblance and containment of documents)."""
    words = _WORD.findall(text.lower())
    return frozenset(_runs(words)) or frozenset([tuple(words)])


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(_SHINGLE_WORDS)), strict=False)


def _contained(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    return len(one & other) / min(len(one), len(other))
