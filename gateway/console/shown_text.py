"""Texts with personal data in them, as a page may show them: masked, or with the places marked."""

from collections.abc import Sequence

from msgspec import Struct

from gateway.domain.signal import Finding
from gateway.domain.text import outline


class Piece(Struct, frozen=True):
    """A part of a text; `kind` is what was found there, "" for plain text. A masked piece holds no text."""

    text: str
    kind: str = ""

    def __repr__(self) -> str:
        return f"Piece({outline(self.text)}, {self.kind!r})"


class ShownText(Struct, frozen=True, kw_only=True):
    """`masked` counts the places that are hidden. `withheld` says that the detectors failed: then nothing is shown."""

    pieces: tuple[Piece, ...] = ()
    masked: int = 0
    withheld: bool = False


def shown_text(text: str, findings: Sequence[Finding] | None, *, masked: bool) -> ShownText:
    """The text in pieces. `findings` may overlap: what any of them covers is one place, named by the first kind.
    Fails closed: masking without findings withholds the text."""
    if findings is None:
        return ShownText(withheld=True) if masked else ShownText(pieces=(Piece(text),))
    pieces: list[Piece] = []
    at = hidden = 0
    for start, end, kind in _places(findings):
        if text[at:start]:
            pieces.append(Piece(text[at:start]))
        pieces.append(Piece("" if masked else text[start:end], kind))
        hidden += masked
        at = end
    if text[at:]:
        pieces.append(Piece(text[at:]))
    return ShownText(pieces=tuple(pieces), masked=hidden)


def narrow_findings(text: str, findings: Sequence[Finding]) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """The findings that mark a place best, and the kinds of the others: those about the whole text, such as topics, and
    those that hold a narrower one, which would hide it."""
    whole = (len(text) - len(text.lstrip()), len(text.rstrip()))
    narrow = tuple(
        one
        for one in findings
        if (one.start > whole[0] or one.end < whole[1])
        and not any(
            one.start <= other.start and other.end <= one.end and other.end - other.start < one.end - one.start
            for other in findings
        )
    )
    return narrow, tuple(sorted({one.kind for one in findings} - {one.kind for one in narrow}))


def _places(findings: Sequence[Finding]) -> list[tuple[int, int, str]]:
    """The covered places in order, overlapping ones joined."""
    places: list[tuple[int, int, str]] = []
    for finding in sorted(findings):
        if places and finding.start < places[-1][1]:
            start, end, kind = places.pop()
            places.append((start, max(end, finding.end), kind))
        elif finding.start < finding.end:
            places.append((finding.start, finding.end, finding.kind))
    return places
