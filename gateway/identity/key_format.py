"""The text of an API key: `gw_<public id>_<secret><checksum>`.

The public id (10 characters, 50 bits) names the key in lists and logs. The secret (32 characters, 160 random bits)
is what is hashed. The checksum (7 characters, CRC-32 of all before it) tells a mistyped or cut key from an unknown
one without a look at the store; it guards nothing. The alphabet is Crockford's base 32 in lower case, which has no
`i`, `l`, `o` or `u`: a key survives reading aloud, and a double click selects it whole.
"""

import zlib
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from gateway.domain.text import Secret

PREFIX: Final = "gw_"
ID_CHARS: Final = 10
SECRET_CHARS: Final = 32
_CHECK_CHARS: Final = 7
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_BITS: Final = 5
_ID_START: Final = len(PREFIX)
_ID_END: Final = _ID_START + ID_CHARS
_SECRET_START: Final = _ID_END + 1
_SECRET_END: Final = _SECRET_START + SECRET_CHARS
KEY_CHARS: Final = _SECRET_END + _CHECK_CHARS


class KeyParts(Struct, frozen=True):
    """A well-formed key. `secret` has not been compared with anything yet."""

    id: str
    secret: Secret


def new_key(random_bytes: Callable[[int], bytes]) -> tuple[KeyParts, Secret]:
    """A fresh key: its parts, and the whole text to hand out. `random_bytes` must be cryptographic."""
    key_id = _encode(int.from_bytes(random_bytes(8)), ID_CHARS)
    secret = _encode(int.from_bytes(random_bytes(20)), SECRET_CHARS)
    body = f"{PREFIX}{key_id}_{secret}"
    return KeyParts(key_id, Secret(secret)), Secret(body + _checksum(body))


def parse_key(text: str) -> KeyParts | None:
    """The parts of a key, `None` for anything that was not issued in this form or was damaged on the way."""
    if len(text) != KEY_CHARS or not text.startswith(PREFIX) or text[_ID_END] != "_" or not text.isascii():
        return None
    if _checksum(text[:_SECRET_END]) != text[_SECRET_END:]:
        return None
    return KeyParts(public_id(text), Secret(text[_SECRET_START:_SECRET_END]))


def public_id(text: str) -> str:
    """The public id of a text of `KEY_CHARS` characters, if it is a key."""
    return text[_ID_START:_ID_END]


def _checksum(body: str) -> str:
    return _encode(zlib.crc32(body.encode("ascii")), _CHECK_CHARS)


def _encode(number: int, chars: int) -> str:
    """The lowest `chars` base-32 digits of `number`."""
    return "".join(_ALPHABET[number >> (_BITS * place) & 31] for place in reversed(range(chars)))
