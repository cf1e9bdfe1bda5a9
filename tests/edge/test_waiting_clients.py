"""The three ways in which a client meets an escalation, against a running gateway."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from support.server import RunningGateway, completion, running_gateway
from support.wire import CHAT, Answered, Caller, events, last_place, rewind, wire_settings

from gateway.settings import AppSettings, CaseSettings, ClientMode, EscalationSettings, RetrievalSettings

POLICIES = Path(__file__).parent.parent / "support" / "case_policies"
CASES = "/v1/gateway/cases"
WAIT_S = 4.0


def app(client: ClientMode, wait_s: float = WAIT_S) -> AppSettings:
    return AppSettings(escalation=EscalationSettings(client=client, wait_s=wait_s))


@pytest.fixture(scope="module")
def waiting_gateway(_model, tmp_path_factory) -> Iterator[RunningGateway]:
    settings = wire_settings(
        tmp_path_factory.mktemp("waiting") / "data",
        _model,
        policies=(POLICIES,),
        retrieval=RetrievalSettings(store="off", models=()),
        cases=CaseSettings(tick_s=0.2),
        apps={
            "hold": app(ClientMode.HOLD),
            "error": app(ClientMode.ERROR),
            "wait": app(ClientMode.WAIT),
            "patient": app(ClientMode.WAIT, 30),
            "brief": app(ClientMode.WAIT, 0.3),
        },
    )
    with running_gateway(settings) as running:
        yield running


class Desk:
    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway
        self.ruth = Caller(gateway, app="console", user="ruth", roles=("reviewer",))

    def caller(self, app: str) -> Caller:
        return Caller(self.gateway, app=app, user=f"alice-{app}")

    async def act(self, case: str, act: str, **body: object) -> Answered:
        return await self.ruth.send(f"{CASES}/{case}/{act}", json.dumps(body).encode())

    async def opened(self, after: int) -> str:
        """The case that is opened behind this place of the log."""
        for _ in range(100):
            for event in events(self.gateway, after=after):
                if event["type"] == "case.opened":
                    return json.loads(event["body"])["case"]
            await asyncio.sleep(0.05)
        raise AssertionError("no case was opened")

    async def decide(self, after: int, act: str, **body: object) -> str:
        case = await self.opened(after)
        await self.act(case, "claim")
        answered = await self.act(case, act, reason="POL-7", **body)
        assert answered.status == 200, answered.raw
        return case

    def types(self, after: int) -> list[str]:
        return [event["type"] for event in events(self.gateway, after=after)]


@pytest.fixture
def desk(waiting_gateway, model) -> Desk:
    rewind(model)
    return Desk(waiting_gateway)


@pytest.mark.parametrize(("name", "status"), [("hold", 200), ("error", 403)])
async def test_a_client_that_does_not_wait_is_told_at_once(desk, name, status):
    answered = await desk.caller(name).chat(f"{name}: ask-a-human")
    assert answered.status == status
    case = answered.headers["x-gateway-case"]
    if status == 200:
        assert (answered.finish, answered.body["gateway"]["case"]) == ("content_filter", case)
    else:
        assert answered.body["error"]["code"] == "human_review_required"
        assert answered.body["gateway"]["case"] == case


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("question", ["ask-a-human", "delicate"])
async def test_a_client_that_waits_gets_the_approved_answer_in_the_same_response(desk, model, stream, question):
    word = "delicate-answer" if question == "delicate" else "plain answer"
    model.answer = lambda body: completion(f"This is a {word}.")
    after = last_place(desk.gateway)
    caller = desk.caller("wait")
    answered, case = await asyncio.gather(
        caller.chat(f"{stream}: {question}", stream=stream), desk.decide(after, "approve")
    )
    assert (answered.status, answered.text, answered.finish) == (200, f"This is a {word}.", "stop")
    about = answered.chunks[-1]["gateway"] if stream else answered.body["gateway"]
    assert (about["review"], about["case"]) == ("approved", case)
    types = desk.types(after)
    assert types.count("case.delivered") == 1
    assert types.count("case.opened") == 1
    assert len(model.received) == 1


async def test_an_edited_answer_comes_in_the_same_response(desk, model):
    model.answer = lambda body: completion("A delicate-answer.")
    after = last_place(desk.gateway)
    answered, _ = await asyncio.gather(
        desk.caller("wait").chat("edit it"), desk.decide(after, "edit", text="A kinder one.")
    )
    assert (answered.text, answered.headers["x-gateway-review"]) == ("A kinder one.", "edited")


@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_who_decides_in_time_leaves_the_notice(desk, stream):
    caller = desk.caller("brief")
    answered = await caller.chat(f"brief {stream}: ask-a-human", stream=stream)
    assert (answered.status, answered.finish) == (200, "content_filter")
    about = answered.chunks[-1]["gateway"] if stream else answered.body["gateway"]
    assert (about["decision"], about["state"]) == ("escalate", "queued")
    case = about["case"]
    await desk.act(case, "claim")
    await desk.act(case, "approve", reason="POL-7")
    resumed = await caller.chat(f"brief {stream}: ask-a-human", headers={"x-gateway-case": case})
    assert resumed.text == "Hello there."


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_ends_the_wait_and_is_told(desk, model, stream):
    after = last_place(desk.gateway)
    answered, _ = await asyncio.gather(
        desk.caller("wait").chat(f"refuse {stream}: ask-a-human", stream=stream), desk.decide(after, "refuse")
    )
    about = answered.chunks[-1]["gateway"] if stream else answered.body["gateway"]
    assert (answered.finish, about["state"]) == ("content_filter", "refused")
    assert model.received == []


async def test_an_approved_question_with_an_answer_for_a_human_waits_twice(desk, model):
    model.answer = lambda body: completion("A delicate-answer.")
    after = last_place(desk.gateway)

    async def decide_both() -> None:
        await desk.decide(after, "approve")
        between = last_place(desk.gateway)
        await desk.decide(between, "approve")

    answered, _ = await asyncio.gather(desk.caller("wait").chat("both: ask-a-human"), decide_both())
    assert answered.text == "A delicate-answer."
    assert len(model.received) == 1


async def test_what_is_not_escalated_does_not_wait_and_streams_as_ever(desk, model):
    caller = desk.caller("wait")
    assert (await caller.chat("hello")).text == "Hello there."
    streamed = await caller.chat("hello", stream=True)
    assert (streamed.text, streamed.finish) == ("Hello there.", "stop")
    assert (await caller.chat("a forbidden-word")).headers["x-gateway-decision"] == "refuse"


async def test_a_client_that_leaves_consumes_nothing_and_finds_its_answer_when_it_asks_again(desk, model):
    caller = desk.caller("wait")
    after = last_place(desk.gateway)
    with suppress(TimeoutError):
        await asyncio.wait_for(caller.chat("leaves: ask-a-human"), 0.8)
    case = await desk.decide(after, "approve")
    await asyncio.sleep(1.2)
    assert "case.delivered" not in desk.types(after), "nobody was there to take it"
    assert (await caller.chat("leaves: ask-a-human")).body["gateway"]["case"] == case
    assert desk.types(after).count("case.delivered") == 1
    # The response may have been lost on its way: the same request gets the same answer for a while, not a new case.
    again = await caller.chat("leaves: ask-a-human")
    assert (again.text, again.body["gateway"]["case"]) == ("Hello there.", case)
    assert len(model.received) == 1
    assert desk.types(after).count("case.opened") == 1
    held = await desk.caller("hold").chat("leaves: ask-a-human")
    assert held.headers["x-gateway-case"] != case, "another app's request is another request"


async def test_several_that_wait_for_one_case_get_one_answer(desk, model):
    numbers = iter(range(10))
    model.answer = lambda body: completion(f"Answer {next(numbers)}.")
    after = last_place(desk.gateway)
    caller = desk.caller("wait")
    *answers, _ = await asyncio.gather(
        *(caller.chat("several: ask-a-human") for _ in range(3)), desk.decide(after, "approve")
    )
    assert len({answered.text for answered in answers}) == 1
    assert desk.types(after).count("case.delivered") == 1


@pytest.mark.slow
async def test_a_stream_that_waits_is_kept_alive(desk):
    after = last_place(desk.gateway)
    caller = desk.caller("patient")
    body = {"model": "real", "messages": [{"role": "user", "content": "alive: ask-a-human"}], "stream": True}
    async with aiohttp.ClientSession() as session:
        response = await session.post(
            desk.gateway.url + CHAT, json=body, headers={"authorization": f"Bearer {caller.key}"}
        )
        assert (response.status, response.headers["x-gateway-decision"]) == (200, "escalate")
        first = await asyncio.wait_for(response.content.readuntil(b"\n\n"), 15)
        assert first.startswith(b": ")
        await desk.decide(after, "approve")
        rest = await response.read()
    assert b"data: [DONE]" in rest
    assert b'"review":"approved"' in rest
