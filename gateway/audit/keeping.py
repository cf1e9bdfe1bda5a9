"""An audit log that keeps the texts of exchanges: encrypted and on disk before the event that names them.

INVARIANT: an event that names a text is written after the text is durable. Where a text that has to be kept cannot be,
the event is written without it and says so (`uncaptured`), and the caller gets `AuditUnavailable`: nothing is released.
"""

import asyncio
from typing import Any, Final

from msgspec import structs

from gateway.audit.body_writer import BodyWriter
from gateway.audit.data_keys import KeyOwner
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import Commitment, EventDraft, EventType, Receipt
from gateway.domain.ports import AuditLog

UNCAPTURED: Final = "bodies_unavailable"
"""Code of the error that ends an exchange whose texts could not be kept."""


class KeepingLog:
    """The port `AuditLog` over another one. For one event loop."""

    def __init__(self, log: AuditLog, writer: BodyWriter) -> None:
        self._log = log
        self._writer = writer
        self._under_way: set[asyncio.Task[Receipt]] = set()

    @property
    def healthy(self) -> bool:
        """Whether the texts that came last could be kept."""
        return self._writer.healthy

    async def append(self, draft: EventDraft) -> Receipt:
        """As the port says; a cancelled caller cancels neither the texts nor the event."""
        if not draft.bodies:
            return await self._log.append(draft)
        task = asyncio.get_running_loop().create_task(self._keep(draft))
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def drained(self) -> None:
        """Return once nothing is under way any more. For the end of a stop."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _keep(self, draft: EventDraft) -> Receipt:
        owner = KeyOwner(draft.tenant, draft.app, draft.principal)
        try:
            key = await self._writer.keep(draft.request, owner, draft.bodies)
        except AuditUnavailable:
            await self._log.append(_uncaptured(draft))
            raise
        bodies = [Commitment(text=one.text, members={"field": one.field, "key": key}) for one in draft.bodies]
        return await self._log.append(structs.replace(draft, bodies=(), body={**draft.body, "bodies": bodies}))

    def _done(self, task: asyncio.Task[Receipt]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # the caller may have gone; it is known to the log all the same


def _uncaptured(draft: EventDraft) -> EventDraft:
    """The event without its texts. Of an outcome nothing leaves; of a stream what had left has left."""
    body: dict[str, Any] = {**draft.body, "uncaptured": [one.field for one in draft.bodies]}
    if draft.type in (EventType.OUTCOME, EventType.STREAM_CLOSE):
        body |= {"effect": "error", "error": UNCAPTURED}
    if draft.type is EventType.OUTCOME:
        nothing = {"kind": "none", "chars": 0, "bytes": 0, "content": Commitment(text="")}
        body["release"] = {**body["release"], **nothing}
    return structs.replace(draft, bodies=(), body=body)
