"""A running gateway whose policy files change."""

import asyncio
import json
import os

import aiohttp
import pytest
from rollout_driver import Client, events
from rollout_texts import policy, rule, words, write

from gateway.app import start
from gateway.audit.verify import verify_log
from gateway.domain.errors import FaultsFound
from gateway.domain.event import EventType
from gateway.settings import AppSettings


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


def changes(data) -> list[dict]:
    return [one for one in events(data, EventType.POLICY_ACTIVATE) if one["cause"] == "change"]


async def test_the_next_request_is_decided_by_the_edited_files(running, policies, session) -> None:
    with running() as gateway:
        client = Client(gateway.url, gateway.key(), session)
        before = await client.policy()
        assert before["state"] == "current"
        assert await client.decision("alpha") == "refuse"
        assert await client.decision("beta") == "allow"

        write(policies, policy(rule(), lists=words("beta")))
        after = await client.until(lambda state: state["digest"] != before["digest"])
        assert after["state"] == "current"
        assert await client.decision("alpha") == "allow"
        assert await client.decision("beta") == "refuse"

        (event,) = changes(gateway.settings.data_dir)
        assert (event["previous"], event["policy"]) == (before["digest"], after["digest"])
        assert event["changes"] == [{"what": "list words", "direction": "changed", "text": "values changed"}]
        assert event["changed"] == 1
    assert verify_log(gateway.settings.data_dir / "audit.db").bad is None


async def test_files_that_do_not_load_keep_the_last_good_in_force_and_say_so(running, policies, session) -> None:
    with running() as gateway:
        client = Client(gateway.url, gateway.key(), session)
        before = await client.policy()
        write(policies, policy({**rule(), "when": {"all": [{"signal": "list.wrods", "is": True}]}}, lists=words("b")))
        stale = await client.until(lambda state: state["state"] == "stale")
        assert (stale["digest"], (await client.ready())[0]) == (before["digest"], 200)
        assert stale["error"].startswith("POL002 at ")
        assert "wrods" not in json.dumps(stale), "words of a policy are not told to anyone"
        assert await client.decision("alpha") == "refuse"

        (event,) = events(gateway.settings.data_dir, EventType.POLICY_REJECTED)
        assert (event["policy"], event["code"], event["faulty"]) == (before["digest"], "policy_faults", 1)
        assert event["faults"][0]["code"] == "POL002"
        assert "wrods" not in json.dumps(event)

        write(policies, policy(rule(), lists=words("alpha")))  # what was in force before
        await client.until(lambda state: state["state"] == "current")
        assert changes(gateway.settings.data_dir) == []

        write(policies, policy({**rule(), "when": {"all": [{"signal": "list.wrods", "is": True}]}}, lists=words("b")))
        await client.until(lambda state: state["state"] == "stale")
        assert len(events(gateway.settings.data_dir, EventType.POLICY_REJECTED)) == 1, "one event a content"


@pytest.mark.parametrize("how", ["no files", "a test that fails", "an empty file"])
async def test_every_way_to_be_wrong_keeps_the_last_good(running, policies, session, how: str) -> None:
    with running() as gateway:
        client = Client(gateway.url, gateway.key(), session)
        before = await client.policy()
        match how:
            case "no files":
                (policies / "main.yaml").unlink()
            case "a test that fails":
                wrong = {"name": "wrong", "given": {"list.words": True}, "expect": "no_match"}
                write(policies, policy({**rule(), "tests": [wrong]}, lists=words("beta")))
            case _:
                (policies / "main.yaml").write_text("")
        stale = await client.until(lambda state: state["state"] == "stale")
        assert stale["digest"] == before["digest"]
        assert await client.decision("alpha") == "refuse"
        (event,) = events(gateway.settings.data_dir, EventType.POLICY_REJECTED)
        wanted = {"no files": "configuration_error", "a test that fails": "policy_tests_failed"}
        assert event["code"] == wanted.get(how, "policy_faults")


async def test_a_change_of_comments_alone_changes_nothing(running, policies, session) -> None:
    with running() as gateway:
        client = Client(gateway.url, gateway.key(), session)
        before = await client.policy()
        file = policies / "main.yaml"
        file.write_text("# reviewed\n" + file.read_text())
        kept = gateway.settings.data_dir / "policy"
        for _ in range(200):
            if any("reviewed" in one.read_text() for one in kept.glob("edition-*.json")):
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("the new text was not kept")
        assert await client.policy() == before
        assert changes(gateway.settings.data_dir) == []


async def test_a_gateway_that_starts_over_broken_files_serves_what_was_in_force(running, policies, session) -> None:
    with running() as gateway:
        client = Client(gateway.url, gateway.key(), session)
        before = await client.policy()
    write(policies, {"apiVersion": "gateway/v1"})
    with running() as gateway:
        client = Client(gateway.url, gateway.key(user="bob"), session)
        state = await client.policy()
        assert (state["state"], state["digest"]) == ("stale", before["digest"])
        assert await client.decision("alpha") == "refuse"
        assert len(events(gateway.settings.data_dir, EventType.POLICY_REJECTED)) == 1
        write(policies, policy(rule(), lists=words("beta")))
        await client.until(lambda state: state["state"] == "current")
        assert await client.decision("beta") == "refuse"


async def test_files_changed_while_nobody_served_are_told_with_the_start(running, policies, session) -> None:
    with running() as gateway:
        before = await Client(gateway.url, gateway.key(), session).policy()
    write(policies, policy(rule(), rule("R-2", effect="flag"), lists=words("alpha")))
    with running() as gateway:
        after = await Client(gateway.url, gateway.key(user="bob"), session).policy()
    first, second = events(gateway.settings.data_dir, EventType.POLICY_ACTIVATE)
    assert (first["cause"], first.get("previous")) == ("start", None)
    assert (second["cause"], second["previous"], second["policy"]) == ("start", before["digest"], after["digest"])
    assert [one["what"] for one in second["changes"]] == ["rule R-2"]


async def test_a_gateway_without_any_good_policies_does_not_start(make_settings, policies) -> None:
    write(policies, {"apiVersion": "gateway/v1"})
    with pytest.raises(FaultsFound):
        await start(make_settings(), {})


async def test_an_exchange_keeps_the_policies_with_which_it_began(running, policies, session, model) -> None:
    """The stream's answer is refused by the old rule although the new one is in force before it ends."""
    answer_rule = rule(phase="answer", word="words")
    write(policies, policy(answer_rule, lists=words("omega")))
    gate = asyncio.Event()
    with running() as gateway:
        client = Client(gateway.url, gateway.key(), session)
        before = await client.policy()
        chunks = [{"role": "assistant", "content": ""}] + [{"content": f"Sentence {n} is here. "} for n in range(30)]
        chunks.append({"content": "The omega comes last. "})
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        model.answer = lambda body: [
            *({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in chunks),
            {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ]
        model.pause_s = 0.1
        try:
            asking = asyncio.create_task(client.ask("tell me", stream=True))
            await asyncio.sleep(0.3)
            write(policies, policy(answer_rule, lists=words("nothing")))
            await client.until(lambda state: state["digest"] != before["digest"])
            assert not asking.done()
            gate.set()
            status, headers, text = await asking
        finally:
            model.pause_s = 0.0
        assert (status, headers["x-gateway-policy"]) == (200, before["digest"])
        assert "omega" not in text
        assert "content_filter" in text
        (closed,) = events(gateway.settings.data_dir, EventType.STREAM_CLOSE)
        assert closed["policy"] == before["digest"]
        assert {phase["policy"] for phase in closed["answer"]} == {before["digest"]}


async def test_under_load_no_request_fails_or_is_decided_by_a_mixture(running, policies, session, model) -> None:
    """Two rules always refuse and flag together; a mixture of two bundles would show one without the other."""

    def version(number: int) -> dict:
        mark = f"v{number}"
        return policy(
            rule(f"A-{number}", effect="flag", word="one"),
            rule(f"B-{number}", effect="flag", word="two", phase="answer"),
            lists={**words("alpha", mark, name="one"), **words("answer", mark, name="two")},
        )

    from support.server import completion

    model.answer = lambda body: completion("The answer is here.")
    write(policies, version(0))
    seen: list[tuple[int, str, tuple[str, ...]]] = []
    done = asyncio.Event()
    with running() as gateway:
        client = Client(gateway.url, gateway.key(), session)

        async def load() -> None:
            while not done.is_set():
                status, headers, body = await client.ask("alpha please")
                rules = tuple(json.loads(body)["gateway"]["rules"]) if status == 200 else ()
                seen.append((status, headers.get("x-gateway-policy", ""), rules))

        workers = [asyncio.create_task(load()) for _ in range(8)]
        digests = [(await client.policy())["digest"]]
        for number in range(1, 6):
            write(policies, version(number))
            state = await client.until(lambda state: state["digest"] != digests[-1])
            digests.append(state["digest"])
        done.set()
        await asyncio.gather(*workers)
    assert {status for status, _, _ in seen} == {200}
    assert {(digest, rules) for _, digest, rules in seen} <= {
        (digest, (f"A-{number}", f"B-{number}")) for number, digest in enumerate(digests)
    }
    assert len({digest for _, digest, _ in seen}) > 1
    assert len(changes(gateway.settings.data_dir)) == 5
    assert verify_log(gateway.settings.data_dir / "audit.db").bad is None


async def test_rules_above_the_enforced_level_are_only_observed(running, policies, session) -> None:
    write(
        policies,
        policy(rule(level=2), rule("R-4", level=4), rule("R-1X", level=1, effect="flag"), lists=words("alpha")),
    )
    apps = {"mild": AppSettings(enforce_level=1, observe_level=3)}
    with running(apps=apps) as gateway:
        mild = Client(gateway.url, gateway.key(app="mild"), session)
        strict = Client(gateway.url, gateway.key(app="desk", user="bob"), session)
        assert await mild.decision("alpha") == "flag"
        assert await strict.decision("alpha") == "refuse"
        intents = {one["app"]: one for one in events(gateway.settings.data_dir, EventType.INTENT)}
    by_rule = {one["id"]: one for one in intents["mild"]["phase"]["rules"]}
    assert {name: one["mode"] for name, one in by_rule.items()} == {"R-1": "shadow", "R-1X": "enforce"}
    assert (by_rule["R-1"]["status"], by_rule["R-1"]["effect"]) == ("matched", "refuse")
    assert {one["mode"] for one in intents["desk"]["phase"]["rules"]} == {"enforce"}
    assert os.environ.get("GATEWAY_CONFIG") is None
