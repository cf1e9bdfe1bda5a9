"""Escalated cases over HTTP, from the held question to the delivered answer, against a running gateway."""

import asyncio
import base64
import hashlib
import hmac
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.server import RunningGateway, completion, free_port, running_gateway
from support.wire import Answered, events, last_place, rewind, wire_settings
from support.wire import Caller as RawCaller

from gateway.settings import CaseSettings, QueueSettings, RetrievalSettings, WebhookSettings

POLICIES = Path(__file__).parent.parent / "support" / "case_policies"
SECRET = "webhook-test-secret"
CASES = "/v1/gateway/cases"
CARD = "4111 1111 1111 1111"


class Receiver:
    """A webhook's server on loopback; answers 500 as often as told, then 200."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.failures = 0
        received = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received.calls.append(({k.lower(): v for k, v in self.headers.items()}, body))
                fails, received.failures = received.failures > 0, max(0, received.failures - 1)
                self.send_response(500 if fails else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture(scope="module")
def desk_gateway(_model, receiver, tmp_path_factory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("cases")
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)
    settings = wire_settings(
        folder / "data",
        _model,
        policies=(POLICIES,),
        retrieval=RetrievalSettings(store="off", models=()),
        cases=CaseSettings(
            tick_s=0.1,
            queues={"late": QueueSettings(next="later", next_sla_s=1)},
            webhooks=(WebhookSettings(name="hook", url=receiver.url, secret=f"file:{folder / 'secret'}"),),
        ),
    )
    with running_gateway(settings) as running:
        yield running


class Caller(RawCaller):
    """Sends JSON."""

    async def send(self, path: str, body: object = None, **more: object) -> Answered:
        return await super().send(path, None if body is None else json.dumps(body).encode(), **more)


class Desk:
    """A requester and reviewers of one gateway."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway
        self.asker = Caller(gateway)
        self.ruth = Caller(gateway, app="console", user="ruth", roles=("reviewer",))
        self.ravi = Caller(gateway, app="console", user="ravi", roles=("reviewer",))

    async def ask(self, content: str, *, case: str = "", stream: bool = False) -> Answered:
        body = {"model": "real", "messages": [{"role": "user", "content": content}]}
        if stream:
            body |= {"stream": True}
        headers = {"x-gateway-case": case} if case else {}
        return await self.asker.send("/v1/chat/completions", body, headers=headers)

    async def held(self, content: str) -> str:
        answered = await self.ask(content)
        assert answered.body["choices"][0]["finish_reason"] == "content_filter"
        return answered.headers["x-gateway-case"]

    async def act(self, who: Caller, case: str, act: str, **body: object) -> Answered:
        return await who.send(f"{CASES}/{case}/{act}", body)

    async def approved(self, case: str) -> None:
        assert (await self.act(self.ruth, case, "claim")).status == 200
        answered = await self.act(self.ruth, case, "approve", reason="POL-7 checked")
        assert (answered.status, answered.body["state"]) == (200, "approved")

    def types(self, after: int) -> list[str]:
        return [event["type"] for event in events(self.gateway, after=after)]


@pytest.fixture
def desk(desk_gateway, model) -> Desk:
    rewind(model)
    return Desk(desk_gateway)


def code(answered: Answered) -> str:
    assert set(answered.body["error"]) >= {"message", "type", "param", "code"}
    return answered.body["error"]["code"]


def said(answered: Answered) -> str:
    return answered.body["choices"][0]["message"]["content"]


async def test_an_approved_question_is_answered_once_and_again_the_same(desk, model):
    case = await desk.held("one: ask-a-human")
    assert model.received == []
    assert code(await desk.ask("one: ask-a-human", case=case)) == "case_not_approved"
    await desk.approved(case)
    after = last_place(desk.gateway)
    model.answer = lambda body: completion(f"Card {CARD} is fine.")
    answered = await desk.ask("one: ask-a-human", case=case)
    assert answered.status == 200
    assert said(answered) == "Card [CREDIT_CARD] is fine.", "all that is not approved is judged as ever"
    assert (answered.body["gateway"]["review"], answered.headers["x-gateway-review"]) == ("approved", "approved")
    assert desk.types(after) == ["intent", "case.releasable", "case.delivered", "outcome"]
    again = await desk.ask("one: ask-a-human", case=case)
    assert again.body == answered.body
    assert len(model.received) == 1, "the approval is consumed: the model is not asked again"
    assert desk.types(after)[4:] == ["case.redelivered"]
    streamed = await desk.ask("one: ask-a-human", case=case, stream=True)
    assert b"Card [CREDIT_CARD] is fine." in streamed.raw
    assert streamed.raw.rstrip().endswith(b"[DONE]")
    state = await desk.asker.send(f"{CASES}/{case}")
    assert state.body["state"] == "delivered"


async def test_an_approval_is_for_one_request_of_one_principal(desk, model):
    case = await desk.held("two: ask-a-human")
    await desk.approved(case)
    assert code(await desk.ask("another ask-a-human", case=case)) == "case_binding"
    bob = Caller(desk.gateway, user="bob")
    body = {"model": "real", "messages": [{"role": "user", "content": "two: ask-a-human"}]}
    assert code(await bob.send("/v1/chat/completions", body, headers={"x-gateway-case": case})) == "case_not_found"
    assert model.received == []
    assert (await desk.ask("two: ask-a-human", case=case)).status == 200


async def test_an_approval_lifts_no_other_rule(desk, model):
    case = await desk.held("three: ask-a-human")
    await desk.approved(case)
    model.answer = lambda body: completion("This has a delicate-answer in it.")
    answered = await desk.ask("three: ask-a-human", case=case)
    second = answered.headers["x-gateway-case"]
    assert second != case
    assert "delicate-answer" not in answered.raw.decode()
    await desk.approved(second)
    answered = await desk.asker.send(f"{CASES}/{second}/answer")
    assert said(answered) == "This has a delicate-answer in it."
    assert len(model.received) == 1


@pytest.mark.parametrize("way", ["post", "get"])
async def test_a_held_answer_is_delivered_as_it_was_judged(desk, model, way):
    model.answer = lambda body: completion(f"A delicate-answer about card {CARD}.")
    case = await desk.held(f"tell me, {way}")
    assert code(await desk.asker.send(f"{CASES}/{case}/answer")) == "case_not_approved"
    await desk.approved(case)
    answered = (
        await desk.ask(f"tell me, {way}", case=case)
        if way == "post"
        else await desk.asker.send(f"{CASES}/{case}/answer")
    )
    assert said(answered) == "A delicate-answer about card [CREDIT_CARD]."
    assert len(model.received) == 1
    again = await desk.asker.send(f"{CASES}/{case}/answer")
    assert again.body == answered.body


CALL = {"id": "call_1", "type": "function", "function": {"name": "transfer", "arguments": '{"to": "Zoe", "sum": 5}'}}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_held_tool_call_is_shown_and_delivered_whole(desk, model, stream):
    model.answer = lambda body: completion("I will do it now.", finish="tool_calls", tool_calls=[CALL])
    question = f"please transfer, {stream}"
    held = await desk.ask(question, stream=stream)
    assert "arguments" not in held.raw.decode()
    case = held.body["gateway"]["case"] if not stream else held.chunks[-1]["gateway"]["case"]
    shown = await desk.ruth.send(f"{CASES}/{case}/content", headers={"x-gateway-reason": "T-1"})
    (choice,) = shown.body["choices"]
    assert choice["message"]["tool_calls"] == [CALL]
    assert choice["message"]["content"] == shown.body["candidate"] == "I will do it now."
    await desk.approved(case)
    answered = await desk.ask(question, case=case)
    (choice,) = answered.body["choices"]
    assert (choice["finish_reason"], choice["message"]["tool_calls"]) == ("tool_calls", [CALL])
    assert len(model.received) == 1
    again = await desk.ask(question, case=case, stream=True)
    assert json.loads(again.arguments) == {"to": "Zoe", "sum": 5}
    fetched = await desk.asker.send(f"{CASES}/{case}/answer")
    assert fetched.body == answered.body


@pytest.mark.parametrize("stream", [False, True])
async def test_all_choices_of_a_held_answer_are_one_case_and_come_whole(desk, model, stream):
    texts = ["A delicate-answer.", "A plain answer.", "Another delicate-answer."]

    def several(body):
        if body.get("stream"):
            head = {"id": "u", "object": "chat.completion.chunk", "created": 1, "model": "upstream-1"}
            pieces = [
                {"index": index, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
                for index, text in enumerate(texts)
            ]
            ends = [{"index": index, "delta": {}, "finish_reason": "stop"} for index in range(3)]
            return [{**head, "choices": [piece]} for piece in (*pieces, *ends)]
        made = completion("")
        made["choices"] = [
            {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for index, text in enumerate(texts)
        ]
        return made

    model.answer = several
    after = last_place(desk.gateway)
    body = {"model": "real", "n": 3, "messages": [{"role": "user", "content": f"three, {stream}"}], "stream": stream}
    held = await desk.asker.send("/v1/chat/completions", body)
    assert b"delicate" not in held.raw
    assert b"A plain answer." in held.raw
    case = held.body["gateway"]["case"] if not stream else held.chunks[-1]["gateway"]["case"]
    assert desk.types(after).count("case.opened") == 1
    await desk.approved(case)
    answered = await desk.asker.send("/v1/chat/completions", body, headers={"x-gateway-case": case})
    if not stream:
        assert [choice["message"]["content"] for choice in answered.body["choices"]] == texts
    else:
        assert all(text.encode() in answered.raw for text in texts)
    assert len(model.received) == 1


async def test_a_rule_that_refuses_any_part_of_an_answer_is_not_asked_about(desk, model):
    model.answer = lambda body: completion("A delicate-answer.", reasoning_content="a forbidden-word")
    answered = await desk.ask("refused after all")
    assert answered.body["gateway"]["decision"] == "refuse"
    assert "x-gateway-case" not in answered.headers


async def test_an_edited_answer_is_inspected_and_labelled(desk, model):
    model.answer = lambda body: completion("A delicate-answer.")
    case = await desk.held("please edit")
    await desk.act(desk.ruth, case, "claim")
    refused = await desk.act(desk.ruth, case, "edit", reason="tone", text="With a forbidden-word.")
    assert (refused.status, code(refused)) == (422, "edit_stopped")
    assert code(await desk.act(desk.ruth, case, "edit", reason="tone", text=" ")) == "text_required"
    edited = await desk.act(desk.ruth, case, "edit", reason="tone", text="A kinder answer.")
    assert edited.body["state"] == "approved"
    answered = await desk.ask("please edit", case=case)
    assert said(answered) == "A kinder answer."
    assert answered.headers["x-gateway-review"] == "edited"
    content = await desk.ruth.send(f"{CASES}/{case}/content", headers={"x-gateway-reason": "audit 5"})
    assert content.body["candidate"] == "A delicate-answer."
    assert content.body["edits"] == [{"kind": "edit", "number": 1, "text": "A kinder answer."}]


async def test_two_approvals_need_two_people(desk):
    case = await desk.held("ask-two-humans please")
    await desk.act(desk.ruth, case, "claim")
    first = await desk.act(desk.ruth, case, "approve", reason="fine")
    assert (first.body["state"], first.body["approvals"]) == ("await_second", {"needed": 2, "given": 1})
    same = Caller(desk.gateway, app="other-console", user="ruth", roles=("reviewer",))
    assert code(await desk.act(same, case, "claim")) == "second_person_required", "another key is no other person"
    await desk.act(desk.ravi, case, "claim")
    second = await desk.act(desk.ravi, case, "approve", reason="fine too")
    assert second.body["state"] == "approved"
    assert (await desk.ask("ask-two-humans please", case=case)).body["gateway"]["review"] == "approved"


async def test_who_may_not_decide(desk):
    case = await desk.held("four: ask-a-human")
    myself = Caller(desk.gateway, app="console", user="alice", roles=("reviewer", "admin"))
    assert code(await desk.act(myself, case, "claim")) == "own_request"
    assert code(await desk.act(myself, case, "break-glass", reason="hurry")) == "own_request"
    assert code(await desk.act(desk.asker, case, "claim")) == "reviewer_required"
    stranger = Caller(desk.gateway, tenant="other", app="console", user="eve", roles=("reviewer", "admin"))
    for act in ("claim", "approve", "refuse", "withdraw", "break-glass"):
        assert (await desk.act(stranger, case, act, reason="mine")).status == 404
    assert code(await desk.act(desk.ruth, case, "approve", reason="fine")) == "case_state"
    await desk.act(desk.ruth, case, "claim")
    assert code(await desk.act(desk.ravi, case, "claim")) == "case_held"
    assert code(await desk.act(desk.ravi, case, "approve", reason="fine")) == "claim_required"
    assert code(await desk.act(desk.ruth, case, "approve")) == "reason_required"
    assert code(await desk.act(desk.ruth, case, "approve", reason="fine", revision=1)) == "case_changed"
    assert code(await desk.asker.send(f"{CASES}/{case}/content", headers={"x-gateway-reason": "why"})) == (
        "content_forbidden"
    )
    assert code(await desk.ruth.send(f"{CASES}/{case}/content")) == "reason_required"
    assert code(await desk.asker.send(CASES)) == "reviewer_required"
    assert (await desk.ruth.send(f"{CASES}/{case}/claim", method="GET")).status == 405
    assert (await desk.ruth.send(f"{CASES}/{case}/nothing")).status == 404


async def test_reviewers_who_ask_for_the_next_case_get_different_ones(desk):
    held = {await desk.held(f"next {number}: ask-two-humans") for number in range(2)}
    got = await asyncio.gather(*(who.send(f"{CASES}/next/claim", {"queue": "two"}) for who in (desk.ruth, desk.ravi)))
    assert {answered.body["id"] for answered in got} == held
    assert {answered.body["state"] for answered in got} == {"in_review"}
    empty = await desk.ruth.send(f"{CASES}/next/claim", {"queue": "two"})
    assert (empty.status, code(empty)) == (404, "queue_empty")
    assert code(await desk.asker.send(f"{CASES}/next/claim", {})) == "reviewer_required"


async def test_a_broken_glass_is_looked_at_by_somebody_else_and_taken_back_if_need_be(desk):
    ada = Caller(desk.gateway, app="console", user="ada", roles=("reviewer", "admin"))
    case = await desk.held("glass: ask-a-human")
    broken = await desk.act(ada, case, "break-glass", reason="outage 12")
    assert (broken.body["state"], broken.body["review_by"] is not None) == ("approved", True)
    assert code(await desk.act(ada, case, "uphold", reason="fine")) == "second_person_required"
    assert code(await desk.act(desk.ruth, case, "contest")) == "reason_required"
    taken = await desk.act(desk.ruth, case, "contest", reason="no emergency")
    assert (taken.body["state"], taken.body["post_review"]) == ("refused", "contested")
    assert code(await desk.ask("glass: ask-a-human", case=case)) == "case_not_approved"
    assert code(await desk.act(desk.ravi, case, "uphold", reason="fine")) == "case_state"


async def test_a_race_of_two_reviewers_has_one_winner(desk):
    case = await desk.held("five: ask-a-human")
    answers = await asyncio.gather(*(desk.act(who, case, "claim") for who in (desk.ruth, desk.ravi) * 3))
    statuses = sorted(answered.status for answered in answers)
    assert 200 in statuses
    assert set(statuses) <= {200, 409}
    history = await desk.ruth.send(f"{CASES}/{case}/history")
    assert len({step["actor"] for step in history.body["data"]}) == 1


async def test_racing_fetches_deliver_one_answer(desk, model):
    case = await desk.held("six: ask-a-human")
    await desk.approved(case)
    numbers = iter(range(100))
    model.answer = lambda body: completion(f"Answer {next(numbers)}.")
    answers = await asyncio.gather(*(desk.ask("six: ask-a-human", case=case) for _ in range(4)))
    assert {answered.status for answered in answers} == {200}
    assert len({said(answered) for answered in answers}) == 1


async def test_a_refused_case_is_appealed_and_overturned(desk):
    case = await desk.held("seven: ask-a-human")
    await desk.act(desk.ruth, case, "claim")
    assert (await desk.act(desk.ruth, case, "refuse", reason="unsafe")).body["state"] == "refused"
    assert code(await desk.ask("seven: ask-a-human", case=case)) == "case_not_approved"
    assert (await desk.act(desk.asker, case, "appeal", reason="wrong")).body["state"] == "appealed"
    assert code(await desk.act(desk.ruth, case, "claim")) == "second_person_required"
    await desk.act(desk.ravi, case, "claim")
    assert (await desk.act(desk.ravi, case, "approve", reason="fine")).body["state"] == "overturned"
    assert said(await desk.ask("seven: ask-a-human", case=case)) == "Hello there."


async def test_the_requester_is_asked_and_answers_or_withdraws(desk):
    case = await desk.held("eight: ask-a-human")
    await desk.act(desk.ruth, case, "claim")
    asked = await desk.act(desk.ruth, case, "ask", reason="unclear", text="Which account?")
    assert asked.body["state"] == "waiting_info"
    polled = await desk.asker.send(f"{CASES}/{case}")
    assert (polled.body["question"], "queue" in polled.body) == ("Which account?", False)
    assert code(await desk.act(desk.ravi, case, "reply", text="Mine.")) == "requester_required"
    assert (await desk.act(desk.asker, case, "reply", text="The joint one.")).body["state"] == "queued"
    content = await desk.ruth.send(f"{CASES}/{case}/content", headers={"x-gateway-reason": "T-1"})
    assert [text["text"] for text in content.body["exchanged"]] == ["Which account?", "The joint one."]
    assert (await desk.act(desk.asker, case, "withdraw")).body["state"] == "withdrawn"


async def test_reading_content_and_every_transition_is_recorded_without_content(desk):
    after = last_place(desk.gateway)
    case = await desk.held("nine: ask-a-human canary")
    await desk.ruth.send(f"{CASES}/{case}/content", headers={"x-gateway-reason": "TICKET-9"})
    await desk.approved(case)
    types = desk.types(after)
    assert [name for name in types if name.startswith(("case", "body"))] == [
        "case.opened",
        "body.read",
        "case.claimed",
        "case.approved",
    ]
    assert all(b"canary" not in bytes(event["body"]) for event in events(desk.gateway, after=after))
    with sqlite3.connect(desk.gateway.settings.data_dir / "cases.db") as db:
        assert b"canary" not in "\n".join(db.iterdump()).encode()


async def test_lists_are_by_queue_and_state_for_reviewers_of_the_tenant(desk):
    case = await desk.held("ten: ask-a-human")
    listed = await desk.ruth.send(f"{CASES}?queue=q&state=queued")
    assert case in [one["id"] for one in listed.body["data"]]
    assert [one["due"] for one in listed.body["data"]] == sorted(one["due"] for one in listed.body["data"])
    assert code(await desk.ruth.send(f"{CASES}?state=nonsense")) == "invalid_state"
    assert code(await desk.ruth.send(f"{CASES}?limit=0")) == "invalid_limit"
    stranger = Caller(desk.gateway, tenant="other", app="console", user="eve", roles=("reviewer",))
    assert (await stranger.send(CASES)).body["data"] == []


async def test_a_late_case_goes_up_and_then_is_refused_and_webhooks_are_told(desk, receiver):
    receiver.failures = 1
    case = await desk.held("ask-too-late please")
    until = time.monotonic() + 20
    while (await desk.asker.send(f"{CASES}/{case}")).body["state"] != "refused" and time.monotonic() < until:
        await asyncio.sleep(0.2)
    history = await desk.ruth.send(f"{CASES}/{case}/history")
    assert [(step["command"], step["after"], step["actor"]) for step in history.body["data"]] == [
        ("case.overdue", "queued", "gateway"),
        ("case.overdue", "refused", "gateway"),
    ]

    def told() -> dict[str, str]:
        own = [json.loads(body) for _, body in receiver.calls if json.loads(body)["data"]["case"] == case]
        return {f"{one['type']}:{one['data']['state']}": one["data"]["queue"] for one in own}

    expected = {"case.opened:queued": "late", "case.overdue:queued": "later", "case.overdue:refused": "later"}
    while told() != expected and time.monotonic() < until:
        await asyncio.sleep(0.2)
    assert told() == expected
    for headers, body in receiver.calls:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mac = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{mac}"
        assert b"ask-" not in body


async def test_feedback_belongs_to_an_answer_of_the_caller(desk):
    answered = await desk.ask("hello")
    given = {"id": answered.body["id"], "rating": "bad", "reason": "outdated"}
    after = last_place(desk.gateway)
    taken = await desk.asker.send("/v1/gateway/feedback", given)
    assert taken.status == 200
    (event,) = events(desk.gateway, after=after)
    assert (event["type"], event["request"]) == ("feedback", answered.body["gateway"]["id"])
    bob = Caller(desk.gateway, user="bob")
    assert code(await bob.send("/v1/gateway/feedback", given)) == "answer_not_found"
    assert code(await desk.asker.send("/v1/gateway/feedback", given | {"rating": "so-so"})) == "invalid_value"
    assert code(await desk.asker.send("/v1/gateway/feedback", given | {"reason": "x"})) == "invalid_value"
