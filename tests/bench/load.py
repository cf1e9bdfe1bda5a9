"""The load generator: raw sockets with keep-alive, bounded in count and in time, loopback only."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import cast

from msgspec import Struct, field

from tests.bench.workload import CREATED, UNIQUE, unique_word

_MARK = UNIQUE.encode()
_ANSWER_S = 20.0


class Asking:
    """Requests for one server: fresh ones from the bodies given, in turn."""

    def __init__(self, port: int, bodies: tuple[bytes, ...], *, key: str = "", first: int = 0) -> None:
        self.port = port
        self._number = first
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
            + (f"authorization: Bearer {key}\r\n" if key else "")
            + "content-length: {length}\r\n\r\n"
        )
        self._requests = [head.format(length=len(body)).encode() + body for body in bodies]

    def next(self) -> bytes:
        self._number += 1
        request = self._requests[self._number % len(self._requests)]
        return request.replace(_MARK, unique_word(self._number).encode())


class Load(Struct, kw_only=True):
    """What a run of load came to. Times are in seconds."""

    answers: int = 0
    failures: int = 0
    took_s: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.answers / self.took_s

    def latency_ms(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3


async def run_load(asking: Asking, *, connections: int, seconds: float, at_most: int = 1_000_000) -> Load:
    """Each connection asks again as soon as it is answered, until the time or the count is used up."""
    loop = asyncio.get_running_loop()
    load = Load()
    until = loop.time() + seconds

    def go_on() -> bool:
        return loop.time() < until and load.answers + load.failures < at_most

    began = loop.time()
    clients = [
        (await loop.create_connection(lambda: _Client(asking, load, go_on), "127.0.0.1", asking.port))[1]
        for _ in range(connections)
    ]
    async with asyncio.timeout(seconds + _ANSWER_S):
        await asyncio.gather(*(client.done for client in clients))
    load.took_s = loop.time() - began
    return load


class _Client(asyncio.Protocol):
    """One connection of a closed loop. Answers carry a content length."""

    def __init__(self, asking: Asking, load: Load, go_on: Callable[[], bool]) -> None:
        self._asking = asking
        self._load = load
        self._go_on = go_on
        self._received = b""
        self._needed = 0
        self._asked = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._load.failures += 1
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if not self._needed:
            head, separator, _ = self._received.partition(b"\r\n\r\n")
            if not separator:
                return
            at = head.lower().index(b"content-length:")
            self._needed = len(head) + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._received) < self._needed:
            return
        self._load.latencies.append(time.perf_counter() - self._asked)
        if self._received.startswith(b"HTTP/1.1 200"):
            self._load.answers += 1
        else:
            self._load.failures += 1
        self._received, self._needed = b"", 0
        if self._go_on():
            self._ask()
            return
        self.done.set_result(None)
        assert self._transport is not None
        self._transport.close()

    def _ask(self) -> None:
        assert self._transport is not None
        self._asked = time.perf_counter()
        self._transport.write(self._asking.next())


class Arrival(Struct, frozen=True):
    """Content: seconds since the request, characters so far, and the number of the model's chunk that let it go."""

    at: float
    chars: int
    chunk: int


class Trace(Struct, kw_only=True):
    """One stream as it arrived: its events, and those with content."""

    events: int = 0
    arrivals: list[Arrival] = field(default_factory=list)

    @property
    def first_ms(self) -> float:
        return self.arrivals[0].at * 1e3

    @property
    def last_ms(self) -> float:
        return self.arrivals[-1].at * 1e3


def run_streams(asking: Asking, *, count: int) -> list[Trace]:
    """Streams one after the other on one connection, read as their bytes arrive."""
    with socket.create_connection(("127.0.0.1", asking.port), timeout=_ANSWER_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return [_stream(connection, asking.next()) for _ in range(count)]


def _stream(connection: socket.socket, request: bytes) -> Trace:
    began = time.perf_counter()
    connection.sendall(request)
    received = b""
    parts: list[tuple[float, bytes]] = []
    while not received.endswith(b"\r\n0\r\n\r\n"):
        part = connection.recv(65_536)
        if not part:
            raise RuntimeError("the stream was cut off")
        parts.append((time.perf_counter() - began, part))
        received += part
    if not received.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the stream was not opened: {received[:12]!r}")
    trace = Trace()
    chars = 0
    for at, event in _events(parts):
        if event == b"[DONE]":
            continue
        trace.events += 1
        body = json.loads(event)
        for choice in body["choices"]:
            content = choice["delta"].get("content")
            if content:
                chars += len(content)
                trace.arrivals.append(Arrival(at, chars, body["created"] - CREATED))
    return trace


def _events(parts: list[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """Events with the time at which their last byte came. Frames of the transfer coding are taken off."""
    buffer, text = b"", b""
    in_head = True
    for at, part in parts:
        buffer += part
        if in_head:
            _, separator, rest = buffer.partition(b"\r\n\r\n")
            if not separator:
                continue
            in_head, buffer = False, rest
        while (frame := _frame(buffer)) is not None:
            size, start = frame
            text += buffer[start : start + size]
            buffer = buffer[start + size + 2 :]
            if size == 0:
                break
        while b"\n\n" in text:
            event, _, text = text.partition(b"\n\n")
            if event.startswith(b"data: "):
                yield at, event[6:]


def _frame(buffer: bytes) -> tuple[int, int] | None:
    """Size and start of the first whole frame."""
    line, separator, rest = buffer.partition(b"\r\n")
    if not separator:
        return None
    size = int(line, 16)
    return (size, len(line) + 2) if len(rest) >= size + 2 else None
