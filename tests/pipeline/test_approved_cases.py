"""What an approval is bound to: policies, passages and the words themselves, with a real case store."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs
from support.fakes import (
    ALICE,
    NOW,
    FakeAudit,
    FakeEmbeddings,
    FakeInspector,
    FakePolicy,
    FakeRetriever,
    FakeUpstream,
    passage,
)

from gateway.cases import AuditedCaseDesk, SqliteCaseStore, Transitions
from gateway.cases.case import REVIEWER, CaseState
from gateway.cases.machine import Actor, Approve, Claim
from gateway.domain.errors import RequestError
from gateway.domain.vocabulary import Effect, Phase
from gateway.enforce.growth import GrowthIndex
from gateway.exchange import Call, Ports, Rulebook
from gateway.pipeline import Pipeline
from gateway.settings import RetrievalSettings, Settings
from gateway.wire.chat import read_prompt

KEY = bytes(32)
RUTH = Actor(person="u:ruth", ref="p:ruth", roles=frozenset({REVIEWER}))
HELD = {Phase.ANSWER: {"ask-human": Effect.ESCALATE}}
OTHER = "sha256:" + "1" * 64


class Bench:
    """A pipeline whose answers are held, over a real store of cases."""

    def __init__(self, folder: Path) -> None:
        self.policy = FakePolicy(HELD)
        self.audit = FakeAudit()
        self.upstream = FakeUpstream("My advice [1].")
        self.retriever = FakeRetriever(passage("Fees are low."))
        self.store = SqliteCaseStore.open(folder / "cases.db", key=KEY)
        self.transitions = Transitions(self.store, self.audit, clock=lambda: NOW, announce=lambda *_: ())
        desk = AuditedCaseDesk(
            self.store, self.audit, self.transitions, key=KEY, ids=lambda: "0" * 32, clock=lambda: NOW
        )
        self.pipeline = Pipeline(
            Ports(
                rulebook=lambda: Rulebook(
                    policy=self.policy, inspector=FakeInspector(), growth=GrowthIndex({}, lambda *_: None)
                ),
                audit=self.audit,
                cases=desk,
                retriever=self.retriever,
                upstream=self.upstream,
                embeddings=FakeEmbeddings(),
                clock=lambda: NOW,
                hash_key=KEY,
            ),
            Settings(retrieval=RetrievalSettings(models=("m",))),
        )

    async def ask(self, case: str = ""):
        body = {"model": "m", "messages": [{"role": "user", "content": "what now?"}]}
        prompt = read_prompt(body, max_messages=10, max_text_chars=1_000)
        call = Call(
            route="/v1/chat/completions", principal=ALICE, prompt=prompt, exchange="e" * 32, started=NOW, case=case
        )
        return await self.pipeline.answer(call)

    async def approved(self) -> str:
        case_id = (await self.ask()).headers["x-gateway-case"]
        case = await self.store.find(case_id)
        case = await self.transitions.move(case, Claim(timedelta(minutes=15)), RUTH)
        await self.transitions.move(case, Approve("fine"), RUTH)
        return case_id

    async def state(self, case: str) -> tuple[CaseState, str]:
        found = await self.store.find(case)
        return found.state, found.course.reason


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


async def test_an_approved_answer_leaves_with_its_citations_and_the_model_is_not_asked_again(bench):
    case = await bench.approved()
    reply = await bench.ask(case)
    assert reply.body["choices"][0]["message"]["content"] == "My advice [1]."
    assert [one["document"] for one in reply.body["gateway"]["citations"]] == ["d1"]
    assert len(bench.upstream.requests) == 1
    assert bench.audit.types[-4:] == ["intent", "case.releasable", "case.delivered", "outcome"]
    rules = [rule for phase in bench.audit.last["answer"] for rule in phase["rules"]]
    assert [(rule["effect"], rule["exception"]) for rule in rules] == [("allow", case)]


@pytest.mark.parametrize("now_found", [(), (passage("Fees are low.", doc="d2"),)])
async def test_an_answer_whose_passages_are_out_of_reach_is_decided_again(bench, now_found):
    case = await bench.approved()
    bench.retriever.passages = now_found
    reply = await bench.ask(case)
    assert "advice" not in str(reply.body)
    assert await bench.state(case) == (CaseState.QUEUED, "judged_differently")


async def test_an_answer_whose_passage_was_changed_is_decided_again(bench):
    case = await bench.approved()
    bench.retriever.passages = (structs.replace(passage("Fees are low."), revision="r2"),)
    assert "advice" not in str((await bench.ask(case)).body)
    assert await bench.state(case) == (CaseState.QUEUED, "judged_differently")


async def test_policies_that_have_changed_send_the_case_back_and_bind_it_anew(bench):
    case = await bench.approved()
    bench.policy = FakePolicy(HELD)
    bench.policy.digest = OTHER
    with pytest.raises(RequestError) as raised:
        await bench.ask(case)
    assert raised.value.code == "case_requeued"
    assert await bench.state(case) == (CaseState.QUEUED, "policy_changed")
    assert (await bench.store.find(case)).policy == OTHER


async def test_a_rule_that_refuses_is_not_lifted(bench):
    case = await bench.approved()
    bench.policy = FakePolicy({Phase.ANSWER: {"ask-human": Effect.REFUSE}})
    assert "advice" not in str((await bench.ask(case)).body)
    assert await bench.state(case) == (CaseState.QUEUED, "judged_differently")
