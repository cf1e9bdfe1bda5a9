"""A trial run: the pipeline that serves, over its own ports, four of which are watched on the way.

The run is in the audit log like any other and marked there; its texts are never kept. It opens a case only if that is
asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, field, structs

from gateway.console.workbench import Workbench
from gateway.domain.case import Approval, CaseDraft, CaseReceipt
from gateway.domain.errors import AuditUnavailable, GatewayError
from gateway.domain.event import PLAYGROUND, EventDraft, EventType, Receipt
from gateway.domain.model import Body, ModelReply, ModelRequest
from gateway.domain.passage import Passage, Retrieval, Standing
from gateway.domain.ports import AuditLog, CaseDesk, ModelStream, Retriever, Upstream
from gateway.domain.principal import Principal
from gateway.domain.segment import Segment
from gateway.domain.signal import Finding
from gateway.domain.text import outline
from gateway.domain.vocabulary import Provenance
from gateway.exchange import Call, Rulebook
from gateway.pipeline import Pipeline
from gateway.policy.bundle import Bundle
from gateway.policy.explain_recorded import ExplainedJudgement, explain_recording
from gateway.policy.recorded import recordings
from gateway.settings import Settings
from gateway.wire.chat import read_prompt

ROUTE: Final = "/v1/chat/completions"


class Trial(Struct, frozen=True, kw_only=True):
    """What to run: a question of a principal, and whether an escalation opens a case that reviewers see."""

    text: str
    model: str
    principal: Principal
    real_case: bool = False

    def __repr__(self) -> str:
        return f"Trial({outline(self.text)})"


class Recorded(Struct, frozen=True, kw_only=True):
    """An event of the run: what was written, and the proof that it is durable."""

    draft: EventDraft
    receipt: Receipt


class Span(Struct, frozen=True):
    """When a watched call began and ended, in microseconds of a monotonic clock."""

    start_us: int
    end_us: int


class Watched(Struct, kw_only=True):
    """What the ports saw. Mutable, owned by one run; holds content, so its representation shows none."""

    now_us: Callable[[], int]
    events: list[Recorded] = field(default_factory=list)
    query: str = ""
    retrieval: Retrieval | None = None
    asked: ModelRequest | None = None
    answered: ModelReply | None = None
    held: bool = False  # an escalation that opened no case
    spans: dict[str, Span] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Watched({len(self.events)} events)"

    def note(self, step: str, start_us: int) -> None:
        self.spans[step] = Span(start_us, self.now_us())

    def event(self, kind: EventType) -> Recorded | None:
        return next((one for one in self.events if one.draft.type is kind), None)


class TrialRun(Struct, frozen=True, kw_only=True):
    """What came of a trial. `reply` is what a client would get, `None` if an `error` ended it; `judgements` are all
    verdicts, explained in full; `findings` those in the question; `spans` when the run and its watched steps were."""

    exchange: str
    watched: Watched
    reply: Body | None
    error: str
    judgements: tuple[ExplainedJudgement, ...]
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        return f"TrialRun({self.exchange})"


async def run_trial(bench: Workbench, settings: Settings, rulebook: Rulebook, trial: Trial) -> TrialRun:
    """Run it. Raises `RequestError` for a text that no request may have, and `AuditUnavailable`."""
    prompt = read_prompt(
        {"model": trial.model, "messages": [{"role": "user", "content": trial.text}]},
        max_messages=settings.server.max_messages,
        max_text_chars=settings.server.max_text_chars,
    )
    watched = Watched(now_us=bench.clock_us)
    ports = structs.replace(
        bench.ports,
        rulebook=lambda: structs.replace(rulebook, candidate=None),
        audit=_Log(bench.ports.audit, watched),
        cases=bench.ports.cases if trial.real_case else _Desk(bench.ports.cases, watched),
        retriever=_Retriever(bench.ports.retriever, watched),
        upstream=_Upstream(bench.ports.upstream, watched),
    )
    exchange = bench.ids()
    call = Call(route=ROUTE, principal=trial.principal, prompt=prompt, exchange=exchange, started=bench.ports.clock())
    start_us, reply, error = bench.clock_us(), None, ""
    try:
        reply = (await Pipeline(ports, settings).answer(call)).body
    except AuditUnavailable:
        raise
    except GatewayError as failed:  # settled already, as for any client
        error = f"{failed.code}: {failed.message}"
    watched.note("run", start_us)
    return TrialRun(
        exchange=exchange,
        watched=watched,
        reply=reply,
        error=error,
        judgements=_explained(rulebook, watched, bench.ports.clock().isoformat()),
        findings=await _findings(rulebook, watched, trial.text, settings),
    )


def _explained(rulebook: Rulebook, watched: Watched, at: str) -> tuple[ExplainedJudgement, ...]:
    """The verdicts, explained from the very events of the run, as anybody may do later."""
    assert isinstance(rulebook.policy, Bundle)
    members = [
        {
            "type": one.draft.type.value,
            "request": one.draft.request,
            "tenant": one.draft.tenant,
            "app": one.draft.app,
            "ts": at,
            **{name: value for name, value in one.draft.body.items() if name != PLAYGROUND},
        }
        for one in watched.events
    ]
    return tuple(judged for one in recordings(members) for judged in explain_recording(rulebook.policy, one))


async def _findings(rulebook: Rulebook, watched: Watched, text: str, settings: Settings) -> tuple[Finding, ...]:
    """Where in the question the detectors of its verdict found something; the inspector remembers their scans."""
    intent = watched.event(EventType.INTENT)
    if intent is None:
        return ()
    seen = await rulebook.inspector.inspect(
        [Segment(index=0, text=text, provenance=Provenance.USER)],
        detectors=frozenset(intent.draft.body["coverage"]["required"]),
        timeouts={},
        default_timeout_s=settings.inspection.timeout_s,
    )
    return seen.findings


class _Log:
    """Marks each event, and keeps no text of it."""

    def __init__(self, log: AuditLog, watched: Watched) -> None:
        self._log = log
        self._watched = watched

    async def append(self, draft: EventDraft) -> Receipt:
        marked = structs.replace(draft, body={**draft.body, PLAYGROUND: True}, bodies=())
        start_us = self._watched.now_us()
        receipt = await self._log.append(marked)
        self._watched.note(draft.type.value, start_us)
        self._watched.events.append(Recorded(draft=marked, receipt=receipt))
        return receipt


class _Desk:
    """Takes no case in: nobody is asked. All else is the real desk's."""

    def __init__(self, desk: CaseDesk, watched: Watched) -> None:
        self._desk = desk
        self._watched = watched

    async def open_case(self, draft: CaseDraft) -> CaseReceipt:
        self._watched.held = True
        return CaseReceipt(id="", due=draft.opened, expires=draft.opened)

    async def approval(self, case: str, principal: Principal) -> Approval:
        return await self._desk.approval(case, principal)

    async def requeue(
        self, approval: Approval, principal: Principal, *, reason: str, policy: str, fingerprint: str
    ) -> None:
        await self._desk.requeue(approval, principal, reason=reason, policy=policy, fingerprint=fingerprint)

    async def deliver(self, approval: Approval, principal: Principal, *, exchange: str, answer: bytes) -> bytes:
        return await self._desk.deliver(approval, principal, exchange=exchange, answer=answer)

    async def redelivered(self, approval: Approval, principal: Principal, *, exchange: str) -> None:
        await self._desk.redelivered(approval, principal, exchange=exchange)


class _Retriever:
    def __init__(self, retriever: Retriever, watched: Watched) -> None:
        self._retriever = retriever
        self._watched = watched

    async def retrieve(self, principal: Principal, query: str) -> Retrieval:
        start_us = self._watched.now_us()
        found = await self._retriever.retrieve(principal, query)
        self._watched.note("retrieve", start_us)
        self._watched.query, self._watched.retrieval = query, found
        return found

    async def standing(self, principal: Principal, found: Retrieval, passages: Sequence[Passage]) -> Standing:
        return await self._retriever.standing(principal, found, passages)


class _Upstream:
    def __init__(self, upstream: Upstream, watched: Watched) -> None:
        self._upstream = upstream
        self._watched = watched

    async def complete(self, request: ModelRequest) -> ModelReply:
        self._watched.asked = request
        start_us = self._watched.now_us()
        try:
            self._watched.answered = await self._upstream.complete(request)
        finally:
            self._watched.note("ask", start_us)
        return self._watched.answered

    def stream(self, request: ModelRequest) -> ModelStream:
        return self._upstream.stream(request)


def content_of(body: Mapping[str, Any] | None) -> str:
    """The text of the first choice, or of the error that a client gets instead."""
    if body is None:
        return ""
    if isinstance(body.get("error"), Mapping):
        return str(body["error"].get("message", ""))
    choices = body.get("choices") or [{}]
    return str((choices[0].get("message") or {}).get("content") or "")
