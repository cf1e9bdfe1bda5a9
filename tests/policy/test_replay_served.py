"""Replay over the log of a gateway that was served over HTTP, with its real detectors."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result
from support.server import completion, model_server, running_gateway

from gateway.assembly.bodies import wrappers_of
from gateway.assembly.erasure import body_reader
from gateway.assembly.node import open_audit
from gateway.assembly.recomputing import recomputing
from gateway.audit.read import AuditReader, Filter
from gateway.commands.policy import policy
from gateway.detectors import build_detectors, installed_kinds, installed_signals
from gateway.policy.bundle import Bundle
from gateway.policy.replay import Recompute
from gateway.settings import AppSettings, CaptureLevel, LimitSettings, ModelSettings, RetrievalSettings, Settings
from gateway.settings.folder import AUDIT_FILE

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


def built(bundle: Bundle, settings: Settings, suffix: str) -> list[Any]:
    """The detectors as they would serve the bundle, each of a version that ends so."""
    detectors: list[Any] = build_detectors(bundle, settings.inspection, lambda: None)
    for one in detectors:
        one.version = f"{one.version}{suffix}"
    return detectors


@contextmanager
def opening(bundle: Bundle, settings: Settings, reason: str, suffix: str) -> Iterator[Recompute]:
    audit = open_audit(settings)
    reader = body_reader(settings, wrappers_of(settings, {}), audit)
    with recomputing(reader, settings, built(bundle, settings, suffix), by="os:1", reason=reason) as recompute:
        yield recompute
    audit.close()


def run(settings: Settings, *arguments: str, suffix: str = "") -> Result:
    """`suffix` makes every detector one of another version than served."""
    context = {
        "signals": installed_signals(settings.inspection),
        "kinds": installed_kinds(),
        "settings": settings,
        "versions": lambda bundle: {one.name: one.version for one in built(bundle, settings, suffix)},
        "recomputing": lambda bundle, reason: opening(bundle, settings, reason, suffix),
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


def readings(settings: Settings) -> list[tuple[str, str]]:
    """Which texts were opened, and why."""
    with AuditReader(settings.data_dir / AUDIT_FILE) as reader:
        found = [event.members for event in reader.search(Filter(types=frozenset({"body.read"})))]
    return [(str(one["field"]), str(one["reason"])) for one in found]


def served(folder: Path, url: str, capture: CaptureLevel) -> Settings:
    return Settings(
        data_dir=folder,
        policies=(POLICIES,),
        models=(ModelSettings(name="real", provider="openai", base_url=url),),
        retrieval=RetrievalSettings(store="off"),
        limits=LimitSettings(requests_per_minute=100_000, burst=10_000, concurrent=100),
        apps={"desk": AppSettings(observe_level=4, capture=capture)},
    )


async def asked(settings: Settings) -> None:
    with running_gateway(settings) as gateway:
        headers = {"authorization": f"Bearer {gateway.key(app='desk')}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for stream in (False, True):
                for question in QUESTIONS:
                    message = {"role": "user", "content": question}
                    body = {"model": "real", "stream": stream, "messages": [message]}
                    async with session.post(f"{gateway.url}/v1/chat/completions", json=body) as response:
                        await response.read()


def test_kept_texts_stand_in_for_what_the_record_lacks(tmp_path: Path) -> None:
    """With detectors of another version nothing is exact; the same policies over the kept texts decide the same."""
    with model_server() as model:
        model.answer = answered
        settings = served(tmp_path / "data", model.url, CaptureLevel.ENCRYPTED_BODY)
        asyncio.run(asked(settings))
    told = ("--format", "json", "--expect-same", str(POLICIES))
    without = json.loads(run(settings, *told, suffix="+new").output)
    assert without["exact"] + without["recomputed"] < without["exchanges"] == 10
    assert readings(settings) == []
    same = run(settings, "--bodies", "--reason", "CHG-17 new version", *told, suffix="+new")
    assert same.exit_code == 0, same.output
    shown = json.loads(same.output)
    assert (shown["recomputed"], shown["not_replayable"]["count"], shown["changed"]) == (10, 0, 0)
    opened = readings(settings)
    assert {field for field, _ in opened} == {"request", "candidate"}
    assert {why for _, why in opened} == {"CHG-17 new version"}
    exact = json.loads(run(settings, "--bodies", "--reason", "CHG-17 new version", *told).output)
    assert (exact["exact"], exact["recomputed"]) == (10, 0)
    assert readings(settings) == opened, "what the record holds opens nothing"
    text = run(settings, "--bodies", "--reason", "CHG-17 new version", str(POLICIES), suffix="+new").output
    assert "0 exact, 10 recomputed, 0 not replayable" in text


def test_what_was_not_kept_stays_not_replayable(tmp_path: Path) -> None:
    with model_server() as model:
        model.answer = answered
        settings = served(tmp_path / "data", model.url, CaptureLevel.SIGNALS)
        asyncio.run(asked(settings))
    told = json.loads(
        run(
            settings, "--bodies", "--reason", "CHG-17 new version", "--format", "json", str(POLICIES), suffix="+n"
        ).output
    )
    assert told["recomputed"] == 0
    assert told["not_replayable"]["count"] > 0
    assert readings(settings) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--bodies",), "needs `--reason`"),
        (("--bodies", "--reason", "short"), "needs `--reason`"),
        (("--bodies", "--reason", "CHG-17 new version", "--bundle", str(POLICIES)), "leave `--log` and `--bundle` out"),
    ],
)
def test_opening_texts_needs_a_reason_and_the_data_folder(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    result = run(Settings(data_dir=tmp_path), str(POLICIES), *arguments)
    assert result.exit_code == 2
    assert says in result.output
