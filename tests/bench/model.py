"""The mock model: the least HTTP server that can answer, so that the machine's time goes to the proxies.

Serves `POST …/chat/completions` with keep-alive, whole or streamed as the body asks, one word a chunk; at once or
paced, as the name of the model says. Run as `python -m tests.bench.model <port>`.
"""

import asyncio
import itertools
import sys
from typing import Final, cast

import uvloop

from tests.bench.workload import PACE_S, PACED, UNIQUE, chunks, completion, unique_word

_STREAM: Final = (b'"stream":true', b'"stream": true')
_PACED: Final = f'"{PACED}"'.encode()
_MARK: Final = UNIQUE.encode()
_COMPLETION: Final = completion()
_WHOLE: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_COMPLETION) + _COMPLETION
)
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNKS: Final = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks()]
_END: Final = b"0\r\n\r\n"
_numbers: Final = itertools.count()


class MockModel(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._stream: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stream is not None:
            self._stream.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return
        self._received = b""
        assert self._transport is not None
        if any(mark in body for mark in _STREAM):
            self._stream = asyncio.get_running_loop().create_task(
                self._send_stream(self._transport, PACE_S if _PACED in body else 0.0)
            )
        else:
            self._transport.write(_fresh(_WHOLE))

    async def _send_stream(self, transport: asyncio.Transport, pace_s: float) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        transport.write(_HEAD)
        for number, chunk in enumerate(_CHUNKS):
            transport.write(_fresh(chunk))
            await asyncio.sleep(max(0.0, began + (number + 1) * pace_s - loop.time()))
        transport.write(_END)


def _fresh(data: bytes) -> bytes:
    """`data` with new words in the marked places; of the same length."""
    return data.replace(_MARK, unique_word(next(_numbers)).encode()) if _MARK in data else data


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(MockModel, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
