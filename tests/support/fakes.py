"""Fakes for every port of the request path. They keep the contracts of `gateway.domain.ports` and nothing more."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from gateway.domain.case import Approval, CaseDraft, CaseReceipt
from gateway.domain.errors import AuditUnavailable, GuardUnavailable, RequestError, UpstreamError
from gateway.domain.event import EventDraft, EventType, Receipt
from gateway.domain.grounds import Grounds
from gateway.domain.model import Body, ModelReply, ModelRequest
from gateway.domain.passage import Passage, Retrieval, RetrievalStatus, Standing
from gateway.domain.principal import Principal
from gateway.domain.segment import Segment
from gateway.domain.signal import DetectorRun, Finding, Inspection
from gateway.domain.verdict import (
    Escalation,
    Evidence,
    FieldValue,
    Obligations,
    Redaction,
    RuleOutcome,
    Verdict,
)
from gateway.domain.vocabulary import Effect, Phase, RedactOperator, RuleStatus, SignalStatus, strictest
from gateway.upstream.embeddings import EmbeddingReply, EmbeddingRequest
from support.declared import check_draft

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64

ALICE = Principal(
    tenant="acme", app="desk", user="alice", groups=frozenset({"staff"}), auth="key", key_id="k1", ref="p:alice"
)

WORDS: Mapping[str, tuple[str, str]] = {
    # kind: (pattern, its beginnings) -- the words that fake policies react to
    "PERSON": (r"Zoe Quill|Bram Tal", r"(?:Z|Zo|Zoe|Zoe |Zoe Q\w*|B|Br|Bra|Bram|Bram |Bram T\w*)"),
    "CARD": (r"\d{4} \d{4}", r"\d{1,4}(?: \d{0,4})?"),
    "forbidden": (r"forbidden", r"f(?:o(?:r(?:b\w*)?)?)?"),
    "ask-human": (r"advice", r"a(?:d(?:v\w*)?)?"),
}


class FakeInspector:
    """Sees the words of `WORDS`. `status` makes it fail."""

    def __init__(self, status: SignalStatus = SignalStatus.OK) -> None:
        self.status = status
        self.seen: list[str] = []
        self.grounds: list[Grounds] = []

    def on(self, grounds: Grounds) -> "FakeInspector":
        self.grounds.append(grounds)
        return self

    async def inspect(
        self,
        segments: Sequence[Segment],
        *,
        detectors: frozenset[str],
        timeouts: Mapping[str, float],
        default_timeout_s: float,
        keep: bool = True,
    ) -> Inspection:
        self.seen.extend(segment.text for segment in segments)
        run = DetectorRun(detector="words", version="1", status=self.status, reason="", scanned=len(segments))
        if self.status is not SignalStatus.OK:
            return Inspection(runs={"words": run})
        findings = []
        values: dict = {}
        for segment in segments:
            for kind, (pattern, _) in WORDS.items():
                for match in re.finditer(pattern, segment.text):
                    findings.append(
                        Finding(
                            start=match.start(), end=match.end(), kind=kind, detector="words", segment=segment.index
                        )
                    )
                    own = values.setdefault(segment.provenance, {"words.kinds": frozenset()})
                    own["words.kinds"] |= {kind}
        return Inspection(findings=tuple(findings), values=values, runs={"words": run})


class FakePolicy:
    """`effects[phase][kind]` says what a word of `WORDS` does. A failed run refuses (I3)."""

    digest = DIGEST

    def __init__(
        self,
        effects: Mapping[Phase, Mapping[str, Effect]] | None = None,
        *,
        operator: RedactOperator = RedactOperator.PSEUDONYM,
        whole: bool = False,
        disclaimers: tuple[str, ...] = (),
        message: str = "",
    ) -> None:
        self.effects = effects or {}
        self.operator = operator
        self.whole = whole
        self.disclaimers = disclaimers
        self.message = message
        self.asked: list[Evidence] = []

    def decide(self, evidence: Evidence, *, now: datetime) -> Verdict:
        self.asked.append(evidence)
        outcomes = []
        kinds: set[str] = set()
        for values in evidence.values.values():
            kinds |= values.get("words.kinds", frozenset())  # type: ignore[operator]
        own = self.effects.get(evidence.phase, {})
        for kind in sorted(kinds & own.keys()):
            outcomes.append(RuleOutcome(rule=f"R-{kind}", status=RuleStatus.MATCHED, effect=own[kind], why=(kind,)))
        for name, run in evidence.runs.items():
            if run.status is not SignalStatus.OK:
                outcomes.append(RuleOutcome(rule=f"R-{name}-error", status=RuleStatus.ERROR, effect=Effect.REFUSE))
        redact = frozenset(kind for kind in kinds & own.keys() if own[kind] is Effect.REDACT)
        escalated = [o for o in outcomes if o.effect is Effect.ESCALATE]
        return Verdict(
            phase=evidence.phase,
            effect=strictest(*(outcome.effect for outcome in outcomes)),
            policy=DIGEST,
            outcomes=tuple(outcomes),
            evaluated=len(own),
            obligations=Obligations(
                redactions=(Redaction(rule="R", kinds=redact, operator=self.operator),) if redact else (),
                escalations=tuple(Escalation(rule=o.rule, queue="q", sla_s=60) for o in escalated),
                disclaimers=self.disclaimers,
            ),
            message=self.message,
        )

    def required(self, phase: Phase, fields: Mapping[str, FieldValue]) -> frozenset[str]:
        return frozenset({"words"})

    def timeouts(self, fields: Mapping[str, FieldValue]) -> Mapping[str, float]:
        return {}

    def authors(self, verdict: Verdict) -> frozenset[str]:
        return frozenset({"team:tests"})

    def noted(self, fields: Mapping[str, FieldValue]) -> frozenset[str]:
        return frozenset()

    def whole_answer_rules(self, fields: Mapping[str, FieldValue]) -> tuple[str, ...]:
        return ("R-whole",) if self.whole else ()


class FakeAudit:
    """Keeps drafts in order. `fail_on` makes it refuse a type of event; `trace` shares a timeline with other fakes."""

    def __init__(self, *, fail_on: EventType | None = None, trace: list[str] | None = None) -> None:
        self.drafts: list[EventDraft] = []
        self.fail_on = fail_on
        self.trace = trace if trace is not None else []

    async def append(self, draft: EventDraft) -> Receipt:
        await asyncio.sleep(0)
        if draft.type is self.fail_on:
            raise AuditUnavailable("the audit log cannot be written: test")
        check_draft(draft)
        self.drafts.append(draft)
        self.trace.append(f"audit:{draft.type.value}")
        return Receipt(seq=len(self.drafts), id=str(len(self.drafts)), hash="0" * 64)

    @property
    def types(self) -> list[str]:
        return [draft.type.value for draft in self.drafts]

    @property
    def last(self) -> dict:
        return self.drafts[-1].body


class FakeCases:
    def __init__(self, *, broken: bool = False) -> None:
        self.drafts: list[CaseDraft] = []
        self.broken = broken

    async def open_case(self, draft: CaseDraft) -> CaseReceipt:
        if self.broken:
            raise GuardUnavailable("the case cannot be stored: test")
        self.drafts.append(draft)
        return CaseReceipt(
            id=f"case_{len(self.drafts)}", due=NOW + timedelta(minutes=1), expires=NOW + timedelta(days=1)
        )

    async def approval(self, case: str, principal: Principal) -> Approval:
        raise RequestError("there is no such case for this key", code="case_not_found", status=404)

    async def requeue(
        self, approval: Approval, principal: Principal, *, reason: str, policy: str, fingerprint: str
    ) -> None:
        raise AssertionError("no case of this fake is approved")

    async def deliver(self, approval: Approval, principal: Principal, *, exchange: str, answer: bytes) -> bytes:
        raise AssertionError("no case of this fake is approved")

    async def redelivered(self, approval: Approval, principal: Principal, *, exchange: str) -> None:
        raise AssertionError("no case of this fake is approved")


class FakeRetriever:
    def __init__(self, *passages: Passage, status: RetrievalStatus = RetrievalStatus.OK) -> None:
        self.passages = passages
        self.status = status
        self.queries: list[tuple[Principal, str]] = []
        self.checks = 0
        self.stands: Callable[[int], Standing] = lambda _: Standing.CURRENT  # by number of the check, from 1

    async def retrieve(self, principal: Principal, query: str) -> Retrieval:
        self.queries.append((principal, query))
        found = self.passages if self.status is RetrievalStatus.OK else ()
        return Retrieval(status=self.status, passages=found, store="fake", reason="" if found else "test")

    async def standing(self, principal: Principal, found: Retrieval, passages: Sequence[Passage]) -> Standing:
        self.checks += 1
        return self.stands(self.checks)


class FakeStream:
    """A `ModelStream` over a generator."""

    provider, model = "fake", "fake-1"

    def __init__(self, chunks: AsyncGenerator[Body, None]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[Body]:
        return self

    async def __anext__(self) -> Body:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        await self._chunks.aclose()


class FakeUpstream:
    """Answers with fixed content. `pieces` are the stream's content deltas; `error` is raised instead."""

    def __init__(
        self,
        content: str = "Hello there.",
        *,
        pieces: Sequence[str] | None = None,
        message: Body | None = None,
        deltas: Sequence[Body] | None = None,
        error: UpstreamError | None = None,
        error_after: int | None = None,
        trace: list[str] | None = None,
        hang: bool = False,
    ) -> None:
        self.message = message or {"role": "assistant", "content": content}
        self.deltas = deltas or [{"content": piece} for piece in (pieces if pieces is not None else [content])]
        self.error = error
        self.error_after = error_after
        self.requests: list[ModelRequest] = []
        self.trace = trace if trace is not None else []
        self.hang = hang
        self.closed = 0

    async def complete(self, request: ModelRequest) -> ModelReply:
        self.requests.append(request)
        self.trace.append("ask")
        if self.hang:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        body: Body = {
            "id": "up-1",
            "object": "chat.completion",
            "created": 1,
            "model": "fake-1",
            "choices": [{"index": 0, "message": dict(self.message), "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        }
        return ModelReply(body=body, provider="fake", model="fake-1")

    def stream(self, request: ModelRequest) -> "FakeStream":
        self.requests.append(request)
        self.trace.append("ask")
        return FakeStream(self._chunks())

    async def _chunks(self) -> AsyncGenerator[Body, None]:
        head = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "fake-1"}
        try:
            yield {
                **head,
                "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}],
            }
            for index, delta in enumerate(self.deltas):
                if self.error is not None and index == (self.error_after or 0):
                    raise self.error
                if self.hang and index == 1:
                    await asyncio.Event().wait()
                yield {**head, "choices": [{"index": 0, "delta": dict(delta), "finish_reason": None}]}
            yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        finally:
            self.closed += 1


class FakeEmbeddings:
    def __init__(self) -> None:
        self.requests: list[EmbeddingRequest] = []

    async def embed(self, request: EmbeddingRequest) -> EmbeddingReply:
        self.requests.append(request)
        data = [{"object": "embedding", "index": i, "embedding": [0.0, 1.0]} for i in range(len(request.inputs))]
        return EmbeddingReply(
            body={"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}},
            provider="fake",
            model="m",
        )

    async def close(self) -> None:
        return None


def passage(text: str, *, doc: str = "d1", number: int = 0, **more: object) -> Passage:
    return Passage(
        doc=doc,
        number=number,
        revision="r1",
        title=f"Title {doc}",
        section="S",
        text=text,
        access=frozenset({"staff"}),
        score=0.5,
        **more,  # type: ignore[arg-type]
    )


def counter(start: int = 0) -> Callable[[], str]:
    """Exchange ids `…0001`, `…0002`, …"""
    count = start

    def next_id() -> str:
        nonlocal count
        count += 1
        return f"{count:032x}"

    return next_id
