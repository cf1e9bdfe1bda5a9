"""What an edit changes in a text, word by word."""

import re
from difflib import SequenceMatcher
from typing import Final, Literal

from msgspec import Struct

from gateway.domain.text import outline

_WORDS: Final = re.compile(r"\s+|\w+|[^\w\s]")
_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")
_MOST_WORDS: Final = 4_000
"""Beyond that lines are compared: the time grows with the square of the number of parts."""

Change = Literal["same", "removed", "added"]


class Stretch(Struct, frozen=True):
    change: Change
    text: str

    def __repr__(self) -> str:
        return f"Stretch({self.change}, {outline(self.text)})"


def differences(before: str, after: str) -> tuple[Stretch, ...]:
    """Stretches whose `same` and `removed` ones make up `before`, and whose `same` and `added` ones `after`."""
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    if max(len(old), len(new)) > _MOST_WORDS:
        old, new = _LINES.findall(before), _LINES.findall(after)
    found: list[Stretch] = []
    for tag, a, b, c, d in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "equal":
            found.append(Stretch("same", "".join(old[a:b])))
            continue
        if a < b:
            found.append(Stretch("removed", "".join(old[a:b])))
        if c < d:
            found.append(Stretch("added", "".join(new[c:d])))
    return tuple(found)
