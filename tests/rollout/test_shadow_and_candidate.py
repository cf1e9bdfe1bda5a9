"""What is evaluated and not enforced: it stands in the audit, and changes nothing."""

import json

import aiohttp
import pytest
from rollout_driver import Client, events
from rollout_texts import policy, rule, words, write
from support.server import completion

from gateway.domain.event import EventType


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def candidate(tmp_path):
    """A folder of candidate policies: `beta` would be refused."""
    folder = tmp_path / "candidate"
    write(folder, policy(rule("C-1"), lists=words("beta")))
    return folder


def of(data, type_: EventType) -> dict:
    (event,) = events(data, type_)
    return event


async def test_rules_in_shadow_and_canaries_outside_the_sample_tell_what_they_would_do(
    running, policies, session
) -> None:
    rules = [
        rule("S-1", mode="shadow"),
        rule("N-1", mode={"canary": 1, "by": "tenant"}, effect="escalate"),
        rule("E-1", effect="flag"),
        rule("S-2", mode="shadow", phase="answer", word="said"),
    ]
    write(policies, policy(*rules, lists={**words("alpha"), **words("hello", name="said")}))
    with running() as gateway:
        client = Client(gateway.url, gateway.key(), session)
        assert await client.decision("alpha") == "flag"
        assert await client.decision("plain") == "allow"
    first, second = events(gateway.settings.data_dir, EventType.INTENT)
    assert first["shadow"] == {"would": "refuse", "rules": ["N-1", "S-1"]}
    assert "shadow" not in second, "nothing matched"
    first, second = events(gateway.settings.data_dir, EventType.OUTCOME)
    assert (first["effect"], first["shadow"]) == ("flag", {"would": "refuse", "rules": ["N-1", "S-1", "S-2"]})
    assert (second["effect"], second["shadow"]) == ("allow", {"would": "refuse", "rules": ["S-2"]})


@pytest.mark.parametrize("stream", [False, True])
async def test_a_candidate_is_judged_on_every_exchange_and_never_enforced(
    running, candidate, session, model, stream: bool
) -> None:
    write(
        candidate,
        policy(
            rule("C-1"),
            rule("C-2", phase="answer", word="said", effect="escalate"),
            lists={**words("beta"), **words("omega", name="said")},
        ),
    )
    model.answer = lambda body: completion("First a word. Then omega. And the end.")
    with running(policy={"candidate": (candidate,)}) as gateway:
        client = Client(gateway.url, gateway.key(), session)
        digest = (await client.policy())["candidate"]["digest"]
        status, headers, text = await client.ask("beta", stream=stream)
        assert (status, "omega" in "".join(text.split()) or "ome" in text) == (200, True)
        assert headers["x-gateway-decision"] == "allow"
        assert digest not in text
    intent = of(gateway.settings.data_dir, EventType.INTENT)
    assert intent["candidate"] == {"policy": digest, "would": "refuse", "rules": ["C-1"], "errors": []}
    outcome = of(gateway.settings.data_dir, EventType.STREAM_CLOSE if stream else EventType.OUTCOME)
    assert outcome["effect"] == "allow"
    assert outcome["candidate"] == {"policy": digest, "would": "refuse", "rules": ["C-1", "C-2"], "errors": []}
    assert intent["coverage"]["required"] == ["lists"], "what only the candidate needs is no part of the coverage"


async def test_a_candidate_with_other_lists_of_the_same_name_redacts_nothing(
    running, policies, candidate, session, model
) -> None:
    """Both define `words`; the one in force masks `alpha`, the candidate would mask `beta`."""
    mask = {"then": {"effect": "redact", "entities": ["list.words"], "with": "mask"}}
    write(policies, policy({**rule("M-1"), **mask}, lists=words("alpha")))
    write(candidate, policy({**rule("M-2"), **mask}, lists=words("beta")))
    received = []
    model.answer = lambda body: received.append(body["messages"][-1]["content"]) or completion("Fine.")
    with running(policy={"candidate": (candidate,)}) as gateway:
        client = Client(gateway.url, gateway.key(), session)
        assert await client.decision("alpha and beta") == "redact"
        assert await client.decision("only beta") == "allow"
    assert ["alpha" in text for text in received] == [False, False]
    assert ["beta" in text for text in received] == [True, True]
    outcomes = events(gateway.settings.data_dir, EventType.OUTCOME)
    assert [one["candidate"]["would"] for one in outcomes] == ["redact", "redact"]


async def test_a_candidate_may_need_detectors_that_the_policies_in_force_do_not_have(
    running, candidate, session, model
) -> None:
    secret = {"all": [{"signal": "secrets.kinds", "empty": False}]}
    own = {**rule("C-9", phase=["query", "answer", "tool_call"]), "when": secret}
    write(candidate, policy(own, lists=words("beta")))
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"k": "AKIAQ3EGPT5ZXW7NLH4K"}'}}
    model.answer = lambda body: completion(None, tool_calls=[call], finish="tool_calls")
    with running(policy={"candidate": (candidate,)}) as gateway:
        client = Client(gateway.url, gateway.key(), session)
        status, _, text = await client.ask("what is the key?")
        assert (status, "AKIAQ3EGPT5ZXW7NLH4K" in text) == (200, True)
    intent, outcome = (of(gateway.settings.data_dir, one) for one in (EventType.INTENT, EventType.OUTCOME))
    assert intent["candidate"]["would"] == "allow"
    assert (outcome["effect"], outcome["candidate"]["would"], outcome["candidate"]["rules"]) == (
        "allow",
        "refuse",
        ["C-9"],
    )
    assert "secrets" not in json.dumps(intent["coverage"])


async def test_a_candidate_that_does_not_load_harms_nobody_and_can_be_put_right(running, candidate, session) -> None:
    write(candidate, {"apiVersion": "gateway/v1"})
    with running(policy={"candidate": (candidate,)}) as gateway:
        client = Client(gateway.url, gateway.key(), session)
        state = await client.policy()
        assert (state["state"], state["candidate"]["error"][:8]) == ("current", "YAML022 ")
        assert await client.decision("beta") == "allow"
        assert "candidate" not in of(gateway.settings.data_dir, EventType.INTENT)
        write(candidate, policy(rule("C-1"), lists=words("beta")))
        await client.until(lambda state: "digest" in state["candidate"])
        assert await client.decision("beta") == "allow"
        assert events(gateway.settings.data_dir, EventType.INTENT)[-1]["candidate"]["would"] == "refuse"
        changes = [
            one for one in events(gateway.settings.data_dir, EventType.POLICY_ACTIVATE) if one["cause"] != "start"
        ]
        assert changes == [], "what is in force has not changed"
