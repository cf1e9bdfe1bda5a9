"""Releases one text of an answer, unit by unit, each judged before it leaves (I1).

    text in ─ units ─ judge ─ redact ─ restore stand-ins ─ text out
                         └── stops: everything held is dropped, nothing more is released

The evidence of a text accumulates: a unit is judged by what it holds and by what the units before it held, so that
a rule on a count or on two signals together holds for the text as a whole. Once a unit stops the text it stays
stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from gateway.domain.segment import Segment
from gateway.domain.signal import DetectorRun, Finding, Inspection, SignalValue
from gateway.domain.verdict import Verdict
from gateway.domain.vocabulary import Provenance
from gateway.enforce.evidence import EvidenceSum
from gateway.enforce.pseudonyms import PseudonymMap
from gateway.enforce.redaction import Redactor
from gateway.enforce.units import Granularity, Growing, UnitSplitter


class Judge(Protocol):
    """Looks at texts and decides; bound to one exchange and phase by whoever makes it."""

    async def inspect(self, segments: Sequence[Segment]) -> Inspection: ...

    def decide(
        self, values: Mapping[Provenance, Mapping[str, SignalValue]], runs: Mapping[str, DetectorRun]
    ) -> Verdict: ...


class Released(Struct, frozen=True, kw_only=True):
    """What may leave now. `raw_chars` code points of the text as received are accounted for by `text`."""

    text: str = ""
    raw_chars: int = 0
    changed: bool = False  # redacted, or a stand-in was restored

    def __repr__(self) -> str:
        return f"Released({len(self.text)} chars)"


class TextRelease:
    """One text of an answer on its way out. Not thread-safe; calls must not overlap."""

    def __init__(
        self,
        judge: Judge,
        redactor: Redactor,
        *,
        granularity: Granularity,
        growing: Growing | None = None,
        inside_json: bool = False,
    ) -> None:
        self._judge = judge
        self._redactor = redactor
        self._local = granularity is Granularity.WORD
        self._splitter = UnitSplitter(granularity, growing)
        self._restore = restorer(redactor.pseudonyms, inside_json=inside_json)
        self.evidence = EvidenceSum()
        self.verdicts: list[Verdict] = []
        self.redacted: dict[str, int] = {}
        self.stopped: Verdict | None = None

    async def feed(self, text: str) -> Released:
        """Take in more of the text and return what has become releasable."""
        return await self._release(self._splitter.feed(text)) if self.stopped is None else Released()

    async def finish(self) -> Released:
        """The text is over: judge and return the rest."""
        return await self._release(self._splitter.finish()) if self.stopped is None else Released()

    async def whole(self, text: str) -> Released:
        """The same as `feed` and `finish` together, for a text that is complete.

        A text that is quiet as a whole is quiet in each of its units, where every detector says what may be growing
        (`Granularity.WORD`): it is then released without being cut at all.
        """
        if self._local and text:
            inspection = await self._judge.inspect([_segment(text)])
            if not inspection.findings and not any(inspection.values.values()):
                self.evidence.add(inspection)
                verdict = self._decide()
                if not verdict.effect.stops:
                    restored = self._restore(text)
                    return Released(text=restored, raw_chars=len(text), changed=restored != text)
                self.stopped = verdict
                return Released()
        head, tail = await self.feed(text), await self.finish()
        return Released(
            text=head.text + tail.text,
            raw_chars=head.raw_chars + tail.raw_chars,
            changed=head.changed or tail.changed,
        )

    async def _release(self, units: list[str]) -> Released:
        if not units:
            return Released()
        parts: list[str] = []
        raw_chars = 0
        changed = False
        for unit in units:
            segment = _segment(unit)
            inspection = await self._judge.inspect([segment])
            self.evidence.add(inspection)
            verdict = self._decide()
            if verdict.effect.stops:
                self.stopped = verdict
                break
            text = self._redact(segment, inspection.findings, verdict)
            text = self._restore(text)
            changed = changed or text != unit
            raw_chars += len(unit)
            parts.append(text)
        return Released(text="".join(parts), raw_chars=raw_chars, changed=changed)

    def _decide(self) -> Verdict:
        verdict = self._judge.decide(self.evidence.values, self.evidence.runs)
        if not self.verdicts or verdict != self.verdicts[-1]:
            self.verdicts.append(verdict)
        return verdict

    def _redact(self, segment: Segment, findings: Sequence[Finding], verdict: Verdict) -> str:
        redacted = self._redactor.redact(segment, findings, verdict.obligations.redactions, brought=False)
        for kind, count in redacted.kinds.items():
            self.redacted[kind] = self.redacted.get(kind, 0) + count
        return redacted.text


def restorer(pseudonyms: PseudonymMap, *, inside_json: bool) -> Callable[[str], str]:
    """How stand-ins become values again in a plain text, or in the source text of JSON."""
    return pseudonyms.restore_in_json_text if inside_json else pseudonyms.restore


def _segment(text: str) -> Segment:
    return Segment(index=0, text=text, provenance=Provenance.ASSISTANT)
