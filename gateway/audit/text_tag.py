"""Tags by which a text is found again among millions of commitments: the last eight bytes of each salt.

A salt is 24 random bytes and a tag, keyed BLAKE2b of the text (RFC 7693). Whoever knows neither key nor salt learns
nothing from the commitment: 192 random bits hide the text. The tag lies where the salt lies and is destroyed with it,
and the index forgets it then; nothing of it is in the event. Without the key, equal tags say that texts are equal, to
whoever may read salts, and nothing else.
"""

from hashlib import blake2b
from typing import Final

from gateway.audit.commitment import SALT_BYTES

TAG_BYTES: Final = 8


class TextTags:
    """Makes tags with one key (32 bytes), that for `Purpose.TEXT_TAG`. Thread-safe."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=TAG_BYTES).digest()

    def tagged(self, salt: bytes, text: str) -> bytes:
        """The salt with the tag of a text in its last bytes."""
        return salt[: SALT_BYTES - TAG_BYTES] + self.of(text)

    def number(self, text: str) -> int:
        """The tag as the index keeps it."""
        return tag_of(self.of(text))

    def __repr__(self) -> str:
        return "TextTags(…)"


def tag_of(salt: bytes) -> int:
    """The tag in a salt, as a signed number."""
    return int.from_bytes(salt[-TAG_BYTES:], "big", signed=True)
