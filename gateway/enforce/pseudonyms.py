"""Reversible stand-ins for personal data, valid for one exchange and forgotten with it.

The model sees `<PERSON_1>`; the client gets the value back. The map is built from the texts of this request alone and
is never shared, stored or logged, so one caller's stand-in can never reveal another's value. Numbers follow the order
of first appearance: a client that resends its conversation gets the same stand-ins each turn.
"""

import json
import re
from collections.abc import Iterable
from typing import Final

_TOKEN: Final = re.compile(r"<([A-Z][A-Z0-9_]{0,39})_([0-9]{1,6})>")
_SHAPE: Final = re.compile(r"[^A-Z0-9_]+")


def token_spans(text: str) -> list[tuple[int, int]]:
    """Where stand-ins, ours or such as look like them, occur in `text`."""
    return [match.span() for match in _TOKEN.finditer(text)]


class PseudonymMap:
    """The stand-ins of one exchange. Not thread-safe."""

    __slots__ = ("_by_token", "_by_value", "_counts", "_taken")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """`texts` are all texts of the request: stand-ins that a user typed are never given to a value."""
        self._by_value: dict[tuple[str, str], str] = {}
        self._by_token: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._taken = {match.group() for text in texts if "<" in text for match in _TOKEN.finditer(text)}

    def __len__(self) -> int:
        return len(self._by_token)

    def __repr__(self) -> str:
        return f"PseudonymMap({len(self)} values)"

    def token(self, kind: str, value: str, *, restorable: bool = True) -> str:
        """The stand-in for `value`; equal values of a kind share one, whatever their case and spacing.

        Only a value that the request brought is `restorable`; one that appears in a passage or an answer stays hidden.
        """
        label = _SHAPE.sub("_", kind.upper()).strip("_")[:40] or "VALUE"
        key = (label, " ".join(value.casefold().split()))
        known = self._by_value.get(key)
        if known is not None:
            return known
        number = self._counts.get(label, 0) + 1
        while (token := f"<{label}_{number}>") in self._taken:
            number += 1
        self._counts[label] = number
        self._by_value[key] = token
        if restorable:
            self._by_token[token] = value
        return token

    def restore(self, text: str) -> str:
        """`text` with the stand-ins of this map replaced by their values, in one pass: a restored value is never
        searched again. Unknown stand-ins stay."""
        if not self._by_token or "<" not in text:
            return text
        return _TOKEN.sub(lambda match: self._by_token.get(match.group(), match.group()), text)

    def restore_in_json_text(self, text: str) -> str:
        """The same inside the source text of JSON strings: values are escaped so that the JSON stays valid."""
        if not self._by_token or "<" not in text:
            return text
        return _TOKEN.sub(
            lambda match: (
                json.dumps(self._by_token[match.group()], ensure_ascii=False)[1:-1]
                if match.group() in self._by_token
                else match.group()
            ),
            text,
        )

    def without_tokens(self, text: str) -> str:
        """`text` without the stand-ins of this map, for a search that they would only mislead."""
        if not self._by_token:
            return text
        return _TOKEN.sub(lambda match: " " if match.group() in self._by_token else match.group(), text)
