"""Texts as a reader sees them, with the way back to the text as received.

Attackers write `ignore` with a Cyrillic letter, hide words between zero-width characters, or type `pr0mpt`.
`normalise` undoes what can be undone character by character and returns a `View`: the plain text, and a map
from its spans to spans of the received text, so that a finding always points at what was really sent.

What it does, in this order:

1. drops invisible characters: zero-width, bidi controls, soft hyphens, fillers, variation selectors, tags;
2. composes and compatibility-folds (NFKC, Unicode Standard Annex 15) each base character with its marks, and
   drops marks that remain uncomposed (stacked "zalgo" marks);
3. replaces look-alike letters of other scripts (the idea of Unicode Technical Standard 39, with a table of the
   letters that matter) in a word whose every letter then is Latin; a Russian or Greek word stays as it is;
4. with `leet=True`, reads digits and signs inside words as the letters they imitate (`1gn0r3`).

Case is kept: `fold_case` is a view of its own. `hidden_runs` reads what invisible characters spell. All
functions are pure, thread-safe and linear in the length of the text; plain ASCII text costs next to nothing.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final, assert_never

import re2
from msgspec import Struct

from gateway.domain.text import outline

NORMALISE_VERSION: Final = f"1+unicode{unicodedata.unidata_version}"
"""Part of the version of each detector that looks at a normalised text."""

_INVISIBLE_CLASS: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f\U000e0100-\U000e01ef"
)
_INVISIBLE: Final = re.compile(f"[{_INVISIBLE_CLASS}]")
_MARK_CLASS: Final = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_MARKS: Final = re.compile(f"[{_MARK_CLASS}]+")
# White circled and squared letters fold by NFKC; the black ones are symbols without a decomposition.
_BLACK_LETTERS: Final = {base + i: chr(ord("A") + i) for base in (0x1F150, 0x1F170) for i in range(26)}
# Where NFKC can change a single character: all planes that hold any, without ideographs and Hangul syllables.
_FOLDING_BLOCKS: Final = (range(0xA0, 0x3400), range(0xA000, 0xAC00), range(0xF900, 0x20000), range(0x2F800, 0x2FA20))


_CASE_BLOCKS: Final = (range(0xA0, 0x2200), range(0x2C00, 0x2E00), range(0xA600, 0xAC00), range(0xFB00, 0xFB20))


def _folding_characters() -> str:
    return "".join(
        char for block in _FOLDING_BLOCKS for char in map(chr, block) if not unicodedata.is_normalized("NFKC", char)
    )


# Stretches that steps 1 and 2 change, with the character before them, which may be the base of their marks. RE2
# finds them at 2 ns a byte; the loop over characters sees nothing else.
_ODD_CLASS: Final = f"{_INVISIBLE_CLASS}{_MARK_CLASS}{_folding_characters()}{''.join(map(chr, _BLACK_LETTERS))}"
_ODD: Final = re2.compile(f"(?s:.)?[{_ODD_CLASS}]+".encode())

_EXPANDING: Final = re2.compile(
    f"[{''.join(char for block in _CASE_BLOCKS for char in map(chr, block) if len(char.casefold()) > 1)}]".encode()
)

# Letters of Cyrillic, Greek, Armenian, Cherokee and the phonetic blocks by the Latin letter they look like, in hex.
_LOOKALIKES_OF: Final = {
    "A": "0391 0410 13aa",
    "B": "0392 0412 13f4",
    "C": "0421 13df",
    "D": "13a0",
    "E": "0395 0415 13ac",
    "H": "0397 041d 13bb",
    "I": "0399 0406",
    "J": "0408 13ab",
    "K": "039a 041a",
    "L": "053c 13de",
    "M": "039c 041c 13b7",
    "N": "039d",
    "O": "039f 041e 0555",
    "P": "03a1 0420 13e2",
    "R": "13a1",
    "S": "0405 13da",
    "T": "03a4 0422 13a2",
    "W": "13d4",
    "X": "03a7 0425",
    "Y": "03a5 0423",
    "Z": "0396 13c3",
    "a": "0251 03b1 0430 1d00",
    "b": "0299 044c",
    "c": "0441 1d04",
    "d": "0501 1d05",
    "e": "03b5 0435 0454 1d07",
    "g": "0261 0262 0581",
    "h": "029c 04bb 0570",
    "i": "0131 0269 026a 03b9 0456 13a5",
    "j": "0237 0458 1d0a",
    "k": "03ba 1d0b",
    "l": "029f 04cf",
    "m": "1d0d",
    "n": "0274 03b7 0578",
    "o": "03bf 043e 0585 1d0f",
    "p": "03c1 0440 1d18",
    "q": "051b",
    "r": "0280 0433",
    "s": "0455 a731",
    "t": "03c4 1d1b",
    "u": "03c5 057d 1d1c",
    "v": "03bd 0475 1d20",
    "w": "03c9 051d 1d21",
    "x": "03c7 0445",
    "y": "028f 03b3 0443",
    "z": "1d22",
    "á": "03ac",
    "è": "0450",
    "é": "03ad",
    "ë": "0451",
    "í": "03af",
    "ï": "0457",
    "ó": "03cc",
    "ú": "03cd",
}
_LOOKALIKES: Final = {int(code, 16): latin for latin, codes in _LOOKALIKES_OF.items() for code in codes.split()}
_LOOKALIKE: Final = "".join(map(chr, _LOOKALIKES))
_LATIN: Final = rf"[\p{{Latin}}0-9_{_LOOKALIKE}]"
# A disguised word: all its letters are or look Latin. One of two letters is too likely a Cyrillic preposition.
_DISGUISE: Final = (
    rf"(?:^|[^\pL\pN_])((?:[{_LOOKALIKE}]{_LATIN}{_LATIN}|{_LATIN}[{_LOOKALIKE}]{_LATIN}|{_LATIN}{_LATIN}+[{_LOOKALIKE}])"
    rf"{_LATIN}*)(?:$|[^\pL\pN_])"
)
_DISGUISED: Final = re2.compile(_DISGUISE.encode())
_NOT_PLAIN: Final = re2.compile(f"[{_ODD_CLASS}]|{_DISGUISE}".encode())

_LEET: Final = str.maketrans("0134578@$!|", "oieastbasil")
_LEET_SIGN: Final = re.compile("[0134578@$!|]")
_LEET_WORD: Final = re.compile(r"[\w@$!|]*[\w@$]")
_QUANTITY: Final = re.compile(r"\d+[^\W\d_]{0,3}|[^\W\d_]\d*|[^\W\d_]+\d{3,}")  # 10km, B2, EUR500


class Edit(Struct, frozen=True):
    """Replace `[start, end)` of a text by `text`."""

    start: int
    end: int
    text: str


class View(Struct, frozen=True):
    """A rewritten text that knows where each of its spans came from.

    `edits` are sorted and do not overlap; `starts[i]` is the place of edit `i` in `text`. A text without edits
    maps to itself, even where characters were exchanged one for one.
    """

    text: str
    edits: tuple[Edit, ...] = ()
    starts: tuple[int, ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span of the received text that gave `[start, end)` of this text; inside a replacement, the whole
        of what was replaced. Invisible characters belong to the visible character before them."""
        if not self.edits:
            return start, end
        if start >= end:
            place = self._place(start, first=True)
            return place, place
        return self._place(start, first=True), self._place(end - 1, first=False)

    def _place(self, index: int, *, first: bool) -> int:
        at = bisect_right(self.starts, index) - 1
        if at < 0:
            return index if first else index + 1
        edit = self.edits[at]
        beyond = index - self.starts[at] - len(edit.text)
        if beyond < 0:
            return edit.start if first else edit.end
        return edit.end + beyond + (0 if first else 1)

    def __repr__(self) -> str:
        return f"View({outline(self.text)}, {len(self.edits)} edits)"


def rewrite(text: str, edits: Sequence[Edit]) -> View:
    """Apply `edits`, which are sorted by start and do not overlap."""
    if not edits:
        return View(text)
    pieces: list[str] = []
    starts: list[int] = []
    received = length = 0
    for edit in edits:
        length += edit.start - received
        starts.append(length)
        pieces += (text[received : edit.start], edit.text)
        length += len(edit.text)
        received = edit.end
    pieces.append(text[received:])
    return View("".join(pieces), tuple(edits), tuple(starts))


def normalise(text: str, *, leet: bool = False) -> View:
    """The text as a reader sees it; see the head of this module. Without `leet` it is idempotent."""
    view = View(text)
    if not text.isascii() and _NOT_PLAIN.search(_encoded(text)) is not None:
        view = rewrite(text, _plain_edits(text))
        view = View(_undisguised(view.text), view.edits, view.starts)
    if leet and _LEET_SIGN.search(view.text):
        view = View(_LEET_WORD.sub(_unleet_word, view.text), view.edits, view.starts)
    return view


def fold_case(text: str) -> View:
    """The text under Unicode full case folding, where a character may become several."""
    folded = text.casefold()
    if len(folded) == len(text):  # folding never shortens, so each character stayed one
        return View(folded)
    edits = [Edit(place, place + 1, char.casefold()) for place, char in _places(_EXPANDING, text)]
    return View(folded, tuple(edits), rewrite(text, edits).starts)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a lone surrogate becomes `?`, one character like itself


def _places(expression: "re2._Regexp", text: str) -> Iterator[tuple[int, str]]:
    """Matches of an expression over UTF-8 with their place in code points, in one pass."""
    data, offset, place = _encoded(text), 0, 0
    for match in expression.finditer(data):
        start, end = match.span()
        place += len(data[offset:start].decode())
        found = data[start:end].decode()
        yield place, found
        offset, place = end, place + len(found)


def _plain_edits(text: str) -> list[Edit]:
    """Steps 1 and 2."""
    return [edit for place, stretch in _places(_ODD, text) for edit in _cluster_edits(stretch, place)]


def _undisguised(text: str) -> str:
    """Step 3: as many characters as before."""
    data, place = _encoded(text), 0
    pieces: list[str] = []
    while (match := _DISGUISED.search(data, place)) is not None:
        start, end = match.span(1)
        pieces += (data[place:start].decode(), data[start:end].decode().translate(_LOOKALIKES))
        place = end
    return "".join((*pieces, data[place:].decode())) if pieces else text


def _cluster_edits(stretch: str, offset: int) -> list[Edit]:
    """A cluster is a base character with the marks and the invisible characters that follow it."""
    edits: list[Edit] = []
    start, cluster = 0, ""
    for i, char in enumerate(stretch):
        invisible = _INVISIBLE.match(char) is not None
        if i and not invisible and unicodedata.combining(char) == 0:
            if (plain := _plain(cluster)) != stretch[start:i]:
                edits.append(Edit(offset + start, offset + i, plain))
            start, cluster = i, ""
        if not invisible:
            cluster += char
    if (plain := _plain(cluster)) != stretch[start:]:
        edits.append(Edit(offset + start, offset + len(stretch), plain))
    return edits


@lru_cache(maxsize=4096)
def _plain(cluster: str) -> str:
    return _MARKS.sub("", unicodedata.normalize("NFKC", cluster.translate(_BLACK_LETTERS)))


def _unleet_word(match: re.Match[str]) -> str:
    word = match.group()
    letters = sum(map(str.isalpha, word))
    if letters < 2 or letters == len(word) or _QUANTITY.fullmatch(word):
        return word
    return word.translate(_LEET)


class Carrier(StrEnum):
    """Invisible characters that can spell a text."""

    TAGS = "tags"  # U+E0020..E007E mirror ASCII
    SELECTORS = "selectors"  # 256 variation selectors stand for bytes
    ZERO_WIDTH = "zero_width"  # bits; the code is up to the sender, so it is not read


class HiddenRun(Struct, frozen=True, kw_only=True):
    """`[start, end)` of the received text, and what it spells ("" where that is not known)."""

    start: int
    end: int
    carrier: Carrier
    text: str

    def __repr__(self) -> str:
        return f"HiddenRun({self.start}, {self.end}, {self.carrier.value}, {outline(self.text)})"


_FLAG: Final = "\U0001f3f4"  # flags of England, Scotland, Wales: this, a few tags, the cancel tag
_FLAG_TAGS: Final = re.compile("[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f")
_CARRIERS: Final = (
    (Carrier.TAGS, re.compile("[\U000e0000-\U000e007f]")),
    (Carrier.SELECTORS, re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")),
    (Carrier.ZERO_WIDTH, re.compile("[\u200b-\u200d\u2060-\u2064\ufeff]")),
)
_SHORTEST_RUN: Final = {Carrier.TAGS: 2, Carrier.SELECTORS: 2, Carrier.ZERO_WIDTH: 8}
# A single selector or joiner belongs to an emoji or a script; eight zero-width characters are one byte. The
# character before a run tells a flag.
_RUNS: Final = "|".join(f"{characters.pattern}{{{_SHORTEST_RUN[carrier]},}}" for carrier, characters in _CARRIERS)
_HIDDEN: Final = re2.compile(f"(?s:.)?(?:{_RUNS})".encode())


def hidden_runs(text: str) -> list[HiddenRun]:
    """Runs of invisible characters that carry a text, sorted by place; flags and emoji are none."""
    if text.isascii():
        return []
    runs: list[HiddenRun] = []
    for place, found in _places(_HIDDEN, text):
        carrier = _carrier(found[-1])
        assert carrier is not None  # by the expression
        shown = 0 if _carrier(found[0]) is carrier else 1
        run = found[shown:]
        if not (found[:shown] == _FLAG and _FLAG_TAGS.fullmatch(run)):
            start, end = place + shown, place + len(found)
            runs.append(HiddenRun(start=start, end=end, carrier=carrier, text=_read(carrier, run)))
    return runs


def _carrier(char: str) -> Carrier | None:
    for carrier, characters in _CARRIERS:
        if characters.match(char):
            return carrier
    return None


def _read(carrier: Carrier, run: str) -> str:
    match carrier:
        case Carrier.TAGS:
            return "".join(chr(ord(char) - 0xE0000) for char in run if 0xE0020 <= ord(char) <= 0xE007E)
        case Carrier.SELECTORS:
            codes = bytes(ord(c) - 0xFE00 if ord(c) < 0xE0000 else ord(c) - 0xE0100 + 16 for c in run)
            return codes.decode("utf-8", "replace")
        case Carrier.ZERO_WIDTH:
            return ""
        case _ as unreachable:
            assert_never(unreachable)
