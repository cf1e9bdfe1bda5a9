"""Health, the only routes that need no key. They say whether, never what."""

from collections.abc import Callable

from litestar.types import Receive, Scope, Send
from msgspec import Struct

from gateway.edge.asgi import send_json


class Health(Struct, frozen=True, kw_only=True):
    """What must be true for the gateway to answer at all."""

    audit: bool

    @property
    def ready(self) -> bool:
        return self.audit


class HealthWire:
    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The process answers."""
        await send_json(send, 200, {}, {"status": "ok"})

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Requests can be served: the audit log takes events."""
        health = self._health()
        status = 200 if health.ready else 503
        body = {"status": "ok" if health.ready else "unavailable", "checks": {"audit": health.audit}}
        await send_json(send, status, {}, body)
