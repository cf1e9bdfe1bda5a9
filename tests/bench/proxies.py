"""The floors: proxies that only copy. They check nothing, record nothing and hide nothing.

`litestar` is what a careful team would write first; `bare` leaves the framework out. Both pass bytes through without
decoding them, so what separates them from the gateway is all that the gateway does. Run as
`python -m tests.bench.proxies litestar|bare <port> <model url>`.
"""

import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import uvicorn
from litestar import Litestar, Request, Response, post
from litestar.response import Stream

_PATH = "/chat/completions"
_JSON = {"content-type": "application/json"}
_STREAM = b'"stream": true'


class Model:
    """A pool of connections to the model, opened on the first call."""

    def __init__(self, url: str) -> None:
        self._url = url + _PATH
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, body: bytes) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, headers=_JSON
            )
        return await self._session.post(self._url, data=body)


def litestar(url: str) -> Litestar:
    model = Model(url)

    async def copied(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        async for part in answer.content.iter_any():
            yield part

    @post("/v1/chat/completions", status_code=200)
    async def chat(request: Request[Any, Any, Any]) -> Response[Any]:
        body = await request.body()
        answer = await model.ask(body)
        if _STREAM in body:
            return Stream(copied(answer), media_type="text/event-stream")
        return Response(await answer.read(), media_type="application/json")

    return Litestar([chat], openapi_config=None, logging_config=None)


class Bare:
    """A plain ASGI application."""

    def __init__(self, url: str) -> None:
        self._model = Model(url)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        answer = await self._model.ask(body)
        if _STREAM in body:
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-type", b"text/event-stream")],
                }
            )
            async for part in answer.content.iter_any():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        content = await answer.read()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def main() -> None:
    kind, port, url = sys.argv[1:]
    uvicorn.run(
        litestar(url) if kind == "litestar" else Bare(url),
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
    )


if __name__ == "__main__":
    main()
