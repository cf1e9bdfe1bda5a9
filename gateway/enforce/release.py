"""Releases one text of an answer, unit by unit, each judged before it leaves (I1).

    text in ─ units ─ judge ─ redact ─ restore stand-ins ─ text out
                         └── stops: everything held is dropped, nothing more is released

The evidence of a text accumulates: a unit is judged by what it holds and by what the units before it held, so that
a rule on a count or on two signals together holds for the text as a whole. Once a unit stops the text it stays
stopped.

A unit need not be complete for its beginning to leave. Where every detector can say what may be growing (`eager`), the
words of a unit that were scanned, gave nothing, and cannot become part of a match leave at once. Which words these
are is a function of the unit's text alone, so that a unit that is stopped in the end has released the same
beginning in a stream and without one (I5). The finished unit is judged again as a whole; should its text then
contradict what has left, the text is stopped.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct

from gateway.domain.segment import Segment
from gateway.domain.signal import DetectorRun, Finding, Inspection, SignalValue
from gateway.domain.verdict import RuleOutcome, Verdict
from gateway.domain.vocabulary import Effect, Provenance, RuleStatus, SignalStatus
from gateway.enforce.evidence import EvidenceSum
from gateway.enforce.pseudonyms import PseudonymMap
from gateway.enforce.redaction import Redactor
from gateway.enforce.units import Granularity, Growing, UnitSplitter

CONTRADICTION: Final = "gateway.early_release_contradicted"
"""Reason of the stop when a finished unit contradicts its released beginning: a detector's defect."""

_WORD_END: Final = re.compile(r"\s+(?=\S)|(?<=[。！？、，；：])(?=\S)")
_AHEAD: Final = 4
"""Characters of the next word that may show that nothing grows: `… is a` may become an address, `… is and` may not."""


class Judge(Protocol):
    """Looks at texts and decides; bound to one exchange and phase by whoever makes it."""

    async def inspect(self, segments: Sequence[Segment], *, keep: bool = True) -> Inspection:
        """`keep` as in `Inspecting`."""
        ...

    def decide(
        self, values: Mapping[Provenance, Mapping[str, SignalValue]], runs: Mapping[str, DetectorRun]
    ) -> Verdict: ...


class Cut(Struct, frozen=True, kw_only=True):
    """How an answer is cut. `eager`: the beginning of an unfinished unit may leave."""

    granularity: Granularity
    growing: Growing | None = None
    eager: bool = False


class Released(Struct, frozen=True, kw_only=True):
    """What may leave now. `raw_chars` code points of the text as received are accounted for by `text`."""

    text: str = ""
    raw_chars: int = 0
    changed: bool = False  # redacted, or a stand-in was restored

    def __repr__(self) -> str:
        return f"Released({len(self.text)} chars)"

    def __add__(self, other: "Released") -> "Released":
        return Released(
            text=self.text + other.text,
            raw_chars=self.raw_chars + other.raw_chars,
            changed=self.changed or other.changed,
        )


class TextRelease:
    """One text of an answer on its way out. Not thread-safe; calls must not overlap."""

    def __init__(self, judge: Judge, redactor: Redactor, cut: Cut, *, inside_json: bool = False) -> None:
        self._judge = judge
        self._redactor = redactor
        self._growing = cut.growing
        self._eager = cut.eager and cut.granularity is Granularity.SENTENCE
        self._splitter = UnitSplitter(cut.granularity, cut.growing)
        self._restore = restorer(redactor.pseudonyms, inside_json=inside_json)
        self._early = _Early()
        self._quiet_stops: bool | None = None  # whether a quiet text stops, given the evidence; None: not asked yet
        self.evidence = EvidenceSum()
        self.verdicts: list[Verdict] = []
        self.redacted: dict[str, int] = {}
        self.stopped: Verdict | None = None

    async def feed(self, text: str) -> Released:
        """Take in more of the text and return what has become releasable."""
        if self.stopped is not None:
            return Released()
        released = await self._release(self._splitter.feed(text))
        if self._eager and self.stopped is None:
            released += await self._release_beginning(self._splitter.pending)
        return released

    async def finish(self) -> Released:
        """The text is over: judge and return the rest."""
        return await self._release(self._splitter.finish()) if self.stopped is None else Released()

    async def whole(self, text: str) -> Released:
        """The same as `feed` and `finish` together, for a text that is complete."""
        if self.stopped is not None:
            return Released()
        return await self._release([*self._splitter.feed(text), *self._splitter.finish()])

    async def _release(self, units: list[str]) -> Released:
        """Judge complete units in order. Quiet ones, the usual case, cost one inspection together."""
        if not units:
            return Released()
        inspection = await self._judge.inspect([_segment(unit, index) for index, unit in enumerate(units)])
        if _is_quiet(inspection):
            self._add(inspection)
            verdict = self._decide()
            if not verdict.effect.stops:
                return self._leaving("".join(units), "".join(units))
        released = Released()
        for unit in units:
            released += await self._release_one(unit)
            if self.stopped is not None:
                break
        return released

    async def _release_one(self, unit: str) -> Released:
        inspection = await self._judge.inspect([_segment(unit)])
        before = self.evidence.copy()
        self._add(inspection)
        verdict = self._decide()
        if verdict.effect.stops:
            # What a stream would have let go before the end of this unit goes here as well.
            self.evidence, seen = before, self.evidence
            self._quiet_stops = None
            beginning = await self._release_beginning(unit) if self._eager else Released()
            self.evidence = seen
            self.stopped = verdict
            return beginning
        text = self._redact(_segment(unit), inspection.findings, verdict)
        return self._leaving(unit, text)

    def _leaving(self, raw: str, text: str) -> Released:
        """What is left to release of a judged text, beyond the beginning that has left already."""
        whole = self._restore(text)
        early, self._early = self._early, _Early()
        if not whole.startswith(early.text):
            self.stopped = _contradicted(self.verdicts[-1])
            self.verdicts.append(self.stopped)
            return Released()
        return Released(text=whole[len(early.text) :], raw_chars=len(raw) - early.raw_chars, changed=whole != raw)

    async def _release_beginning(self, unit: str) -> Released:
        """Let go what leads a unit, complete or not, up to the last word behind which nothing has been found and
        nothing may be growing; the white space behind it stays, since a match may begin with it."""
        early = self._early
        seen, early.seen = early.seen, len(unit)
        place = _before_space(unit, max(early.raw_chars, seen - _AHEAD))
        # The latest word first: where it may leave, so may all before it.
        for match in reversed(list(_WORD_END.finditer(unit, place))):
            if match.start() > early.raw_chars and await self._may_leave(unit, match, seen):
                raw = unit[early.raw_chars : match.start()]
                text = self._restore(raw)
                early.text += text
                early.raw_chars = match.start()
                return Released(text=text, raw_chars=len(raw), changed=text != raw)
        return Released()

    async def _may_leave(self, unit: str, word_end: re.Match[str], seen: int) -> bool:
        """Whether the text up to `word_end` may leave, as far as that was not asked of the first `seen` characters.

        INVARIANT: one character behind the white space, or failing that a few more, decides; never the chunk.
        """
        end, start_of_next = word_end.span()
        for place in range(max(start_of_next, seen) + 1, min(start_of_next + _AHEAD, len(unit)) + 1):
            growing = self._growing.start(unit[:place]) if self._growing is not None else None
            if growing is not None and growing < end:
                continue
            # A match that ended meanwhile is looked for as well.
            if await self._is_harmless(unit[:start_of_next] if place == start_of_next + 1 else unit[:place]):
                return True
        return False

    async def _is_harmless(self, beginning: str) -> bool:
        inspection = await self._judge.inspect([_segment(beginning)], keep=False)
        if not _is_quiet(inspection) or any(run.status is not SignalStatus.OK for run in inspection.runs.values()):
            return False
        if self._quiet_stops is None:  # every quiet beginning adds the same to what was seen: nothing
            verdict = self._judge.decide(self.evidence.values, {**self.evidence.runs, **inspection.runs})
            self._quiet_stops = verdict.effect.stops
        return not self._quiet_stops

    def _add(self, inspection: Inspection) -> None:
        self.evidence.add(inspection)
        self._quiet_stops = None

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


class _Early(Struct):
    """The beginning of the current unit that has left: as released, and how much of the unit it accounts for.
    `seen` is the length of the unit that was looked at."""

    text: str = ""
    raw_chars: int = 0
    seen: int = 0


def restorer(pseudonyms: PseudonymMap, *, inside_json: bool) -> Callable[[str], str]:
    """How stand-ins become values again in a plain text, or in the source text of JSON."""
    return pseudonyms.restore_in_json_text if inside_json else pseudonyms.restore


def _before_space(text: str, place: int) -> int:
    """The start of the white space that ends at `place`."""
    return len(text[:place].rstrip())


def _is_quiet(inspection: Inspection) -> bool:
    return not inspection.findings and not any(inspection.values.values())


def _segment(text: str, index: int = 0) -> Segment:
    return Segment(index=index, text=text, provenance=Provenance.ASSISTANT)


def _contradicted(verdict: Verdict) -> Verdict:
    outcome = RuleOutcome(rule=CONTRADICTION, status=RuleStatus.ERROR, effect=Effect.REFUSE, severity="critical")
    return Verdict(
        phase=verdict.phase,
        effect=Effect.REFUSE,
        policy=verdict.policy,
        outcomes=(*verdict.outcomes, outcome),
        evaluated=verdict.evaluated,
    )
