"""The snippets of gateway/cases/README.md, run as they stand there against a gateway."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.server import RunningGateway, completion, model_server, running_gateway
from support.wire import Caller, events, last_place, wire_settings

from gateway.cases.webhooks import signature
from gateway.domain.text import Secret
from gateway.settings import (
    AppSettings,
    ClientMode,
    EscalationSettings,
    ModelSettings,
    RetrievalSettings,
    load_settings,
)

README = Path(__file__).parents[2] / "gateway" / "cases" / "README.md"
SNIPPETS = {
    (language, name): body
    for language, name, body in re.findall(
        r"^```(python|sh) (\w+)\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
}
POLICY = """
apiVersion: gateway/v1
kind: PolicySet
metadata: {id: loans, version: "1", owner: "team:credit", purpose: Loans are for people}
lists: {loans: {values: [loan], match: word}}
rules:
  - id: L-1
    title: A person decides about loans
    severity: high
    phase: query
    when: {all: [{signal: list.loans, is: true}]}
    then: {effect: escalate, queue: credit, sla: 1h}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "loans.yaml").write_text(POLICY)
    with model_server() as model:
        model.answer = lambda body: completion("You may well get it.")
        settings = wire_settings(
            folder / "data",
            model,
            policies=(folder / "loans.yaml",),
            models=(ModelSettings(name="gpt-large", provider="openai", base_url=model.url, retries=0),),
            retrieval=RetrievalSettings(store="off", models=()),
            apps={
                mode.value: AppSettings(escalation=EscalationSettings(client=mode, wait_s=30)) for mode in ClientMode
            },
        )
        with running_gateway(settings) as running:
            yield running


async def approve_next(gateway: RunningGateway, after: int) -> None:
    """Approve the case that is opened behind this place of the log."""
    ruth = Caller(gateway, app="console", user="ruth", roles=("reviewer",))
    until = time.monotonic() + 20
    opened: list[dict[str, Any]] = []
    while not opened:
        assert time.monotonic() < until, "no case was opened"
        await asyncio.sleep(0.05)
        opened = [event for event in events(gateway, after=after) if event["type"] == "case.opened"]
    case = json.loads(opened[0]["body"])["case"]
    for act in ("claim", "approve"):
        answered = await ruth.send(f"/v1/gateway/cases/{case}/{act}", json.dumps({"reason": "POL-7"}).encode())
        assert answered.status == 200, answered.raw


@pytest.mark.parametrize("language", ["python", "sh"])
@pytest.mark.parametrize(
    ("mode", "said"),
    [("hold", "You may well get it."), ("error", "human_review_required"), ("wait", "You may well get it.")],
)
async def test_the_example_of_each_mode_does_what_it_says(gateway, mode, said, language) -> None:
    key = gateway.key(app=mode, user=f"alice-{language}")
    after = last_place(gateway)
    program = [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
    running = await asyncio.create_subprocess_exec(
        *program,
        SNIPPETS[language, mode],
        env={"PATH": os.environ["PATH"], "GATEWAY": gateway.url, "KEY": key, "NO_PROXY": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        await approve_next(gateway, after)
        out, err = await asyncio.wait_for(running.communicate(), 40)
    finally:
        if running.returncode is None:
            running.kill()
    assert (running.returncode, said in out.decode()) == (0, True), (out, err)
    types = [event["type"] for event in events(gateway, after=after)]
    assert types.count("case.delivered") == (0 if mode == "error" else 1)


def test_the_receiver_takes_a_genuine_call_once_and_nothing_else() -> None:
    names: dict[str, Any] = {}
    exec(SNIPPETS["python", "receiver"], names)
    accept, body = names["accept"], '{"type":"case.opened"}'

    def call(identity: str, *, secret: str = "s", age_s: int = 0) -> dict[str, str]:
        sent = str(int(time.time()) - age_s)
        signed = signature(Secret(secret), identity, sent, body)
        return {"webhook-id": identity, "webhook-timestamp": sent, "webhook-signature": signed}

    assert accept("s", call("m1"), body.encode())
    assert not accept("s", call("m1"), body.encode()), "sent again"
    assert not accept("s", call("m2", age_s=400), body.encode()), "an old one"
    assert not accept("s", call("m3", secret="t"), body.encode())
    assert not accept("s", call("m4"), b"{}")
    assert accept("s", call("m5"), body.encode())


def test_the_settings_on_the_page_are_taken(tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    file = tmp_path / "gateway.yaml"
    file.write_text("\n".join(blocks))
    settings = load_settings(file, {})
    assert settings.apps["advice"].escalation.wait_s == 300
    assert settings.cases.mail[0].username == "gateway"
