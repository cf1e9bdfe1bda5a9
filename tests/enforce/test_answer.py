"""The answer's way out, driven with fakes: I1 and I5, tool calls, stops."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import NOW, WORDS, FakeInspector, FakePolicy

from gateway.domain.verdict import Evidence, Obligations
from gateway.domain.vocabulary import Effect, Phase
from gateway.enforce.answer import AnswerPlan, AnswerRelease
from gateway.enforce.pseudonyms import PseudonymMap
from gateway.enforce.redaction import Redactor
from gateway.enforce.release import Cut
from gateway.enforce.units import Granularity
from rules.growing import GrowingMatches

GROWING = GrowingMatches([beginning for _, beginning in WORDS.values()])
EAGER = Cut(granularity=Granularity.SENTENCE, growing=GROWING, eager=True)
SENTENCE = Cut(granularity=Granularity.SENTENCE, growing=GROWING)
WHOLE = Cut(granularity=Granularity.WHOLE)
CUTTINGS = [EAGER, SENTENCE, WHOLE]
REDACT = {"PERSON": Effect.REDACT, "CARD": Effect.REDACT}
REFUSE = {**REDACT, "forbidden": Effect.REFUSE}


class BoundJudge:
    def __init__(self, policy: FakePolicy, phase: Phase):
        self.policy, self.phase, self.inspector = policy, phase, FakeInspector()

    async def inspect(self, segments, *, keep=True):
        return await self.inspector.inspect(segments, detectors=frozenset(), timeouts={}, default_timeout_s=1)

    def decide(self, values, runs):
        return self.policy.decide(Evidence(phase=self.phase, fields={}, values=values, runs=runs), now=NOW)


def plan(
    effects=REDACT,
    *,
    granularity=EAGER,
    calls=None,
    json_answer=False,
    disclaimers=(),
    cite=False,
    known=("Zoe Quill",),
) -> AnswerPlan:
    pseudonyms = PseudonymMap()
    for value in known:
        pseudonyms.token("NAME", value)
    policy = FakePolicy({Phase.ANSWER: effects, Phase.TOOL_CALL: calls or effects})
    stops = []

    async def on_stop(verdict, candidate):
        stops.append((verdict.effect, candidate))
        return "NOTICE"

    async def on_hold(verdicts, candidate, held):
        return "NOTICE"

    return AnswerPlan(
        judge=BoundJudge(policy, Phase.ANSWER),
        judge_call=lambda name: BoundJudge(policy, Phase.TOOL_CALL),
        redactor=Redactor(pseudonyms, b"k" * 32),
        cut=granularity,
        json_answer=json_answer,
        obligations=Obligations(disclaimers=tuple(disclaimers), cite=cite),
        sources="Documents consulted: [1] T.",
        on_stop=on_stop,
        on_hold=on_hold,
    )


def completion(message: dict, finish: str = "stop", **more) -> dict:
    return {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": finish, **more}]}


def deltas(*found: dict, finish: str = "stop") -> list[dict]:
    chunks = [{"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in found]
    return [*chunks, {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}]


async def whole(plan: AnswerPlan, message: dict, **more) -> dict:
    body = await AnswerRelease(plan).whole(completion(message, **more))
    return body["choices"][0]


async def streamed(plan: AnswerPlan, chunks: list[dict]) -> tuple[str, str | None, list[dict]]:
    """Content, finish reason, and all chunks as released."""
    release = AnswerRelease(plan)
    out = []
    for chunk in chunks:
        if release.all_stopped:
            break
        out += await release.chunk(chunk)
    out += [{"choices": [piece]} for piece in await release.finish()]
    content = "".join(c["delta"].get("content") or "" for chunk in out for c in chunk["choices"])
    reasons = [c["finish_reason"] for chunk in out for c in chunk["choices"] if c["finish_reason"]]
    assert len(reasons) == 1, "exactly one ending"
    return content, reasons[0], out


async def test_quiet_text_passes_unchanged_with_its_unknown_fields():
    choice = await whole(plan(), {"role": "assistant", "content": "All quiet.", "x_new": {"a": [1, None]}}, x_top=7)
    assert choice["message"] == {"role": "assistant", "content": "All quiet.", "x_new": {"a": [1, None]}}
    assert choice["x_top"] == 7
    assert choice["finish_reason"] == "stop"


async def test_findings_are_masked_by_stand_ins_and_known_values_come_back():
    choice = await whole(plan(), {"role": "assistant", "content": "Ask Bram Tal or <NAME_1>, card 1234 5678."})
    assert choice["message"]["content"] == "Ask <PERSON_1> or Zoe Quill, card <CARD_1>."


async def test_text_in_reasoning_and_in_unknown_fields_is_judged_too():
    message = {
        "role": "assistant",
        "content": "Fine.",
        "reasoning_content": "It is forbidden knowledge",
        "annotations": [{"type": "url_citation", "title": "x"}],
    }
    choice = await whole(plan(REFUSE), message)
    assert choice["finish_reason"] == "content_filter"
    assert "forbidden" not in json.dumps(choice)
    assert choice["message"]["content"] == "NOTICE"


async def test_a_stop_keeps_what_was_released_before_it_and_drops_tool_calls():
    message = {
        "role": "assistant",
        "content": "Good so far. Now forbidden things. More.",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    choice = await whole(plan(REFUSE, granularity=SENTENCE), message)
    assert choice["message"]["content"] == "Good so far. \n\nNOTICE"
    assert "tool_calls" not in choice["message"]
    assert choice["message"]["refusal"] is None
    assert choice["finish_reason"] == "content_filter"


async def test_a_whole_answer_rule_releases_nothing_but_the_notice():
    choice = await whole(plan(REFUSE, granularity=WHOLE), {"content": "Good so far. Now forbidden."})
    assert choice["message"]["content"] == "NOTICE"


@pytest.mark.parametrize("granularity", CUTTINGS)
async def test_a_stream_ends_with_one_content_filter_after_a_stop(granularity):
    chunks = deltas({"content": "Good so far. "}, {"content": "Now forb"}, {"content": "idden. More."})
    content, reason, out = await streamed(plan(REFUSE, granularity=granularity), chunks)
    assert reason == "content_filter"
    assert content.endswith("NOTICE")
    assert "forb" not in content
    assert "More" not in content
    (ending,) = out[-1]["choices"]
    assert ending["finish_reason"] == "content_filter"
    assert ending["delta"]["content"].endswith("NOTICE"), "who parses the content as it comes learns first why it ends"


class TestToolCalls:
    CALL = {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": ""}}

    def message(self, arguments: str) -> dict:
        return {"content": None, "tool_calls": [{**self.CALL, "function": {"name": "send", "arguments": arguments}}]}

    async def test_stand_ins_come_back_inside_the_arguments_and_the_json_stays_valid(self):
        made = plan(known=('Zoe "Q" Quill',))
        choice = await whole(made, self.message('{"to": "<NAME_1>", "n": 1.50}'), finish="tool_calls")
        arguments = choice["message"]["tool_calls"][0]["function"]["arguments"]
        assert json.loads(arguments) == {"to": 'Zoe "Q" Quill', "n": 1.5}
        assert choice["finish_reason"] == "tool_calls"

    async def test_untouched_arguments_keep_their_exact_bytes(self):
        source = '{ "n":1.50,\n"t":"hello" }'
        choice = await whole(plan(), self.message(source))
        assert choice["message"]["tool_calls"][0]["function"]["arguments"] == source

    async def test_an_escape_sequence_hides_nothing(self):
        choice = await whole(plan(REFUSE), self.message('{"q": "f\\u006frbidden"}'))
        assert choice["finish_reason"] == "content_filter"
        assert not choice["message"].get("tool_calls")
        assert choice["message"]["content"] == "NOTICE"

    async def test_invalid_json_is_judged_as_text(self):
        choice = await whole(plan(REFUSE), self.message('{"q": forbidden'))
        assert choice["finish_reason"] == "content_filter"

    async def test_keys_are_judged_and_one_that_must_be_redacted_stops_the_call(self):
        refused = await whole(plan(REFUSE), self.message('{"f\\u006frbidden": 1}'))
        assert refused["finish_reason"] == "content_filter"
        made = AnswerRelease(plan())
        choice = (await made.whole(completion(self.message('{"Bram Tal": {"n": 1}}'))))["choices"][0]
        assert choice["finish_reason"] == "content_filter"
        assert "tool_calls" not in choice["message"]
        assert made.verdicts[-1].reasons[-1] == "gateway.redaction_impossible"

    async def test_legacy_function_calls_are_judged(self):
        message = {"content": None, "function_call": {"name": "send", "arguments": '{"to":"<NAME_1>"}'}}
        choice = await whole(plan(), message)
        assert json.loads(choice["message"]["function_call"]["arguments"]) == {"to": "Zoe Quill"}
        stopped = await whole(plan(REFUSE), {"content": None, "function_call": {"name": "x", "arguments": "forbidden"}})
        assert "function_call" not in stopped["message"]

    async def test_streamed_calls_are_held_until_whole_and_equal_the_unstreamed_ones(self):
        pieces = ['{"to": "<NA', "ME_1>", '", "card": "1234 ', '5678"}']
        first = {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "send", "arguments": ""}}
            ]
        }
        rest = [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces]
        _, reason, out = await streamed(plan(), deltas(first, *rest, finish="tool_calls"))
        calls = [c["delta"]["tool_calls"] for chunk in out for c in chunk["choices"] if "tool_calls" in c["delta"]]
        assert len(calls) == 1
        choice = await whole(plan(), self.message("".join(pieces)))
        assert calls[0][0]["function"] == choice["message"]["tool_calls"][0]["function"]
        assert calls[0][0]["id"] == "call_1"
        assert reason == "tool_calls"


class TestLogprobs:
    async def test_they_leave_with_unchanged_text_and_not_with_changed_text(self):
        logprobs = {"content": [{"token": "hi", "logprob": -0.1}], "refusal": None}
        kept = await whole(plan(), {"content": "hi"}, logprobs=logprobs)
        assert kept["logprobs"] == logprobs
        changed = await whole(plan(), {"content": "Bram Tal"}, logprobs=logprobs)
        assert changed["logprobs"] is None

    async def test_in_a_stream_they_follow_their_text(self):
        tokens = ["one", " two", " three", " Bram Tal"]
        chunks = deltas(*({"content": token} for token in tokens))
        for chunk, token in zip(chunks, tokens, strict=False):
            chunk["choices"][0]["logprobs"] = {"content": [{"token": token}]}
        _, _, out = await streamed(plan(), chunks)
        entries = [(c.get("logprobs") or {}).get("content", []) for chunk in out for c in chunk["choices"]]
        assert [entry["token"] for found in entries for entry in found] == ["one", " two", " three"]


async def test_disclaimers_follow_the_text_but_not_json_or_calls():
    assert (await whole(plan(disclaimers=["D."]), {"content": "Hi."}))["message"]["content"] == "Hi.\n\nD."
    assert (await whole(plan(disclaimers=["D."], json_answer=True), {"content": "{}"}))["message"]["content"] == "{}"
    content, _, _ = await streamed(plan(disclaimers=["D."]), deltas({"content": "Hi."}))
    assert content == "Hi.\n\nD."


async def test_an_answer_that_must_cite_and_does_not_is_given_its_sources():
    uncited = await whole(plan(cite=True), {"content": "It is so."})
    assert uncited["message"]["content"] == "It is so.\n\nDocuments consulted: [1] T."
    cited = await whole(plan(cite=True), {"content": "It is so [1]."})
    assert cited["message"]["content"] == "It is so [1]."
    content, _, _ = await streamed(plan(cite=True), deltas({"content": "It is so."}))
    assert content == uncited["message"]["content"]


async def test_choices_are_judged_apart_and_the_others_go_on():
    body = {
        "choices": [
            {"index": 0, "message": {"content": "forbidden"}, "finish_reason": "stop"},
            {"index": 1, "message": {"content": "fine"}, "finish_reason": "stop"},
        ]
    }
    release = AnswerRelease(plan(REFUSE))
    choices = (await release.whole(body))["choices"]
    assert [choice["finish_reason"] for choice in choices] == ["content_filter", "stop"]
    assert choices[1]["message"]["content"] == "fine"
    assert release.effect is Effect.REFUSE
    assert not release.all_stopped


async def test_loose_top_level_texts_are_judged_and_left_out():
    release = AnswerRelease(plan(REFUSE))
    body = await release.whole(
        {**completion({"content": "ok"}), "note": "forbidden words", "system_fingerprint": "fp_1"}
    )
    assert body["note"] == ""
    assert body["system_fingerprint"] == "fp_1"


async def test_usage_chunks_pass():
    release = AnswerRelease(plan())
    usage = {"id": "x", "choices": [], "usage": {"total_tokens": 3}}
    assert await release.chunk(usage) == [usage]


ALPHABET = [
    "Zoe",
    " Quill",
    "Bram",
    " Tal",
    " ",
    "\n",
    ". ",
    "forbidden",
    "adv",
    "ice",
    "<NAME_1>",
    "<NAME",
    "_1>",
    "1234",
    " 5678",
    "é",
    "😀",
    "word",
]
ANSWERS = st.lists(st.sampled_from(ALPHABET), max_size=14).map("".join)
CUTS = st.lists(st.integers(0, 120), max_size=16)


@settings(max_examples=400, deadline=None)
@given(ANSWERS, ANSWERS, CUTS, st.sampled_from(CUTTINGS), st.sampled_from([REDACT, REFUSE]))
async def test_streaming_releases_the_same_text_however_it_is_cut(text, reasoning, cuts, granularity, effects):
    """I5: cut anywhere, even inside a stand-in or a growing match, the released texts are those of the whole answer."""
    found = [{"reasoning_content": reasoning}] if reasoning else []
    position = 0
    for cut in [*sorted({min(cut, len(text)) for cut in cuts}), len(text)]:
        found.append({"content": text[position:cut]})
        position = cut
    content, reason, out = await streamed(plan(effects, granularity=granularity), deltas(*found))
    message = {"content": text} | ({"reasoning_content": reasoning} if reasoning else {})
    choice = await whole(plan(effects, granularity=granularity), message)
    assert content == choice["message"]["content"]
    assert reason == choice["finish_reason"]
    thought = "".join(c["delta"].get("reasoning_content") or "" for chunk in out for c in chunk["choices"])
    if reason == "stop":
        assert thought == choice["message"].get("reasoning_content", "")


@settings(max_examples=200, deadline=None)
@given(ANSWERS, st.sampled_from([EAGER, SENTENCE]))
async def test_no_part_of_a_redacted_value_or_of_a_refused_unit_leaves(text, granularity):
    """I1: what the policies redact or refuse is not in what leaves, in no mode."""
    choice = await whole(plan(REFUSE, granularity=granularity, known=()), {"content": text})
    content = choice["message"]["content"]
    assert "forbidden" not in content
    assert not re.search(r"\d{4} \d{4}|Bram Tal", content)
