"""Answers held against their passages on their way out: noted, stripped, and the same however they are cut."""

import datetime as dt
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import ALICE, NOW, FakeAudit, FakeCases, FakeEmbeddings, FakeRetriever, FakeUpstream, passage

from gateway.detectors import build_detectors, citation_check, growth_index, installed_signals
from gateway.domain.event import EventType
from gateway.exchange import Call, Ports, Rulebook
from gateway.inspection.inspector import Inspector
from gateway.pipeline import Pipeline
from gateway.policy.load import load_bundle
from gateway.settings import InspectionSettings, RetrievalSettings, Settings
from gateway.wire.chat import read_prompt

SAID = "The Plus account has a monthly fee of £9.50. Paying by card abroad is free of charge."
SUPPORTED = "The Plus account has a monthly fee of £9.50 [1]. "
WRONG = "The Plus account has a monthly fee of £12 [1]. "
FROM_NOWHERE = "Electric vehicles recharge underneath the town hall. "
HEAD = """\
apiVersion: gateway/v1
kind: PolicySet
metadata: {id: grounded, version: "1", owner: team:quality, purpose: Answers are supported}
rules:
  - id: G-1
    title: Unsupported sentences
    phase: answer
    when:
      any:
        - {signal: grounding.contradicted, is: true}
        - {signal: grounding.unsupported, gte: 0.5}
"""
FLAG = HEAD + "    then: {effect: flag}\n"
STRIP = HEAD + (
    "    then: {effect: redact, with: remove, entities: [grounding.contradicted, grounding.unsupported]}\n"
    "    on_error: refuse\n"
)
ESCALATE = HEAD + "    then: {effect: escalate, queue: answers, sla: 4h}\n"
UNCITED = HEAD.replace("grounding.contradicted", "citation.invalid").replace(
    "{signal: grounding.unsupported, gte: 0.5}", "{signal: citation.missing, is: true}"
) + ("    then: {effect: refuse}\n    release: whole\n")


class World:
    """A gateway of fakes but for policies and detectors."""

    def __init__(self, folder, policy: str, answer: str, *, pieces: list[str] | None = None) -> None:
        file = folder / "grounded.yaml"
        file.write_text(policy, "utf-8")
        inspection = InspectionSettings()
        bundle = load_bundle([file], signals=installed_signals(inspection), now=dt.datetime.now(dt.UTC))
        detectors = build_detectors(bundle, inspection, lambda: None)
        self.bundle = bundle
        self.audit, self.cases = FakeAudit(), FakeCases()
        self.inspector = Inspector(
            detectors, threads=1, cache_bytes=10_000, cache_key=b"k" * 32, clock_us=lambda: time.monotonic_ns() // 1000
        )
        rulebook = Rulebook(
            policy=bundle,
            inspector=self.inspector,
            growth=growth_index(bundle, detectors),
            citations=citation_check(detectors),
        )
        ports = Ports(
            rulebook=lambda: rulebook,
            audit=self.audit,
            cases=self.cases,
            retriever=FakeRetriever(passage(SAID)),
            upstream=FakeUpstream(answer, pieces=pieces),
            embeddings=FakeEmbeddings(),
            clock=lambda: NOW,
            hash_key=b"h" * 32,
        )
        self.pipeline = Pipeline(ports, Settings(retrieval=RetrievalSettings(models=("*",))))

    async def ask(self, *, stream: bool = False):
        body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "What does Plus cost?"}]}
        call = Call(
            route="/v1/chat/completions",
            principal=ALICE,
            prompt=read_prompt(body, max_messages=9, max_text_chars=9_999),
            exchange="e" * 32,
            started=NOW,
        )
        reply = await self.pipeline.answer(call)
        if reply.stream is None:
            self.citations = reply.body["gateway"]["citations"]
            return reply.headers["x-gateway-decision"], reply.body["choices"][0]["message"]["content"]
        chunks = [chunk async for chunk in reply.stream.chunks()]
        text = "".join(
            choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"] if "delta" in choice
        )
        self.citations = chunks[-1]["gateway"]["citations"]
        return chunks[-1]["gateway"]["decision"], text


@pytest.mark.parametrize("stream", [False, True])
async def test_unsupported_sentences_are_stripped_with_their_citations(tmp_path, stream):
    world = World(tmp_path, STRIP, SUPPORTED + WRONG + FROM_NOWHERE + "Paying by card abroad is free [1].")
    decision, text = await world.ask(stream=stream)
    assert decision == "redact"
    assert text == SUPPORTED + "Paying by card abroad is free [1]."
    (outcome,) = [d for d in world.audit.drafts if d.type in {EventType.OUTCOME, EventType.STREAM_CLOSE}]
    assert outcome.body["redacted"]["answer"] == {"grounding.contradicted": 1, "grounding.unsupported": 1}
    (detector,) = outcome.body["signals"][0]["detectors"]
    assert (detector["name"], detector["version"], detector["status"]) == ("grounding", "2", "ok")
    assert outcome.body["signals"][0]["values"]["assistant"]["grounding.contradicted"] is True
    assert outcome.body["coverage"]["ran"] == ["grounding"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_flag_changes_no_word(tmp_path, stream):
    world = World(tmp_path, FLAG, SUPPORTED + FROM_NOWHERE)
    assert await world.ask(stream=stream) == ("flag", SUPPORTED + FROM_NOWHERE)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_supported_answer_is_allowed(tmp_path, stream):
    assert await World(tmp_path, STRIP, SUPPORTED).ask(stream=stream) == ("allow", SUPPORTED)


async def test_what_contradicts_its_passages_waits_for_a_person(tmp_path):
    world = World(tmp_path, ESCALATE, SUPPORTED + WRONG)
    decision, text = await world.ask()
    assert decision == "escalate"
    assert "£12" not in text
    assert world.cases.drafts[0].rules == ("G-1",)


async def test_one_citation_at_the_end_of_a_paragraph_is_enough_for_a_whole_answer(tmp_path):
    answer = "The Plus account has a monthly fee of £9.50. Paying by card abroad is free of charge [1]."
    assert (await World(tmp_path, UNCITED, answer).ask(stream=True))[0] == "allow"
    assert (await World(tmp_path, UNCITED, answer.replace("[1]", "[7]")).ask(stream=True))[0] == "refuse"
    assert (await World(tmp_path, UNCITED, answer.replace(" [1]", "")).ask())[0] == "refuse"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("answer", "support"), [(SUPPORTED, "supported"), (WRONG, "contradicted")])
async def test_the_metadata_says_whether_a_cited_passage_bears_it_out(tmp_path, stream, answer, support):
    flags = UNCITED.replace("refuse", "flag").replace("    release: whole\n", "")
    world = World(tmp_path, flags, answer)
    await world.ask(stream=stream)
    (cited,) = world.citations
    assert (cited["number"], cited["passage"], cited["revision"], cited["support"]) == (1, "d1#0", "r1", support)


async def test_no_support_is_claimed_where_no_policy_asks(tmp_path):
    world = World(tmp_path, FLAG, SUPPORTED)
    await world.ask()
    assert "support" not in world.citations[0]


async def test_a_detector_that_fails_takes_on_error(tmp_path):
    world = World(tmp_path, STRIP, SUPPORTED)
    world.inspector.close()  # whatever is asked of a closed lane ends as an error
    decision, text = await world.ask()
    assert decision == "refuse"
    assert "9.50" not in text


def test_a_detector_that_is_only_noted_holds_no_word_back(tmp_path):
    flags, strips = World(tmp_path, FLAG, ""), World(tmp_path, STRIP, "")
    fields = {"principal.tenant": "t", "principal.app": "a", "request.model": "m", "principal.groups": frozenset()}
    assert flags.bundle.noted(fields) == {"grounding"}
    assert strips.bundle.noted(fields) == frozenset()
    scored = FLAG + "scoring: {answer: 3, over: {effect: refuse}}\n"
    assert World(tmp_path, scored, "").bundle.noted(fields) == frozenset()
    shadowed = STRIP + "    mode: shadow\n"
    assert World(tmp_path, shadowed, "").bundle.noted(fields) == {"grounding"}


PIECES = st.sampled_from(
    [SUPPORTED, WRONG, FROM_NOWHERE, "Fine. ", "\n", "- £12 a month\n", "abroad [1][9]", "It is 7", "."]
)


@settings(max_examples=40, deadline=None)
@given(
    text=st.lists(PIECES, min_size=1, max_size=6).map("".join),
    places=st.lists(st.integers(0, 300), max_size=8),
    policy=st.sampled_from([FLAG, STRIP]),
)
async def test_the_streamed_text_is_the_whole_text(tmp_path_factory, text, places, policy):
    folder = tmp_path_factory.mktemp("law")
    cuts = sorted({0, len(text), *(place for place in places if place < len(text))})
    pieces = [text[start:end] for start, end in pairwise(cuts)]
    assert await World(folder, policy, text, pieces=pieces).ask(stream=True) == await World(folder, policy, text).ask()
