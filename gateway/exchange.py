"""One exchange while it runs: what the numbered steps of the pipeline have found out so far."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct, field

from gateway.domain.case import Approval
from gateway.domain.grounds import NO_GROUNDS, Grounds
from gateway.domain.passage import RETRIEVAL_OFF, Passage, Retrieval
from gateway.domain.ports import AuditLog, CaseDesk, CitationCheck, Inspecting, Policy, Retriever, Upstream
from gateway.domain.principal import Principal
from gateway.domain.signal import NOTHING_INSPECTED, Inspection
from gateway.domain.verdict import FieldValue, Verdict
from gateway.domain.vocabulary import Effect, Phase, strictest
from gateway.enforce.answer import AnswerRelease
from gateway.enforce.growth import GrowthIndex
from gateway.enforce.pseudonyms import PseudonymMap
from gateway.enforce.redaction import Redactor
from gateway.judged import JudgedCall
from gateway.settings import AppSettings, Settings
from gateway.upstream.embeddings import Embeddings
from gateway.wire.chat import Prompt


class Candidate(Struct, frozen=True, kw_only=True):
    """Policies that are evaluated beside those in force and never enforced. `inspector` has all detectors that they
    need; `own` names those that differ from the detectors in force."""

    policy: Policy
    inspector: Inspecting
    own: frozenset[str]
    timeout_s: float  # an exchange waits no longer for detectors that only the candidate needs


class Rulebook(Struct, frozen=True, kw_only=True):
    """What judges texts. A change of policies replaces it as a whole, so that no exchange is judged by a mixture."""

    policy: Policy
    inspector: Inspecting  # runs the detectors that the policy needs
    growth: GrowthIndex  # of the same detectors
    citations: CitationCheck | None = None  # where the policy asks for it
    candidate: Candidate | None = None


class Ports(Struct, frozen=True, kw_only=True):
    """Everything that the request path calls; chosen by the composition root."""

    rulebook: Callable[[], Rulebook]  # the one in force; asked once per exchange
    audit: AuditLog
    cases: CaseDesk
    retriever: Retriever
    upstream: Upstream
    embeddings: Embeddings
    clock: Callable[[], datetime]
    hash_key: bytes


class Call(Struct, frozen=True, kw_only=True):
    """A request as the edge hands it over: a decoded and checked body, and what only HTTP knows."""

    route: str
    principal: Principal
    prompt: Prompt
    exchange: str
    started: datetime
    skip_retrieval: bool = False  # asked for by the caller; obeyed only where the app's settings allow
    case: str = ""  # the approved case that this request resumes


class Rehearsed(Struct, frozen=True, kw_only=True):
    """What the candidate would have done with one text or group of texts. `error` says why that is not known."""

    phase: Phase
    effect: Effect
    rules: tuple[str, ...] = ()
    error: str = ""


class Rehearsing(Protocol):
    """A part of an exchange that the candidate judges when the exchange ends."""

    @property
    def pending(self) -> "Sequence[asyncio.Task[Any]]":
        """Scans that are still running; each ends by itself, soon."""
        ...

    def conclude(self, release: AnswerRelease | None, now: datetime) -> None: ...


class JudgedPassage(Struct, frozen=True, kw_only=True):
    """A passage with the verdict on it and what it was made on; `kept` says whether the model gets to see it."""

    passage: Passage
    verdict: Verdict
    kept: bool
    inspection: Inspection = NOTHING_INSPECTED


class Exchange(Struct, kw_only=True):
    """Mutable, owned by one task. Holds content, so its representation shows none."""

    call: Call
    rulebook: Rulebook  # from the query to the end of the stream the one with which it began
    app: AppSettings
    fields: Mapping[str, FieldValue]
    redactor: Redactor
    inspection: Inspection = NOTHING_INSPECTED
    intended: bool = False  # an `intent` was written, or may have been
    opened: bool = False  # a `stream.open` was written, or may have been
    settled: bool = False  # an `outcome` or `stream.close` was written, or may have been
    query: Verdict | None = None
    query_redacted: dict[str, int] = field(default_factory=dict)
    question: str = ""  # the last question after redaction
    retrieval: Retrieval = RETRIEVAL_OFF
    passages: list[JudgedPassage] = field(default_factory=list)
    calls: list[JudgedCall] = field(default_factory=list)  # of the answer, in the order in which they were judged
    withdrawn: bool = False  # a document that the model was shown may no longer be used
    stopped: Effect | None = None  # the effect that ended the exchange before or in the answer
    stop_reasons: tuple[str, ...] = ()
    stop_message: str = ""
    notice: str = ""  # what the caller is told of a stop
    case: str = ""
    case_expires: str = ""
    buffered: bool = False
    grounds: Grounds = NO_GROUNDS  # what the answer may be made of, once that is known
    answer_inspector: Inspecting | None = None  # of answers made of them
    approval: Approval | None = None  # of a human, for exactly this request
    rehearsed: list[Rehearsed] = field(default_factory=list)
    rehearsals: list[Rehearsing] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.call.exchange

    @property
    def principal(self) -> Principal:
        return self.call.principal

    @property
    def policy(self) -> Policy:
        return self.rulebook.policy

    @property
    def shown(self) -> tuple[Passage, ...]:
        """The passages that the model sees, in the order of their numbers."""
        return tuple(judged.passage for judged in self.passages if judged.kept)

    def ground(self) -> None:
        """Have the answer judged by the passages that the model sees. Idempotent."""
        if self.shown and not self.grounds.passages:
            self.grounds = Grounds(passages=self.shown, question=self.question)
            self.answer_inspector = self.rulebook.inspector.on(self.grounds)

    def inspector(self, phase: Phase) -> Inspecting:
        """What runs the detectors in a phase."""
        about_answer = phase in {Phase.ANSWER, Phase.TOOL_CALL}
        return self.answer_inspector if about_answer and self.answer_inspector else self.rulebook.inspector

    def stop(self, effect: Effect, *reasons: str, message: str = "") -> None:
        """End the exchange with an effect; of several, the strictest counts."""
        self.stopped = strictest(effect, self.stopped or Effect.ALLOW)
        self.stop_reasons += reasons
        self.stop_message = message or self.stop_message

    def count_query_redactions(self, kinds: Mapping[str, int]) -> None:
        for kind, count in kinds.items():
            self.query_redacted[kind] = self.query_redacted.get(kind, 0) + count

    def effect(self, answer: Effect = Effect.ALLOW) -> Effect:
        """The strictest effect on the exchange. A dropped passage flags it: nothing of the caller's was touched."""
        own = self.query.effect if self.query else Effect.ALLOW
        dropped = Effect.FLAG if any(not judged.kept for judged in self.passages) else Effect.ALLOW
        return strictest(own, dropped, self.stopped or Effect.ALLOW, answer)

    def reasons(self, *verdicts: Verdict) -> tuple[str, ...]:
        """Ids of the rules that tightened any verdict of the exchange, sorted and distinct."""
        own = [self.query] if self.query else []
        judged = [passage.verdict for passage in self.passages]
        found = {reason for verdict in (*own, *judged, *verdicts) for reason in verdict.reasons}
        return tuple(sorted(found | set(self.stop_reasons)))

    def __repr__(self) -> str:
        return f"Exchange({self.id})"


def begin(call: Call, ports: Ports, settings: Settings) -> Exchange:
    """The exchange of a call, bound to the rulebook in force and to what its app's settings say."""
    prompt, principal = call.prompt, call.principal
    return Exchange(
        call=call,
        rulebook=ports.rulebook(),
        app=settings.app(principal.app),
        redactor=Redactor(
            PseudonymMap(segment.text for segment in prompt.segments),
            tenant_key(ports.hash_key, principal.tenant),
        ),
        fields={
            "principal.tenant": principal.tenant,
            "principal.app": principal.app,
            "principal.user": principal.user,
            "principal.groups": principal.groups,
            "principal.roles": principal.roles,
            "request.route": call.route,
            "request.model": prompt.model,
            "request.stream": prompt.stream,
            "request.tools": prompt.tools,
            "request.unscanned": prompt.unscanned,
        },
    )


def tenant_key(hash_key: bytes, tenant: str) -> bytes:
    """The key of hashed redactions: equal values stay equal within a tenant and tell nothing across tenants."""
    return hashlib.blake2b(tenant.encode(), key=hash_key, digest_size=32).digest()
