"""The generated reference of all settings."""

import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from gateway.settings.load import CONFIG_VARIABLE, ENVIRONMENT
from gateway.settings.model import Settings


def settings_reference() -> str:
    """A Markdown table of every key of `gateway.yaml`, followed by one of the environment variables."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{key}` | {kind} | {default} | {meaning} |" for key, kind, default, meaning in _reference(Settings, "")
    ]
    lines += ["", "| variable | overrides |", "|---|---|"]
    lines += [f"| `{name}` | `{'.'.join(path)}` |" for name, path in ENVIRONMENT.items()]
    lines.append(f"| `{CONFIG_VARIABLE}` | the settings file, where the command line names none |")
    return "\n".join(lines) + "\n"


def _reference(struct: type[Struct], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Key, type, default and meaning of each field, nested structs unfolded, in the order of declaration."""
    hints = get_type_hints(struct, include_extras=True)
    for entry in msgspec.structs.fields(struct):
        hint = hints[entry.name]
        key = prefix + entry.encode_name
        nested, suffix = _nested(hint)
        if nested is not None:
            yield from _reference(nested, f"{key}{suffix}.")
            continue
        descriptions = [meta.description for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta)]
        meaning = next((text for text in descriptions if text), "")
        yield key, _type_words(hint), _default_words(entry), meaning


def _nested(hint: Any) -> tuple[type[Struct] | None, str]:
    """The struct inside `hint`, and how a key of it is written."""
    arguments = get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Struct):
        return hint, ""
    if get_origin(hint) is types.UnionType and isinstance(arguments[0], type) and issubclass(arguments[0], Struct):
        return arguments[0], ""
    if get_origin(hint) is tuple and isinstance(arguments[0], type) and issubclass(arguments[0], Struct):
        return arguments[0], "[]"
    if get_origin(hint) is dict:
        return cast("type[Struct]", arguments[1]), ".<name>"
    return None, ""


def _type_words(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return _type_words(hint.__origin__)
    if get_origin(hint) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) is tuple:
        return f"list of {_type_words(get_args(hint)[0])}"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_type_words(part) for part in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(f"`{member.value}`" for member in hint)
    words = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path"}
    return words[hint]


def _default_words(entry: msgspec.structs.FieldInfo) -> str:
    if entry.required:
        return "required"
    value = entry.default
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, tuple):
        return "`[" + ", ".join(map(str, value)) + "]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "empty"
