"""The request path with fakes at every port: the invariants, each with a test that fails when it is broken."""

import asyncio

import pytest
from msgspec import structs
from support.fakes import (
    ALICE,
    NOW,
    WORDS,
    FakeAudit,
    FakeCases,
    FakeEmbeddings,
    FakeInspector,
    FakePolicy,
    FakeRetriever,
    FakeUpstream,
    passage,
)

from gateway.domain.errors import AuditUnavailable, GuardUnavailable, UpstreamError
from gateway.domain.event import EventType
from gateway.domain.passage import RetrievalStatus
from gateway.domain.vocabulary import Effect, Phase, RedactOperator, SignalStatus
from gateway.enforce.growth import GrowthIndex
from gateway.exchange import Call, Ports, Rulebook
from gateway.pipeline import Pipeline
from gateway.settings import AppSettings, BlockMode, RetrievalSettings, Settings
from gateway.wire.chat import read_prompt
from gateway.wire.embeddings import read_embedding_prompt
from rules.growing import GrowingMatches

EXCHANGE = "e" * 32
REDACT_NAMES = {Phase.QUERY: {"PERSON": Effect.REDACT}, Phase.ANSWER: {"CARD": Effect.REDACT}}
REFUSE_QUERY = {Phase.QUERY: {"forbidden": Effect.REFUSE}}
REFUSE_ANSWER = {Phase.ANSWER: {"forbidden": Effect.REFUSE}}
ESCALATE_QUERY = {Phase.QUERY: {"ask-human": Effect.ESCALATE}}


class Bench:
    """A pipeline over fakes. `trace` is the order in which durable events and the model were reached."""

    def __init__(
        self,
        policy=None,
        *,
        upstream=None,
        retriever=None,
        audit=None,
        cases=None,
        inspector=None,
        app=None,
        on_failure="refuse",
    ):
        self.trace: list[str] = []
        self.policy = policy or FakePolicy()
        self.audit = audit or FakeAudit()
        self.audit.trace = self.trace
        self.upstream = upstream or FakeUpstream()
        self.upstream.trace = self.trace
        self.retriever = retriever or FakeRetriever()
        self.cases = cases or FakeCases()
        self.inspector = inspector or FakeInspector()
        self.embeddings = FakeEmbeddings()
        growing = [beginning for _, beginning in WORDS.values()]
        self.pipeline = Pipeline(
            Ports(
                rulebook=lambda: Rulebook(
                    policy=self.policy,
                    inspector=self.inspector,
                    growth=GrowthIndex({"words": growing}, GrowingMatches),
                ),
                audit=self.audit,
                cases=self.cases,
                retriever=self.retriever,
                upstream=self.upstream,
                embeddings=self.embeddings,
                clock=lambda: NOW,
                hash_key=b"h" * 32,
            ),
            Settings(apps={"desk": app or AppSettings()}, retrieval=RetrievalSettings(on_failure=on_failure)),
        )

    def call(self, content="What is new?", *, skip=False, **body):
        body = {"model": "extractive", "messages": [{"role": "user", "content": content}]} | body
        prompt = read_prompt(body, max_messages=100, max_text_chars=10_000)
        return Call(
            route="/v1/chat/completions",
            principal=ALICE,
            prompt=prompt,
            exchange=EXCHANGE,
            started=NOW,
            skip_retrieval=skip,
        )

    async def ask(self, content="What is new?", **body):
        return await self.pipeline.answer(self.call(content, **body))

    async def stream(self, content="What is new?", **body):
        reply = await self.ask(content, stream=True, **body)
        try:
            return reply, [chunk async for chunk in reply.stream.chunks()]
        finally:
            await reply.stream.close()


def content_of(reply):
    return reply.body["choices"][0]["message"]["content"]


def streamed_content(chunks):
    return "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])


def endings(chunks):
    return [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]


async def test_an_allowed_exchange_is_answered_and_recorded():
    bench = Bench()
    reply = await bench.ask()
    assert content_of(reply) == "Hello there."
    assert reply.body["id"] == f"chatcmpl-{EXCHANGE}"
    assert reply.body["usage"]["total_tokens"] == 5
    assert reply.body["gateway"]["decision"] == "allow"
    assert reply.headers["x-gateway-decision"] == "allow"
    assert reply.headers["x-gateway-audit-id"] == EXCHANGE
    assert bench.audit.types == ["intent", "outcome"]
    assert bench.audit.last["effect"] == "allow"
    assert bench.audit.last["model"] == {
        "name": "extractive",
        "provider": "fake",
        "answered_by": "fake-1",
        "response_id": "up-1",
        "tokens_in": 3,
        "tokens_out": 2,
    }


class TestI1NothingUnjudgedLeaves:
    async def test_the_model_and_the_store_see_stand_ins_and_the_client_gets_the_values_back(self):
        bench = Bench(
            FakePolicy(REDACT_NAMES),
            upstream=FakeUpstream("Dear <PERSON_1>, hello."),
            retriever=FakeRetriever(passage("Some text.")),
        )
        reply = await bench.ask("I am Zoe Quill. What is new?")
        sent = bench.upstream.requests[0]
        assert "Zoe" not in str(sent.body)
        assert "<PERSON_1>" in sent.body["messages"][0]["content"]
        assert sent.question == "I am <PERSON_1>. What is new?"
        assert bench.retriever.queries[0][1] == "I am  . What is new?"
        assert content_of(reply) == "Dear Zoe Quill, hello."
        assert reply.body["gateway"]["decision"] == "redact"
        assert reply.body["gateway"]["redacted"]["query"] == {"PERSON": 1}

    async def test_a_refused_query_reaches_neither_model_nor_store(self):
        bench = Bench(FakePolicy(REFUSE_QUERY))
        reply = await bench.ask("a forbidden thing")
        assert bench.upstream.requests == []
        assert bench.retriever.queries == []
        choice = reply.body["choices"][0]
        assert choice["finish_reason"] == "content_filter"
        assert choice["message"]["refusal"] is None
        assert choice["message"]["content"].endswith(f"(reference q-{EXCHANGE})")
        assert reply.status == 200
        assert reply.body["usage"]["total_tokens"] == 0
        assert reply.headers["x-gateway-rules"] == "R-forbidden"

    async def test_values_that_the_request_did_not_bring_are_not_revealed(self):
        bench = Bench(FakePolicy(REDACT_NAMES), upstream=FakeUpstream("Card 1234 5678 of <PERSON_1>."))
        reply = await bench.ask("hello")
        assert content_of(reply) == "Card <CARD_1> of <PERSON_1>."

    async def test_every_text_of_the_request_is_inspected(self):
        bench = Bench()
        await bench.ask(
            "q", tools=[{"type": "function", "function": {"name": "f", "description": "does things"}}], x_new="odd"
        )
        assert {"q", "f", "does things", "odd"} <= set(bench.inspector.seen)

    async def test_a_redaction_without_a_place_stops_the_exchange(self):
        policy = FakePolicy({Phase.QUERY: {"PERSON": Effect.REDACT}})
        bench = Bench(policy)
        reply = await bench.ask("q", metadata={"for Zoe Quill": "x"})
        assert reply.body["choices"][0]["finish_reason"] == "content_filter"
        assert "gateway.redaction_impossible" in reply.headers["x-gateway-rules"]
        assert bench.upstream.requests == []


class TestI2NothingLeavesUnrecorded:
    async def test_intent_comes_before_the_model_and_outcome_before_the_answer(self):
        bench = Bench()
        await bench.ask()
        assert bench.trace == ["audit:intent", "ask", "audit:outcome"]

    async def test_in_a_stream_open_comes_before_the_first_chunk_and_close_before_the_end(self):
        bench = Bench(upstream=FakeUpstream(pieces=["one ", "two ", "three"]))
        reply = await bench.ask(stream=True)
        assert bench.trace == ["audit:intent", "ask", "audit:stream.open"]
        async for chunk in reply.stream.chunks():
            if endings([chunk]):
                assert bench.trace[-1] == "audit:stream.close"
        await reply.stream.close()
        assert bench.trace == ["audit:intent", "ask", "audit:stream.open", "audit:stream.close"]

    async def test_a_stream_is_opened_while_the_model_thinks(self):
        class Thinking(FakeUpstream):
            async def _chunks(self):
                await asyncio.Event().wait()
                yield {}

        bench = Bench(upstream=Thinking())
        asking = asyncio.ensure_future(bench.ask(stream=True))
        while "audit:stream.open" not in bench.trace:
            await asyncio.sleep(0)
        assert not asking.done()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert bench.audit.types == ["intent", "stream.open", "stream.close"]
        assert bench.audit.last["error"] == "client_disconnected"

    @pytest.mark.parametrize(("kind", "asked"), [(EventType.INTENT, 0), (EventType.OUTCOME, 1)])
    async def test_a_log_that_cannot_be_written_releases_nothing(self, kind, asked):
        bench = Bench(audit=FakeAudit(fail_on=kind))
        with pytest.raises(AuditUnavailable):
            await bench.ask()
        assert len(bench.upstream.requests) == asked

    async def test_a_stream_that_cannot_be_opened_releases_nothing_and_closes_the_model(self):
        bench = Bench(audit=FakeAudit(fail_on=EventType.STREAM_OPEN))
        with pytest.raises(AuditUnavailable):
            await bench.ask(stream=True)
        assert bench.upstream.closed == 1

    async def test_a_stream_whose_close_cannot_be_written_has_no_good_end(self):
        bench = Bench(audit=FakeAudit(fail_on=EventType.STREAM_CLOSE))
        reply = await bench.ask(stream=True)
        seen = []
        with pytest.raises(AuditUnavailable):
            async for chunk in reply.stream.chunks():
                seen.append(chunk)
        assert endings(seen) == []

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_failing_model_is_recorded_and_raised(self, stream):
        error = UpstreamError("down", code="upstream_timeout", status=504)
        bench = Bench(upstream=FakeUpstream(error=error))
        with pytest.raises(UpstreamError):
            reply = await bench.ask(stream=stream)
            [chunk async for chunk in reply.stream.chunks()]
        assert bench.audit.last["effect"] == "error"
        assert bench.audit.last["error"] == "upstream_timeout"
        assert sum(kind in ("outcome", "stream.close") for kind in bench.audit.types) == 1

    @pytest.mark.parametrize(("message", "told"), [("n is too large", True), ("a forbidden word", False), ("", False)])
    async def test_the_models_own_words_are_told_only_if_the_policies_let_them_pass(self, message, told):
        error = UpstreamError("the model refused", code="upstream_error", status=400, upstream_message=message)
        bench = Bench(FakePolicy(REFUSE_ANSWER), upstream=FakeUpstream(error=error))
        with pytest.raises(UpstreamError) as caught:
            await bench.ask()
        assert caught.value.message == ("the model refused: n is too large" if told else "the model refused")
        assert caught.value.status == 400

    async def test_a_vanished_client_stops_the_model_and_still_gets_its_outcome(self):
        bench = Bench(upstream=FakeUpstream(pieces=["one ", "two ", "three"], hang=True))
        reply = await bench.ask(stream=True)
        chunks = reply.stream.chunks()
        await anext(chunks)
        pending = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0.01)
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
        await reply.stream.close()
        await reply.stream.close()
        assert bench.upstream.closed == 1
        assert bench.audit.types == ["intent", "stream.open", "stream.close"]
        assert bench.audit.last["error"] == "client_disconnected"

    async def test_a_cancelled_request_gets_its_outcome(self):
        bench = Bench(upstream=FakeUpstream(hang=True))
        task = asyncio.ensure_future(bench.ask())
        while not bench.upstream.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bench.audit.types == ["intent", "outcome"]
        assert bench.audit.last["error"] == "client_disconnected"

    async def test_a_defect_is_recorded_by_its_type_alone(self):
        bench = Bench()

        async def broken(request):
            raise ValueError("Zoe Quill")

        bench.upstream.complete = broken
        with pytest.raises(ValueError, match="Zoe"):
            await bench.ask()
        assert bench.audit.last["error"] == "exception:ValueError"
        assert "Zoe" not in str(bench.audit.last)


class TestI3FailuresTighten:
    @pytest.mark.parametrize("status", [SignalStatus.ERROR, SignalStatus.TIMEOUT, SignalStatus.NOT_RUN])
    async def test_a_detector_that_fails_refuses_by_its_rule(self, status):
        bench = Bench(inspector=FakeInspector(status))
        reply = await bench.ask()
        assert reply.body["choices"][0]["finish_reason"] == "content_filter"
        assert bench.upstream.requests == []
        coverage = bench.audit.drafts[0].body["coverage"]
        assert coverage["not_ok"] == [{"name": "words", "status": status.value, "reason": ""}]

    @pytest.mark.parametrize("status", [RetrievalStatus.ERROR, RetrievalStatus.TIMEOUT])
    async def test_a_failing_store_refuses_unless_configured_otherwise(self, status):
        refusing = Bench(retriever=FakeRetriever(status=status))
        reply = await refusing.ask()
        assert reply.body["choices"][0]["finish_reason"] == "content_filter"
        assert refusing.upstream.requests == []
        assert refusing.audit.last["retrieval"]["status"] == status.value
        answering = Bench(retriever=FakeRetriever(status=status), on_failure="answer_without")
        reply = await answering.ask()
        assert reply.body["gateway"]["retrieval"] == status.value
        assert reply.headers["x-gateway-retrieval"] == status.value
        assert content_of(reply).endswith("could not be searched, so this answer is not based on them.")
        _, chunks = await Bench(retriever=FakeRetriever(status=status), on_failure="answer_without").stream("Why?")
        assert streamed_content(chunks) == content_of(reply)

    @pytest.mark.parametrize("status", [RetrievalStatus.OK, RetrievalStatus.OFF])
    async def test_an_answer_whose_search_worked_or_was_not_wanted_says_nothing_of_it(self, status):
        reply = await Bench(retriever=FakeRetriever(status=status), on_failure="answer_without").ask()
        assert "could not be searched" not in content_of(reply)
        assert "x-gateway-retrieval" not in reply.headers

    async def test_a_case_that_cannot_be_stored_releases_no_notice(self):
        bench = Bench(FakePolicy(ESCALATE_QUERY), cases=FakeCases(broken=True))
        with pytest.raises(GuardUnavailable):
            await bench.ask("I need advice")
        assert bench.audit.last["effect"] == "error"


class TestI5ChunkingNeverMatters:
    TEXT = "Hello <PERSON_1>. Card 1234 5678 is fine. A forbidden end. More."

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 100])
    async def test_the_streamed_text_is_the_unstreamed_text(self, size):
        effects = {**REDACT_NAMES, Phase.ANSWER: {"CARD": Effect.REDACT, "forbidden": Effect.REFUSE}}
        pieces = [self.TEXT[i : i + size] for i in range(0, len(self.TEXT), size)]
        _, chunks = await Bench(FakePolicy(effects), upstream=FakeUpstream(pieces=pieces)).stream("I am Zoe Quill")
        reply = await Bench(FakePolicy(effects), upstream=FakeUpstream(self.TEXT)).ask("I am Zoe Quill")
        assert streamed_content(chunks) == content_of(reply)
        assert endings(chunks) == ["content_filter"]
        assert "forbidden" not in content_of(reply)

    async def test_after_a_stop_the_model_is_not_listened_to(self):
        bench = Bench(FakePolicy(REFUSE_ANSWER), upstream=FakeUpstream(pieces=["forbidden ", "x ", "y ", "z"]))
        _, chunks = await bench.stream()
        assert bench.upstream.closed == 1
        assert bench.audit.last["release"]["finish"] == "content_filter"
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["gateway"]["decision"] == "refuse"


class TestPassages:
    async def test_passages_are_judged_one_by_one_and_only_good_ones_reach_the_model(self):
        policy = FakePolicy(
            {Phase.PASSAGE: {"forbidden": Effect.REFUSE, "PERSON": Effect.REDACT}}, operator=RedactOperator.MASK
        )
        bench = Bench(
            policy,
            upstream=FakeUpstream("It is so [1]."),
            retriever=FakeRetriever(passage("A forbidden one.", doc="bad"), passage("By Bram Tal.", doc="good")),
        )
        reply = await bench.ask()
        request = bench.upstream.requests[0]
        assert [p.doc for p in request.passages] == ["good"]
        assert request.passages[0].text == "By [PERSON]."
        assert "forbidden" not in str(request.body)
        assert "By [PERSON]." in request.body["messages"][0]["content"]
        assert request.body["messages"][0]["role"] == "user"
        assert reply.body["gateway"]["citations"][0]["document"] == "good"
        recorded = bench.audit.last["retrieval"]["passages"]
        assert [(p["id"], p["kept"], p["effect"]) for p in recorded] == [
            ("bad#0", False, "refuse"),
            ("good#0", True, "redact"),
        ]

    async def test_title_and_section_are_judged_with_the_text(self):
        policy = FakePolicy(
            {Phase.PASSAGE: {"forbidden": Effect.REFUSE, "PERSON": Effect.REDACT}}, operator=RedactOperator.MASK
        )
        bad = structs.replace(passage("Fine.", doc="bad"), title="A forbidden title")
        good = structs.replace(passage("Fine.", doc="good"), title="By Bram Tal", section="Zoe Quill's part")
        bench = Bench(policy, retriever=FakeRetriever(bad, good), upstream=FakeUpstream("So [1]."))
        reply = await bench.ask()
        request = bench.upstream.requests[0]
        assert [(p.doc, p.title, p.section) for p in request.passages] == [("good", "By [PERSON]", "[PERSON]'s part")]
        assert "Bram" not in str(request.body) + str(reply.body)

    async def test_i7_the_principal_alone_decides_what_retrieval_sees(self):
        bench = Bench(retriever=FakeRetriever())
        await bench.ask("q", user="admin", metadata={"groups": "all"}, groups=["board"])
        assert bench.retriever.queries == [(ALICE, "q")]

    async def test_a_request_with_its_own_context_may_skip_retrieval_only_where_allowed(self):
        strict = Bench()
        await strict.pipeline.answer(strict.call(skip=True))
        assert len(strict.retriever.queries) == 1
        lenient = Bench(app=AppSettings(own_context_may_skip_retrieval=True))
        await lenient.pipeline.answer(lenient.call(skip=True))
        assert lenient.retriever.queries == []
        assert lenient.audit.last["retrieval"]["status"] == "off"


class TestEscalation:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_query_that_escalates_opens_a_case_and_holds_the_client(self, stream):
        bench = Bench(FakePolicy(ESCALATE_QUERY))
        if stream:
            reply, chunks = await bench.stream("I need advice")
            text, about, reason = streamed_content(chunks), chunks[-1]["gateway"], endings(chunks)
        else:
            reply = await bench.ask("I need advice")
            text, about = content_of(reply), reply.body["gateway"]
            reason = [reply.body["choices"][0]["finish_reason"]]
        assert "Case case_1." in text
        assert about["case"] == "case_1"
        assert about["poll"] == "/v1/gateway/cases/case_1"
        assert reason == ["content_filter"]
        assert reply.headers["x-gateway-case"] == "case_1"
        assert bench.cases.drafts[0].question == "I need advice"
        assert bench.audit.last["case"] == "case_1"
        assert bench.upstream.requests == []

    @pytest.mark.parametrize("stream", [False, True])
    async def test_an_answer_that_escalates_is_held_as_a_whole_for_the_reviewer(self, stream):
        policy = FakePolicy({Phase.ANSWER: {"ask-human": Effect.ESCALATE}}, whole=True)
        bench = Bench(policy, upstream=FakeUpstream("First part. Then advice."))
        if stream:
            reply, chunks = await bench.stream()
            text = streamed_content(chunks)
        else:
            reply = await bench.ask()
            text = content_of(reply)
        assert "First" not in text
        assert bench.cases.drafts[0].candidate == "First part. Then advice."
        assert reply.headers["x-gateway-buffered"] == "whole-answer"

    async def test_the_same_request_has_the_same_fingerprint_in_both_modes(self):
        bench = Bench(FakePolicy(ESCALATE_QUERY))
        await bench.ask("I need advice")
        await bench.stream("I need advice")
        await bench.ask("I need other advice")
        first, second, third = (draft.fingerprint for draft in bench.cases.drafts)
        assert first == second != third


class TestBlockModes:
    APP = AppSettings(block_mode=BlockMode.ERROR)

    async def test_error_mode_answers_400_in_azures_shape(self):
        for stream in (False, True):
            reply = await Bench(FakePolicy(REFUSE_QUERY), app=self.APP).ask("forbidden", stream=stream)
            assert reply.status == 400
            assert reply.body["error"]["code"] == "content_filter"
            assert reply.body["error"]["type"] == "invalid_request_error"
            assert isinstance(reply.body["error"]["message"], str)
            assert all(isinstance(v, str) for v in reply.body["error"]["innererror"].values())

    async def test_error_mode_for_a_held_case_and_for_an_answer(self):
        held = await Bench(FakePolicy(ESCALATE_QUERY), app=self.APP).ask("advice")
        assert (held.status, held.body["error"]["code"]) == (403, "human_review_required")
        answer = await Bench(FakePolicy(REFUSE_ANSWER), app=self.APP, upstream=FakeUpstream("forbidden")).ask()
        assert (answer.status, answer.body["error"]["code"]) == (400, "content_filter")


class TestEmbeddings:
    def call(self, given):
        prompt = read_embedding_prompt({"model": "m", "input": given}, max_inputs=9, max_text_chars=99)
        return Call(route="/v1/embeddings", principal=ALICE, prompt=prompt, exchange=EXCHANGE, started=NOW)

    async def test_texts_are_judged_edited_and_recorded(self):
        bench = Bench(FakePolicy(REDACT_NAMES))
        reply = await bench.pipeline.embed(self.call(["Zoe Quill", "fine"]))
        assert bench.embeddings.requests[0].inputs == ("<PERSON_1>", "fine")
        assert len(reply.body["data"]) == 2
        assert bench.audit.types == ["intent", "outcome"]

    async def test_a_refused_text_is_a_400_and_not_embedded(self):
        bench = Bench(FakePolicy(REFUSE_QUERY))
        reply = await bench.pipeline.embed(self.call("forbidden"))
        assert reply.status == 400
        assert bench.embeddings.requests == []
        assert bench.audit.types == ["intent", "outcome"]


async def test_disclaimers_of_the_policy_follow_the_answer():
    reply = await Bench(FakePolicy(disclaimers=("Not advice.",))).ask()
    assert content_of(reply) == "Hello there.\n\nNot advice."


async def test_i8_no_representation_shows_content():
    bench = Bench()
    call = bench.call("Zoe Quill")
    shown = repr(call) + repr(call.prompt) + repr(await bench.pipeline.answer(call))
    assert "Zoe" not in shown


async def test_audit_bodies_hold_no_free_text():
    from gateway.domain.event import Commitment

    bench = Bench(FakePolicy(REDACT_NAMES), retriever=FakeRetriever(passage("Zoe Quill passage")))
    await bench.ask("I am Zoe Quill")

    def strings(value):
        if isinstance(value, Commitment):
            return
        if isinstance(value, str):
            yield value
        for child in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
            yield from strings(child)

    for draft in bench.audit.drafts:
        assert not any("Zoe" in text or "Hello" in text for text in strings(draft.body))
