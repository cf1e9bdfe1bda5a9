"""Other readings of a text in which an attack may stand: hidden characters, base64, hex, percent, rot13, reversed.

A payload is decoded only where it looks like one and only kept if it reads as text, so that ordinary text has no
views. Each view remembers the span of the received text it came from. Not decoded: nesting deeper than two, ciphers
with a key, Morse, Braille, images, home-made alphabets. Pure and thread-safe; linear in the length of the text.
"""

import base64
import binascii
import codecs
import re
import urllib.parse
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

import re2
from msgspec import Struct

from gateway.domain.text import outline
from rules.normalise import hidden_runs

VIEWS_VERSION: Final = "1"

_MIN_PAYLOAD: Final = 16  # characters of a blob: shorter ones are ids, and hold no instruction
_MAX_VIEWS: Final = 16  # of one text
_MAX_CHARS: Final = 8_000  # of one decoded payload
_MAX_DEPTH: Final = 2  # base64 of base64
_MIN_HIDDEN: Final = 4  # characters: fewer spell no instruction

_BASE64: Final = re2.compile(rf"[A-Za-z0-9+/_-]{{{_MIN_PAYLOAD},}}={{0,2}}")
_HEX: Final = re2.compile(r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[\s,:]?){12,}")
_HEX_NOISE: Final = re2.compile(r"0x|\\x|[\s,:]")
_PERCENT: Final = re2.compile(r"(?:[^\s%]{0,3}%[0-9a-fA-F]{2}){4,}\S*")
_READABLE: Final = re.compile(r"[^\W\d_]")
# Words of attacks and the most common English words, as rot13 and a mirror show them; none is a word of any language.
_ROT13: Final = re2.compile(
    r"(?i)\b(?:vtaber|vafgehpgvbaf?|cerivbhf|flfgrz|cebzcg|erirny|sbetrg|bireevqr|qvfertneq|guvf|jvgu|lbhe|nobir|nyy|gur|naq)\b"
)
_MIRRORED: Final = re2.compile(
    r"(?i)\b(?:erongi|snoitcurtsni|noitcurtsni|suoiverp|metsys|tpmorp|laever|tegrof|edirrevo|draged?rsid|ruoy|evoba|lla|eht|dna)\b"
)
_MIN_WORDS: Final = 2  # such words before a whole text is turned


class Disguise(StrEnum):
    INVISIBLE = "invisible"
    BASE64 = "base64"
    HEX = "hex"
    PERCENT = "percent"
    ROT13 = "rot13"
    REVERSED = "reversed"


class Payload(Struct, frozen=True):
    """A text that `[start, end)` of the received text spells in disguise."""

    start: int
    end: int
    disguise: Disguise
    text: str

    def __repr__(self) -> str:
        return f"Payload({self.start}, {self.end}, {self.disguise.value}, {outline(self.text)})"


def payloads(text: str) -> list[Payload]:
    """What the text hides, at most 16, sorted by place. A run of invisible characters whose code is unknown comes
    with an empty text."""
    found = [
        Payload(run.start, run.end, Disguise.INVISIBLE, run.text)
        for run in hidden_runs(text)
        if run.end - run.start >= _MIN_HIDDEN
    ]
    found += [payload for payload in _blobs(text, 1) if payload.text]
    found += _turned(text)
    return sorted(found, key=lambda payload: (payload.start, payload.end, payload.disguise))[:_MAX_VIEWS]


def _blobs(text: str, depth: int) -> Iterator[Payload]:
    clean = text.encode("utf-8", "replace").decode("utf-8")  # RE2 takes no lone surrogates; no place moves
    for disguise, pattern, decode in (
        (Disguise.PERCENT, _PERCENT, _from_percent),
        (Disguise.HEX, _HEX, _from_hex),
        (Disguise.BASE64, _BASE64, _from_base64),
    ):
        for match in pattern.finditer(clean):
            decoded = decode(match.group())
            if not _reads_as_text(decoded):
                continue
            inner = next(_blobs(decoded, depth + 1), None) if depth < _MAX_DEPTH else None
            yield Payload(match.start(), match.end(), disguise, inner.text if inner else decoded)


def _from_base64(blob: str) -> str:
    if blob.isalpha() and (blob.islower() or blob.isupper()):
        return ""  # a long word
    body = blob.rstrip("=")[: _MAX_CHARS * 4 // 3].replace("-", "+").replace("_", "/")
    body = body[: len(body) - (len(body) % 4 == 1)]
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _from_hex(blob: str) -> str:
    digits = _HEX_NOISE.sub("", blob)[: _MAX_CHARS * 2]
    try:
        return bytes.fromhex(digits[: len(digits) // 2 * 2]).decode("utf-8")
    except (ValueError, UnicodeDecodeError):
        return ""


def _from_percent(blob: str) -> str:
    return urllib.parse.unquote_plus(blob[:_MAX_CHARS], errors="replace")


def _reads_as_text(decoded: str) -> bool:
    """Mostly letters, printable, and with more than one word or a long one."""
    if len(decoded) < 8 or "\ufffd" in decoded:
        return False
    letters = len(_READABLE.findall(decoded))
    printable = sum(char.isprintable() or char in "\n\t\r" for char in decoded)
    return letters >= 0.6 * len(decoded) and printable == len(decoded)


def _turned(text: str) -> list[Payload]:
    clean = text.encode("utf-8", "replace").decode("utf-8")
    found = []
    if _hits(_ROT13, clean) >= _MIN_WORDS:
        found.append(Payload(0, len(text), Disguise.ROT13, codecs.encode(text[:_MAX_CHARS], "rot13")))
    if _hits(_MIRRORED, clean) >= _MIN_WORDS:
        found.append(Payload(0, len(text), Disguise.REVERSED, text[:_MAX_CHARS][::-1]))
    return found


def _hits(pattern: Any, text: str) -> int:
    return sum(1 for _, _ in zip(range(_MIN_WORDS), pattern.finditer(text), strict=False))
