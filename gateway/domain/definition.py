"""Detectors that a policy author defines in YAML: patterns, word lists, and topics named by examples."""

from enum import StrEnum

from msgspec import Struct


class ListMatch(StrEnum):
    WORD = "word"  # whole words, a phrase may span white space
    SUBSTRING = "substring"
    EXACT = "exact"  # the whole text, stripped


class PatternDefinition(Struct, frozen=True, kw_only=True):
    """Signal `pattern.<id>` (flag), findings of kind `pattern.<id>`. `regex` is in RE2 syntax; `example` matches it."""

    id: str
    regex: str
    example: str


class ListDefinition(Struct, frozen=True, kw_only=True):
    """Signal `list.<id>` (flag), findings of kind `list.<id>`."""

    id: str
    values: tuple[str, ...]
    match: ListMatch = ListMatch.WORD
    fold_case: bool = True


class TopicDefinition(Struct, frozen=True, kw_only=True):
    """Signal `topic.<id>` (score): nearness to the examples in `like`, lowered by nearness to those in `unlike`."""

    id: str
    like: tuple[str, ...]
    unlike: tuple[str, ...] = ()
