"""`GET /metrics`: the counts of this node, in the text format of Prometheus."""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, assert_never

from litestar.exceptions import NotFoundException
from litestar.types import Receive, Scope, Send

from gateway.domain.errors import RequestError
from gateway.edge.asgi import send_json, send_raw
from gateway.edge.door import Door, Entry
from gateway.edge.errors import error_reply
from gateway.metrics.exposition import CONTENT_TYPE
from gateway.reply import Raw, Reply

ROLES: Final = frozenset({"admin", "monitor"})
_LOOPBACK: Final = ("127.0.0.1", "::1")


class MetricsWire:
    """Answers those whom the settings let in: keys with one of `ROLES`, or this machine without any."""

    def __init__(
        self, door: Door, access: Literal["role", "loopback", "off"], exposition: Callable[[], Awaitable[bytes]]
    ) -> None:
        self._door = door
        self._access = access
        self._exposition = exposition

    async def metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        match self._access:
            case "off":
                raise NotFoundException
            case "role":
                await self._door.run(scope, receive, send, method="GET", serve=self._serve)
            case "loopback":
                await self._serve_machine(scope, send)
            case _:
                assert_never(self._access)

    async def _serve(self, entry: Entry) -> Reply:
        if entry.principal.roles.isdisjoint(ROLES):
            raise RequestError(
                "metrics need a key with role `admin` or `monitor`", code="permission_denied", status=403
            )
        return Reply(headers={}, raw=Raw(content=await self._exposition(), content_type=CONTENT_TYPE))

    async def _serve_machine(self, scope: Scope, send: Send) -> None:
        """A scrape is no exchange, and leaves no event: nothing is said of anyone."""
        client = scope.get("client")
        if client is None or client[0] not in _LOOPBACK:
            raise NotFoundException
        if scope.get("method") != "GET":
            error = RequestError("use GET here", code="method_not_allowed", status=405, allow="GET")
            answer = error_reply(error, exchange="")
            await send_json(send, answer.status, answer.headers, answer.body)
            return
        await send_raw(send, 200, {}, await self._exposition(), CONTENT_TYPE)
