"""A caller that sees bytes, and what the audit log says of it: for tests of the wire against a running gateway."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp

from gateway.settings import (
    AppSettings,
    BlockMode,
    LimitSettings,
    ModelSettings,
    RetrievalSettings,
    ServerSettings,
    Settings,
)
from gateway.settings.folder import AUDIT_FILE
from support.server import ModelServer, RunningGateway, completion

POLICIES = Path(__file__).parent / "policies"
STRICT_APP = "strict"
CHAT = "/v1/chat/completions"


def wire_settings(data_dir: Path, model: ModelServer, **changes: Any) -> Settings:
    """The model `real` behind the gateway, `extractive` with passages, fast policies, one app in error mode."""
    given: dict[str, Any] = {
        "data_dir": data_dir,
        "policies": (POLICIES,),
        "models": (
            ModelSettings(name="real", provider="openai", base_url=model.url, retries=0, breaker_failures=1_000_000),
            ModelSettings(name="extractive", provider="extractive"),
        ),
        "retrieval": RetrievalSettings(models=("extractive",)),
        "apps": {STRICT_APP: AppSettings(block_mode=BlockMode.ERROR)},
        "limits": LimitSettings(requests_per_minute=1_000_000, burst=100_000),
        "server": ServerSettings(max_body_bytes=200_000, max_text_chars=50_000, max_messages=100),
    }
    return Settings(**(given | changes))


def rewind(model: ModelServer) -> ModelServer:
    """A clean record and script for the next test."""
    model.received, model.headers, model.pause_s, model.disconnects = [], [], 0.0, 0
    model.answer = lambda body: completion("Hello there.")
    return model


def events(gateway: RunningGateway, *, after: int = 0) -> list[dict[str, Any]]:
    """The events in the audit log of a running gateway behind place `after`, in order; `seq` is the place."""
    return _rows(gateway, "select * from events where seq > ? order by seq", after)


def last_place(gateway: RunningGateway) -> int:
    """The place of the newest event."""
    (row,) = _rows(gateway, "select max(seq) as place from events")
    return int(row["place"])


def _rows(gateway: RunningGateway, query: str, *values: Any) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"file:{gateway.settings.data_dir / AUDIT_FILE}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(query, values)]


class Answered:
    """A response that was read to its end."""

    def __init__(self, status: int, headers: Any, raw: bytes) -> None:
        self.status = status
        self.headers = headers
        self.raw = raw

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def items(self) -> list[str]:
        """The items of a stream as they were sent."""
        return [line[6:] for line in self.raw.decode().split("\n\n") if line.startswith("data: ")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(item) for item in self.items if item != "[DONE]"]

    @property
    def text(self) -> str:
        """The content of the first choice, streamed or not."""
        if not self._streamed:
            return self.body["choices"][0]["message"]["content"] or ""
        return "".join(c["delta"].get("content") or "" for chunk in self.chunks for c in chunk.get("choices", ()))

    @property
    def finish(self) -> str | None:
        if not self._streamed:
            return self.body["choices"][0]["finish_reason"]
        found = [c["finish_reason"] for chunk in self.chunks for c in chunk.get("choices", ()) if c["finish_reason"]]
        assert len(found) <= 1, "a stream has one end"
        return found[0] if found else None

    @property
    def arguments(self) -> str:
        """The arguments of the first tool call, streamed or not; empty if there is none."""
        if not self._streamed:
            calls = self.body["choices"][0]["message"].get("tool_calls") or []
        else:
            deltas = [c["delta"] for chunk in self.chunks for c in chunk.get("choices", ())]
            calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
        return "".join(call["function"]["arguments"] for call in calls)

    @property
    def exchange(self) -> str:
        return self.headers["x-gateway-audit-id"]

    @property
    def _streamed(self) -> bool:
        return self.headers["content-type"].startswith("text/event-stream")


class Caller:
    """Sends bytes with a key of its own."""

    def __init__(self, gateway: RunningGateway, **principal: Any) -> None:
        self.gateway = gateway
        self.key = gateway.key(**principal)

    async def send(
        self, path: str = CHAT, data: bytes | None = None, *, method: str = "", headers: dict[str, str] | None = None
    ) -> Answered:
        """`data` as it is; the content type is that of JSON."""
        sent = {"authorization": f"Bearer {self.key}", "content-type": "application/json", **(headers or {})}
        method = method or ("GET" if data is None else "POST")
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.gateway.url + path, data=data, headers=sent) as response,
        ):
            return Answered(response.status, response.headers, await response.read())

    async def chat(self, content: Any = "hi", *, headers: dict[str, str] | None = None, **more: Any) -> Answered:
        """A chat completion of `real`; `content` is the user's text, or all messages."""
        messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
        body = {"model": "real", "messages": messages, **more}
        return await self.send(CHAT, json.dumps(body).encode(), headers=headers)

    def recorded(self, exchange: str) -> list[dict[str, Any]]:
        """The events of one exchange."""
        query = "select * from events where request <> '' and request = ? order by seq"
        return _rows(self.gateway, query, exchange)


def error_of(answered: Answered) -> dict[str, Any]:
    """The error object, checked against the shape that no client loses a part of."""
    assert answered.headers["content-type"] == "application/json"
    error = answered.body["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert isinstance(error["code"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert "\n" not in error["message"]
    assert "Traceback" not in error["message"]
    return error
