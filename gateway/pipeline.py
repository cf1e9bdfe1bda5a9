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

INVARIANT I1: text reaches the client, the model and the vector store only after a verdict on it (4, 8, 10).
INVARIANT I2: no upstream call without a durable `intent` (5); no released byte without a durable `outcome`, or
`stream.open` before the first byte of a stream (11). If the log cannot be written, `AuditUnavailable` ends it all.
INVARIANT I7: retrieval gets the verified principal and nothing of the body but the judged question (7).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec import structs

from gateway.delivery import delivered_reply, packed, unpacked
from gateway.domain.case import Approval
from gateway.domain.errors import GatewayError, UpstreamError
from gateway.domain.event import EventType
from gateway.domain.model import Body, ModelReply, ModelRequest
from gateway.domain.passage import Passage, RetrievalStatus
from gateway.domain.segment import Segment
from gateway.domain.signal import by_segment
from gateway.domain.verdict import FieldValue, Verdict
from gateway.domain.vocabulary import Effect, Phase, Provenance
from gateway.enforce.answer import AnswerPlan, AnswerRelease
from gateway.enforce.holding import HeldAnswer
from gateway.enforce.pseudonyms import PseudonymMap
from gateway.enforce.query import redact_prompt
from gateway.enforce.redaction import Redactor
from gateway.enforce.release import Cut, TextRelease
from gateway.enforce.units import Granularity
from gateway.escalation import CHANGED, answer_facts, held_reply, open_case, requeue, resume, still_held, united
from gateway.exchange import Call, Exchange, JudgedPassage, Ports, tenant_key
from gateway.judging import Judging
from gateway.record import intent
from gateway.reply import Reply, blocked_reply, embedded_reply, stopped_reply, whole_reply
from gateway.retrieval.context import build_context, list_sources
from gateway.settings import RetrievalSettings, Settings
from gateway.settle import settle
from gateway.sources import released
from gateway.streaming import StreamedAnswer
from gateway.upstream.embeddings import EmbeddingRequest
from gateway.wire.chat import with_context, with_system_prompt
from gateway.wire.embeddings import inputs_of
from gateway.wire.notices import notice

_NO_SOURCES = "The sources needed to answer this cannot be reached right now. Please try again later."
_WITHOUT_SOURCES = "Note: the organisation's documents could not be searched, so this answer is not based on them."

_UNREACHABLE = (RetrievalStatus.ERROR, RetrievalStatus.TIMEOUT)
_CHANGED = "What this answer was approved for has changed. It is being checked again."


class Pipeline:
    """Runs exchanges. Stateless between them; any number run concurrently on one event loop."""

    def __init__(self, ports: Ports, settings: Settings) -> None:
        self._ports = ports
        self._settings = settings
        self._judging = Judging(ports, settings)

    async def answer(self, call: Call) -> Reply:
        """Steps 3 to 11. A verdict is a `Reply`; raises `UpstreamError` and `GuardUnavailable`, already settled."""
        return await self._settled(self._begin(call), self._answer)

    async def embed(self, call: Call) -> Reply:
        """The same path for `/v1/embeddings`: no passages, and an answer of numbers that nobody needs to judge."""
        return await self._settled(self._begin(call), self._embed)

    async def _settled(self, exchange: Exchange, run: Callable[[Exchange], Awaitable[Reply]]) -> Reply:
        try:
            return await run(exchange)
        except asyncio.CancelledError:
            # The client has gone: what was begun still gets its outcome.
            await asyncio.shield(self._settle_failure(exchange, "client_disconnected"))
            raise
        except UpstreamError as error:
            told = await self._with_judged_message(exchange, error)
            await self._settle_failure(exchange, error.code)
            raise told from None
        except GatewayError as error:
            await self._settle_failure(exchange, error.code)
            raise
        except Exception as error:
            await self._settle_failure(exchange, f"exception:{type(error).__name__}")
            raise

    async def _answer(self, exchange: Exchange) -> Reply:
        if exchange.call.case:
            return await self._resume(exchange)
        body = await self._query(exchange)  # 3 to 6
        if exchange.stopped is None:
            await self._retrieve(exchange)  # 7 retrieve, 8 inspect and decide on each
        if exchange.stopped is not None:
            return await self._stop(exchange, stopped_reply)  # 11 settle
        request = self._request(exchange, body)
        release = AnswerRelease(self._plan(exchange))
        if exchange.call.prompt.stream:
            stream = await StreamedAnswer.open(exchange, release, request, self._ports)  # 9, 10, 11
            return Reply(headers=stream.headers, stream=stream)
        model = await self._ports.upstream.complete(request)  # 9 ask
        answer = await release.whole(model.body)  # 10 inspect and decide
        await settle(self._ports, exchange, EventType.OUTCOME, release=release, model=model)  # 11 settle
        return whole_reply(exchange, release, answer)

    async def _resume(self, exchange: Exchange) -> Reply:
        """The same path for a request that a human has approved: the escalations that the approval covers are lifted,
        all else is judged anew. The model is asked only if the question itself had been held."""
        cases, key = self._ports.cases, self._ports.hash_key
        approval = await resume(cases, exchange, key)
        if approval.delivered is not None:
            await cases.redelivered(approval, exchange.principal, exchange=exchange.id)
            return unpacked(approval.delivered, exchange)
        body = await self._query(exchange)  # 3 to 6
        if exchange.stopped is None and approval.answer is None:
            await self._retrieve(exchange)  # 7, 8
        elif exchange.stopped is None and not await self._holds_still(exchange, approval):
            exchange.stop(Effect.REFUSE, CHANGED, message=_CHANGED)
        if exchange.stopped is not None:
            if exchange.retrieval.status not in _UNREACHABLE:  # which says nothing against the approval
                await requeue(cases, exchange, approval, "judged_differently", key)
            return await self._stop(exchange, stopped_reply)  # 11 settle
        if approval.answer is None:
            model = await self._ports.upstream.complete(self._request(exchange, body))  # 9 ask
        else:
            model = held_reply(exchange, approval)
        release = AnswerRelease(self._plan(exchange))
        answer = await release.whole(model.body)  # 10 inspect and decide
        if approval.answer is not None and (release.all_stopped or release.any_held):
            await requeue(cases, exchange, approval, "judged_differently", key)
            await settle(self._ports, exchange, EventType.OUTCOME, release=release, model=model)  # 11 settle
            return unpacked(packed(whole_reply(exchange, release, answer)), exchange)
        reply = delivered_reply(exchange, release, answer, edited=approval.edited)
        kept = packed(reply)
        delivered = await cases.deliver(approval, exchange.principal, exchange=exchange.id, answer=kept)
        if delivered != kept:  # a racing request was faster: its answer is the one that counts
            await self._settle_failure(exchange, "case_delivered")
            return unpacked(delivered, exchange)
        await settle(self._ports, exchange, EventType.OUTCOME, release=release, model=model)  # 11 settle
        return unpacked(kept, exchange)

    async def _holds_still(self, exchange: Exchange, approval: Approval) -> bool:
        """Whether the caller may still see all that a held answer is made of; then the exchange has these passages."""
        if not approval.passages:
            return True
        await self._search(exchange)
        if not still_held(approval, exchange.retrieval):
            return False
        exchange.passages = [await self._judge_passage(exchange, passage) for passage in approval.passages]
        return all(judged.kept for judged in exchange.passages)

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

    async def _query(self, exchange: Exchange) -> Body:
        segments = exchange.call.prompt.segments
        exchange.inspection, exchange.query = await self._judging.judge(exchange, Phase.QUERY, segments)  # 3, 4
        draft = intent(exchange)
        exchange.intended = True  # even if the append fails: the event may have reached the disk
        await self._ports.audit.append(draft)  # 5 intend
        return self._enforce(exchange, exchange.query)  # 6 enforce

    def _begin(self, call: Call) -> Exchange:
        prompt, principal = call.prompt, call.principal
        return Exchange(
            call=call,
            rulebook=self._ports.rulebook(),
            app=self._settings.app(principal.app),
            redactor=Redactor(
                PseudonymMap(segment.text for segment in prompt.segments),
                tenant_key(self._ports.hash_key, principal.tenant),
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

    def _enforce(self, exchange: Exchange, verdict: Verdict) -> Body:
        """Apply the query's verdict to the body. A redaction that no edit can carry out stops the exchange."""
        prompt = exchange.call.prompt
        if verdict.effect.stops:
            exchange.stop(verdict.effect)
            return prompt.body
        redacted = redact_prompt(
            prompt, exchange.inspection.findings, verdict.obligations.redactions, exchange.redactor
        )
        exchange.count_query_redactions(redacted.kinds)
        if not redacted.possible:
            exchange.stop(Effect.REFUSE, "gateway.redaction_impossible")
        exchange.question = redacted.question
        return redacted.body

    async def _retrieve(self, exchange: Exchange) -> None:
        settings = self._settings.retrieval
        if not _wants_passages(exchange, settings):
            return
        await self._search(exchange)  # 7 retrieve
        if exchange.retrieval.status is not RetrievalStatus.OK and settings.on_failure == "refuse":
            exchange.stop(Effect.REFUSE, f"gateway.retrieval_{exchange.retrieval.status.value}", message=_NO_SOURCES)
            return
        exchange.passages = list(  # 8 inspect and decide on each passage
            await asyncio.gather(*(self._judge_passage(exchange, passage) for passage in exchange.retrieval.passages))
        )

    async def _search(self, exchange: Exchange) -> None:
        query = exchange.redactor.pseudonyms.without_tokens(exchange.question)
        exchange.retrieval = await self._ports.retriever.retrieve(exchange.principal, query)

    async def _judge_passage(self, exchange: Exchange, passage: Passage) -> JudgedPassage:
        # Title and section reach the model and the client with the text, so they are judged with it.
        segments = [
            Segment(index=index, text=text, provenance=Provenance.PASSAGE)
            for index, text in enumerate((passage.title, passage.section, passage.text))
        ]
        about: dict[str, FieldValue] = {
            "passage.doc": passage.doc,
            "passage.access": passage.access,
            "passage.classification": passage.classification,
        }
        inspection, verdict = await self._judging.judge(exchange, Phase.PASSAGE, segments, about)
        verdict = released(verdict, passage.released)
        if verdict.effect.stops:
            # Nobody can be asked about one passage of many: what a human would have to see is left out.
            return JudgedPassage(passage=passage, verdict=verdict, kept=False, inspection=inspection)
        found = by_segment(inspection.findings)
        title, section, text = (
            exchange.redactor.redact(
                segment,
                found.get(segment.index, ()),
                verdict.obligations.redactions,
                brought=False,
            ).text
            for segment in segments
        )
        kept = structs.replace(passage, title=title, section=section, text=text)
        return JudgedPassage(passage=kept, verdict=verdict, kept=True, inspection=inspection)

    def _request(self, exchange: Exchange, body: Body) -> ModelRequest:
        prompt = exchange.call.prompt
        if exchange.shown:
            body = with_context(body, prompt.question_address, build_context(exchange.shown))
        if exchange.app.system_prompt:
            body = with_system_prompt(body, exchange.app.system_prompt)
        return ModelRequest(
            model=prompt.model,
            body=body,
            passages=exchange.shown,
            question=exchange.question,
            exchange=exchange.id,
        )

    def _plan(self, exchange: Exchange) -> AnswerPlan:
        policy, fields = exchange.policy, exchange.fields
        exchange.ground()
        facts = answer_facts(exchange)
        exchange.buffered = bool(policy.whole_answer_rules(fields))
        cut = (
            Cut(granularity=Granularity.WHOLE)
            if exchange.buffered
            else exchange.rulebook.growth.cut(policy.required(Phase.ANSWER, fields) - policy.noted(fields))
        )
        assert exchange.query is not None
        return AnswerPlan(
            judge=self._judging.answer_judge(exchange, facts),
            judge_call=lambda tool: self._judging.call_judge(exchange, facts, tool),
            redactor=exchange.redactor,
            cut=cut,
            json_answer=exchange.call.prompt.json_answer,
            obligations=exchange.query.obligations,
            sources=list_sources(exchange.shown),
            caveat=_WITHOUT_SOURCES if exchange.retrieval.status in _UNREACHABLE else "",
            on_stop=lambda verdict, candidate: self._stop_answer(exchange, verdict, candidate),
            on_hold=lambda verdicts, candidate, held: self._hold_answer(exchange, verdicts, candidate, held),
        )

    async def _stop(self, exchange: Exchange, reply: Callable[[Exchange, str], Reply]) -> Reply:
        """End an exchange that the model is not asked about."""
        verdict = exchange.query
        assert verdict is not None
        text = await self._notice(exchange, verdict, candidate="")
        await settle(self._ports, exchange, EventType.OUTCOME)
        return reply(exchange, text)

    async def _stop_answer(self, exchange: Exchange, verdict: Verdict, candidate: str) -> str:
        exchange.stop(verdict.effect)
        return await self._notice(exchange, verdict, candidate=candidate)

    async def _hold_answer(
        self, exchange: Exchange, verdicts: Sequence[Verdict], candidate: str, held: HeldAnswer
    ) -> str:
        verdict, lifts = united(verdicts)
        exchange.stop(verdict.effect)
        return await self._notice(exchange, verdict, candidate=candidate, held=held, lifts=lifts)

    async def _notice(
        self,
        exchange: Exchange,
        verdict: Verdict,
        *,
        candidate: str,
        held: HeldAnswer | None = None,
        lifts: frozenset[str] = frozenset(),
    ) -> str:
        effect = exchange.stopped or verdict.effect
        if effect is Effect.ESCALATE:
            await open_case(
                self._ports.cases,
                exchange,
                verdict,
                candidate=candidate,
                completion=held.encoded() if held else "",
                lifts=lifts,
                key=self._ports.hash_key,
                now=self._ports.clock(),
            )
        message = exchange.stop_message or verdict.message
        exchange.notice = notice(effect, message, phase=verdict.phase, exchange=exchange.id, case=exchange.case)
        return exchange.notice

    async def _with_judged_message(self, exchange: Exchange, error: UpstreamError) -> UpstreamError:
        """The error with the upstream's own words, if the policies let them pass as they are."""
        plan = self._plan(exchange)
        release = TextRelease(plan.judge, plan.redactor, Cut(granularity=Granularity.WHOLE))
        released = await release.whole(error.upstream_message)
        if not released.text or released.changed or release.stopped is not None:
            return error
        return error.with_message(f"{error.message}: {released.text}")

    async def _settle_failure(self, exchange: Exchange, code: str) -> None:
        if exchange.intended and not exchange.settled:
            kind = EventType.STREAM_CLOSE if exchange.opened else EventType.OUTCOME
            await settle(self._ports, exchange, kind, error=code)


def _wants_passages(exchange: Exchange, settings: RetrievalSettings) -> bool:
    call = exchange.call
    if settings.store == "off" or not exchange.app.retrieval or not exchange.question.strip():
        return False
    if call.skip_retrieval and exchange.app.own_context_may_skip_retrieval:
        return False
    return "*" in settings.models or call.prompt.model in settings.models
