"""Kept texts, edited policies, a candidate, waiting clients and the console, all at once, with kills in between."""

import asyncio
import random
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from canaries import Canaries, written_below
from support.declared import check_event
from support.served import FAST_POLICIES, Served, command, served, verify
from support.server import ModelServer, completion

from gateway.audit.read import AuditReader
from gateway.audit.verify import Outcome
from gateway.settings.folder import AUDIT_FILE

pytestmark = pytest.mark.slow

STRICTER = """\
apiVersion: gateway/v1
kind: PolicySet
metadata: {id: stricter, version: "1", owner: "team:tests", purpose: Refuses a word, review_by: 2030-01-01}
lists:
  weather: {values: [weather], match: word}
rules:
  - id: S-001
    title: Nobody asks about the weather
    severity: high
    phase: query
    when: {all: [{signal: list.weather, is: true}]}
    then: {effect: refuse}
"""


class Answers:
    """What clients were told: decision and policy of each whole answer, by the word they asked about."""

    def __init__(self) -> None:
        self.weather: set[tuple[str, str]] = set()
        self.whole: set[str] = set()
        self.count = 0
        self.told: list[bytes] = []

    async def ask(self, session: aiohttp.ClientSession, url: str, key: str, text: str, *, stream: bool) -> None:
        body = {"model": "real", "messages": [{"role": "user", "content": text}], "stream": stream}
        headers = {"authorization": f"Bearer {key}"}
        try:
            async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
                raw = await response.read()
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return  # a connection that breaks is part of the test
        assert response.status == 200
        self.count += 1
        self.told.append(str(response.headers).encode())
        if stream and not raw.rstrip().endswith(b"data: [DONE]"):
            return
        self.whole.add(response.headers["x-gateway-audit-id"])
        if "weather" in text:
            self.weather.add((response.headers["x-gateway-policy"], response.headers["x-gateway-decision"]))


async def load(gateway: Served, keys: dict[str, str], canary: Canaries, answers: Answers, stop: asyncio.Event) -> None:
    async def client(number: int) -> None:
        async with aiohttp.ClientSession() as session:
            turn = 0
            while not stop.is_set():
                turn += 1
                text = f"How is the weather? {canary('weather')}" if turn % 2 else f"Tell me of {canary('query')}"
                await answers.ask(session, gateway.url, keys["desk"], text, stream=(turn + number) % 3 == 0)

    async def waiter(number: int) -> None:
        async with aiohttp.ClientSession() as session:
            while not stop.is_set():
                text = f"please ask-a-human {number} {canary('waiting')}"
                await answers.ask(session, gateway.url, keys["waiter"], text, stream=bool(number % 2))

    await asyncio.gather(*map(client, range(5)), *map(waiter, range(2)))


async def edit(policies: Path, candidate: Path, gateway: Served, chance: random.Random, stop: asyncio.Event) -> None:
    """Change the policies as people do: rules come and go, files are broken and mended, also half-written."""
    rule = policies / "stricter.yaml"
    while not stop.is_set():
        for text in (STRICTER, STRICTER[: chance.randrange(60, len(STRICTER))], "rules: [", None):
            if text is None:
                rule.unlink(missing_ok=True)
            else:
                rule.write_text(text)
                (candidate / "stricter.yaml").write_text(STRICTER)
            if chance.random() < 0.5 and gateway.process.poll() is None:
                gateway.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.9)
            if stop.is_set():
                return


async def look(gateway: Served, keys: dict[str, str], answers: Answers, stop: asyncio.Event) -> None:
    """Auditors, monitoring and browsers read meanwhile."""
    pages = ("/v1/gateway/audit/events", "/v1/gateway/audit/stats", "/metrics", "/console/sign-in", "/health/ready")
    async with aiohttp.ClientSession() as session:
        while not stop.is_set():
            for page in pages:
                key = keys["monitor" if page == "/metrics" else "auditor"]
                try:
                    async with session.get(gateway.url + page, headers={"authorization": f"Bearer {key}"}) as response:
                        answers.told.append(await response.read())
                        assert response.status == 200, page
                except (aiohttp.ClientError, ConnectionError):
                    return
            await asyncio.sleep(0.2)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    policies, candidate = tmp_path / "policies", tmp_path / "candidate"
    shutil.copytree(FAST_POLICIES, policies)
    shutil.copytree(FAST_POLICIES, candidate)
    return policies, candidate


def created_keys(config: Path) -> dict[str, str]:
    def key(app: str, *options: str) -> str:
        done = command(config, "keys", "create", "--tenant", "acme", "--app", app, "--user", "alice", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return {
        "desk": key("desk"),
        "waiter": key("waiter"),
        "auditor": key("desk", "--role", "auditor"),
        "monitor": key("desk", "--role", "monitor"),
    }


def recorded(folder: Path) -> list[dict[str, Any]]:
    with AuditReader(folder / AUDIT_FILE) as reader:
        log = [dict(event.members) for event in reader.search()]
    for event in log:
        check_event(event)
    return log


async def test_everything_at_once_keeps_its_promises(make_config, model: ModelServer, tmp_path: Path, folders) -> None:
    policies, candidate = folders
    canary, answers, chance = Canaries(), Answers(), random.Random(7)
    waiting = {"client": "wait", "wait_s": 1}
    config = make_config(
        policies=[str(policies)],
        policy={"candidate": [str(candidate)], "reload_s": 0.2},
        apps={
            "desk": {"capture": "encrypted_body"},
            "waiter": {"capture": "encrypted_body", "escalation": waiting},
        },
        console={"enabled": True},
        server={"workers": 2},
        log_level="debug",
    )
    model.answer = lambda body: completion(f"It is {canary('answer')}. And that is all.")
    logs = []
    keys = await asyncio.to_thread(created_keys, config)
    for number in range(3):
        with served(config) as gateway:
            stop = asyncio.Event()
            under_way = [
                asyncio.create_task(load(gateway, keys, canary, answers, stop)),
                asyncio.create_task(edit(policies, candidate, gateway, chance, stop)),
                asyncio.create_task(look(gateway, keys, answers, stop)),
            ]
            await asyncio.sleep(5 + chance.random())
            if number < 2:
                gateway.signal(signal.SIGKILL)
            stop.set()
            await asyncio.gather(*under_way)
            if number == 2:
                assert gateway.stop() == 0
            logs.append(gateway.output.encode())
    assert answers.count > 30

    code, found = verify(config)
    assert (code, found.outcome, found.in_flight) == (0, Outcome.VERIFIED_UNANCHORED, 0)
    log = recorded(tmp_path / "data")
    ends = {event["request"]: event for event in log if event["type"] in {"outcome", "stream.close"}}
    assert answers.whole <= set(ends), "whoever got a whole answer has its record"
    intents = {event["request"]: event for event in log if event["type"] == "intent"}
    assert len(model.received) <= len(intents)
    assert set(ends) <= set(intents)

    told = dict(answers.weather)
    assert len(told) == len(answers.weather), "policies never mix: each decides alike every time"
    assert set(told.values()) <= {"allow", "refuse"}
    assert "allow" in told.values()
    activated = {event["policy"] for event in log if event["type"] == "policy.activate"}
    assert set(told) <= activated, "nothing was decided by policies that did not come into force"
    decided = {event["phase"]["policy"] for event in intents.values()}
    assert decided <= activated

    for name, content in written_below(tmp_path / "data"):
        assert canary.found_in(content) == set(), name
    for content in (*logs, *answers.told):
        assert canary.found_in(content) == set()
    with sqlite3.connect(tmp_path / "data" / AUDIT_FILE) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
