"""What a URL in a text carries. Pure functions of the string.

An address is read as a browser reads it where that matters for the host: a backslash is a slash, and whatever
stands before the last `@` of the authority is no host.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final
from urllib.parse import unquote_plus

from msgspec import Struct

_PARTS: Final = re.compile(
    r"(?:(?:https?|wss?|ftp):/*|(?:[a-z][a-z0-9+.-]*:)?/{2,})([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?",
    re.IGNORECASE | re.DOTALL,
)
_PORT: Final = re.compile(r":\d*$")

_TELLING_NAME: Final = re.compile(
    r"(?:[a-z]+[_-])?(?:data|payload|exfil\w*|leak\w*|secrets?|stolen|cookies?|passwords?|pass|pwd|token|conversation|history|chat"
    r"|messages?|msg|prompt|context|content|summary|answer|response|info|body|text|log)(?:[_-][a-z]+)?",
    re.IGNORECASE,
)
_PLACEHOLDER: Final = re.compile(
    r"(?:\{+|\$\{|\[+|<+|%7B|%5B|%3C)[^{}\[\]<>/?&=]{0,40}?(?:data|secret|stolen|conversation|history|chat|message|prompt|context|summary"
    r"|answer|response|password|token|balance|account|base64|encoded|content|payload|leak|info|output|result|text"
    r"|query|question|e-?mail|ssn|iban|card)[^{}\[\]<>/?&=]{0,40}(?:\}|\]|>|%7D|%5D|%3E)",
    re.IGNORECASE,
)
_PERSONAL: Final = re.compile(
    r"[\w.+-]+@[\w-]+\.\w|\b[A-Z]{2}\d{2} ?(?:[A-Z0-9]{4} ?){2,7}|(?<!\d)\d(?:[ -]?\d){11,18}(?!\d)|\d{3}-\d{2}-\d{4}"
)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HEX: Final = re.compile(r"[0-9a-f]{24,}", re.IGNORECASE)
_BLOB: Final = re.compile(r"[A-Za-z0-9+_-]{20,}={0,2}")
_WORDS: Final = re.compile(r"[A-Za-z]?[a-z]+(?:[_-]+(?:[A-Za-z]?[a-z]+|\d{1,8}|[A-Z]+))*")
_REVISION: Final = (32, 40, 64)  # hexadecimal digits of a digest or revision, ordinary in a path
_TELLING_CHARS: Final = 12
_SENTENCE_CHARS: Final = 64  # decoded text of a value; a search for something is shorter
_SENTENCE_WORDS: Final = 9
_LONG_QUERY: Final = 300
_LONG_SEGMENT: Final = 160
_LONG_LABEL: Final = 32
_TRAILING: Final = ".,;:!?'\"*)"


class Address(Struct, frozen=True, kw_only=True):
    """A remote address in its parts, percent-encoded as written; `host` in lower case without port."""

    host: str
    userinfo: str
    path: str
    query: str
    fragment: str

    def __repr__(self) -> str:
        return f"Address({self.host!r}, …)"


def parse(url: str) -> Address | None:
    """A remote address, also a protocol-relative one; `None` for anything else."""
    match = _PARTS.fullmatch(url.replace("\\", "/"))
    if match is None:
        return None
    authority, path, query, fragment = (part or "" for part in match.groups())
    userinfo, _, host = authority.rpartition("@")
    host = _PORT.sub("", host).rstrip(".").lower()
    return Address(host=host, userinfo=userinfo, path=path, query=query, fragment=fragment)


def trim(url: str) -> str:
    """The URL without the punctuation of the sentence around it; a closing bracket stays if it was opened."""
    while url and url[-1] in _TRAILING:
        if url[-1] == ")" and url.count("(") >= url.count(")"):
            break
        url = url[:-1]
    return url


def has_placeholder(url: str) -> bool:
    """Whether the URL says where data is to be put in, as in `?q={conversation}`."""
    return _PLACEHOLDER.search(url) is not None


def carries_data(address: Address) -> bool:
    """Whether more than an identifier stands in the address."""
    if address.userinfo or len(address.query) >= _LONG_QUERY:
        return True
    if any(len(label) >= _LONG_LABEL or _HEX.fullmatch(label) for label in address.host.split(".")):
        return True
    if any(_is_loaded_segment(unquote_plus(segment)) for segment in address.path.split("/")):
        return True
    return any(_is_loaded_value(name, value) for name, value in _values(address))


def _values(address: Address) -> Iterator[tuple[str, str]]:
    for part in re.split("[&;]", f"{address.query}&{address.fragment}"):
        name, equals, value = part.partition("=")
        yield (unquote_plus(name), unquote_plus(value)) if equals else ("", unquote_plus(name))


def _is_loaded_segment(segment: str) -> bool:
    if _UUID.fullmatch(segment) or (_HEX.fullmatch(segment) and len(segment) in _REVISION):
        return False
    return len(segment) >= _LONG_SEGMENT or _is_text_or_blob(segment)


def _is_loaded_value(name: str, value: str) -> bool:
    if _UUID.fullmatch(value):
        return False
    if _TELLING_NAME.fullmatch(name) and len(value) >= _TELLING_CHARS:
        return True
    return len(value) >= _SENTENCE_CHARS or _is_text_or_blob(value)


def _is_text_or_blob(value: str) -> bool:
    if _PERSONAL.search(value) or len(value.split()) >= _SENTENCE_WORDS:
        return True
    blob = _BLOB.search(value)
    return _HEX.search(value) is not None or (
        blob is not None and _WORDS.fullmatch(blob.group()) is None and _is_mixed(blob.group())
    )


def _is_mixed(blob: str) -> bool:
    """Whether neighbouring characters change their class as often as encoded data does, and not like words."""
    classes = "".join("a" if c.islower() else "A" if c.isupper() else "0" if c.isdigit() else "-" for c in blob)
    changes = sum("-" not in pair and pair[0] != pair[1] for pair in pairwise(classes))
    return changes >= len(blob) // 4
