"""Interfaces between packages. Each has at least two implementations, a good fake in the tests counting as one."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gateway.domain.case import Approval, CaseDraft, CaseReceipt
from gateway.domain.event import EventDraft, Receipt
from gateway.domain.grounds import Grounds, Support
from gateway.domain.model import Body, ModelReply, ModelRequest
from gateway.domain.passage import Passage, Retrieval, Standing
from gateway.domain.principal import Principal
from gateway.domain.segment import Segment
from gateway.domain.signal import Inspection, Scan
from gateway.domain.text import Secret
from gateway.domain.verdict import Evidence, FieldValue, Verdict
from gateway.domain.vocabulary import Phase, Placement, SignalType


class Detector(Protocol):
    """Looks at texts and knows no policy.

    `version` moves whenever the same text could give another result: it is part of the cache key. `scan` is
    deterministic, thread-safe, returns one `Scan` per text in order, and raises for a failure rather than
    returning an empty scan. A detector placed `inline` takes microseconds and never blocks.
    """

    name: str
    version: str
    placement: Placement
    signals: Mapping[str, SignalType]  # full names: `pii.entities`

    def scan(self, texts: Sequence[str]) -> list[Scan]: ...


@runtime_checkable
class GroundedDetector(Detector, Protocol):
    """Judges texts by what they are made of. Bound to nothing, it sees nothing that supports them."""

    def on(self, grounds: Grounds) -> Detector:
        """The same detector, with the same name, version and signals, for texts made of these grounds. Cheap."""
        ...


class CitationCheck(Protocol):
    """Says of the passages that an answer cites whether they bear it out."""

    def on(self, grounds: Grounds) -> "CitationCheck":
        """The same for answers made of these grounds. Cheap."""
        ...

    def support(self, answer: str) -> Mapping[int, Support]:
        """By the number of each passage that the answer cites and that there is: what it says of the sentences that
        cite it, the worst of them. Milliseconds."""
        ...


class Inspecting(Protocol):
    """Runs the named detectors over segments. Never raises for a failing detector: its run's status says so (I3)."""

    def on(self, grounds: Grounds) -> "Inspecting":
        """The same, for answers made of these grounds. Cheap; made once an exchange."""
        ...

    async def inspect(
        self,
        segments: Sequence[Segment],
        *,
        detectors: frozenset[str],
        timeouts: Mapping[str, float],
        default_timeout_s: float,
        keep: bool = True,
    ) -> Inspection:
        """`keep` says that the texts may come again, so that their results are worth remembering."""
        ...


class Embedder(Protocol):
    """Sentence embeddings. `embed` is blocking, thread-safe and deterministic."""

    name: str
    version: str
    dimensions: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Rows of unit length, shape `(len(texts), dimensions)`."""
        ...


class AuditLog(Protocol):
    """The durable, hash-chained log of this node."""

    async def append(self, draft: EventDraft) -> Receipt:
        """Return once the event is on disk. MUST raise `AuditUnavailable` if it may not be; a cancelled caller
        does not cancel the write."""
        ...


class Policy(Protocol):
    """The policies in force, compiled. Immutable and pure (I6): equal arguments give equal answers.

    `fields` are those of `Evidence`; only tenant, app, model and groups select which rules apply.
    """

    @property
    def digest(self) -> str:
        """`sha256:…` of the canonical compiled form; every audit event carries it."""
        ...

    def decide(self, evidence: Evidence, *, now: datetime) -> Verdict: ...

    def required(self, phase: Phase, fields: Mapping[str, FieldValue]) -> frozenset[str]:
        """Names of the detectors that the applicable rules of a phase refer to."""
        ...

    def timeouts(self, fields: Mapping[str, FieldValue]) -> Mapping[str, float]:
        """Seconds per detector name, where a policy says so."""
        ...

    def authors(self, verdict: Verdict) -> frozenset[str]:
        """Who answers for the rules and exceptions that made the verdict what it is: users, and `team:` with a name."""
        ...

    def noted(self, fields: Mapping[str, FieldValue]) -> frozenset[str]:
        """Detectors of answers that no applicable rule does more about than note: no word need wait for them."""
        ...

    def whole_answer_rules(self, fields: Mapping[str, FieldValue]) -> tuple[str, ...]:
        """Ids of applicable rules that need the whole answer before any of it may leave."""
        ...


class CaseDesk(Protocol):
    """Takes in what a human must decide. Raises `GuardUnavailable` if the case may not be durable."""

    async def open_case(self, draft: CaseDraft) -> CaseReceipt:
        """Open a case, or find the open one that the same request opened before."""
        ...

    async def approval(self, case: str, principal: Principal) -> Approval:
        """The approval of the requester's own case. Raises `RequestError`: 404 for a case that is not theirs, 409 for
        one that is not approved, 410 for one that has expired."""
        ...

    async def requeue(
        self, approval: Approval, principal: Principal, *, reason: str, policy: str, fingerprint: str
    ) -> None:
        """Send a case back to its queue because what the approval was given for has changed."""
        ...

    async def deliver(self, approval: Approval, principal: Principal, *, exchange: str, answer: bytes) -> bytes:
        """Consume the approval, once: the answer as it is delivered, which is an earlier one if the approval was
        consumed meanwhile. Durable before it returns. Raises `RequestError` if it holds no more."""
        ...

    async def redelivered(self, approval: Approval, principal: Principal, *, exchange: str) -> None:
        """Record that the delivered answer goes to its requester again."""
        ...


class Retriever(Protocol):
    """Finds passages that a principal may see. MUST NOT raise for a failing store: the status says so."""

    async def retrieve(self, principal: Principal, query: str) -> Retrieval: ...

    async def standing(self, principal: Principal, found: Retrieval, passages: Sequence[Passage]) -> Standing:
        """Whether the principal may still see the documents of `passages`, which are of `found`. Asked before every
        sentence is released, so cheap while the index stays the same."""
        ...


class ModelStream(Protocol):
    """Decoded chunks in the OpenAI `chat.completion.chunk` shape. `provider` and `model` say who answers, from the
    first chunk on. `aclose` closes the connection at once and is idempotent."""

    provider: str
    model: str

    def __aiter__(self) -> AsyncIterator[Body]: ...

    async def __anext__(self) -> Body: ...

    async def aclose(self) -> None: ...


class Upstream(Protocol):
    """A model, or the router over many. Raises `UpstreamError`.

    `complete` cancels its call when it is cancelled. A stream that ends without a finish reason raises.
    """

    async def complete(self, request: ModelRequest) -> ModelReply: ...

    def stream(self, request: ModelRequest) -> ModelStream: ...


class Authenticator(Protocol):
    """Turns a credential into a principal, or `None` for one that is unknown, revoked or malformed."""

    async def authenticate(self, credential: Secret) -> Principal | None: ...


class Admission(Protocol):
    """Rate and concurrency limits. `admit` raises `AdmissionDenied`; `release` gives the concurrency slot back
    and is called exactly once per successful `admit`."""

    async def admit(self, principal: Principal) -> None: ...

    def release(self, principal: Principal) -> None: ...
