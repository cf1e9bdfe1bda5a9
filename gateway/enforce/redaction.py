"""Replaces the spans that a verdict names. Pure; the only state is the exchange's pseudonym map.

Findings may overlap: overlapping selected spans are replaced once, as their union, under the operator that shows
least and the kind of the finding that scored best. Nothing outside the selected spans changes.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, assert_never

from msgspec import Struct

from gateway.domain.segment import Segment
from gateway.domain.signal import Finding
from gateway.domain.verdict import Redaction
from gateway.domain.vocabulary import RedactOperator
from gateway.enforce.pseudonyms import PseudonymMap, token_spans

ALL_KINDS: Final = "*"
_SECRECY: Final = {
    # How much an operator hides: where two rules name the same span, the one that hides more wins.
    RedactOperator.PSEUDONYM: 0,
    RedactOperator.BIN_LAST4: 1,
    RedactOperator.HASH: 2,
    RedactOperator.MASK: 3,
    RedactOperator.REMOVE: 4,
}
_HASH_HEX_CHARS: Final = 12  # 48 bits: equal values are recognisable, collisions in a tenant are not expected
_BIN_DIGITS: Final = 6
_LAST_DIGITS: Final = 4
_MIN_CARD_DIGITS: Final = 12  # with fewer digits, BIN and last four would show most of the number


class Redacted(Struct, frozen=True, kw_only=True):
    """A text after redaction, with the number of replaced spans by kind."""

    text: str
    kinds: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Redacted({self.kinds})"


class Redactor:
    """Applies redactions with the exchange's pseudonyms and the tenant's hash key."""

    __slots__ = ("_hash_key", "pseudonyms")

    def __init__(self, pseudonyms: PseudonymMap, hash_key: bytes) -> None:
        self.pseudonyms = pseudonyms
        self._hash_key = hash_key

    def redact(
        self, segment: Segment, findings: Sequence[Finding], redactions: Sequence[Redaction], *, brought: bool
    ) -> Redacted:
        """`segment.text` with every finding that a redaction names replaced. `findings` are those of this segment.

        `brought` says that the text is the request's own: only then are its stand-ins restored in the answer.
        """
        selected = _select(segment, findings, redactions)
        if not selected:
            return Redacted(text=segment.text)
        parts: list[str] = []
        kinds: dict[str, int] = {}
        position = 0
        for span in selected:
            parts.append(segment.text[position : span.start])
            parts.append(self._replacement(span, segment.text[span.start : span.end], brought=brought))
            kinds[span.kind] = kinds.get(span.kind, 0) + 1
            position = span.end
        parts.append(segment.text[position:])
        return Redacted(text="".join(parts), kinds=kinds)

    def _replacement(self, span: "_Span", value: str, *, brought: bool) -> str:
        label = span.kind.rpartition(".")[2].upper()
        match span.operator:
            case RedactOperator.PSEUDONYM:
                return self.pseudonyms.token(label, value, restorable=brought)
            case RedactOperator.MASK:
                return f"[{label}]"
            case RedactOperator.REMOVE:
                return ""
            case RedactOperator.HASH:
                key = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=self._hash_key, digest_size=32)
                return f"[{label}:{key.hexdigest()[:_HASH_HEX_CHARS]}]"
            case RedactOperator.BIN_LAST4:
                return _bin_last4(value, label)
            case _:
                assert_never(span.operator)


class _Span(Struct, kw_only=True):
    start: int
    end: int
    kind: str
    score: float
    operator: RedactOperator


def _select(segment: Segment, findings: Sequence[Finding], redactions: Sequence[Redaction]) -> list[_Span]:
    operators: dict[str, RedactOperator] = {}
    for redaction in redactions:
        if redaction.provenances and segment.provenance not in redaction.provenances:
            continue
        for kind in redaction.kinds:
            known = operators.get(kind)
            if known is None or _SECRECY[redaction.operator] > _SECRECY[known]:
                operators[kind] = redaction.operator
    if not operators:
        return []
    every = operators.get(ALL_KINDS)
    tokens = token_spans(segment.text) if "<" in segment.text else []
    spans: list[_Span] = []
    for finding in sorted(findings):
        operator = operators.get(finding.kind, every)
        if operator is None or finding.end <= finding.start or _within(finding, tokens):
            continue
        last = spans[-1] if spans else None
        if last is None or finding.start >= last.end:
            spans.append(
                _Span(start=finding.start, end=finding.end, kind=finding.kind, score=finding.score, operator=operator)
            )
            continue
        last.end = max(last.end, finding.end)
        if _SECRECY[operator] > _SECRECY[last.operator]:
            last.operator = operator
        if finding.score > last.score:
            last.kind, last.score = finding.kind, finding.score
    return spans


def _within(finding: Finding, tokens: Sequence[tuple[int, int]]) -> bool:
    """A stand-in is not itself personal data, whatever a model sees in it."""
    return any(start <= finding.start and finding.end <= end for start, end in tokens)


def _bin_last4(value: str, label: str) -> str:
    digits = [char for char in value if char.isdigit()]
    if len(digits) < _MIN_CARD_DIGITS:
        return f"[{label}]"
    hidden = len(digits) - _BIN_DIGITS - _LAST_DIGITS
    return "".join(digits[:_BIN_DIGITS]) + "*" * hidden + "".join(digits[-_LAST_DIGITS:])
