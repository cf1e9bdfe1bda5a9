"""An answer as sentences with their places, citation markers and what of them claims anything."""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from gateway.domain.text import outline

MARKER: Final = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
"""How an answer cites: `[2]`, `[1, 2]`."""

# A run of full stops is looked at from its beginning only: that keeps the search linear.
_END: Final = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_]*+(?:\s++|$)|\n+|(?<=[。！？])")
_TRAILING_MARKERS: Final = re.compile(r"(?:\s*\[\d{1,3}(?:\s*[,;]\s*\d{1,3})*\])+[.,;]?\s*")
_ABBREVIATION: Final = re.compile(
    r"(?:^|\s)\d{1,2}\.\s*$|(?:^|[\s(\"'“.])(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|No|Nr|vs|etc|e\.g|i\.e|z\.B|d\.h|bzw|ca|Inc|Ltd|Co|Corp"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|approx|Art|Fig|al|M|Mme)\.\s*$"
)
_BULLET: Final = re.compile(r"^(?:[-*•–#>]+|\(?\d{1,2}[.)]|\(?[a-z]\))\s+")

# An answer that says it does not know, or is polite to the reader, claims nothing that a passage could hold.
_NO_CLAIM: Final = re.compile(
    r"\b(?:passages?|documents?|sources?|context|text|information|excerpts?)\b[^.]{0,60}?"
    r"\b(?:do(?:es)? not|don't|doesn't|did not|cannot|can't|not)\b[^.]{0,20}?"
    r"\b(?:say|state|mention|contain|hold|provide|specify|answer|include|describe|cover|give|indicate|address|available"
    r"|enough|sufficient)"
    r"|\b(?:unable|not able|not possible) to (?:answer|find|determine|say|provide)"
    r"|\bI(?: am|['’]m) (?:unable|not able|not sure|sorry|happy|afraid)\b"
    r"|\bI (?:do not|cannot|could not|have no|was unable|hope|can help|apologi[sz]e|(?:don|can|couldn)['’]t)\b"
    r"|\b(?:please (?:contact|ask|let|see|consult)|let me know|happy to help|feel free)\b"
    r"|^(?:hello|hi|hey|dear|hallo|hola)\b[^.]{0,40}$|^thank(?:s| you)\b"
    r"|^(?:sure|certainly|of course|you['’]re welcome)[!.]?$"
    r"|\bkeine (?:dokumente|quellen|unterlagen)\b|\bno tengo documentos\b"
    r"|\b(?:dokumente|quellen|textstellen|unterlagen)\b[^.]{0,80}\b(?:nicht|keine?)\b"
    r"|\b(?:documentos|fuentes|pasajes)\b[^.]{0,30}\bno (?:responden|contienen|mencionan|indican)\b",
    re.IGNORECASE,
)


class Sentence(Struct, frozen=True):
    """A sentence at `[start, end)` of the text, with its markers behind it. `cited` are its numbers with the places of
    their markers; `claims` is false where it asks, greets, introduces a list or says that it does not know."""

    start: int
    end: int
    text: str
    cited: tuple[tuple[int, int, int], ...]  # number, start, end
    claims: bool

    def __repr__(self) -> str:
        return f"Sentence({self.start}, {self.end}, {outline(self.text)})"


def sentences(text: str) -> Iterator[Sentence]:
    """The sentences in order; together they cover the text but for white space at the ends. Linear."""
    for start, end in _spans(text):
        said = text[start:end]
        bare = _BULLET.sub("", MARKER.sub(" ", said).strip()).strip()
        cited = tuple(
            (int(number), start + marker.start(), start + marker.end())
            for marker in MARKER.finditer(said)
            for number in re.findall(r"\d+", marker[1])
        )
        yield Sentence(start, end, bare, cited, claims=_claims(bare))


def _claims(text: str) -> bool:
    """Whether there is something to look up. A number is, whatever courtesy it is wrapped in."""
    if any(map(str.isdigit, text)):
        return True
    return bool(text) and not text.endswith(("?", "？", ":")) and _NO_CLAIM.search(text) is None


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start = at = 0
    while (found := _END.search(text, at)) is not None:
        end = at = found.end()
        if end == found.start():  # behind a full stop of a script without spaces
            at = end + 1
        if _ABBREVIATION.search(text, max(start, end - 32), end) and end < len(text) and "\n" not in found.group():
            continue
        markers = _TRAILING_MARKERS.match(text, end)
        if markers is not None:
            end = at = markers.end()
        if text[start:end].strip():
            yield start, end
        start = end
        if at > len(text):
            break
    if text[start:].strip():
        yield start, len(text)
