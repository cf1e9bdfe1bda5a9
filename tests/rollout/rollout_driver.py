"""Talks to a running gateway of which the policies change."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from gateway.audit.read import AuditReader, Filter
from gateway.domain.event import EventType

DEADLINE_S = 20.0


class Client:
    def __init__(self, url: str, key: str, session: aiohttp.ClientSession) -> None:
        self.url, self._session = url, session
        self._headers = {"authorization": f"Bearer {key}"}

    async def ask(self, content: str, *, stream: bool = False) -> tuple[int, dict[str, Any], str]:
        """Status, headers (lower case) and body as text."""
        body = {"model": "real", "stream": stream, "messages": [{"role": "user", "content": content}]}
        async with self._session.post(f"{self.url}/v1/chat/completions", json=body, headers=self._headers) as response:
            return response.status, {k.lower(): v for k, v in response.headers.items()}, await response.text()

    async def decision(self, content: str) -> str:
        status, headers, _ = await self.ask(content)
        assert status == 200
        return headers["x-gateway-decision"]

    async def ready(self) -> tuple[int, dict[str, Any]]:
        async with self._session.get(f"{self.url}/health/ready") as response:
            return response.status, await response.json()

    async def policy(self) -> dict[str, Any]:
        return (await self.ready())[1]["policy"]

    async def until(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The state of the policies once it is as wanted."""
        end = time.monotonic() + DEADLINE_S
        while not what(state := await self.policy()):
            assert time.monotonic() < end, state
            await asyncio.sleep(0.02)
        return state


def events(data: Path, *types: EventType) -> list[dict[str, Any]]:
    with AuditReader(data / "audit.db") as reader:
        return [one.members for one in reader.search(Filter(types=frozenset(type_.value for type_ in types)))]
