"""The HTTP plumbing of the wire routes: bounded reads, writes, server-sent events, a watch for clients that leave.

These routes are plain ASGI applications mounted in Litestar: a proxy reads and writes whole bodies, and Litestar's
own stream response would add a millisecond to the first chunk (measured; DECISIONS.md).
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from litestar.types import Receive, Scope, Send

from gateway.domain.errors import GuardUnavailable, RequestError
from gateway.domain.text import Secret
from gateway.reply import Download, StreamedReply
from gateway.wire.body import encode_body

PULSE_S: Final = 10.0
"""A silent stream gets a comment this often, so that no proxy on the way takes it for dead."""

GRACE_S: Final = 0.1
"""A client that leaves sooner is noticed then: most exchanges without a slow model are over, and need no watch."""

_JSON: Final = (b"content-type", b"application/json")
_EVENT_STREAM: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
_PULSE: Final = b": keep-alive\n\n"
_DONE: Final = b"data: [DONE]\n\n"
_END: Final[Any] = {"type": "http.response.body", "body": b"", "more_body": False}

STOPPING: Final = "the gateway is stopping: its grace period is over"


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


def header(scope: Scope, name: bytes) -> str:
    """The value of a request header, `""` if absent; of several the first."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return ""


def credential(scope: Scope) -> Secret | None:
    """The API key: `Authorization: Bearer …` (OpenAI), `api-key` (Azure) or `x-api-key` (Anthropic)."""
    authorization = header(scope, b"authorization")
    if authorization:
        scheme, _, value = authorization.partition(" ")
        return Secret(value.strip()) if scheme.lower() == "bearer" and value.strip() else None
    value = header(scope, b"api-key") or header(scope, b"x-api-key")
    return Secret(value) if value else None


async def read_body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """The request body. Raises `RequestError` (413) as soon as it is known to exceed `limit` bytes, and
    `ClientGoneError`."""
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    if header(scope, b"content-encoding").lower() not in ("", "identity"):
        raise RequestError("compressed request bodies are not accepted", code="unsupported_encoding", status=415)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part: bytes = message.get("body", b"")  # type: ignore[assignment]  # http.request carries bytes
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def send_json(send: Send, status: int, headers: Mapping[str, str], body: Any) -> None:
    payload = encode_body(body)
    await send(_start(status, headers, _JSON, (b"content-length", str(len(payload)).encode())))
    await send({"type": "http.response.body", "body": payload, "more_body": False})


async def send_raw(send: Send, status: int, headers: Mapping[str, str], payload: bytes, content_type: str) -> None:
    fixed = (b"content-type", content_type.encode("latin-1")), (b"content-length", str(len(payload)).encode())
    await send(_start(status, headers, *fixed))
    await send({"type": "http.response.body", "body": payload, "more_body": False})


async def send_download(send: Send, status: int, headers: Mapping[str, str], download: Download) -> None:
    """A file, part by part. A client that leaves, or a part that cannot be read, ends the connection early: what has
    come is shorter than its declared length."""
    try:
        fixed = (b"content-type", download.media_type.encode()), (b"content-length", str(download.size).encode())
        await send(_start(status, headers, *fixed))
        async for part in download.chunks():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send(_END)
    finally:
        await asyncio.shield(download.close())


async def send_stream(
    send: Send, headers: Mapping[str, str], stream: StreamedReply, as_error: Callable[[Exception], Any]
) -> None:
    """Server-sent events until the stream ends. An error after the first byte becomes an `error` item, the shape
    that clients raise on, and no `[DONE]` follows it; so does the stop of the server. `as_error` sees each once."""
    await send(_start(200, headers, *_EVENT_STREAM))
    pulse = _Pulse(send)
    try:
        async for chunk in stream.chunks():
            await pulse.send(b"data: " + encode_body(chunk) + b"\n\n")
        await pulse.send(_DONE)
    except Exception as error:  # noqa: BLE001 -- mapped to a wire error, which is where exceptions end
        await pulse.send(b"data: " + encode_body(as_error(error)) + b"\n\n")
    except asyncio.CancelledError:
        # Settled first: whoever has seen the end of a stream can rely on its record. A client that has left sees
        # nothing of this.
        await asyncio.shield(stream.close())
        await pulse.send(b"data: " + encode_body(as_error(GuardUnavailable(STOPPING))) + b"\n\n")
        await send(_END)
        raise
    finally:
        pulse.stop()
        await asyncio.shield(stream.close())
    await send(_END)


class DisconnectWatch:
    """Cancels the task it was entered in when the client leaves, and turns that into `ClientGoneError`.

    Only one task may read from `receive`: enter after the body has been read. The watch begins after `GRACE_S`.
    """

    __slots__ = ("_gone", "_owner", "_receive", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self._owner: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._owner = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(GRACE_S, self._begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._timer is not None
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if not self._gone:
            return
        assert self._owner is not None
        if error is None:
            # The client left at the last moment: take the cancellation here, or whoever awaits next gets it.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            self._owner.uncancel()
        elif isinstance(error, asyncio.CancelledError):
            self._owner.uncancel()
            raise ClientGoneError from None

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        assert self._owner is not None
        self._owner.cancel()


class _Pulse:
    """Sends events, and a comment whenever none was sent for a while."""

    __slots__ = ("_loop", "_send", "_sent_at", "_task")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._task = asyncio.create_task(self._beat())

    async def send(self, data: bytes) -> None:
        self._sent_at = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def stop(self) -> None:
        self._task.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._sent_at + PULSE_S - self._loop.time())
            if self._loop.time() - self._sent_at >= PULSE_S:
                await self.send(_PULSE)


def _start(status: int, headers: Mapping[str, str], *fixed: tuple[bytes, bytes]) -> Any:
    own = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": [*fixed, *own]}


def _too_large(limit: int) -> RequestError:
    return RequestError(f"the body is larger than {limit} bytes", code="body_too_large", status=413)
