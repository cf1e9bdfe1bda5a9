"""Texts that stand for all texts, as far as patterns with `*` can tell them apart."""

from collections.abc import Iterable, Sequence
from typing import Final

_MOST_STATES: Final = 20_000  # of the product automaton; a hundred prefixes need a few thousand
_LETTERS: Final = "xqzjkvw0123456789"

State = frozenset[int]


def representatives(patterns: Iterable[str], preferred: Sequence[str]) -> tuple[str, ...] | None:
    """One text for each set of patterns that some text fits all of and no other of; `preferred` texts where they do.

    Every pattern is read at once by a position automaton (V. M. Glushkov, "The abstract theory of automata", 1961),
    breadth first over the letters that the patterns name and one that they do not. `None` if there are too many
    states to visit.
    """
    tokens = sorted(set(patterns))
    found: dict[tuple[bool, ...], str] = {}
    for text in preferred:
        state = _start(tokens)
        for letter in text:
            state = _step(tokens, state, letter)
        found.setdefault(_fitting(tokens, state), text)
    named = sorted({letter for token in tokens for letter in token if letter != "*"})
    other = next(letter for letter in (*_LETTERS, *map(chr, range(0x100, 0x10000))) if letter not in named)
    level = {_start(tokens): ""}
    seen = set(level)
    while level:
        for state, text in level.items():
            found.setdefault(_fitting(tokens, state), text)
        following: dict[tuple[State, ...], str] = {}
        for state, text in level.items():
            for letter in (other, *named):
                reached = _step(tokens, state, letter)
                if reached not in seen:
                    seen.add(reached)
                    following[reached] = text + letter
        if len(seen) > _MOST_STATES:
            return None
        level = following
    return tuple(sorted(found.values()))


def _start(tokens: Sequence[str]) -> tuple[State, ...]:
    return tuple(_closed(token, {0}) for token in tokens)


def _step(tokens: Sequence[str], state: tuple[State, ...], letter: str) -> tuple[State, ...]:
    return tuple(
        _closed(
            token, {at if token[at] == "*" else at + 1 for at in ats if at < len(token) and token[at] in {"*", letter}}
        )
        for token, ats in zip(tokens, state, strict=True)
    )


def _closed(token: str, ats: Iterable[int]) -> State:
    """The positions, and those behind a `*` that stands for nothing."""
    found: set[int] = set()
    for start in ats:
        at = start
        found.add(at)
        while at < len(token) and token[at] == "*":
            at += 1
            found.add(at)
    return frozenset(found)


def _fitting(tokens: Sequence[str], state: tuple[State, ...]) -> tuple[bool, ...]:
    return tuple(len(token) in ats for token, ats in zip(tokens, state, strict=True))
