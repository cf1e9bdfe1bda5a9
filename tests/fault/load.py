"""Clients that notice exactly how far each exchange came."""

import asyncio
import itertools
import json
from typing import Any

import aiohttp


class Seen:
    """What clients have received so far."""

    def __init__(self) -> None:
        self.complete: set[str] = set()  # exchanges whose whole answer arrived, the end of the stream included
        self.begun: set[str] = set()  # exchanges of which at least one byte of the answer arrived
        self.statuses: list[int] = []
        self.unavailable: list[tuple[Any, dict[str, Any]]] = []  # headers and body of each 503
        self.cut_off: list[str] = []  # the codes of errors inside streams


async def ask(session: aiohttp.ClientSession, url: str, key: str, seen: Seen, *, content: str, stream: bool) -> None:
    """One exchange. A connection that breaks is part of the test."""
    body = {"model": "real", "messages": [{"role": "user", "content": content}], "stream": stream}
    try:
        async with session.post(
            f"{url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
        ) as response:
            seen.statuses.append(response.status)
            exchange = response.headers.get("x-gateway-audit-id", "")
            if response.status == 503:
                seen.unavailable.append((response.headers, json.loads(await response.read())))
                return
            async for _ in response.content:
                seen.begun.add(exchange)
                break
            rest = await response.read()
            if response.status == 200 and (not stream or rest.rstrip().endswith(b"data: [DONE]")):
                seen.complete.add(exchange)
            if stream and b'data: {"error"' in rest:
                seen.cut_off.append(json.loads(rest[rest.index(b'data: {"error"') + 6 :])["error"]["code"])
    except (aiohttp.ClientError, ConnectionError, TimeoutError):
        pass


async def keep_asking(url: str, key: str, seen: Seen, *, clients: int, stop: asyncio.Event) -> None:
    """Whole and streamed exchanges from `clients` clients at once, until told to stop."""
    numbers = itertools.count()

    async def client(position: int) -> None:
        async with aiohttp.ClientSession() as session:
            while not stop.is_set():
                number = next(numbers)
                await ask(session, url, key, seen, content=f"question {number}", stream=(number + position) % 2 == 0)
                await asyncio.sleep(0)

    await asyncio.gather(*(client(position) for position in range(clients)))
