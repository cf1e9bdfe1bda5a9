"""A candidate over recorded traffic: the same policies change nothing, a moved threshold moves what it should."""

import datetime as dt
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from support.fakes import (
    ALICE,
    NOW,
    FakeAudit,
    FakeCases,
    FakeEmbeddings,
    FakeRetriever,
    FakeUpstream,
    passage,
)

from gateway.commands.policy import policy
from gateway.domain.case import Approval
from gateway.domain.event import Commitment, EventDraft
from gateway.domain.passage import Passage
from gateway.domain.principal import Principal
from gateway.domain.segment import Segment
from gateway.domain.signal import DetectorRun, Finding, Inspection
from gateway.domain.vocabulary import Effect, Phase, Provenance, SignalStatus, SignalType
from gateway.enforce.growth import GrowthIndex
from gateway.exchange import Call, Ports, Rulebook
from gateway.judged import identifiers, recorded_sight, recorded_value
from gateway.pipeline import Pipeline
from gateway.policy import Bundle, Levels
from gateway.policy.explain_recorded import explain_recording
from gateway.policy.recorded import OLD, UNOFFERED_TOOL, recordings
from gateway.policy.replay import Replayed, replay, summarise
from gateway.policy.reviews import precision, reviews
from gateway.settings import AppSettings, RetrievalSettings, Settings
from gateway.wire.chat import read_prompt
from rules.growing import GrowingMatches
from tests.policy.policy_texts import bundle_of, policy_set, rule

SIGNALS = {"seen.score": SignalType.SCORE, "seen.kinds": SignalType.KINDS, "seen.count": SignalType.COUNT}


class Seer:
    """Reads signals off the text: `score=0.7`, `kind=A`, each `!` counts; `down` makes it fail."""

    def __init__(self, version: str = "1") -> None:
        self.version = version

    def on(self, grounds: object) -> "Seer":
        del grounds
        return self

    async def inspect(
        self,
        segments: Sequence[Segment],
        *,
        detectors: frozenset[str],
        timeouts: Mapping[str, float],
        default_timeout_s: float,
        keep: bool = True,
    ) -> Inspection:
        del timeouts, default_timeout_s, keep
        if "seen" not in detectors:
            return Inspection()
        values: dict[Provenance, dict[str, Any]] = {}
        findings = []
        status = SignalStatus.OK
        for segment in segments:
            own = values.setdefault(segment.provenance, {})
            scores = [float(found) for found in re.findall(r"score=([0-9.]+[0-9])", segment.text)]
            kinds = re.findall(r"kind=(\w+)", segment.text)
            if scores:
                own["seen.score"] = max([own.get("seen.score", 0.0), *scores])
            if kinds:
                own["seen.kinds"] = own.get("seen.kinds", frozenset()) | frozenset(kinds)
            if "!" in segment.text:
                own["seen.count"] = own.get("seen.count", 0) + segment.text.count("!")
            for found in re.finditer(r"kind=(\w+)", segment.text):
                place = {"start": found.start(), "end": found.end(), "segment": segment.index}
                findings.append(Finding(kind=found.group(1), detector="seen", **place))
            status = SignalStatus.TIMEOUT if "down" in segment.text else status
        run = DetectorRun(
            detector="seen", version=self.version, status=status, reason="" if status == "ok" else "deadline"
        )
        return Inspection(findings=tuple(findings), values=values, runs={"seen": run})


class Desk(FakeCases):
    """Approves every case that it is asked for."""

    async def approval(self, case: str, principal: Principal) -> Approval:
        del principal
        draft = self.drafts[int(case.removeprefix("case_")) - 1]
        return Approval(
            case=case,
            revision=1,
            fingerprint=draft.fingerprint,
            policy=draft.policy,
            phase=draft.phase,
            expires=NOW + dt.timedelta(days=1),
            lifts=frozenset(f"{draft.phase.value}:{one}" for one in draft.rules),
            answer=None,
            request=draft.request,
        )

    async def deliver(self, approval: Approval, principal: Principal, *, exchange: str, answer: bytes) -> bytes:
        del approval, principal, exchange
        return answer


class Traffic:
    """A gateway with these policies, and everything that its log holds."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.audit = FakeAudit()
        self.desk = Desk()
        self.count = itertools.count(1)

    async def ask(
        self,
        content: str = "hello",
        *,
        answer: Any = "fine",
        principal: Principal = ALICE,
        passages: Sequence[Passage] = (),
        case: str = "",
        **body: Any,
    ) -> None:
        message = answer if isinstance(answer, dict) else {"role": "assistant", "content": answer}
        pieces = re.findall(r"\S+\s*", answer) if isinstance(answer, str) else None
        deltas = [message] if pieces is None else [{"content": piece} for piece in pieces]
        pipeline = Pipeline(
            Ports(
                rulebook=lambda: Rulebook(
                    policy=self.bundle, inspector=Seer(), growth=GrowthIndex({"seen": [r"[a-z]+=\w*"]}, GrowingMatches)
                ),
                audit=self.audit,
                cases=self.desk,
                retriever=FakeRetriever(*passages),
                upstream=FakeUpstream(message=message, deltas=deltas),
                embeddings=FakeEmbeddings(),
                clock=lambda: NOW,
                hash_key=b"h" * 32,
            ),
            Settings(apps={"desk": AppSettings()}, retrieval=RetrievalSettings(on_failure="refuse")),
        )
        whole = {"model": "extractive", "messages": [{"role": "user", "content": content}]} | body
        call = Call(
            route="/v1/chat/completions",
            principal=principal,
            prompt=read_prompt(whole, max_messages=100, max_text_chars=10_000),
            exchange=f"req_{next(self.count):03}",
            started=NOW,
            case=case,
        )
        reply = await pipeline.answer(call)
        if reply.stream is not None:
            try:
                async for _ in reply.stream.chunks():
                    pass
            finally:
                await reply.stream.close()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event_of(draft) for draft in self.audit.drafts]

    def replayed(self, candidate: Bundle, **options: Any) -> list[Replayed]:
        return [replay(candidate, one, **options) for one in recordings(self.events)]


def event_of(draft: EventDraft) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return {"c": "c:0", "len_bucket": 64} if isinstance(value, Commitment) else str(value)

    head = {"type": draft.type.value, "request": draft.request, "tenant": draft.tenant, "app": draft.app}
    written: dict[str, Any] = json.loads(json.dumps({**head, "ts": NOW.isoformat(), **draft.body}, default=plain))
    return written


def score(threshold: float, **more: Any) -> dict[str, Any]:
    return {"all": [{"signal": "seen.score", "gte": threshold}], **more}


def kind(*names: str) -> dict[str, Any]:
    return {"all": [{"signal": "seen.kinds", "any_of": list(names)}]}


EXCEPTION = {"rule": "Q-2", "reason": "a pilot", "approved_by": ["user:a"], "expires": "2027-06-01"}
RULES = [
    rule("Q-1", when=score(0.7)),
    rule("Q-2", when=kind("A"), then={"effect": "escalate"}, on_error="flag"),
    rule("Q-3", when=kind("B"), then={"effect": "redact", "with": "mask"}, on_error="flag"),
    rule("Q-4", when=kind("C"), mode={"canary": 40}, on_error="flag"),
    rule("Q-5", when=kind("D"), mode="shadow"),
    rule("Q-6", when={"all": [{"signal": "seen.count", "gte": 2}]}, then={"effect": "flag"}, severity="low"),
    rule("P-1", phase="passage", when=score(0.5), then={"effect": "refuse"}),
    rule("P-2", phase="passage", when={"all": [{"field": "passage.classification", "one_of": ["restricted"]}]}),
    rule("A-1", phase="answer", when=score(0.6), then={"effect": "refuse"}),
    rule("A-2", phase="answer", when=kind("A"), then={"effect": "escalate"}, on_error="flag"),
    rule("A-3", phase="answer", when=kind("B"), then={"effect": "redact", "with": "mask"}, on_error="flag"),
    rule("A-4", phase="answer", when={"all": [{"signal": "seen.count", "gte": 3}]}, then={"effect": "flag"}),
    rule("T-1", phase="tool_call", when={"all": [{"field": "tool.name", "one_of": ["pay"]}]}),
    rule("T-2", phase="tool_call", when=kind("A", "B"), then={"effect": "flag"}),
]


def policies(*changed: dict[str, Any], **more: Any) -> Bundle:
    by_id = {one["id"]: one for one in [*RULES, *changed]}
    exceptions = [
        {**EXCEPTION, "id": "E-1", "match": {"groups": ["pilot"]}},
        {**EXCEPTION, "id": "E-2", "match": {"user": "zoe"}},
    ]
    keys = {"exceptions": exceptions, "scoring": {"query": 5, "over": {"effect": "refuse"}}, **more}
    options = {"signals": SIGNALS, "levels": {"lax": Levels(enforce=1, observe=4)}}
    return bundle_of(policy_set(*by_id.values(), **keys), **options)


def someone(user: str, *groups: str, app: str = "desk") -> Principal:
    return structs.replace(ALICE, user=user, groups=frozenset({"staff", *groups}), app=app, ref=f"p:{user}")


async def traffic(bundle: Bundle) -> Traffic:
    seen = Traffic(bundle)
    for stream in (False, True):
        for question in (
            "hello",
            "score=0.69 !",
            "score=0.7",
            "score=0.7000001",
            "score=0.6999999",
            "kind=A",
            "kind=B !!",
            "kind=C",
            "kind=D !!!",
            "kind=C kind=B !!",
            "down kind=B",
        ):
            for person in (ALICE, someone("zoe"), someone("bram", "pilot"), someone("lee", app="lax")):
                await seen.ask(question, stream=stream, principal=person)
        for answer in ("One. Two! Three! Four!", "Fine. score=0.65 here. More.", "It is kind=A now. Go.", "A kind=B."):
            await seen.ask(answer=answer, stream=stream)
        call = {"id": "c", "type": "function", "function": {"name": "pay", "arguments": '{"to": "kind=A"}'}}
        for name in ("pay", "look up, please"):
            named = {**call, "function": {**call["function"], "name": name}}
            tools = [{"type": "function", "function": {"name": name, "parameters": {}}}]
            message = {"role": "assistant", "content": None, "tool_calls": [named]}
            await seen.ask(answer=message, stream=stream, tools=tools)
        found = [passage("plain"), passage("score=0.55", number=1), passage("kind=A", doc="d2")]
        secret = passage("plain", doc="d3", classification="restricted")
        await seen.ask("tell me", passages=[*found, secret], stream=stream)
    for number, draft in enumerate(list(seen.desk.drafts), 1):
        if draft.phase is Phase.QUERY and draft.principal == "p:alice":
            asked = json.loads(draft.request)
            await seen.ask(asked["messages"][0]["content"], case=f"case_{number}")
    return seen


async def test_the_same_policies_change_nothing() -> None:
    bundle = policies()
    seen = await traffic(bundle)
    found = seen.replayed(bundle)
    assert len(found) > 100
    assert [one for one in found if not one.exact] == []
    assert [one for one in found if one.was is not one.would or one.moved or one.opens] == []
    assert {one.was for one in found} == set(Effect)
    assert summarise(found).is_empty
    # Policies compiled anew from the same files are the same; so is a log that was written and read.
    assert summarise(seen.replayed(policies())).is_empty


async def test_the_replayed_effect_is_that_of_the_policies_in_every_exchange() -> None:
    seen = await traffic(policies())
    ends = {event["request"]: event for event in seen.events if event["type"] in {"outcome", "stream.close"}}
    for one in seen.replayed(policies()):
        assert one.would.value == ends[one.exchange]["effect"], ends[one.exchange]


@pytest.mark.parametrize(
    ("changed", "moved"),
    [
        (rule("Q-1", when=score(0.75)), {("score=0.7", "refuse", "allow"), ("score=0.7000001", "refuse", "allow")}),
        (rule("Q-1", when={"all": [{"signal": "seen.score", "gt": 0.7}]}), {("score=0.7", "refuse", "allow")}),
        (
            rule("Q-1", when=score(0.69)),
            {("score=0.69 !", "allow", "refuse"), ("score=0.6999999", "allow", "refuse")},
        ),
        (rule("Q-3", when=kind("B"), then={"effect": "refuse"}, on_error="flag"), {("kind=B", "redact", "refuse")}),
        (
            rule("Q-6", when={"all": [{"signal": "seen.count", "gte": 1}]}, then={"effect": "flag"}),
            {("score=0.69 !", "allow", "flag")},
        ),
    ],
)
async def test_a_changed_rule_moves_exactly_what_it_should(changed: dict[str, Any], moved: set[Any]) -> None:
    bundle = policies()
    seen = Traffic(bundle)
    questions = ["hello", "score=0.69 !", "score=0.7", "score=0.7000001", "score=0.6999999", "kind=B"]
    for question in questions:
        await seen.ask(question)
    found = seen.replayed(policies(changed))
    assert all(one.exact for one in found)
    pairs = zip(questions, found, strict=True)
    assert {(text, one.was.value, one.would.value) for text, one in pairs if one.was is not one.would} == moved
    summary = summarise(found)
    assert summary.changed == len(moved)
    assert set(summary.by_rule) == {changed["id"]}
    assert sum(len(ids) for ids in summary.samples.values()) == len(moved)


async def test_passages_answers_and_tool_calls_are_asked_again() -> None:
    seen = Traffic(policies())
    await seen.ask("tell", passages=[passage("score=0.55"), passage("plain", number=1)])
    await seen.ask(answer="Fine. score=0.65 here.")
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"to": "kind=A"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    await seen.ask(answer=message, tools=[{"type": "function", "function": {"name": "look", "parameters": {}}}])
    candidate = policies(
        rule("P-1", phase="passage", when=score(0.6)),
        rule("A-1", phase="answer", when=score(0.66)),
        rule("T-1", phase="tool_call", when={"all": [{"field": "tool.name", "one_of": ["look"]}]}),
    )
    assert [(one.was.value, one.would.value, one.opens) for one in seen.replayed(candidate)] == [
        ("flag", "allow", True),
        ("refuse", "allow", True),
        ("flag", "refuse", False),
    ]


async def test_a_tool_that_was_never_offered_is_not_named_and_not_guessed() -> None:
    seen = Traffic(policies())
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"to": "kind=A"}'}}
    await seen.ask(answer={"role": "assistant", "content": None, "tool_calls": [call]})
    assert "look" not in json.dumps(seen.events)
    [one] = seen.replayed(policies())
    assert one.reason == UNOFFERED_TOOL


async def test_who_it_was_matters_only_where_the_candidate_asks() -> None:
    seen = Traffic(policies())
    for person in (ALICE, someone("zoe")):
        await seen.ask("kind=A", principal=person)
        await seen.ask("hello", principal=person)
    person_rule = rule("Q-7", when={"all": [{"field": "principal.user", "one_of": ["zoe"]}]})
    statuses = [(one.exact, one.reason) for one in seen.replayed(policies(person_rule))]
    assert [exact for exact, _ in statuses] == [False] * 4
    assert statuses[0][1] == "it depends on the person, whom the log does not name"
    # A canary at another percentage: unknown only where its rule speaks.
    await seen.ask("kind=C")
    wider = policies(rule("Q-4", when=kind("C"), mode={"canary": 80}, on_error="flag"))
    assert [one.exact for one in seen.replayed(wider)] == [False, True, False, True, False]
    by_app = policies(rule("Q-4", when=kind("C"), mode={"canary": 100, "by": "app"}, on_error="flag"))
    assert [one.exact for one in seen.replayed(by_app)][-1] is True


async def test_what_no_detector_saw_is_not_guessed() -> None:
    plain = bundle_of(
        policy_set(rule("Q-1", when={"all": [{"field": "request.model", "one_of": ["other"]}]})), signals=SIGNALS
    )
    seen = Traffic(plain)
    await seen.ask("score=0.9")
    [one] = seen.replayed(bundle_of(policy_set(rule("Q-1", when=score(0.5))), signals=SIGNALS))
    assert one.reason == "detector seen did not run then, or in another version"
    off = rule(
        "Q-1", when={"all": [{"field": "request.model", "one_of": ["other"]}, {"signal": "seen.score", "gte": 0.5}]}
    )
    [one] = seen.replayed(bundle_of(policy_set(off), signals=SIGNALS))
    assert one.exact  # the rule is false whatever the detector would have seen


async def test_another_version_of_a_detector_is_not_exact() -> None:
    seen = Traffic(policies())
    await seen.ask("score=0.9")
    assert [one.exact for one in seen.replayed(policies(), versions=lambda _: "1")] == [True]
    assert [one.exact for one in seen.replayed(policies(), versions=lambda _: "")] == [True]
    [one] = seen.replayed(policies(), versions=lambda _: "2")
    assert not one.exact


async def test_a_threshold_finer_than_the_log_is_not_guessed() -> None:
    seen = Traffic(policies())
    await seen.ask("score=0.7000001")
    [one] = seen.replayed(policies(rule("Q-1", when=score(0.70000005))))
    assert one.reason == "a score is nearer to the threshold of Q-1 than the log tells"
    [one] = seen.replayed(policies(rule("Q-1", when=score(0.71000005))))
    assert one.exact


async def test_old_broken_and_unfinished_events_are_counted_not_guessed() -> None:
    seen = Traffic(policies())
    await seen.ask("score=0.9")
    await seen.ask("hello")
    events = seen.events
    old = [{key: value for key, value in event.items() if key != "facts"} for event in events]
    assert [replay(policies(), one).reason for one in recordings(old)] == [OLD, OLD]
    broken = [
        {**event, "phase": {**event["phase"], "rules": [{"id": 1}]}} if "phase" in event else event for event in events
    ]
    assert {replay(policies(), one).reason for one in recordings(broken)} == {"the event is of no known form"}
    assert [one.exchange for one in recordings(events[:1])] == ["req_001"]
    assert [replay(policies(), one).exact for one in recordings(events[:1])] == [True]
    assert list(recordings([{"type": "case.opened"}, {"type": "outcome", "request": "x"}])) == []


async def test_a_lifted_escalation_stays_lifted() -> None:
    bundle = policies()
    seen = Traffic(bundle)
    await seen.ask("kind=A")
    await seen.ask("kind=A", case="case_1")
    first, second = seen.replayed(bundle)
    assert (first.was, first.would, second.was, second.would) == (
        Effect.ESCALATE,
        Effect.ESCALATE,
        Effect.ALLOW,
        Effect.ALLOW,
    )
    stricter = policies(rule("Q-2", when=kind("A"), then={"effect": "refuse"}, on_error="flag"), exceptions=[])
    assert [one.would for one in seen.replayed(stricter)] == [Effect.REFUSE, Effect.REFUSE]


@given(value=st.floats(0, 1), cut=st.integers(0, 1_000_000))
def test_a_recorded_score_lies_on_the_same_side_of_every_threshold(value: float, cut: int) -> None:
    told = recorded_value(value)
    [one] = recordings(
        [
            {
                "type": "intent",
                "request": "r",
                "tenant": "t",
                "app": "a",
                "groups": [],
                "route": "",
                "model": "",
                "stream": False,
                "facts": {"roles": [], "tools": []},
                "coverage": {"unscanned": []},
                "phase": {"signals": {"detectors": [], "values": {"user": {"s": told}}}},
            }
        ]
    )
    evidence = one.judgements[0].evidence
    assert evidence is not None
    again = evidence.values[Provenance.USER]["s"]
    threshold = cut / 1_000_000
    assert isinstance(again, float)
    assert (again >= threshold, again > threshold, again == threshold) == (
        value >= threshold,
        value > threshold,
        value == threshold,
    )


def test_what_is_recorded_holds_no_text() -> None:
    assert identifiers(["pay", "send mail to zoe@example.org", "a" * 65]) == ["?", "pay"]
    assert len(identifiers(f"tool{number}" for number in range(100))) == 64
    run = DetectorRun(detector="seen", version="1", status=SignalStatus.OK, took_us=5)
    assert recorded_sight({Provenance.USER: {"seen.score": 0.25}}, {"seen": run}) == {
        "runs": {"seen": {"version": "1"}},
        "values": {"user": {"seen.score": {"e6": 250_000}}},
    }


def decided(case: str, to: str, minutes: int = 0) -> dict[str, Any]:
    kind_ = "case.claimed" if to == "in_review" else "case.approved"
    return {"type": kind_, "case": case, "to": to, "ts": (NOW + dt.timedelta(minutes=minutes)).isoformat()}


def test_past_decisions_measure_a_candidate() -> None:
    events = [
        decided("c1", "in_review"),
        decided("c1", "approved", 10),
        decided("c2", "in_review"),
        decided("c2", "refused", 30),
        decided("c3", "refused"),
        decided("c3", "overturned"),
    ]
    found = reviews(events)
    assert (found.refused, found.minutes) == ({"c1": False, "c2": True, "c3": False}, 20.0)
    sides = {"c1": Effect.ALLOW, "c2": Effect.ESCALATE, "c3": Effect.REFUSE, "c9": Effect.ALLOW}
    replayed = [
        Replayed(exchange=case, tenant="t", app="a", at=NOW, was=Effect.ESCALATE, would=would, case=case)
        for case, would in sides.items()
    ]
    one = precision([*replayed, structs.replace(replayed[0], exchange="again")], found)
    assert (one.held_refused, one.held_approved, one.let_go_refused, one.let_go_approved) == (1, 1, 0, 1)
    assert one.share == 0.5
    assert precision([], found).share is None


def run(*arguments: str, **options: Any) -> Result:
    context = {"signals": SIGNALS, "settings": Settings(apps={"lax": AppSettings(enforce_level=1)}), **options}
    return CliRunner().invoke(policy, ["replay", *arguments], obj=context)


def written(folder: Path, *changed: dict[str, Any]) -> str:
    by_id = {one["id"]: one for one in [*RULES, *changed]}
    file = folder / f"set-{len(changed)}.yaml"
    file.write_text(json.dumps(policy_set(*by_id.values())))
    return str(file)


async def test_replay_reports_transitions_hours_and_precision(tmp_path: Path) -> None:
    same = written(tmp_path)
    seen = Traffic(bundle_of(policy_set(*RULES), signals=SIGNALS, levels={"lax": Levels(enforce=1, observe=4)}))
    for question in ("hello", "kind=A", "kind=A", "score=0.72"):
        await seen.ask(question)
    log = tmp_path / "events.jsonl"
    cases = [decided("case_1", "in_review"), decided("case_1", "refused", 30)]
    log.write_text("\n".join(json.dumps(event) for event in [*seen.events, *cases]))
    result = run(same, "--bundle", str(log), "--expect-same")
    assert result.exit_code == 0, result.output
    assert "4 exchanges, 2026-" in result.output
    assert "0 exchanges would have ended otherwise" in result.output
    looser = written(tmp_path, rule("Q-2", when=kind("A"), then={"effect": "flag"}, on_error="flag"))
    result = run(looser, "--bundle", str(log), "--expect-same")
    assert result.exit_code == 1
    assert "escalate -> flag: req_002, req_003" in result.output
    assert "rule Q-2: 2 escalate -> flag" in result.output
    assert (
        "escalations: 2 then, 0 with the candidate, 1.0 and 0.0 hours of reviewers at 30 minutes a case"
        in result.output
    )
    assert "it would let go 1 that people refused" in result.output
    shown = json.loads(run(looser, "--bundle", str(log), "--format", "json", "--minutes", "6").output)
    assert (shown["exchanges"], shown["exact"], shown["changed"]) == (4, 4, 2)
    assert shown["escalations"] == {
        "was": 2,
        "would": 0,
        "minutes_per_case": 6.0,
        "hours_was": 0.2,
        "hours_would": 0.0,
    }
    assert {"was": "escalate", "would": "flag", "count": 2, "samples": ["req_002", "req_003"]} in shown["transitions"]
    narrow = json.loads(run(looser, "--bundle", str(log), "--format", "json", "--since", "2027-01-01").output)
    assert narrow["exchanges"] == 0


def test_a_log_that_cannot_be_read_is_not_called_different(tmp_path: Path) -> None:
    same = written(tmp_path)
    (tmp_path / "log.jsonl").write_text("{")
    assert run(same, "--bundle", str(tmp_path / "log.jsonl")).exit_code == 2
    assert run(same, "--log", str(tmp_path)).exit_code == 2
    both = run(same, "--log", str(tmp_path), "--bundle", str(tmp_path))
    assert (both.exit_code, "exclude each other" in both.output) == (2, True)


def explained(*arguments: str) -> Result:
    context = {"signals": SIGNALS, "settings": Settings(apps={"lax": AppSettings(enforce_level=1)})}
    return CliRunner().invoke(policy, ["explain", *arguments], obj=context)


async def test_a_recorded_exchange_is_explained_rule_by_rule(tmp_path: Path) -> None:
    bundle = policies()
    seen = Traffic(bundle)
    await seen.ask("kind=A", principal=someone("zoe"), passages=[passage("score=0.55")], answer="A kind=B.")
    [one] = recordings(seen.events)
    told = explain_recording(bundle, one)
    assert [(part.phase.value, part.effect.value, part.same_policy) for part in told] == [
        ("query", "allow", True),
        ("passage", "refuse", True),
        ("answer", "redact", True),
    ]
    assert told[0].explanation is not None
    query = {part.rule: part for part in told[0].explanation.rules}
    assert query["Q-2"].exception == "E-2"  # the log does not name zoe; only she fits what was decided
    assert [(atom.atom, atom.truth) for atom in query["Q-1"].atoms] == [("seen.score>=0.7", "false")]

    log = tmp_path / "events.jsonl"
    log.write_text("\n".join(json.dumps({**event, "id": f"ev{index}"}) for index, event in enumerate(seen.events)))
    same = written(tmp_path)
    for name in ("req_001", "ev1"):
        result = explained("--event", name, same, "--bundle", str(log))
        assert result.exit_code == 0, result.output
        assert "passage: recorded refuse by other policies" in result.output
        assert "P-1 matched -> refuse [enforce]" in result.output
        assert "Q-1 not_matched" not in result.output
    assert "Q-1 not_matched" in explained("--event", "req_001", same, "--bundle", str(log), "--all").output
    shown = json.loads(explained("--event", "req_001", same, "--bundle", str(log), "--format", "json").output)
    assert [part["phase"] for part in shown[0]["judgements"]] == ["query", "passage", "answer"]
    missing = explained("--event", "req_9", same, "--bundle", str(log))
    assert (missing.exit_code, "no exchange with `req_9`" in missing.output) == (2, True)
    assert explained("--event", "req_001", same, "--log", str(tmp_path)).exit_code == 2
    assert explained().exit_code == 2
