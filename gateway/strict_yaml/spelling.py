"""How faults quote a value and name the nearest valid spelling."""

import difflib
from collections.abc import Iterable
from typing import Final

_QUOTED_CHARS: Final = 60  # a fault is one line
_LISTED_WORDS: Final = 12  # beyond that a list hides what it says


def quoted(text: str) -> str:
    """`text` in backticks on one line, cut to a readable length."""
    line = " ".join(text.replace("`", "'").split())
    return f"`{line[:_QUOTED_CHARS]}…`" if len(line) > _QUOTED_CHARS else f"`{line}`"


def nearest(word: str, valid: Iterable[str]) -> str:
    """The valid word that is spelled most like `word`, or "" when none is near. Deterministic."""
    folded = {candidate.casefold(): candidate for candidate in sorted(valid, reverse=True)}
    found = difflib.get_close_matches(word.casefold()[: _QUOTED_CHARS * 2], sorted(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else ""


def listed(words: Iterable[str]) -> str:
    """`a`, `b`, `c`: sorted, cut after a dozen."""
    ordered = sorted(words)
    text = ", ".join(quoted(word) for word in ordered[:_LISTED_WORDS])
    return f"{text}, …" if len(ordered) > _LISTED_WORDS else text


def suggestion(word: str, valid: Iterable[str]) -> str:
    """The remedy for a word that is not one of `valid`: the nearest spelling, else the list."""
    known = tuple(valid)
    near = nearest(word, known)
    if near:
        return f"did you mean {quoted(near)}?"
    return f"use one of {listed(known)}" if known else "remove it"
