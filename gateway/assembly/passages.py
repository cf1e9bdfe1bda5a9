"""Judges passages before they are indexed: `PassageJudge` over the policies and detectors of this installation.

At an ingest nobody asks yet. Only rules count that hold for every caller alike: enforced, for all apps, models and
groups, without exceptions, and asking for nothing but the passage and its tenant. What depends on the caller is left
to the judgement that every passage gets again when it is retrieved.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import structs

from gateway.domain.passage import Passage
from gateway.domain.segment import Segment
from gateway.domain.signal import Inspection, by_segment
from gateway.domain.verdict import Evidence, FieldValue, Redaction
from gateway.domain.vocabulary import Effect, Phase, Provenance, RedactOperator, RuleMode, SignalStatus, strictest
from gateway.enforce.pseudonyms import PseudonymMap
from gateway.enforce.redaction import Redactor
from gateway.exchange import tenant_key
from gateway.inspection.inspector import Inspector
from gateway.inspection.kept_scans import KeptScans
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledRule
from gateway.retrieval.judging import JudgedText

_KNOWN: Final = frozenset({"principal.tenant", "passage.doc", "passage.access", "passage.classification"})
_ANY: Final = ("*",)
_AT_ONCE: Final = 16  # passages inspected together: enough to fill batches of a model, few enough to bound memory


class PolicyPassageJudge:
    """Port `PassageJudge`. Scans are kept in `kept`, also those of rules for single apps, so that serving has them."""

    def __init__(
        self,
        bundle: Bundle,
        inspector: Inspector,
        *,
        kept: KeptScans,
        hash_key: bytes,
        timeout_s: float,
        enforced: int,
        clock: Callable[[], datetime],
    ) -> None:
        """`enforced` is the level up to which the rules are enforced for every app; `clock` is aware."""
        self._bundle = bundle
        self._inspector = inspector
        self._kept = kept
        self._hash_key = hash_key
        self._timeout_s = timeout_s
        self._enforced = enforced
        self._clock = clock
        rules = [rule for rule in bundle.rules if Phase.PASSAGE in rule.phases]
        self._detectors = frozenset[str]().union(*(rule.detectors for rule in rules))
        self._rules = {rule.id: rule for rule in rules if self._holds_for_all(rule)}
        self.policy = _identity(bundle, inspector, self._detectors)

    async def judge(self, tenant: str, passages: Sequence[Passage]) -> list[JudgedText]:
        judged: list[JudgedText] = []
        for start in range(0, len(passages), _AT_ONCE):
            portion = passages[start : start + _AT_ONCE]
            judged += await asyncio.gather(*(self._judge(tenant, passage) for passage in portion))
            read = [*portion, *(one.passage for one in judged[start:] if one.redacted)]
            texts = {segment.text for passage in read for segment in _segments(passage)}
            await asyncio.to_thread(self._kept.keep, self._inspector.cached(texts, self._detectors))
        return judged

    async def _judge(self, tenant: str, passage: Passage) -> JudgedText:
        segments = _segments(passage)
        seen = await self._inspect(segments)
        fields: Mapping[str, FieldValue] = {
            "principal.tenant": tenant,
            "passage.doc": passage.doc,
            "passage.access": passage.access,
            "passage.classification": passage.classification,
        }
        evidence = Evidence(phase=Phase.PASSAGE, fields=fields, values=seen.values, runs=seen.runs)
        verdict = self._bundle.decide(evidence, now=self._clock())
        counted = [
            outcome
            for outcome in verdict.outcomes
            if outcome.effect is not Effect.ALLOW
            and outcome.mode is RuleMode.ENFORCE
            and outcome.rule in self._rules
            and self._fits(self._rules[outcome.rule], tenant)
        ]
        rules = {outcome.rule for outcome in counted}
        effect = strictest(*(outcome.effect for outcome in counted))
        redactions = [one for one in verdict.obligations.redactions if one.rule in rules]
        redacted = passage if effect.stops else self._redacted(tenant, passage, segments, seen, redactions)
        if redacted != passage:
            await self._inspect(_segments(redacted))  # which is the text that serving will meet
        return JudgedText(
            passage=redacted,
            effect=effect,
            rules=tuple(sorted(outcome.rule for outcome in counted if outcome.effect.stops or not effect.stops)),
            redacted=redacted != passage,
            complete=all(run.status is SignalStatus.OK for run in seen.runs.values()),
        )

    async def _inspect(self, segments: Sequence[Segment]) -> Inspection:
        return await self._inspector.inspect(
            segments, detectors=self._detectors, timeouts={}, default_timeout_s=self._timeout_s
        )

    def _redacted(
        self,
        tenant: str,
        passage: Passage,
        segments: Sequence[Segment],
        seen: Inspection,
        redactions: Sequence[Redaction],
    ) -> Passage:
        if not redactions:
            return passage
        # A stand-in belongs to one exchange: kept in an index it could be taken for another exchange's.
        lasting = [
            structs.replace(one, operator=RedactOperator.MASK) if one.operator is RedactOperator.PSEUDONYM else one
            for one in redactions
        ]
        redactor = Redactor(PseudonymMap(()), tenant_key(self._hash_key, tenant))
        found = by_segment(seen.findings)
        title, section, text = (
            redactor.redact(segment, found.get(segment.index, ()), lasting, brought=False).text for segment in segments
        )
        return structs.replace(passage, title=title, section=section, text=text)

    def _holds_for_all(self, rule: CompiledRule) -> bool:
        return (
            rule.mode is RuleMode.ENFORCE
            and rule.share is None
            and rule.level <= self._enforced
            and not rule.exceptions
            and rule.field_names <= _KNOWN
            and any((scope.apps, scope.models, scope.groups) == (_ANY, _ANY, _ANY) for scope in rule.scopes)
        )

    @staticmethod
    def _fits(rule: CompiledRule, tenant: str) -> bool:
        return any(
            (scope.apps, scope.models, scope.groups) == (_ANY, _ANY, _ANY) and scope.fits({"principal.tenant": tenant})
            for scope in rule.scopes
        )


def _segments(passage: Passage) -> list[Segment]:
    """The same texts as at serving: title and section reach the model with the text, so they are judged with it."""
    return [
        Segment(index=index, text=text, provenance=Provenance.PASSAGE)
        for index, text in enumerate((passage.title, passage.section, passage.text))
    ]


def _identity(bundle: Bundle, inspector: Inspector, detectors: frozenset[str]) -> str:
    """Moves with the policies and with what the detectors see. 32 hex digits."""
    installed = inspector.detectors
    versions = sorted((name, installed[name].version) for name in detectors if name in installed)
    return hashlib.sha256(json.dumps([bundle.digest, versions]).encode()).hexdigest()[:32]
