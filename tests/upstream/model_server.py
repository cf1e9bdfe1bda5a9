"""A model server on loopback that says exactly the bytes it is told to, so that it can misbehave in any way."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.settings import ModelSettings

HANG = object()  # say nothing more until the client goes away
CUT = object()  # close the connection here

Step = bytes | float | object  # bytes to send, seconds to wait, HANG or CUT


@dataclass
class Seen:
    path: str
    headers: dict[str, str]
    body: dict


@dataclass
class ModelServer:
    scripts: list[Sequence[Step]]
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # a client left while we were talking

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def settings(self, **changes) -> ModelSettings:
        fields = {"name": "m", "provider": "openai", "base_url": self.base_url, "retries": 0, **changes}
        return ModelSettings(**fields)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()

    async def _exchange(self, reader, writer) -> bool:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        except asyncio.IncompleteReadError:
            return False
        lines = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in lines}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.seen.append(Seen(head[0].split()[1], headers, body))
        self.asked.set()
        script = self.scripts[min(len(self.seen), len(self.scripts)) - 1]
        for step in script:
            if step is CUT:
                return False
            if step is HANG:
                await reader.read()  # returns when the client closes
                self.gone.set()
                return False
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                writer.write(step)
                await writer.drain()
        return True


@asynccontextmanager
async def model_server(*scripts: Sequence[Step]) -> AsyncIterator[ModelServer]:
    """Answer the n-th request by the n-th script, later ones by the last."""
    served = ModelServer(list(scripts))
    tasks: set[asyncio.Task] = set()

    def accept(reader, writer):
        task = asyncio.ensure_future(served.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def reply(body: object, *, status: str = "200 OK", content_type: str = "application/json", extra: str = "") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(raw)}\r\n{extra}\r\n"
    return head.encode() + raw


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


def part(raw: bytes) -> bytes:
    """One HTTP chunk."""
    return f"{len(raw):x}\r\n".encode() + raw + b"\r\n"


def event(body: object) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return b"data: " + raw + b"\n\n"


def delta(text: str | None = None, *, index: int = 0, finish: str | None = None) -> dict:
    content = {} if text is None else {"content": text}
    return {"object": "chat.completion.chunk", "choices": [{"index": index, "delta": content, "finish_reason": finish}]}


def completion(text: str = "hello") -> dict:
    message = {"role": "assistant", "content": text}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
