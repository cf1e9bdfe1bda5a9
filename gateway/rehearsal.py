"""Evaluates the candidate's policies beside those in force, on the same signals.

What comes of it stands in the audit trail and nowhere else: whatever goes wrong here is recorded as an error of the
candidate. Detectors that only the candidate needs run beside the exchange, and it waits for them a bounded time, before
its `intent` and before its end; never while an answer streams. Over an answer with several texts, what only they see is
taken together.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from gateway.domain.segment import Segment
from gateway.domain.signal import DetectorRun, Inspection, SignalValue
from gateway.domain.verdict import Evidence, FieldValue
from gateway.domain.vocabulary import Effect, Phase, Provenance
from gateway.enforce.answer import AnswerRelease
from gateway.enforce.evidence import EvidenceSum
from gateway.exchange import Candidate, Exchange, Rehearsed
from gateway.policy.signals import detector_of

Values = Mapping[Provenance, Mapping[str, SignalValue]]
Runs = Mapping[str, DetectorRun]


class Rehearsal:
    """The candidate's view of one text or group of texts. `look` at each part once, then `judge` or `judge_later`."""

    __slots__ = ("_candidate", "_exchange", "_fields", "_inspector", "_later", "_looks", "_missing", "_phase")

    def __init__(
        self, exchange: Exchange, candidate: Candidate, phase: Phase, more: Mapping[str, FieldValue] | None
    ) -> None:
        self._exchange = exchange
        self._candidate = candidate
        self._phase = phase
        self._fields = {**exchange.fields, **more} if more else exchange.fields
        about_answer = phase in {Phase.ANSWER, Phase.TOOL_CALL} and bool(exchange.grounds.passages)
        self._inspector = candidate.inspector.on(exchange.grounds) if about_answer else candidate.inspector
        needed = candidate.policy.required(phase, self._fields)
        shared = exchange.policy.required(phase, self._fields) - candidate.own
        self._missing = needed - shared  # detectors that the exchange does not run, or runs in another version
        self._looks: list[asyncio.Task[Inspection]] = []
        self._later: list[tuple[Values, Runs]] = []

    def look(self, segments: Sequence[Segment]) -> None:
        """Begin to run the detectors that only the candidate needs, if there are any."""
        if self._missing:
            seen = self._inspector.inspect(
                segments, detectors=self._missing, timeouts={}, default_timeout_s=self._candidate.timeout_s
            )
            self._looks.append(asyncio.create_task(seen))

    @property
    def pending(self) -> list["asyncio.Task[Inspection]"]:
        return [task for task in self._looks if not task.done()]

    async def judge(self, values: Values, runs: Runs, now: datetime) -> None:
        """Decide on the signals in force and on those of the candidate's own detectors. Never raises."""
        if self.pending:
            await asyncio.wait(self.pending)
        self._judge(values, runs, now)

    def judge_later(self, values: Values, runs: Runs) -> None:
        """Decide when the exchange ends."""
        self._later.append((values, runs))

    def conclude(self, release: AnswerRelease | None, now: datetime) -> None:
        """Decide on what was left for later, and on the texts of the answer. Once; nothing may be pending."""
        texts = release.texts if release is not None and self._phase is Phase.ANSWER else ()
        for text in texts:
            self._judge(text.evidence.values, text.evidence.runs, now)
        for values, runs in self._later:
            self._judge(values, runs, now)

    def _judge(self, values: Values, runs: Runs, now: datetime) -> None:
        try:
            values, runs = self._evidence(values, runs)
            evidence = Evidence(phase=self._phase, fields=self._fields, values=values, runs=runs)
            verdict = self._candidate.policy.decide(evidence, now=now)
        except Exception as error:  # noqa: BLE001 -- a candidate harms no exchange, whatever is wrong with it
            found = Rehearsed(phase=self._phase, effect=Effect.ALLOW, error=f"exception:{type(error).__name__}")
        else:
            found = Rehearsed(phase=self._phase, effect=verdict.effect, rules=verdict.reasons)
        self._exchange.rehearsed.append(found)

    def _evidence(self, values: Values, runs: Runs) -> tuple[Values, Runs]:
        own = self._candidate.own
        if not self._looks and own.isdisjoint(runs):
            return values, runs
        total = EvidenceSum()
        total.add(
            Inspection(
                values={
                    provenance: {name: value for name, value in some.items() if detector_of(name) not in own}
                    for provenance, some in values.items()
                },
                runs={name: run for name, run in runs.items() if name not in own},
            )
        )
        for task in self._looks:
            total.add(task.result())
        return total.values, total.runs


def begin_rehearsal(
    exchange: Exchange, phase: Phase, segments: Sequence[Segment], more: Mapping[str, FieldValue] | None = None
) -> Rehearsal | None:
    """Begin to look at `segments` too; `judge` ends it. `more` are the facts of this text. `None` where there is no
    candidate: then nothing costs anything."""
    candidate = exchange.rulebook.candidate
    if candidate is None:
        return None
    rehearsal = Rehearsal(exchange, candidate, phase, more)
    rehearsal.look(segments)
    return rehearsal


def rehearse_later(exchange: Exchange, phase: Phase, more: Mapping[str, FieldValue]) -> Rehearsal | None:
    """The same for an answer or a tool call, whose parts come one by one and are judged when the exchange ends."""
    candidate = exchange.rulebook.candidate
    if candidate is None:
        return None
    rehearsal = Rehearsal(exchange, candidate, phase, more)
    exchange.rehearsals.append(rehearsal)
    return rehearsal
