"""Health, the only routes that need no key. They say whether, never what."""

from collections.abc import Callable
from typing import Final

from litestar.types import Receive, Scope, Send
from msgspec import Struct

from gateway.domain.errors import RequestError
from gateway.edge.asgi import send_json
from gateway.edge.errors import error_reply

_METHODS: Final = ("GET", "HEAD")
_ALLOW: Final = ", ".join(_METHODS)


class Health(Struct, frozen=True, kw_only=True):
    """What must be true for the gateway to answer at all."""

    audit: bool

    @property
    def ready(self) -> bool:
        return self.audit


class HealthWire:
    """The two probes. Their requests are no exchanges: they come every few seconds, and no event is written."""

    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The process answers."""
        if await _refused(scope, send):
            return
        await send_json(send, 200, {}, {"status": "ok"})

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Requests can be served: the audit log takes events."""
        if await _refused(scope, send):
            return
        health = self._health()
        status = 200 if health.ready else 503
        body = {"status": "ok" if health.ready else "unavailable", "checks": {"audit": health.audit}}
        await send_json(send, status, {}, body)


async def _refused(scope: Scope, send: Send) -> bool:
    """Answer 405 to a method that a probe does not use."""
    if scope.get("method") in _METHODS:
        return False
    error = RequestError(f"use {_ALLOW} here", code="method_not_allowed", status=405, allow=_ALLOW)
    answer = error_reply(error, exchange="")
    await send_json(send, answer.status, answer.headers, answer.body)
    return True
