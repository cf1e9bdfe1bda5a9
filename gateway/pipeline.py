"""The request path, from a checked request to a released answer.

     1 identify    who is asking                       (edge: the credential; identity/)
     2 admit       may they spend this now             (edge; limits/)
     3 inspect     what is in the query                inspection/
     4 decide      what do the policies say            policy/
     5 intend      durable audit event `intent`        audit/      nothing goes upstream before this
     6 enforce     redact, pseudonymise, or stop       enforce/
     7 retrieve    passages this principal may see     retrieval/
     8 inspect and decide on each passage              drop, redact or keep
     9 ask         the model                           upstream/
    10 inspect and decide on the answer                enforce/answer.py
    11 settle      durable `outcome`, then release     the only way out, for every verdict and every error

What an exchange asks of these packages stands in `judging.py` (3, 4, 8, 10), `retrieving.py` (7, 8), `answering.py`
(9, 10), `streaming.py` (9 to 11), `stopping.py` and `settle.py` (11). `resuming.py` has what an approved case changes.

INVARIANT I1: text reaches the client, the model and the vector store only after a verdict on it (4, 8, 10).
INVARIANT I2: no upstream call without a durable `intent` (5); no released byte without a durable `outcome`, or
`stream.open` before the first byte of a stream (11). If the log cannot be written, `AuditUnavailable` ends it all.
INVARIANT I7: retrieval gets the verified principal and nothing of the body but the judged question (7).
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.answering import answer_plan, judged_error, model_request
from gateway.domain.errors import GatewayError, UpstreamError
from gateway.domain.event import EventType
from gateway.domain.model import Body, ModelReply
from gateway.domain.verdict import Verdict
from gateway.domain.vocabulary import Effect, Phase
from gateway.enforce.answer import AnswerRelease
from gateway.enforce.query import redact_prompt
from gateway.escalation import held_reply, resume
from gateway.exchange import Call, Exchange, Ports, begin
from gateway.judging import Judging
from gateway.record import intent
from gateway.reply import Reply, blocked_reply, embedded_reply, stopped_reply, whole_reply
from gateway.resuming import deliver, recheck_sources, redelivered, return_stopped
from gateway.retrieving import retrieve
from gateway.settings import Settings
from gateway.settle import settle, settle_failure
from gateway.stopping import tell
from gateway.streaming import StreamedAnswer
from gateway.upstream.embeddings import EmbeddingRequest
from gateway.wire.embeddings import inputs_of


class Pipeline:
    """Runs exchanges. Stateless between them; any number run concurrently on one event loop."""

    def __init__(self, ports: Ports, settings: Settings) -> None:
        self._ports = ports
        self._settings = settings
        self._judging = Judging(ports, settings)

    async def answer(self, call: Call) -> Reply:
        """Steps 3 to 11. A verdict is a `Reply`; raises `UpstreamError` and `GuardUnavailable`, already settled."""
        return await self._settled(call, self._resume if call.case else self._answer)

    async def embed(self, call: Call) -> Reply:
        """The same path for `/v1/embeddings`: no passages, and an answer of numbers that nobody needs to judge."""
        return await self._settled(call, self._embed)

    async def _answer(self, exchange: Exchange) -> Reply:
        body = await self._query(exchange)  # 3 to 6
        if exchange.stopped is None:
            # 7 retrieve, 8 inspect and decide on each
            await retrieve(exchange, self._ports.retriever, self._judging, self._settings.retrieval)
        if exchange.stopped is not None:
            return await self._stop(exchange, stopped_reply)  # 11 settle
        request = model_request(exchange, body)
        release = AnswerRelease(answer_plan(exchange, self._judging, self._ports))
        if exchange.call.prompt.stream:
            stream = await StreamedAnswer.open(exchange, release, request, self._ports)  # 9, 10, 11
            return Reply(headers=stream.headers, stream=stream)
        model = await self._ports.upstream.complete(request)  # 9 ask
        answer = await release.whole(model.body)  # 10 inspect and decide
        await settle(self._ports, exchange, EventType.OUTCOME, release=release, model=model)  # 11 settle
        return whole_reply(exchange, release, answer)

    async def _query(self, exchange: Exchange) -> Body:
        """Steps 3 to 6: the body as it may go on. Where the exchange is stopped then, it must not."""
        segments = exchange.call.prompt.segments
        exchange.inspection, exchange.query = await self._judging.judge(  # 3 inspect, 4 decide
            exchange, Phase.QUERY, segments
        )
        draft = intent(exchange)
        exchange.intended = True  # even if the append fails: the event may have reached the disk
        await self._ports.audit.append(draft)  # 5 intend
        return _enforce(exchange, exchange.query)  # 6 enforce

    async def _resume(self, exchange: Exchange) -> Reply:
        """The same path for a request that a human has approved: the escalations that the approval covers are lifted,
        all else is judged anew. The model is asked only if the question itself had been held."""
        approval = await resume(self._ports.cases, exchange, self._ports.hash_key)
        if approval.delivered is not None:
            return await redelivered(exchange, approval, approval.delivered, self._ports)
        body = await self._query(exchange)  # 3 to 6
        if exchange.stopped is None and approval.answer is None:
            await retrieve(exchange, self._ports.retriever, self._judging, self._settings.retrieval)  # 7, 8
        elif exchange.stopped is None:
            await recheck_sources(exchange, approval, self._ports.retriever, self._judging)  # 7, 8
        if exchange.stopped is not None:
            await return_stopped(exchange, approval, self._ports)
            return await self._stop(exchange, stopped_reply)  # 11 settle
        if approval.answer is None:
            model = await self._ports.upstream.complete(model_request(exchange, body))  # 9 ask
        else:
            model = held_reply(exchange, approval)
        release = AnswerRelease(answer_plan(exchange, self._judging, self._ports))
        answer = await release.whole(model.body)  # 10 inspect and decide
        return await deliver(exchange, approval, release, answer, model=model, ports=self._ports)  # 11 settle

    async def _embed(self, exchange: Exchange) -> Reply:
        body = await self._query(exchange)  # 3 to 6
        if exchange.stopped is not None:
            return await self._stop(exchange, blocked_reply)  # 11 settle
        model = await self._ports.embeddings.embed(  # 9 ask
            EmbeddingRequest(model=exchange.call.prompt.model, body=body, inputs=inputs_of(body), exchange=exchange.id)
        )
        reply = ModelReply(body=model.body, provider=model.provider, model=model.model)
        await settle(self._ports, exchange, EventType.OUTCOME, model=reply)  # 11 settle
        return embedded_reply(exchange, model.body)

    async def _stop(self, exchange: Exchange, reply: Callable[[Exchange, str], Reply]) -> Reply:
        """End an exchange that the model is not asked about."""
        verdict = exchange.query
        assert verdict is not None
        text = await tell(self._ports, exchange, verdict)
        await settle(self._ports, exchange, EventType.OUTCOME)  # 11 settle
        return reply(exchange, text)

    async def _settled(self, call: Call, run: Callable[[Exchange], Awaitable[Reply]]) -> Reply:
        """Run an exchange, and settle it (11) whatever ends it."""
        exchange = begin(call, self._ports, self._settings)
        try:
            return await run(exchange)
        except asyncio.CancelledError:
            # The client has gone: what was begun still gets its outcome.
            await asyncio.shield(settle_failure(self._ports, exchange, "client_disconnected"))
            raise
        except UpstreamError as error:
            told = await judged_error(exchange, error, self._judging, self._ports)
            await settle_failure(self._ports, exchange, error.code)
            raise told from None
        except GatewayError as error:
            await settle_failure(self._ports, exchange, error.code)
            raise
        except Exception as error:
            await settle_failure(self._ports, exchange, f"exception:{type(error).__name__}")
            raise


def _enforce(exchange: Exchange, verdict: Verdict) -> Body:
    """Apply the query's verdict to the body. A redaction that no edit can carry out stops the exchange."""
    prompt = exchange.call.prompt
    if verdict.effect.stops:
        exchange.stop(verdict.effect)
        return prompt.body
    redacted = redact_prompt(prompt, exchange.inspection.findings, verdict.obligations.redactions, exchange.redactor)
    exchange.count_query_redactions(redacted.kinds)
    if not redacted.possible:
        exchange.stop(Effect.REFUSE, "gateway.redaction_impossible")
    exchange.question = redacted.question
    return redacted.body
