"""Whether a string that stands where a secret would stand looks like one. Pure functions of the string."""

import base64
import binascii
import json
import math
import re
from collections import Counter
from itertools import pairwise
from typing import Final

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_HEX: Final = re.compile(r"(?:[0-9a-f]+|[0-9A-F]+)")
# Words that authors of documentation put in place of a value, anywhere in it.
_STAND_IN: Final = re.compile(
    r"example|sample|placeholder|change[_-]?(?:me|it|this)|your[_-]?|redacted|replace[_-]?|insert[_-]|dummy|fake"
    r"|x{4}|\*{3}|\.{3}|\u2026|0{8}|1234567|abcdef|(.)\1{6}",
    re.IGNORECASE,
)
# Values that are no secret because they are the word for one, a type, or a reference to a place that holds it.
_NOT_A_PASSWORD: Final = re.compile(
    r"(?:my|your|the|some|new|old|user|db|root|admin|test)?[_-]?"
    r"(?:pass(?:word|wd|phrase|code)?|passwort|kennwort|pwd|pw|secret|token|key|example|sample|changeme|changeit|string"
    r"|none|null|undefined|true|false|empty|required|optional|hidden|redacted|protected|encrypted|unknown|placeholder)"
    r"[_-]?(?:here|hash|field|123|1234)?[!.]?",
    re.IGNORECASE,
)
_REFERENCE: Final = re.compile(
    r"[$%#@]?[<{\[(].*|\$\w+|%\w+%|\w+(?:\.\w+)*[(\[].*|(?:env|os|process|vault|secrets|config|settings|self|args|request"
    r")[.:/].*|&\w+;.*|https?://.*|[*x\u2022#.-]+",
    re.IGNORECASE,
)
_CLASSES: Final = (str.islower, str.isupper, str.isdigit)


def entropy(value: str) -> float:
    """Shannon entropy of the characters, in bits a character; 0 for the empty string."""
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())


def is_stand_in(value: str) -> bool:
    """Whether a token holds what documentation writes in place of random characters."""
    return _STAND_IN.search(value) is not None


def is_random(value: str, *, bits: float = 3.0) -> bool:
    """Whether a token of a known format holds random characters: some entropy, and no stand-in."""
    return entropy(value) >= bits and not is_stand_in(value)


def is_opaque(value: str) -> bool:
    """Whether a value without a known format looks generated: 16 characters or more with digits among the letters
    in no order that people write, or hexadecimal of 32 or more; not a UUID."""
    if is_stand_in(value) or _UUID.fullmatch(value) or _REFERENCE.fullmatch(value):
        return False
    if _HEX.fullmatch(value):
        return len(value) >= 32 and entropy(value) >= 3.0
    return entropy(value) >= 3.5 and _changes(value) >= max(4, len(value) // 6) and any(map(str.isdigit, value))


def _changes(value: str) -> int:
    """How often neighbours change between lower case, upper case and digits; a capital that begins a word of lower
    case counts as part of it."""
    classes = [next((i for i, is_in in enumerate(_CLASSES) if is_in(char)), -1) for char in value]
    changes = 0
    for before, after in pairwise(classes):
        if -1 not in (before, after) and before != after and (before, after) != (1, 0):
            changes += 1
    return changes


def is_password(value: str) -> bool:
    """Whether a word that is called a password may be one: letters with a digit or sign inside, or mixed case that
    is not a name; not a stand-in, a type, or a reference to where it is kept."""
    if len(value) < 6 or _NOT_A_PASSWORD.fullmatch(value) or _REFERENCE.fullmatch(value):
        return False
    core = value.strip("!?.")
    letters = any(map(str.isalpha, core))
    others = any(not char.isalpha() for char in core.strip("-_'\u2019"))
    if letters and others:
        return not re.fullmatch(r"[^\W\d_]+(?:['\u2019/_.:-]+[^\W\d_]+)*", core)  # `must-be-long`, `and/or`
    return letters and core[1:] != core[1:].lower() and not core.isupper()


def is_url_password(value: str) -> bool:
    """Whether the password part of an address is more than the word for one."""
    return len(value) >= 3 and not (
        is_stand_in(value) or _NOT_A_PASSWORD.fullmatch(value) or _REFERENCE.fullmatch(value)
    )


def is_jwt(value: str) -> bool:
    """Whether the first part is a JOSE header: JSON with `alg` (RFC 7515 section 4)."""
    header = value.split(".", 1)[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(decoded, dict) and isinstance(decoded.get("alg"), str)


def is_basic_credential(value: str) -> bool:
    """Whether base64 text decodes to `user:password` (RFC 7617)."""
    try:
        decoded = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return False
    user, colon, password = decoded.partition(":")
    return bool(user and colon) and is_url_password(password)
