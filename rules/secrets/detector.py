"""The detector `secrets`."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.domain.signal import EMPTY_SCAN, Finding, Scan
from gateway.domain.vocabulary import Placement, SignalType
from rules.expressions import EXPRESSIONS_VERSION, ExpressionSet, Reading, bounded_findings, readings, uncovered
from rules.growing import all_beginnings, beginnings
from rules.secrets.formats import FORMATS
from rules.secrets.plausible import is_stand_in

SECRETS_VERSION: Final = "1"

_PEM_KIND: Final = "secret.private_key"
SECRET_KINDS: Final = frozenset({_PEM_KIND, *(form.kind for form in FORMATS)})
_PEM_BEGIN: Final = "-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
# From the first line to the last: the body has no five dashes in a row, the last line begins with them.
_PEM_GROWING: Final = (
    f"(?:{beginnings(_PEM_BEGIN)}|{_PEM_BEGIN}"
    r"(?:-{0,4}[A-Za-z0-9+/=\s:,.()\\])*(?:-{1,5}(?:E(?:N(?:D[A-Z0-9 -]{0,70})?)?)?)?)"
)
_PEM_END: Final = re.compile("-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY: Final = re.compile(r"[A-Za-z0-9+/=\s:,.()\\-]*")  # base64, headers such as `Proc-Type: 4,ENCRYPTED`, `\n`
_PEM_BASE64: Final = re.compile("[A-Za-z0-9+/=]{24,}")
_PEM_HEADERS: Final = 400  # characters before the base64 text begins
_PEM_LONGEST: Final = 32 * 1024  # characters; a key of 16,384 bits takes 13,000


class SecretDetector:
    """Signals `secrets.kinds` (`secret.aws_access_key`, …) and `secrets.count`; findings cover the secret itself, not
    the words before it, and the whole block of a private key."""

    name = "secrets"
    version = f"{SECRETS_VERSION}+{EXPRESSIONS_VERSION}"
    placement = Placement.INLINE
    signals: Mapping[str, SignalType] = {"secrets.kinds": SignalType.KINDS, "secrets.count": SignalType.COUNT}

    def __init__(self) -> None:
        self._formats = {form.kind: form for form in FORMATS}
        expressions = {_PEM_KIND: _PEM_BEGIN} | {form.kind: form.regex for form in FORMATS}
        self._set = ExpressionSet(expressions, captures=True)
        derived = all_beginnings(form.regex for form in FORMATS)
        self.growing = None if derived is None else (*derived, _PEM_GROWING)

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        return [self._scan(text) for text in texts]

    def _scan(self, text: str) -> Scan:
        findings: list[Finding] = []
        for reading in readings(text):
            for kind in self._set.hits(reading):
                found = self._findings(kind, reading, len(text))
                findings += uncovered(found, findings)
        if not findings:
            return EMPTY_SCAN
        kinds = frozenset(finding.kind for finding in findings)
        return Scan(tuple(sorted(findings)), {"secrets.kinds": kinds, "secrets.count": len(findings)})

    def _findings(self, kind: str, reading: Reading, length: int) -> list[Finding]:
        matches = self._set.matches(kind, reading)
        if kind == _PEM_KIND:
            blocks = (_pem_block(reading.text, match.start, match.end) for match in matches)
            spans = (reading.view.span(*block) if block else None for block in blocks)
            return bounded_findings(kind, spans, length=length, detector=self.name, evidence="format")
        form = self._formats[kind]
        spans = (
            reading.view.span(match.start, match.end) if form.check(reading.text[match.start : match.end]) else None
            for match in matches
        )
        return bounded_findings(
            kind, spans, length=length, detector=self.name, evidence=form.evidence, score=form.score
        )


def _pem_block(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The block whose first line is `[start, end)`, to its last line or as far as it looks like one."""
    last_line = _PEM_END.search(text, end, end + _PEM_LONGEST)
    body = _PEM_BODY.match(text, end, end + _PEM_LONGEST)
    assert body is not None  # it may be empty
    stop = last_line.end() if last_line else body.end()
    key = _PEM_BASE64.search(text, end, min(stop, end + _PEM_HEADERS))
    return None if key is None or is_stand_in(key.group()) else (start, stop)
