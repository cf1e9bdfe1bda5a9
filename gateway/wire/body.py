"""Decoded JSON bodies: bounded decoding, a walk over every text with its address, and edits in place by address.

A body is never rebuilt from parts that we understand: what we do not know passes through as it came, and what we
judged is exactly what is sent, since the encoded form is made from the decoded one.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.domain.errors import RequestError
from gateway.domain.model import Body
from gateway.domain.segment import Address

_DECODER: Final = msgspec.json.Decoder()
_ENCODER: Final = msgspec.json.Encoder()
_CONTAINERS: Final = (dict, list)
_NUMBERS: Final = (int, float)
_LONG_NUMBER: Final = 10**7  # no number that stands for a person or an account has fewer than eight digits


def decode_body(payload: bytes, *, max_depth: int) -> Body:
    """The JSON object in `payload`.

    Raises `RequestError` for invalid UTF-8, malformed JSON, a value that is not an object, and nesting beyond
    `max_depth`. Of duplicate keys the last counts, here and upstream alike, because the body is encoded anew.
    """
    try:
        value = _DECODER.decode(payload)
    except msgspec.DecodeError as error:
        detail = str(error).split("(byte", 1)[-1]
        place = f" (byte{detail}" if "(byte" in str(error) else ""
        raise RequestError(f"the body is not valid JSON{place}", code="invalid_json") from None
    except (UnicodeDecodeError, RecursionError):
        raise RequestError("the body is not valid JSON: bad UTF-8 or too deep", code="invalid_json") from None
    if not isinstance(value, dict):
        raise RequestError("the body must be a JSON object", code="invalid_body")
    if depth_exceeds(value, max_depth):
        raise RequestError(f"the body is nested more than {max_depth} levels deep", code="body_too_deep")
    return value


def encode_body(body: Any) -> bytes:
    return _ENCODER.encode(body)


def depth_exceeds(value: Any, limit: int) -> bool:
    """Whether containers are nested more than `limit` deep; without recursion, so that depth costs no stack."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, _CONTAINERS)
        ]
        if not level:
            return False
    return True


def texts(value: Any, address: Address = ()) -> list[tuple[Address, str]]:
    """Every string value below `value`, depth first, with its address."""
    found: list[tuple[Address, str]] = []
    if isinstance(value, str):
        found.append((address, value))
    else:
        _add_texts(value, address, found)
    return found


def _add_texts(value: Any, address: Address, found: list[tuple[Address, str]]) -> None:
    for step, child in _children(value):
        if isinstance(child, str):
            found.append(((*address, step), child))
        elif isinstance(child, _CONTAINERS):
            _add_texts(child, (*address, step), found)


def long_numbers(value: Any, address: Address = ()) -> list[tuple[Address, str]]:
    """Every number below `value` that is long enough to be somebody's, as text, with its address: a card number
    stays one without its quotes."""
    found: list[tuple[Address, str]] = []
    if isinstance(value, _NUMBERS):
        _add_number(value, address, found)
    else:
        _add_long_numbers(value, address, found)
    return found


def _add_long_numbers(value: Any, address: Address, found: list[tuple[Address, str]]) -> None:
    for step, child in _children(value):
        if isinstance(child, _CONTAINERS):
            _add_long_numbers(child, (*address, step), found)
        elif isinstance(child, _NUMBERS):
            _add_number(child, (*address, step), found)


def _add_number(value: float, address: Address, found: list[tuple[Address, str]]) -> None:
    if abs(value) >= _LONG_NUMBER:
        found.append((address, str(int(value) if isinstance(value, float) and value.is_integer() else value)))


def keys(value: Any) -> list[str]:
    """Every object key below `value`, depth first."""
    found: list[str] = []
    _add_keys(value, found)
    return found


def _add_keys(value: Any, found: list[str]) -> None:
    named = isinstance(value, dict)
    for step, child in _children(value):
        if named:
            found.append(step)
        if isinstance(child, _CONTAINERS):
            _add_keys(child, found)


def _children(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def at(body: Any, address: Address) -> Any:
    """The value at an address; `None` where the path ends early."""
    for step in address:
        try:
            body = body[step]
        except (KeyError, IndexError, TypeError):
            return None
    return body


def edited(body: Body, edits: Mapping[Address, Any]) -> Body:
    """A body with the values at these addresses replaced. Shares whatever is not on an edited path.

    An address that does not exist raises `KeyError` or `IndexError`: an edit that is lost would release
    unredacted text.
    """
    if not edits:
        return body
    copied: dict[Address, Any] = {(): dict(body)}
    for address, value in edits.items():
        for depth in range(1, len(address)):
            prefix = address[:depth]
            if prefix not in copied:
                parent = copied[prefix[:-1]]
                child = parent[prefix[-1]]
                copied[prefix] = parent[prefix[-1]] = child.copy()
        parent = copied[address[:-1]]
        parent[address[-1]]  # raises for an address that does not exist
        parent[address[-1]] = value
    result: Body = copied[()]
    return result
