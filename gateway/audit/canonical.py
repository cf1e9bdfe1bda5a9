"""Canonical JSON (RFC 8785), restricted to the values an audit event may hold.

The value space: objects, arrays, strings, booleans, null, and integers that every JSON reader keeps exact
(I-JSON, RFC 7493 section 2.2). A float is refused, not formatted: scores are written in millionths.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway.domain.event import Commitment

MAX_INTEGER: Final = 2**53 - 1

# msgspec sorts keys by code point and escapes exactly what RFC 8785 section 3.2.2.2 asks for. Code point order
# differs from the order by UTF-16 code units only where a character above U+FFFF stands in a key.
_encode = msgspec.json.Encoder(order="sorted").encode
_has_astral = re.compile(rb"[\xf0-\xf4]").search

_LEAVES: Final = frozenset({str, bool, type(None)})

Path = tuple[str | int, ...]
"""Keys and indexes from the root of a decoded event."""

Replace = Callable[[Commitment, Path], Any]


def canonical(value: Any) -> bytes:
    """The canonical bytes of a JSON value. Raises `TypeError` or `ValueError` for a value outside the space."""
    return encode_plain(plain(value))


def encode_plain(value: Any) -> bytes:
    """The canonical bytes of a value that `plain` returned."""
    try:
        encoded = _encode(value)
    except UnicodeEncodeError:
        raise ValueError("an audit event holds a lone surrogate: it is not text") from None
    if _has_astral(encoded) is None:
        return encoded
    return _encode_by_code_units(value)


def plain(value: Any, path: Path = (), replace: Replace | None = None) -> Any:
    """`value` as exact built-in types, or `TypeError` / `ValueError` naming the place of what JSON has no
    canonical form for. Members of a `StrEnum` become their strings; `replace(commitment, path)` gives the value that
    stands in for a `Commitment`. What needs no change is returned as it is, not copied: this runs for every
    event, and most events are plain already."""
    kind = type(value)
    if kind in _LEAVES:
        return value
    if kind is dict:
        return _plain_object(value, path, replace)
    if kind is list or kind is tuple:
        return _plain_array(value, path, replace)
    if kind is int:
        if -MAX_INTEGER <= value <= MAX_INTEGER:
            return value
        raise ValueError(f"an audit event holds an integer beyond 2^53 at `{pointer(path)}`: write it as a string")
    if isinstance(value, str):
        return str.__str__(value)
    if kind is Commitment and replace is not None:
        return replace(value, path)
    if kind is float:
        raise TypeError(f"an audit event holds a float at `{pointer(path)}`: write it in millionths")
    raise TypeError(f"an audit event holds a `{kind.__name__}` at `{pointer(path)}`: give a JSON value")


def pointer(path: Path) -> str:
    """A path as JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _plain_object(value: dict[Any, Any], path: Path, replace: Replace | None) -> dict[str, Any]:
    result = value
    for key, item in value.items():
        if type(key) is not str:
            return _plain_object(_with_plain_keys(value, path), path, replace)
        kind = type(item)
        if kind in _LEAVES or (kind is int and -MAX_INTEGER <= item <= MAX_INTEGER):
            continue
        new = plain(item, (*path, key), replace)
        if new is not item:
            if result is value:
                result = dict(value)
            result[key] = new
    return result


def _plain_array(value: list[Any] | tuple[Any, ...], path: Path, replace: Replace | None) -> Any:
    result: Any = value
    for index, item in enumerate(value):
        if type(item) in _LEAVES:
            continue
        new = plain(item, (*path, index), replace)
        if new is not item:
            if result is value:
                result = list(value)
            result[index] = new
    return result


def _with_plain_keys(value: dict[Any, Any], path: Path) -> dict[str, Any]:
    result = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(f"an audit event holds a key that is no string at `{pointer(path)}`: name it in words")
        result[str.__str__(key)] = item
    return result


def _encode_by_code_units(value: Any) -> bytes:
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return b"{%b}" % b",".join(_encode(name) + b":" + _encode_by_code_units(item) for name, item in members)
    if isinstance(value, list | tuple):
        return b"[%b]" % b",".join(map(_encode_by_code_units, value))
    return _encode(value)
