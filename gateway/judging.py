"""Steps 3, 4, 8 and 10: how the rulebook that an exchange began with judges its texts."""

from collections.abc import Mapping, Sequence

from gateway.domain.segment import Segment
from gateway.domain.signal import DetectorRun, Inspection, SignalValue
from gateway.domain.verdict import Evidence, FieldValue, Verdict
from gateway.domain.vocabulary import Phase, Provenance
from gateway.enforce.release import Judge
from gateway.escalation import lifted
from gateway.exchange import Exchange, Ports
from gateway.judged import JudgedCall
from gateway.rehearsal import begin_rehearsal, rehearse_later
from gateway.settings import Settings
from gateway.sources import check_sources, withdrawn


class Judging:
    """Inspects and decides for exchanges. Stateless between them; any number run concurrently on one event loop."""

    __slots__ = ("_ports", "_settings")

    def __init__(self, ports: Ports, settings: Settings) -> None:
        self._ports = ports
        self._settings = settings

    async def judge(
        self,
        exchange: Exchange,
        phase: Phase,
        segments: Sequence[Segment],
        about: Mapping[str, FieldValue] | None = None,
    ) -> tuple[Inspection, Verdict]:
        """What was seen in texts that are known in full, and the verdict on them. `about` are facts of these texts.
        The candidate policies, where there are any, have judged them too when this returns."""
        rehearsal = begin_rehearsal(exchange, phase, segments, about)
        seen = await self.inspect(exchange, phase, segments)
        verdict = self.decide(exchange, phase, seen, about)
        if rehearsal is not None:
            await rehearsal.judge(seen.values, seen.runs, self._ports.clock())
        return seen, verdict

    def answer_judge(self, exchange: Exchange, facts: Mapping[str, FieldValue]) -> Judge:
        """What judges the texts of an exchange's answer, as they come."""
        return _BoundJudge(self, exchange, Phase.ANSWER, facts)

    def call_judge(self, exchange: Exchange, facts: Mapping[str, FieldValue], tool: str) -> Judge:
        """What judges one tool call of an exchange's answer."""
        return _BoundJudge(self, exchange, Phase.TOOL_CALL, {**facts, "tool.name": tool})

    async def judge_edit(self, facts: Mapping[str, FieldValue], text: str, lifts: frozenset[str]) -> tuple[str, ...]:
        """Ids of the rules that stop an answer which a human wrote; empty if it may leave. `lifts` as in `Approval`."""
        rulebook = self._ports.rulebook()
        policy = rulebook.policy
        segment = Segment(index=0, text=text, provenance=Provenance.ASSISTANT)
        seen = await rulebook.inspector.inspect(
            [segment],
            detectors=policy.required(Phase.ANSWER, facts),
            timeouts=policy.timeouts(facts),
            default_timeout_s=self._settings.inspection.timeout_s,
        )
        evidence = Evidence(phase=Phase.ANSWER, fields=facts, values=seen.values, runs=seen.runs)
        verdict = lifted(policy.decide(evidence, now=self._ports.clock()), lifts, "")
        return verdict.reasons if verdict.effect.stops else ()

    async def inspect(
        self, exchange: Exchange, phase: Phase, segments: Sequence[Segment], *, keep: bool = True
    ) -> Inspection:
        """`keep` is false for the beginning of a sentence, which is judged again whole: what is only noted waits."""
        needed = exchange.policy.required(phase, exchange.fields)
        return await exchange.inspector(phase).inspect(
            segments,
            detectors=needed if keep else needed - exchange.policy.noted(exchange.fields),
            timeouts=exchange.policy.timeouts(exchange.fields),
            default_timeout_s=self._settings.inspection.timeout_s,
            keep=keep,
        )

    def decide(
        self, exchange: Exchange, phase: Phase, seen: Inspection, about: Mapping[str, FieldValue] | None = None
    ) -> Verdict:
        """The verdict of the policies, without the escalations that a human's approval of the exchange covers."""
        fields = {**exchange.fields, **about} if about else exchange.fields
        evidence = Evidence(phase=phase, fields=fields, values=seen.values, runs=seen.runs)
        verdict = exchange.policy.decide(evidence, now=self._ports.clock())
        approval = exchange.approval
        return lifted(verdict, approval.lifts, approval.case) if approval else verdict

    async def check_sources(self, exchange: Exchange) -> None:
        """Note on the exchange whether what its answer is made of may still be used."""
        await check_sources(exchange, self._ports.retriever, self._settings.retrieval)


class _BoundJudge:
    """Inspects and decides for one exchange and phase (`enforce.release.Judge`)."""

    __slots__ = ("_exchange", "_facts", "_judging", "_phase", "_rehearsal")

    def __init__(self, judging: Judging, exchange: Exchange, phase: Phase, facts: Mapping[str, FieldValue]) -> None:
        self._judging, self._exchange, self._phase, self._facts = judging, exchange, phase, facts
        self._rehearsal = rehearse_later(exchange, phase, facts)

    async def inspect(self, segments: Sequence[Segment], *, keep: bool = True) -> Inspection:
        if self._rehearsal is not None and keep:  # what is not kept is seen again, as part of more
            self._rehearsal.look(segments)
        if keep:
            await self._judging.check_sources(self._exchange)
        return await self._judging.inspect(self._exchange, self._phase, segments, keep=keep)

    def decide(
        self, values: Mapping[Provenance, Mapping[str, SignalValue]], runs: Mapping[str, DetectorRun]
    ) -> Verdict:
        if self._rehearsal is not None and self._phase is Phase.TOOL_CALL:  # an answer's texts keep their evidence
            self._rehearsal.judge_later(values, runs)
        verdict = self._judging.decide(self._exchange, self._phase, Inspection(values=values, runs=runs), self._facts)
        if self._phase is Phase.TOOL_CALL:
            tool = str(self._facts["tool.name"])
            self._exchange.calls.append(JudgedCall(tool=tool, values=values, runs=runs, verdict=verdict))
        return withdrawn(verdict) if self._exchange.withdrawn else verdict
