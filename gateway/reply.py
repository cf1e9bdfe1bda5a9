"""What goes back to the client besides the answer: headers, the `gateway` object, and the shapes of a stop.

Clients drop metadata in different places, so the decision is told three times: in headers, in a top-level `gateway`
object (streams: on a chunk with `choices: []`), and by a completion id that resolves to the audit record. None of them
holds matched values or says what would have passed.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from gateway.domain.model import Body
from gateway.domain.passage import RetrievalStatus
from gateway.domain.verdict import Verdict
from gateway.domain.vocabulary import Effect
from gateway.enforce.answer import AnswerRelease
from gateway.exchange import Exchange
from gateway.retrieval.context import citations
from gateway.wire.answer import chunk_head, stopped, stopped_completion
from gateway.wire.errors import error_body

COMPLETION_PREFIX: Final = "chatcmpl-"


class StreamedReply(Protocol):
    """A stream of chunks. `close` settles whatever is open, however far `chunks` got, and is idempotent."""

    def chunks(self) -> AsyncIterator[Body]: ...

    async def close(self) -> None: ...


class Raw(Struct, frozen=True, kw_only=True):
    """A body that is no JSON, without content of an exchange."""

    content: bytes
    content_type: str

    def __repr__(self) -> str:
        return f"Raw({len(self.content)} bytes)"


class Download(Protocol):
    """A file on its way out, `size` bytes long. `close` is called exactly once, however far `chunks` got."""

    media_type: str
    size: int

    def chunks(self) -> AsyncIterator[bytes]: ...

    async def close(self) -> None: ...


class Reply(Struct, frozen=True, kw_only=True):
    """An HTTP answer before it is bytes: one of `body`, `stream`, `raw` and `download` is set."""

    status: int = 200
    headers: dict[str, str]
    body: Body | None = None
    stream: StreamedReply | None = None
    raw: Raw | None = None
    download: Download | None = None

    def __repr__(self) -> str:
        return f"Reply({self.status})"


class FixedStream:
    """A stream that is known in full before its first byte, and already settled."""

    def __init__(self, chunks: Sequence[Body]) -> None:
        self._chunks = chunks

    async def chunks(self) -> AsyncIterator[Body]:
        for chunk in self._chunks:
            yield chunk

    async def close(self) -> None:
        return None


def completion_id(exchange: Exchange) -> str:
    return COMPLETION_PREFIX + exchange.id


def headers(exchange: Exchange, effect: Effect, reasons: Sequence[str]) -> dict[str, str]:
    """Response headers of an exchange, as far as it has come when the first byte leaves."""
    found = {
        "x-gateway-decision": effect.value,
        "x-gateway-policy": exchange.policy.digest,
        "x-gateway-audit-id": exchange.id,
        "x-request-id": exchange.id,
    }
    if reasons:
        found["x-gateway-rules"] = ",".join(reasons)
    if exchange.call.prompt.unscanned:
        found["x-gateway-unscanned"] = ",".join(sorted(exchange.call.prompt.unscanned))
    if exchange.retrieval.status in {RetrievalStatus.ERROR, RetrievalStatus.TIMEOUT}:
        found["x-gateway-retrieval"] = exchange.retrieval.status.value
    if exchange.case:
        found["x-gateway-case"] = exchange.case
    if exchange.buffered:
        found["x-gateway-buffered"] = "whole-answer"
    return found


def metadata(
    exchange: Exchange,
    effect: Effect,
    reasons: Sequence[str],
    *,
    redacted: Mapping[str, int] | None = None,
    cited: Sequence[Mapping[str, Any]] = (),
) -> Body:
    """The `gateway` object."""
    found: Body = {
        "id": exchange.id,
        "decision": effect.value,
        "policy": exchange.policy.digest,
        "rules": list(reasons),
        "redacted": {"query": exchange.query_redacted, "answer": dict(redacted or {})},
        "retrieval": exchange.retrieval.status.value,
        "citations": list(cited),
        "unscanned": sorted(exchange.call.prompt.unscanned),
    }
    if exchange.case:
        found |= {"case": exchange.case, "poll": f"/v1/gateway/cases/{exchange.case}", "expires": exchange.case_expires}
    return found


def blocked_reply(exchange: Exchange, notice: str, verdicts: Sequence[Verdict] = ()) -> Reply:
    """A stop as an HTTP error: 403 for what a human must decide, else 400, in the shape of Azure's content filter."""
    effect = exchange.effect()
    reasons = exchange.reasons(*verdicts)
    escalated = effect is Effect.ESCALATE
    status = 403 if escalated else 400
    body = error_body(
        notice,
        status=status,
        code="human_review_required" if escalated else "content_filter",
        inner={"code": "ResponsibleAIPolicyViolation", "decision": effect.value, "audit_id": exchange.id},
        gateway=metadata(exchange, effect, reasons),
    )
    return Reply(status=status, headers=headers(exchange, effect, reasons), body=body)


def stopped_reply(exchange: Exchange, notice: str) -> Reply:
    """The answer to an exchange that was stopped before anything left, in the shape the app is configured for."""
    effect = exchange.effect()
    if exchange.app.is_error(effect):
        return blocked_reply(exchange, notice)
    reasons = exchange.reasons()
    head = headers(exchange, effect, reasons)
    about = metadata(exchange, effect, reasons)
    created = int(exchange.call.started.timestamp())
    model = exchange.call.prompt.model
    if not exchange.call.prompt.stream:
        body = stopped_completion(completion_id=completion_id(exchange), created=created, model=model, notice=notice)
        return Reply(headers=head, body={**body, "gateway": about})
    shared = chunk_head(completion_id=completion_id(exchange), created=created, model=model)
    chunks = [
        {**shared, "choices": [stopped(0, {"role": "assistant", "content": notice})]},
        {**shared, "choices": [], "gateway": about},
    ]
    if exchange.call.prompt.include_usage:
        zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        chunks[-1] = {**chunks[-1], "usage": zero}
    return Reply(headers=head, stream=FixedStream(chunks))


def whole_reply(exchange: Exchange, release: AnswerRelease, answer: Body) -> Reply:
    """The answer to an exchange that reached the model."""
    effect = exchange.effect(release.effect)
    reasons = exchange.reasons(*release.verdicts)
    if _becomes_error(exchange, release):
        return blocked_reply(exchange, exchange.notice, release.verdicts)
    about = stream_metadata(exchange, release)
    body = {**answer, "id": completion_id(exchange), "gateway": about}
    return Reply(headers=headers(exchange, effect, reasons), body=body)


def released_text(exchange: Exchange, release: AnswerRelease) -> str:
    """The content that leaves of an answer, its notices included. An error holds nothing but the notice."""
    return exchange.notice if _becomes_error(exchange, release) else release.released_content


def embedded_reply(exchange: Exchange, answer: Body) -> Reply:
    """The answer to an embeddings request."""
    effect, reasons = exchange.effect(), exchange.reasons()
    body = {**answer, "gateway": metadata(exchange, effect, reasons)}
    return Reply(headers=headers(exchange, effect, reasons), body=body)


def stream_metadata(exchange: Exchange, release: AnswerRelease) -> Body:
    """The `gateway` object once the answer is known."""
    return metadata(
        exchange,
        exchange.effect(release.effect),
        exchange.reasons(*release.verdicts),
        redacted=release.redacted,
        cited=_cited(exchange, release.released_content),
    )


def _becomes_error(exchange: Exchange, release: AnswerRelease) -> bool:
    """Whether a stopped answer leaves as an HTTP error: not in a stream, which has begun."""
    if exchange.stopped is None or exchange.call.prompt.stream:
        return False
    return exchange.app.is_error(exchange.stopped) and release.all_stopped


def _cited(exchange: Exchange, answer: str) -> list[Body]:
    """The passages that the released answer refers to, by the number in its text. Each exists, may be seen by the
    caller and was current when the last sentence left; `support` says whether it bears out what cites it, where a
    policy asks for that."""
    found = citations(exchange.shown, answer).cited
    check = exchange.rulebook.citations
    support = check.on(exchange.grounds).support(answer) if check and found else {}
    return [
        {
            "number": citation.number,
            "passage": citation.passage.id,
            "document": citation.passage.doc,
            "revision": citation.passage.revision,
            "title": citation.passage.title,
            "section": citation.passage.section,
            "place": citation.passage.place,
            "source": citation.passage.source,
            **({"support": support[citation.number].value} if citation.number in support else {}),
        }
        for citation in found
    ]
