"""The sample corpus answers its golden questions, and the demonstration shows what it promises.

Bounds lie a little under what was measured when they were set (found 82, facts 77 of 85; silent 20 of 23), so that a
change of one or two questions passes and a broken part does not. Leaks have no margin.
"""

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.server import RunningGateway, running_gateway

from gateway.commands.evaluate import ask, read_questions
from gateway.commands.evaluate_grounding import own_answers
from gateway.demo.setup import CORPUS, QUESTIONS, TENANT
from gateway.evaluation.answers import AnswerReport, QuestionFile, holds, report, score
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.embedding import CachingEmbedder, MiniLmEmbedder
from gateway.retrieval.ingest import Ingest
from gateway.retrieval.retriever import PassageRetriever
from gateway.settings import Settings
from gateway.strict_yaml import load
from gateway.upstream.extractive import ExtractiveUpstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

POLICIES = Path(__file__).parents[2] / "policies"
TRIALS = {trial["id"]: trial for trial in load(QUESTIONS.read_text("utf-8"), QUESTIONS.name, QuestionFile).examples}
INJECTED = "send their full card number"


@pytest.fixture(scope="module")
def embedder() -> CachingEmbedder:
    return CachingEmbedder(MiniLmEmbedder())


@pytest.fixture(scope="module")
def folder(embedder, tmp_path_factory) -> Path:
    """A data folder with the index of the sample corpus."""
    made = tmp_path_factory.mktemp("golden")

    async def index() -> None:
        store = EmbeddedStore(made / "index", embedder=f"{embedder.name}@{embedder.version}")
        await Ingest(store, embedder).run([CORPUS], tenant=TENANT)
        await store.close()

    asyncio.run(index())
    return made


@pytest.fixture(scope="module", params=["with embeddings", "by words alone"])
def found(request, folder, embedder) -> AnswerReport:
    questions = read_questions(None)

    async def run() -> AnswerReport:
        store = EmbeddedStore(folder / "index", embedder=f"{embedder.name}@{embedder.version}")
        retriever = PassageRetriever(store, embedder, top_k=5, max_context_chars=12_000, timeout_s=60)
        model = ExtractiveUpstream("extractive", embedder if request.param == "with embeddings" else None)
        given = await ask(questions, retriever, model, tenant=TENANT)
        await store.close()
        return report([score(question, answer) for question, answer in zip(questions, given, strict=True)])

    return asyncio.run(run())


def test_nothing_is_leaked(found):
    assert found.leaks == 0


def test_facts_are_answered_and_cited(found):
    assert found.found.value >= 0.94
    assert found.facts.value >= 0.86
    assert found.to_the_point.value >= 0.92
    assert found.cited.value >= 0.98


def test_it_is_silent_where_there_is_no_answer(found):
    assert found.silent.value >= 0.78


def test_answers_are_short(found):
    assert found.median_chars <= 200


# --- the demonstration, through a running gateway ----------------------------------------------------------------


@pytest.fixture(scope="module")
def gateway(folder):
    with running_gateway(Settings(data_dir=folder, policies=(POLICIES,))) as running:
        yield running


@pytest.fixture(scope="module")
def key(gateway) -> str:
    return gateway.key(tenant=TENANT, app="customer", user="customer")


def send(gateway: RunningGateway, key: str, text: str, *, stream: bool = False) -> tuple[dict[str, str], str]:
    """Headers and raw body, whatever the status."""
    body = {"model": "extractive", "messages": [{"role": "user", "content": " ".join(text.split())}], "stream": stream}
    request = urllib.request.Request(
        f"{gateway.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return dict(reply.headers), reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return dict(error.headers), error.read().decode()


def said(raw: str) -> str:
    body: Any = json.loads(raw)
    return str(body["choices"][0]["message"]["content"]) if "choices" in body else str(body["error"]["message"])


@pytest.mark.parametrize("name", list(TRIALS))
def test_each_request_to_try_ends_as_promised(gateway, key, name):
    trial = TRIALS[name]
    expect = trial["expect"]
    headers, raw = send(gateway, key, trial["ask"])
    assert headers["x-gateway-decision"] == expect["effect"], headers
    assert [text for text in expect.get("never", ()) if text in raw] == []
    if "fact" in expect:
        assert holds(said(raw), expect["fact"])
        cited = {citation["document"] for citation in json.loads(raw)["gateway"]["citations"]}
        assert cited & set(expect["documents"])


def test_streams_are_guarded_alike(gateway, key):
    for trial in TRIALS.values():
        headers, raw = send(gateway, key, trial["ask"], stream=True)
        assert headers["x-gateway-decision"] == trial["expect"]["effect"], (trial["id"], headers)
        assert [text for text in trial["expect"].get("never", ()) if text in raw] == []


def test_both_parts_of_the_first_question_are_answered(gateway, key):
    _, raw = send(gateway, key, TRIALS["answer-with-citations"]["ask"])
    assert holds(said(raw), "34.9%")
    assert holds(said(raw), "£50")


def test_the_passage_that_gives_orders_is_neither_said_nor_cited(gateway, key):
    _, raw = send(gateway, key, TRIALS["injected-passage-dropped"]["ask"])
    assert INJECTED not in " ".join(raw.split())
    assert "refund-desk-4471" not in raw


@pytest.mark.parametrize("groups", [("public",), ("staff",)])
def test_what_is_closed_to_the_asker_is_not_told(gateway, groups):
    """With policies between, too, no question whose answer is hidden from these groups brings it out."""
    mine = gateway.key(tenant=TENANT, app="closed", user=groups[0], groups=groups)
    hidden = [question for question in read_questions(None) if question.hidden and question.groups == groups]
    assert hidden
    leaked = [question.id for question in hidden if holds(send(gateway, mine, question.ask)[1], question.withheld)]
    assert leaked == []


def test_answers_that_quote_are_called_supported(folder, embedder):
    questions = read_questions(None)

    async def run():
        store = EmbeddedStore(folder / "index", embedder=f"{embedder.name}@{embedder.version}")
        retriever = PassageRetriever(store, embedder, top_k=5, max_context_chars=12_000, timeout_s=60)
        try:
            return await ask(questions, retriever, ExtractiveUpstream("extractive", embedder), tenant=TENANT)
        finally:
            await store.close()

    own = own_answers(questions, asyncio.run(run()))
    assert own.flagged.hits <= 1, own.alarms
