"""Which mentions of a model are worth reporting: a judgement on words, since models take any capital for a name."""

import re
from collections.abc import Iterable
from typing import Final

from rules.pii.mention import Mention
from rules.pii.words import CALENDAR, LEADS, PRODUCTS, ROLES, THINGS

_NEVER: Final = PRODUCTS | CALENDAR | ROLES | THINGS | LEADS
_LEAD: Final = re.compile(rf"(?i)(?:{'|'.join(sorted(LEADS))})[ \t:,]+")
_EDGE: Final = re.compile(r"^[\W_]+|(?:['\u2019]s)?[\W_]*$")
_WORD: Final = re.compile(r"[^\W_]+(?:[.'\u2019\-][^\W_]+)*")
_ORDINAL: Final = re.compile(r"(?i)\d+(?:st|nd|rd|th|am|pm|%|k|m)?")
_AGREED: Final = 0.9  # both models
_PLACE_SCORE: Final = 0.4  # a city or a country alone says little
_SURE: Final = 0.7  # of a single word without a capital or a digit


def judged(text: str, mention: Mention) -> list[Mention]:
    """The names and places in a mention: one per line, since models do not see that a line ends a name, cut to the
    words that matter, and none where the words cannot be meant."""
    kept: list[Mention] = []
    start = mention.start
    for line in text[mention.start : mention.end].splitlines(keepends=True):
        span = _judge(text, start, start + len(line), mention)
        if span is not None:
            score = _PLACE_SCORE if mention.kind == "LOCATION" else mention.score
            kept.append(Mention(*span, mention.kind, score))
        start += len(line)
    return kept


class KnownNames:
    """Names of products, brands and systems that are not people, as whole words in any case. Immutable."""

    def __init__(self, names: Iterable[str]) -> None:
        told = sorted({" ".join(name.split()) for name in names}, key=lambda name: (-len(name), name))
        any_of = "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in told)
        self._pattern = re.compile(rf"(?i)(?<!\w)(?:{any_of})(?:['\u2019]s)?(?!\w)") if told else None

    def explain(self, value: str) -> bool:
        """Whether a mention is nothing but such names, and words that name nobody beside them: `Larkfield Bank`, and
        not `Ana Larkfield`, who may be a person."""
        if self._pattern is None:
            return False
        rest, found = self._pattern.subn(" ", value)
        return bool(found) and all(_is_known(word) for word in _words(rest))


def with_agreement(mention: Mention) -> Mention:
    """The score of a mention that two models share."""
    if mention.kind != "PERSON":
        return mention
    return Mention(mention.start, mention.end, mention.kind, max(mention.score, _AGREED))


def _judge(text: str, start: int, end: int, mention: Mention) -> tuple[int, int] | None:
    start, end = _trimmed(text, start, end)
    if mention.kind == "PERSON":
        return _person(text, start, end)
    value = text[start:end]
    words = _words(value)
    if not words or all(_is_known(word) for word in words) or words[-1].lower() in THINGS:
        return None
    if mention.kind == "ADDRESS":
        alone = len(words) == 1 and not words[0].isdigit()
        unclear = _ORDINAL.fullmatch(value) and not (value.isdigit() and len(value) >= 2)
        return None if unclear or (alone and mention.score < _SURE) else (start, end)
    acronym = len(words) == 1 and value.isupper() and len(value) <= 4
    return None if acronym or len(value) < 3 or not any(map(str.isalpha, value)) else (start, end)


def _person(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The name, without leading function words and roles. None with digits or signs, for products, dates, roles and
    things, for a short acronym and for a single word in lower case."""
    while (lead := _LEAD.match(text, start, end)) is not None:
        start = lead.end()
    value = text[start:end]
    words = _words(value)
    if not words or len(value) < 2 or any(char.isdigit() or char in "@/\\<>{}=|_#" for char in value):
        return None
    if all(_is_known(word) for word in words) or words[-1].lower() in THINGS:
        return None
    if len(words) <= 2 and any(word.lower() in PRODUCTS for word in words):
        return None
    if len(words) == 1 and (value.islower() or (value.isupper() and len(value) <= 5)):
        return None
    return start, end


def _words(value: str) -> list[str]:
    return [match.group() for match in _WORD.finditer(value)]


def _is_known(word: str) -> bool:
    bare = word.lower().strip(".")
    return bare in _NEVER or (bare.endswith("s") and bare[:-1] in _NEVER)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without punctuation at its edges and a possessive ending."""
    value = text[start:end]
    head = _EDGE.match(value)
    if head is not None and head.end() < len(value):
        start += head.end()
        value = text[start:end]
    tail = _EDGE.search(value, 1) if len(value) > 1 else None
    return start, start + (tail.start() if tail is not None else len(value))
