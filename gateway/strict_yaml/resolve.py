"""The type of a plain scalar: the core schema of YAML 1.2 (section 10.3), and nothing of 1.1.

`NO`, `on`, `12:30`, `1_000`, `0777` and dates are strings; `1.10` is a number only where a number is wanted.
"""

import re
from typing import Final

from gateway.strict_yaml.node import Scalar

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]{1,300}")  # Python refuses to convert thousands of digits
_OCTAL: Final = re.compile(r"0o[0-7]{1,300}")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]{1,300}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")


def as_null(node: Scalar) -> bool:
    return node.plain and node.text in _NULLS


def as_bool(node: Scalar) -> bool | None:
    return _BOOLS.get(node.text) if node.plain else None


def as_int(node: Scalar) -> int | None:
    if not node.plain:
        return None
    if _INT.fullmatch(node.text):
        return int(node.text)
    if _OCTAL.fullmatch(node.text):
        return int(node.text, 0)
    if _HEX.fullmatch(node.text):
        return int(node.text, 0)
    return None


def as_float(node: Scalar) -> float | None:
    """A finite number. `.inf` and `.nan` are no numbers here: no key of ours means them."""
    if not node.plain or len(node.text) > 300:
        return None
    if _FLOAT.fullmatch(node.text):
        value = float(node.text)
        return value if abs(value) != float("inf") else None
    whole = as_int(node)
    return None if whole is None else float(whole)


def resolve(node: Scalar) -> bool | int | float | str | None:
    """The value of a scalar where no type is asked for."""
    if as_null(node):
        return None
    for candidate in (as_bool(node), as_int(node), as_float(node)):
        if candidate is not None:
            return candidate
    return node.text
