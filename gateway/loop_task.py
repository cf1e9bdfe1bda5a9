"""Work that goes on beside the requests, in a task of the event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


class LoopTask:
    """One coroutine function, run from `start` until it ends or `stop` cancels it. Belongs to one event loop."""

    def __init__(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._run = run
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancel it and wait for its end. Nothing happens if it was not started."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
