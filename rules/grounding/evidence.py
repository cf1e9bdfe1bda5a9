"""Passages as evidence: an index from words to the sentences that hold them, and how far a claim is covered by them.

The measures that the score of a sentence is made of, each 0 where passages say exactly the same:

missing   weighted share of its content words that no passage has
apart     weighted share that the best two neighbouring sentences lack
rare      weight of the words that no passage has, in words
numbers   how many of its numbers stand in no passage (two at most)
names     share of its names that no passage has
turned    it is negated and the sentence nearest to it is not, or the other way round
opposed   it names a direction or mode of which the nearest sentences name only the opposite

Words of the question count only where passages have them: to repeat a question claims nothing.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from gateway.domain.passage import Passage
from gateway.domain.text import outline
from rules.grounding.lexicon import opposed
from rules.grounding.sentences import sentences
from rules.grounding.words import Claim, Word, read

_PREFIX: Final = 5  # words that share so much and differ in their ends by no more than
_ENDING: Final = 4
_NEARLY: Final = 0.8  # are taken for one at this part of their weight
_AS_NEAR: Final = 0.05  # sentences whose coverage is within this of the best one say as much
_SAME_LENGTH: Final = 0.7  # share of a negated sentence that a claim must repeat to deny it, or to say it again
_PASSAGES: Final = 512  # passages whose words are kept: a few megabytes
_MOST_SENTENCES: Final = 400  # of one passage; a longer one is no passage


class PassageWords(Struct, frozen=True):
    """A passage's sentences as claims, and the words of its title and section, which hold for all of them."""

    head: frozenset[str]
    claims: tuple[Claim, ...]


class Measures(Struct, frozen=True):
    """How far a claim is from the evidence; see the module. `covered` is the share that one sentence covers."""

    missing: float = 0.0
    apart: float = 0.0
    rare: float = 0.0
    numbers: int = 0
    names: float = 0.0
    turned: bool = False
    opposed: bool = False
    covered: float = 1.0
    other_numbers: bool = False  # the nearest sentences have numbers that the claim does not name,
    other_names: bool = False  # and names


class Evidence:
    """Passages to look claims up in. Immutable, thread-safe; costs a few microseconds a sentence to make."""

    __slots__ = ("_claims", "_heads", "_holders", "_numbers", "_prefixes", "_question", "_question_numbers", "english")

    def __init__(self, passages: Sequence[PassageWords], question: Claim) -> None:
        self._question = question.stems
        self._question_numbers = question.numbers
        self._claims: list[Claim] = []
        self._heads: list[frozenset[str]] = []
        self._holders: dict[str, list[int]] = {}
        numbers: set[str] = set()
        for passage in passages:
            for claim in passage.claims:
                place = len(self._claims)
                self._claims.append(claim)
                self._heads.append(passage.head)
                numbers |= claim.numbers | claim.implied
                for stem in claim.stems | passage.head:
                    self._holders.setdefault(stem, []).append(place)
        self._numbers = frozenset(numbers)
        self._prefixes: dict[str, list[str]] = {}
        for stem in self._holders:
            if len(stem) >= _PREFIX:
                self._prefixes.setdefault(stem[:_PREFIX], []).append(stem)
        self.english = not self._claims or 2 * sum(claim.english for claim in self._claims) > len(self._claims)

    def __bool__(self) -> bool:
        return bool(self._claims)

    def measure(self, claim: Claim) -> Measures:
        """Linear in the occurrences of the claim's words."""
        distinct = {word.stem: word for word in claim.words}.values()
        words = [word for word in distinct if word.stem in self._holders or word.stem not in self._question]
        numbers = claim.numbers - self._question_numbers
        absent = len(numbers - self._numbers)
        total = sum(word.weight for word in words)
        if not total:
            return Measures(numbers=min(absent, 2), missing=float(absent > 0), apart=float(absent > 0))
        kept = [self._kept(word) for word in words]
        held = [0.0] * (len(self._claims) + 1)
        for word in words:
            for place in self._holders.get(word.stem, ()):
                held[place] += word.weight
        best = max(held)
        pairs = self._pairs(words, held, best)
        names = [word for word in words if word.named]
        near = [place for place, weight in enumerate(held[:-1]) if weight >= best - _AS_NEAR * total and weight > 0]
        return Measures(
            missing=1 - sum(kept) / total,
            apart=1 - pairs / total,
            rare=sum(word.weight for word, share in zip(words, kept, strict=True) if not share),
            numbers=min(absent, 2),
            names=sum(word.stem not in self._holders for word in names) / len(names) if names else 0.0,
            turned=bool(near) and not self._repeats_denial(claim) and all(self._turns(claim, place) for place in near),
            opposed=bool(near) and all(self._opposes(claim, place) for place in near),
            covered=best / total,
            other_numbers=any(self._claims[place].numbers - claim.numbers for place in near),
            other_names=any(self._claims[place].names - claim.stems for place in near),
        )

    def _kept(self, word: Word) -> float:
        if word.stem in self._holders:
            return word.weight
        for other in self._prefixes.get(word.stem[:_PREFIX], ()):
            if abs(len(other) - len(word.stem)) <= _ENDING:
                return _NEARLY * word.weight
        return 0.0

    def _pairs(self, words: Sequence[Word], held: Sequence[float], best: float) -> float:
        """The most weight that two neighbouring sentences hold together."""
        for place in range(len(self._claims) - 1):
            if held[place] + held[place + 1] > best:
                one, other = self._claims[place], self._claims[place + 1]
                stems = one.stems | other.stems | self._heads[place]
                best = max(best, sum(word.weight for word in words if word.stem in stems))
        return best

    def _turns(self, claim: Claim, place: int) -> bool:
        """Whether the sentence at a place says it and one of the two negates it. What is quoted from a list may have
        its negation from the lead, and a clause that is quoted alone need not have that of another clause."""
        near = self._claims[place]
        if claim.negated:
            return not any(one.negated for one in self._claims[max(0, place - 1) : place + 2])
        return near.negated and _repeats(claim, near)

    def _repeats_denial(self, claim: Claim) -> bool:
        """Whether a negated claim says again what some negated sentence says. A row of a table that is told with the
        names of its columns is nearer to the header, and has its negation from the row."""
        return claim.negated and any(_repeats(claim, one) for one in self._claims if one.negated)

    def _opposes(self, claim: Claim, place: int) -> bool:
        poles = self._claims[place].poles
        if place + 1 < len(self._claims):
            poles |= self._claims[place + 1].poles
        return opposed(claim.poles, poles)


def _repeats(claim: Claim, sentence: Claim) -> bool:
    return 0 < len(sentence.stems & claim.stems) >= _SAME_LENGTH * len(sentence.stems)


def evidence_of(passages: Iterable[Passage], question: str) -> Evidence:
    """The evidence that passages give for answers to a question. Passages are read once while they are remembered."""
    return Evidence([_words(passage.title, passage.section, passage.text) for passage in passages], read(question))


class _Text(Struct, frozen=True):
    title: str
    section: str
    text: str

    def __repr__(self) -> str:
        return outline(self.text)


def _words(title: str, section: str, text: str) -> PassageWords:
    return _read_passage(_Text(title, section, text))


@lru_cache(maxsize=_PASSAGES)
def _read_passage(passage: _Text) -> PassageWords:
    found = [read(sentence.text) for sentence in sentences(passage.text)]
    head = read(f"{passage.title}. {passage.section}")
    claims = [claim for claim in found[:_MOST_SENTENCES] if not claim.empty]
    return PassageWords(head.stems, (*claims, head) if not head.empty else tuple(claims))
