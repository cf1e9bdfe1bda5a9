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
    """A fact: `values` is the closed set of its values, empty if open; it exists in `phases` only. `about` says for
    authors what it tells."""

    type: FieldType
    about: str
    phases: frozenset[Phase] = _ALL
    values: frozenset[str] = frozenset()


FIELDS: Final[Mapping[str, Field]] = {
    "principal.tenant": Field(type=FieldType.TEXT, about="the tenant of the caller's key"),
    "principal.app": Field(type=FieldType.TEXT, about="the application whose key is used"),
    "principal.user": Field(type=FieldType.TEXT, about="the user that the application names, empty if it names none"),
    "principal.groups": Field(type=FieldType.KINDS, about="the groups of the caller"),
    "principal.roles": Field(type=FieldType.KINDS, about="the roles of the caller"),
    "request.model": Field(type=FieldType.TEXT, about="the model that is asked for"),
    "request.stream": Field(type=FieldType.FLAG, about="whether the answer is streamed"),
    "request.route": Field(type=FieldType.TEXT, about="the kind of request, e.g. `chat.completions`"),
    "request.tools": Field(type=FieldType.KINDS, about="the names of the tools that the request offers the model"),
    "request.unscanned": Field(
        type=FieldType.KINDS, about="parts that no detector can read", values=frozenset({"image", "audio", "file"})
    ),
    "passage.doc": Field(type=FieldType.TEXT, about="the document of the passage", phases=frozenset({Phase.PASSAGE})),
    "passage.access": Field(
        type=FieldType.KINDS, about="the groups that may read the document", phases=frozenset({Phase.PASSAGE})
    ),
    "passage.classification": Field(
        type=FieldType.TEXT,
        about="the classification of the document, empty if it has none",
        phases=frozenset({Phase.PASSAGE}),
        values=frozenset({"", "public", "internal", "confidential", "restricted"}),
    ),
    "tool.name": Field(type=FieldType.TEXT, about="the tool that the model calls", phases=frozenset({Phase.TOOL_CALL})),
    "retrieval.status": Field(
        type=FieldType.TEXT,
        about="how the search for passages ended",
        phases=_AFTER_RETRIEVAL,
        values=frozenset({"ok", "off", "error", "timeout"}),
    ),
    "retrieval.passages": Field(type=FieldType.COUNT, about="how many passages were found", phases=_AFTER_RETRIEVAL),
}

ALIASES: Final[Mapping[str, str]] = {
    "tenant": "principal.tenant",
    "app": "principal.app",
    "user": "principal.user",
    "groups": "principal.groups",
    "model": "request.model",
}
"""Short names that exceptions may use."""
