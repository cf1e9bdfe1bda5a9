"""Replay over the log of a gateway that was served over HTTP, with its real detectors."""

import json
from pathlib import Path
from typing import Any

import aiohttp
from click.testing import CliRunner, Result
from support.server import completion, model_server, running_gateway

from gateway.commands.policy import policy
from gateway.detectors import build_detectors, installed_kinds, installed_signals
from gateway.settings import AppSettings, LimitSettings, ModelSettings, RetrievalSettings, Settings

POLICIES = Path(__file__).parents[1] / "support/policies"
QUESTIONS = (
    "hello",
    "My card is 4111 1111 1111 1111, is it valid?",
    "Tell me about the forbidden-word please",
    "I would like to ask-a-human now",
    "key AKIAIOSFODNN7EXAMPLE",
)


def answered(body: dict[str, Any]) -> Any:
    return completion(f"You asked. One more sentence, with 5500 0000 0000 0004 in it. {len(body['messages'])} in all.")


def run(settings: Settings, *arguments: str) -> Result:
    context = {
        "signals": installed_signals(settings.inspection),
        "kinds": installed_kinds(),
        "settings": settings,
        "versions": lambda bundle: {
            one.name: one.version for one in build_detectors(bundle, settings.inspection, lambda: None)
        },
    }
    return CliRunner().invoke(policy, ["replay", *arguments], obj=context)


async def test_the_log_of_a_served_gateway_is_replayed_to_the_letter(tmp_path: Path) -> None:
    with model_server() as model:
        model.answer = answered
        settings = Settings(
            data_dir=tmp_path / "data",
            policies=(POLICIES,),
            models=(ModelSettings(name="real", provider="openai", base_url=model.url),),
            retrieval=RetrievalSettings(store="off"),
            limits=LimitSettings(requests_per_minute=100_000, burst=10_000, concurrent=100),
            apps={"desk": AppSettings(observe_level=4)},
        )
        with running_gateway(settings) as gateway:
            headers = {"authorization": f"Bearer {gateway.key()}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                for stream in (False, True):
                    for question in QUESTIONS:
                        message = {"role": "user", "content": question}
                        body = {"model": "real", "stream": stream, "messages": [message]}
                        async with session.post(f"{gateway.url}/v1/chat/completions", json=body) as response:
                            await response.read()
    same = run(settings, str(POLICIES), "--expect-same", "--format", "json")
    assert same.exit_code == 0, same.output
    shown = json.loads(same.output)
    assert (shown["exchanges"], shown["exact"], shown["changed"]) == (10, 10, 0)
    effects = {(one["was"], one["would"]): one["count"] for one in shown["transitions"]}
    assert effects == {("redact", "redact"): 6, ("escalate", "escalate"): 2, ("refuse", "refuse"): 2}

    candidate = tmp_path / "candidate"
    candidate.mkdir()
    text = (POLICIES / "fast.yaml").read_text("utf-8")
    assert text.count("then: {effect: escalate, queue: q, sla: 1h}") == 1
    text = text.replace("then: {effect: escalate, queue: q, sla: 1h}", "then: {effect: refuse}")
    (candidate / "fast.yaml").write_text(text)
    moved = run(settings, str(candidate), "--minutes", "30")
    assert moved.exit_code == 0, moved.output
    assert "rule T-004: 2 escalate -> refuse" in moved.output
    assert (
        "escalations: 2 then, 0 with the candidate, 1.0 and 0.0 hours of reviewers at 30 minutes a case" in moved.output
    )
    assert "2 exchanges would have ended otherwise" in moved.output
    by_app = json.loads(run(settings, str(candidate), "--app", "other", "--format", "json").output)
    assert by_app["exchanges"] == 0
