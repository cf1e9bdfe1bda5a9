"""The closed table of facts that conditions may name besides signals: their types, values and phases."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from gateway.domain.vocabulary import Phase, SignalType


class FieldType(StrEnum):
    TEXT = "text"  # one string
    KINDS = "kinds"  # a set of strings
    COUNT = "count"  # a whole number >= 0
    FLAG = "flag"  # true or false


ValueType = SignalType | FieldType

_ALL: Final = frozenset(Phase)
_AFTER_RETRIEVAL: Final = frozenset({Phase.ANSWER, Phase.TOOL_CALL})


class Field(Struct, frozen=True, kw_only=True):
    """A fact: `values` is the closed set of its values, empty if open; it exists in `phases` only."""

    type: FieldType
    phases: frozenset[Phase] = _ALL
    values: frozenset[str] = frozenset()


FIELDS: Final[Mapping[str, Field]] = {
    "principal.tenant": Field(type=FieldType.TEXT),
    "principal.app": Field(type=FieldType.TEXT),
    "principal.user": Field(type=FieldType.TEXT),
    "principal.groups": Field(type=FieldType.KINDS),
    "principal.roles": Field(type=FieldType.KINDS),
    "request.model": Field(type=FieldType.TEXT),
    "request.stream": Field(type=FieldType.FLAG),
    "request.route": Field(type=FieldType.TEXT),
    "request.tools": Field(type=FieldType.KINDS),
    "request.unscanned": Field(type=FieldType.KINDS, values=frozenset({"image", "audio", "file"})),
    "passage.doc": Field(type=FieldType.TEXT, phases=frozenset({Phase.PASSAGE})),
    "passage.access": Field(type=FieldType.KINDS, phases=frozenset({Phase.PASSAGE})),
    "passage.classification": Field(
        type=FieldType.TEXT,
        phases=frozenset({Phase.PASSAGE}),
        values=frozenset({"", "public", "internal", "confidential", "restricted"}),
    ),
    "tool.name": Field(type=FieldType.TEXT, phases=frozenset({Phase.TOOL_CALL})),
    "retrieval.status": Field(
        type=FieldType.TEXT, phases=_AFTER_RETRIEVAL, values=frozenset({"ok", "off", "error", "timeout"})
    ),
    "retrieval.passages": Field(type=FieldType.COUNT, phases=_AFTER_RETRIEVAL),
}

ALIASES: Final[Mapping[str, str]] = {
    "tenant": "principal.tenant",
    "app": "principal.app",
    "user": "principal.user",
    "groups": "principal.groups",
    "model": "request.model",
}
"""Short names that exceptions may use."""
