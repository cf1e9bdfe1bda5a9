"""A running gateway for tests: the real application on loopback, in a thread with its own event loop."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import uvicorn
from aiohttp import web

from gateway.app import Application
from gateway.identity.key_store import KeyStore
from gateway.settings import Settings
from gateway.settings.folder import AUDIT_FILE, IDENTITY_FILE
from support.declared import check_log


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RunningGateway:
    """Where it listens, keys for it, and the paths of the requests it has got (also of those it could not record)."""

    def __init__(self, settings: Settings, port: int, requests: list[str]):
        self.settings = settings
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.requests = requests

    def key(
        self,
        *,
        tenant: str = "acme",
        app: str = "desk",
        user: str = "alice",
        groups=(),
        roles=(),
        models=("*",),
        **more,
    ) -> str:
        store = KeyStore.open(self.settings.data_dir / IDENTITY_FILE)
        try:
            created = store.create(
                tenant=tenant,
                app=app,
                user=user,
                groups=groups,
                roles=roles,
                models=models,
                now=datetime.now(UTC),
                **more,
            )
        finally:
            store.close()
        return created.key.reveal()


@contextmanager
def running_gateway(settings: Settings) -> Iterator[RunningGateway]:
    """Serve `settings` until the block ends."""
    port = free_port()
    application = Application(settings, {})
    requests: list[str] = []

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            requests.append(scope["path"])
        await application(scope, receive, send)

    config = uvicorn.Config(
        counted,
        host="127.0.0.1",
        port=port,
        log_config=None,
        access_log=False,
        ws="none",
        lifespan="on",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started:
        if not thread.is_alive() or time.monotonic() > until:
            raise RuntimeError("the gateway did not start")
        time.sleep(0.01)
    try:
        yield RunningGateway(settings, port, requests)
    finally:
        server.should_exit = True
        thread.join(20)
        check_log(settings.data_dir / AUDIT_FILE)


class ModelServer:
    """An OpenAI-compatible server that plays a script. `answer(body)` returns a completion body, or a list of chunks
    for a stream (each a dict, or bytes sent as they are); it records what it was sent."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[dict[str, Any]], Any] = lambda body: completion("Hello there.")
        self.pause_s = 0.0
        self.disconnects = 0
        self.url = ""

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.received.append(body)
        self.headers.append(dict(request.headers))
        made = self.answer(body)
        if isinstance(made, web.Response):
            return made
        if isinstance(made, dict) and not body.get("stream"):
            return web.json_response(made)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            for chunk in as_chunks(made) if isinstance(made, dict) else made:
                await response.write(
                    chunk if isinstance(chunk, bytes) else b"data: " + json.dumps(chunk).encode() + b"\n\n"
                )
                if self.pause_s:
                    await asyncio.sleep(self.pause_s)
            await response.write(b"data: [DONE]\n\n")
        except (ConnectionResetError, asyncio.CancelledError):
            self.disconnects += 1
            raise
        return response


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """Run a `ModelServer` on loopback until the block ends."""
    model = ModelServer()
    loop = asyncio.new_event_loop()
    started = threading.Event()
    port = free_port()

    app = web.Application()
    app.router.add_post("/v1/chat/completions", model._chat)
    runner = web.AppRunner(app, handler_cancellation=True)

    async def serve() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        started.set()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.run_forever()), daemon=True)
    thread.start()
    started.wait(10)
    model.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield model
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def completion(content: str | None, *, finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "upstream-1",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    }


def as_chunks(body: dict[str, Any], *, size: int = 4) -> list[dict[str, Any]]:
    """A completion as a stream of chunks of `size` characters."""
    head = {"id": body["id"], "object": "chat.completion.chunk", "created": body["created"], "model": body["model"]}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    message = body["choices"][0]["message"]
    content = message.get("content") or ""
    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({"content": content[i : i + size]}) for i in range(0, len(content), size)]
    for position, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        first = {**call, "index": position, "function": {"name": function["name"], "arguments": ""}}
        chunks.append(chunk({"tool_calls": [first]}))
        arguments = function["arguments"]
        chunks += [
            chunk({"tool_calls": [{"index": position, "function": {"arguments": arguments[i : i + size]}}]})
            for i in range(0, len(arguments), size)
        ]
    return [*chunks, chunk({}, body["choices"][0]["finish_reason"])]
