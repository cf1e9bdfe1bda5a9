"""Opening a kept text: the reading is an event, durable before anything is opened.

Steps: 1 find the text that the event names; 2 write `body.read`; 3 unwrap the key and decrypt; 4 compare the text with
the event's commitment, so that what is shown is what the event was written about.
"""

import asyncio
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from gateway.audit.body_store import BodyStore, unseal
from gateway.audit.commitment import verify_commitment
from gateway.audit.data_keys import DataKeys, KeyDestroyedError
from gateway.audit.read import AuditReader
from gateway.audit.wrapping import Wrappers
from gateway.domain.errors import RequestError
from gateway.domain.event import EventDraft, EventType
from gateway.domain.ports import AuditLog
from gateway.domain.sealing import UnsealError
from gateway.domain.text import outline

REASON: Final = re.compile(r"\w[\w .:/#-]{7,119}")
"""Why somebody opens, erases or holds: a ticket or a few plain words. It stays readable in the log."""

BODIES: Final = "bodies"


class BodyVerdict(StrEnum):
    OPENED = "opened"
    ERASED = "erased"  # the data key was destroyed, or the salt that proves the text
    MISSING = "missing"  # the store does not have it: it was lost, or another data folder is meant
    UNREADABLE = "unreadable"  # it was altered, or the wrapping key is another
    DIFFERENT = "different"  # it opens, and is not what the event was written about


class OpenedBody(Struct, frozen=True, kw_only=True):
    """What came of opening. `text` is there only if `verdict` is `opened`; `what` says why not, and what to do."""

    verdict: BodyVerdict
    field: str
    text: str = ""
    what: str = ""

    def __repr__(self) -> str:
        return f"OpenedBody({self.verdict}, {self.field}, {outline(self.text)})"


class Named(Struct, frozen=True):
    """A text that an event names."""

    event: Mapping[str, Any]
    place: int
    field: str
    key: str


class BodyReader:
    """Opens kept texts of one data folder. `audit` is where readings are recorded. Any number may run at once."""

    def __init__(self, log: Path, bodies: Path, keys: Path, *, wrappers: Wrappers, audit: AuditLog) -> None:
        self._log = log
        self._bodies = bodies
        self._keys = keys
        self._wrappers = wrappers
        self._audit = audit

    async def fields(self, event: str, *, tenants: frozenset[str] | None = None) -> tuple[str, ...]:
        """Names of the texts that an event (by id or place) keeps; opens nothing."""
        found = await asyncio.to_thread(self._event, event, tenants)
        return tuple(str(body["field"]) for body in found.get(BODIES, ()))

    async def read_body(
        self, event: str, field: str, reader: str, reason: str, *, tenants: frozenset[str] | None = None
    ) -> OpenedBody:
        """The text, or why there is none. `event` is an id or a place; `reader` says who reads (`Principal.ref`);
        `tenants` restricts what the reader may know of, `None` is no bound.

        Raises `RequestError`: 400 for a reason that is none, 404 for an event or a text that is not there for this
        reader; and `AuditUnavailable` if the reading cannot be recorded: nothing is shown then.
        """
        check_reason(reason)
        named = await asyncio.to_thread(self._named, event, field, tenants)
        await self._audit.append(_reading(named, reader, reason))
        return await asyncio.to_thread(self._open, named)

    def _event(self, event: str, tenants: frozenset[str] | None) -> Mapping[str, Any]:
        with AuditReader(self._log) as log:
            found = log.find(event)
        if len(found) != 1 or (tenants is not None and found[0].members["tenant"] not in tenants):
            raise RequestError(f"there is no event `{event[:80]}`", code="event_not_found", status=404)
        return found[0].members

    def _named(self, event: str, field: str, tenants: frozenset[str] | None) -> Named:
        members = self._event(event, tenants)
        for place, body in enumerate(members.get(BODIES, ())):
            if body["field"] == field:
                return Named(members, place, field, body["key"])
        kept = ", ".join(f"`{body['field']}`" for body in members.get(BODIES, ())) or "none"
        raise RequestError(
            f"the event keeps no text `{field[:40]}`: it keeps {kept}", code="body_not_kept", status=404, param="field"
        )

    def _open(self, named: Named) -> OpenedBody:
        store, keys = BodyStore.open(self._bodies), DataKeys.open(self._keys, self._wrappers)
        try:
            # The key first: a text that was erased is deleted, too, and is then erased rather than missing.
            key = keys.unwrap(named.key)
            body = store.get(named.event["request"], named.field)
            if body is None:
                return _not(BodyVerdict.MISSING, named, "the body store does not have this text: restore `bodies.db`")
            text = unseal(body, key.key)
        except KeyDestroyedError as error:
            return _not(BodyVerdict.ERASED, named, error.message)
        except UnsealError as error:
            return _not(BodyVerdict.UNREADABLE, named, error.message)
        finally:
            store.close()
            keys.close()
        return self._compared(named, text)

    def _compared(self, named: Named, text: str) -> OpenedBody:
        with AuditReader(self._log) as log:
            salt = log.salt(named.event["id"], f"/{BODIES}/{named.place}")
        if salt is None:
            return _not(BodyVerdict.ERASED, named, "the text was erased: the salt that proves it is destroyed")
        if not verify_commitment(named.event, (BODIES, named.place), text, salt):
            return _not(BodyVerdict.DIFFERENT, named, "the stored text is not the one that the event was written about")
        return OpenedBody(verdict=BodyVerdict.OPENED, field=named.field, text=text)


def check_reason(reason: str) -> None:
    """Raises `RequestError` for what is no reason."""
    if not REASON.fullmatch(reason):
        raise RequestError(
            "a reason has 8 to 120 letters, digits, spaces and `.:/#-`: give a ticket or a few plain words",
            code="reason_required",
            param="reason",
        )


def _not(verdict: BodyVerdict, named: Named, what: str) -> OpenedBody:
    return OpenedBody(verdict=verdict, field=named.field, what=what)


def _reading(named: Named, reader: str, reason: str) -> EventDraft:
    event = named.event
    return EventDraft(
        type=EventType.BODY_READ,
        request=event["request"],
        tenant=event["tenant"],
        app=event["app"],
        principal=reader,
        body={"event": event["id"], "field": named.field, "key": named.key, "reason": reason},
    )
