"""Two gateways that share their cases in PostgreSQL: what one holds, the other decides, and one of them delivers."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import ModelServer, RunningGateway, completion, model_server, running_gateway
from support.stores import POSTGRES, KeptCases, needs_postgres
from support.wire import Caller, events, wire_settings

from gateway.settings import CaseSettings, QueueSettings, RetrievalSettings

pytestmark = needs_postgres
POLICIES = Path(__file__).parent.parent / "support" / "case_policies"
CASES = "/v1/gateway/cases"


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with model_server() as model:
        yield model


@pytest.fixture(scope="module")
def nodes(model, tmp_path_factory) -> Iterator[tuple[RunningGateway, RunningGateway]]:
    """Two nodes with one master key, and each with its own audit log and keys."""
    folder = tmp_path_factory.mktemp("nodes")
    KeptCases("postgres", folder, bytes(32))
    (folder / "url").write_text(POSTGRES)
    (folder / "url").chmod(0o600)

    def settings(name: str):
        data = folder / name
        data.mkdir(mode=0o700)
        (data / "master.key").write_text("ab" * 32)
        (data / "master.key").chmod(0o600)
        return wire_settings(
            data,
            model,
            policies=(POLICIES,),
            retrieval=RetrievalSettings(store="off", models=()),
            cases=CaseSettings(
                store="postgres",
                postgres_url=f"file:{folder / 'url'}",
                tick_s=0.1,
                queues={"late": QueueSettings(next="later", next_sla_s=1)},
            ),
        )

    with running_gateway(settings("a")) as first, running_gateway(settings("b")) as second:
        yield first, second


async def act(who: Caller, case: str, act: str, **body: object):
    return await who.send(f"{CASES}/{case}/{act}", json.dumps(body).encode())


def types(gateway: RunningGateway, case: str) -> list[str]:
    return [
        event["type"]
        for event in events(gateway)
        if event["type"].startswith("case.") and json.loads(event["body"])["case"] == case
    ]


async def test_a_case_of_one_node_is_approved_on_another_and_delivered_once(nodes, model):
    a, b = nodes
    model.answer = lambda body: completion("Hello from the model.")
    asker_a, asker_b = Caller(a), Caller(b)
    ruth = Caller(b, app="console", user="ruth", roles=("reviewer",))
    held = await asker_a.chat("shared: ask-a-human")
    case = held.headers["x-gateway-case"]
    assert (await asker_b.chat("shared: ask-a-human")).headers["x-gateway-case"] == case, "found, not opened again"
    assert (await act(ruth, case, "claim")).status == 200
    assert (await act(ruth, case, "approve", reason="POL-7")).body["state"] == "approved"
    again = {"x-gateway-case": case}
    answers = await asyncio.gather(
        *(asker.chat("shared: ask-a-human", headers=again) for asker in (asker_a, asker_b) * 3)
    )
    assert {answered.text for answered in answers} == {"Hello from the model."}
    bodies = {answered.raw for answered in answers}
    assert len(bodies) == 1, "whoever is first, all get one and the same answer"
    recorded = types(a, case) + types(b, case)
    assert "case.claimed" in types(b, case)
    assert "case.opened" in types(a, case)
    kept = KeptCases.__new__(KeptCases)
    kept.kind = "postgres"
    history = kept.run(f"SELECT command FROM history WHERE case_id = '{case}' ORDER BY revision")
    assert [row[0] for row in history] == ["case.claimed", "case.approved", "case.releasable", "case.delivered"]
    lost = recorded.count("case.conflict")
    assert recorded.count("case.delivered") - lost <= 1 <= recorded.count("case.delivered")


async def test_reviewers_on_two_nodes_race_for_a_case_and_one_wins(nodes):
    a, b = nodes
    case = (await Caller(a).chat("race: ask-a-human")).headers["x-gateway-case"]
    reviewers = [Caller(node, app="console", user=f"r{n}", roles=("reviewer",)) for n, node in enumerate((a, b))]
    answers = await asyncio.gather(*(act(who, case, "claim") for who in reviewers))
    assert sorted(answered.status for answered in answers) == [200, 409]


async def test_one_clock_moves_a_late_case_once(nodes):
    a, b = nodes
    asker = Caller(b)
    case = (await asker.chat("ask-too-late please")).headers["x-gateway-case"]
    for _ in range(100):
        if (await asker.send(f"{CASES}/{case}")).body["state"] == "refused":
            break
        await asyncio.sleep(0.1)
    steps = types(a, case) + types(b, case)
    assert steps.count("case.overdue") == 2, "to the next tier, then refused"
    assert "case.conflict" not in steps
