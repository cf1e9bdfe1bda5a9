"""I8: whatever of ours is alive while an exchange is under way prints no content, wherever it may be printed."""

import asyncio
import gc
import json
import threading
import types
import urllib.request
from collections.abc import Iterator
from typing import Any

from aiohttp import web
from canaries import Canaries
from support.served import FAST_POLICIES
from support.server import completion, model_server, running_gateway

from gateway.settings import ModelSettings, RetrievalSettings, Settings

OURS = ("gateway", "rules")
FRAMES = (types.CoroutineType, types.AsyncGeneratorType)
CONTAINERS = (dict, list, tuple, set, frozenset)


def is_ours(value: Any) -> bool:
    return str(type(value).__module__).partition(".")[0] in OURS


def alive() -> Iterator[Any]:
    """Every object of a class of ours, also where only a container or the frame of a coroutine of ours holds it."""
    gc.collect()
    roots = [value for value in gc.get_objects() if is_ours(value) or type(value) in FRAMES]
    waiting, seen = list(roots), set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if is_ours(value):
            yield value
        waiting += [
            referent
            for referent in gc.get_referents(value)
            if is_ours(referent) or isinstance(referent, CONTAINERS) or type(referent) in FRAMES
        ]


class Held(web.Response):
    """A reply that comes when it is let go."""

    def __init__(self, release: threading.Event, body: dict[str, Any]) -> None:
        super().__init__(text=json.dumps(body), content_type="application/json")
        self._release = release

    async def prepare(self, request):
        await asyncio.get_running_loop().run_in_executor(None, self._release.wait, 30)
        return await super().prepare(request)


def test_no_object_alive_during_an_exchange_prints_content(tmp_path) -> None:
    canary, release = Canaries(), threading.Event()
    secret = tmp_path / "model-key"
    secret.write_text(canary("modelkey"))
    with model_server() as model:
        settings = Settings(
            data_dir=tmp_path,
            policies=(FAST_POLICIES,),
            models=(ModelSettings(name="real", provider="openai", base_url=model.url, api_key=f"file:{secret}"),),
            retrieval=RetrievalSettings(store="off"),
        )
        model.answer = lambda body: Held(release, completion(canary("answer")))
        with running_gateway(settings) as gateway:
            key = gateway.key()
            canary._words["key"] = key.rpartition("_")[2]
            body = {
                "model": "real",
                "messages": [
                    {"role": "system", "content": canary("system")},
                    {"role": "user", "content": f"{canary('query')} {canary('mail')}@mail.example"},
                ],
                "metadata": {"x": canary("metadata")},
            }
            request = urllib.request.Request(
                f"{gateway.url}/v1/chat/completions",
                json.dumps(body).encode(),
                {"authorization": f"Bearer {key}", "content-type": "application/json"},
            )
            caller = threading.Thread(target=lambda: urllib.request.urlopen(request, timeout=30).read())
            caller.start()
            while not model.received:
                caller.join(0.05)
            objects = list(alive())
            shown: dict[str, set[str]] = {}
            for value in objects:
                shown.setdefault(type(value).__name__, set()).update(canary.found_in(repr(value).encode()))
            release.set()
            caller.join(30)
    assert {"Exchange", "Prompt", "Segment", "Secret", "Principal", "ModelRequest", "Inspection"} <= shown.keys()
    assert {name: places for name, places in shown.items() if places} == {}
