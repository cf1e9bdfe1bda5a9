"""`POST /v1/gateway/feedback`: what a caller thinks of an answer, in the audit log beside the answer's own events."""

import re
from collections.abc import Awaitable, Callable
from typing import Final

from litestar.types import Receive, Scope, Send

from gateway.domain.errors import RequestError
from gateway.domain.event import EventDraft, EventType
from gateway.domain.ports import AuditLog
from gateway.domain.principal import Principal
from gateway.edge.door import Door, Entry
from gateway.reply import COMPLETION_PREFIX, Reply

RATINGS: Final = ("good", "bad")
REASONS: Final = ("wrong", "incomplete", "outdated", "unsafe", "blocked_wrongly", "other")
_ID: Final = re.compile(re.escape(COMPLETION_PREFIX) + "([0-9a-f]{32})")

Asked = Callable[[str, Principal], Awaitable[bool]]
"""Whether this exchange is one of this principal's."""


class FeedbackWire:
    """The ASGI application of the route. Words of the caller are not taken: the log holds no free text."""

    def __init__(self, door: Door, audit: AuditLog, asked: Asked) -> None:
        self._door = door
        self._audit = audit
        self._asked = asked

    async def feedback(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def serve(entry: Entry) -> Reply:
            match = _ID.fullmatch(str(entry.body.get("id", "")))
            rating, reason = entry.body.get("rating"), entry.body.get("reason", "other")
            if rating not in RATINGS:
                raise RequestError("`rating` is `good` or `bad`", code="invalid_value", param="rating")
            if reason not in REASONS:
                names = ", ".join(f"`{name}`" for name in REASONS)
                raise RequestError(f"`reason` is one of {names}", code="invalid_value", param="reason")
            if match is None or not await self._asked(match[1], entry.principal):
                raise RequestError(
                    "no answer of this key has this `id`", code="answer_not_found", status=404, param="id"
                )
            receipt = await self._audit.append(
                EventDraft(
                    type=EventType.FEEDBACK,
                    request=match[1],
                    tenant=entry.principal.tenant,
                    app=entry.principal.app,
                    principal=entry.principal.ref,
                    body={"rating": rating, "reason": reason},
                )
            )
            body = {"object": "gateway.feedback", "id": entry.body["id"], "event": receipt.id}
            return Reply(headers={"x-request-id": entry.exchange}, body=body)

        await self._door.run(scope, receive, send, method="POST", serve=serve)
