"""A candidate beside the request path, over fakes: whatever is wrong with it, the exchange is as without it."""

import asyncio
from datetime import UTC, datetime

import pytest
from support.fakes import (
    ALICE,
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

from gateway.domain.event import EventType
from gateway.domain.signal import DetectorRun, Inspection
from gateway.domain.vocabulary import Effect, Phase, SignalStatus
from gateway.enforce.growth import GrowthIndex
from gateway.exchange import Call, Candidate, Ports, Rulebook
from gateway.pipeline import Pipeline
from gateway.settings import Settings
from gateway.wire.chat import read_prompt
from rules.growing import GrowingMatches

NOW = datetime(2026, 11, 24, tzinfo=UTC)
OTHER = "sha256:" + "9" * 64


class CandidatePolicy(FakePolicy):
    digest = OTHER


class RaisingPolicy(CandidatePolicy):
    def decide(self, evidence, *, now):
        raise RuntimeError("a defect")


class OwnPolicy(CandidatePolicy):
    """Needs a detector that the policies in force do not have."""

    def required(self, phase, fields):
        return frozenset({"words", "own"})


class SlowInspector:
    """`own` never ends in time, as the port promises to say."""

    def __init__(self) -> None:
        self.asked: list[frozenset[str]] = []

    def on(self, grounds):
        return self

    async def inspect(self, segments, *, detectors, timeouts, default_timeout_s, keep=True) -> Inspection:
        self.asked.append(detectors)
        await asyncio.sleep(default_timeout_s)
        run = DetectorRun(detector="own", version="1", status=SignalStatus.TIMEOUT, reason="deadline")
        return Inspection(runs={"own": run})


class World:
    def __init__(self, candidate: Candidate | None, text: str = "A calm answer.") -> None:
        self.audit = FakeAudit()
        self.upstream = FakeUpstream(text)
        rulebook = Rulebook(
            policy=FakePolicy(),
            inspector=FakeInspector(),
            growth=GrowthIndex({"words": [one for _, one in WORDS.values()]}, GrowingMatches),
            candidate=candidate,
        )
        ports = Ports(
            rulebook=lambda: rulebook,
            audit=self.audit,
            cases=FakeCases(),
            retriever=FakeRetriever(passage("Fees are low.")),
            upstream=self.upstream,
            embeddings=FakeEmbeddings(),
            clock=lambda: NOW,
            hash_key=b"h" * 32,
        )
        self.pipeline = Pipeline(ports, Settings())

    async def ask(self, content: str = "What is new?", *, stream: bool = False):
        body = {"model": "extractive", "stream": stream, "messages": [{"role": "user", "content": content}]}
        prompt = read_prompt(body, max_messages=10, max_text_chars=1_000)
        call = Call(route="/v1/chat/completions", principal=ALICE, prompt=prompt, exchange="e" * 32, started=NOW)
        return await self.pipeline.answer(call)

    def bodies(self, *types: EventType) -> list[dict]:
        return [draft.body for draft in self.audit.drafts if draft.type in types]


def of(policy, inspector=None, *, own: frozenset[str] = frozenset(), timeout_s: float = 0.05) -> Candidate:
    return Candidate(policy=policy, inspector=inspector or FakeInspector(), own=own, timeout_s=timeout_s)


async def test_without_a_candidate_nothing_is_said_of_one() -> None:
    world = World(None)
    await world.ask()
    assert not [body for body in world.bodies(EventType.INTENT, EventType.OUTCOME) if "candidate" in body]


async def test_the_same_detectors_are_not_run_again() -> None:
    inspector = FakeInspector()
    kind = next(iter(WORDS))
    world = World(of(CandidatePolicy({Phase.ANSWER: {kind: Effect.REFUSE}}), inspector))
    reply = await world.ask()
    assert reply.status == 200
    assert inspector.seen == []
    (outcome,) = world.bodies(EventType.OUTCOME)
    assert outcome["candidate"] == {"policy": OTHER, "would": "allow", "rules": [], "errors": []}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_candidate_that_raises_is_recorded_and_harms_nobody(stream: bool) -> None:
    world = World(of(RaisingPolicy()))
    reply = await world.ask(stream=stream)
    if stream:
        assert [chunk async for chunk in reply.stream.chunks()]
        await reply.stream.close()
    assert reply.status == 200
    intent, end = world.bodies(EventType.INTENT, EventType.OUTCOME, EventType.STREAM_CLOSE)
    for body in (intent, end):
        assert body["candidate"] == {
            "policy": OTHER,
            "would": "allow",
            "rules": [],
            "errors": ["exception:RuntimeError"],
        }
    assert end["effect"] == "allow"


async def test_a_detector_that_only_the_candidate_needs_is_waited_for_as_long_as_the_settings_say() -> None:
    inspector = SlowInspector()
    world = World(of(OwnPolicy(), inspector, own=frozenset({"own"})))
    started = asyncio.get_running_loop().time()
    reply = await world.ask()
    took = asyncio.get_running_loop().time() - started
    assert reply.status == 200
    assert set(inspector.asked) == {frozenset({"own"})}, "what both need runs once"
    assert took < 1.0
    (outcome,) = world.bodies(EventType.OUTCOME)
    assert (outcome["effect"], outcome["candidate"]["would"]) == ("allow", "refuse"), "errors tighten the candidate"
    assert outcome["candidate"]["rules"] == ["R-own-error"]


async def test_a_stream_is_not_held_up_by_the_candidate() -> None:
    world = World(of(OwnPolicy(), SlowInspector(), own=frozenset({"own"}), timeout_s=0.3), "One. Two. Three. Four.")
    reply = await world.ask(stream=True)
    started = asyncio.get_running_loop().time()
    texts = []
    async for chunk in reply.stream.chunks():
        text = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
        if text:
            texts.append(asyncio.get_running_loop().time() - started)
    await reply.stream.close()
    assert texts
    assert max(texts) < 0.25, "all text left before the candidate was waited for"
    (close,) = world.bodies(EventType.STREAM_CLOSE)
    assert close["candidate"]["rules"] == ["R-own-error"]


async def test_whoever_leaves_while_the_candidate_is_waited_for_has_one_recorded_end() -> None:
    world = World(of(OwnPolicy(), SlowInspector(), own=frozenset({"own"}), timeout_s=0.2))
    asking = asyncio.create_task(world.ask())
    while not world.upstream.requests:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.sleep(0.5)
    assert len(world.bodies(EventType.OUTCOME)) == 1
