"""Destroying what an app's retention class no longer keeps: data keys, the texts they encrypt, and salts.

A month is due once its class's days have passed since its end. What a legal hold covers stays. The purge is provable:
the `retention.purge` event has the digest of the destroyed keys' ids, which stand in the events that named the texts.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from gateway.audit.data_keys import DataKeys, KeyOwner, KeyRecord, month_of
from gateway.audit.erasure import DONE, INCOMPLETE, Files, delete_bodies, destroy_keys, forget_texts
from gateway.audit.holds import Append, Hold, Holds
from gateway.audit.traces import Traces, apps_of, destroy_salts, older_traces, traces_of
from gateway.audit.wrapping import Wrappers
from gateway.domain.event import EventDraft, EventType


class Due(Struct, frozen=True, kw_only=True):
    """What is due of one app: all before the month `before` (`YYYY-MM`)."""

    app: str
    days: int
    before: str
    keys: tuple[KeyRecord, ...]
    held: tuple[KeyRecord, ...]
    traces: Traces

    @property
    def empty(self) -> bool:
        return not self.keys and not self.traces.ids


class Purge(Struct, frozen=True, kw_only=True):
    """What was destroyed of one app."""

    app: str
    purge: str
    stage: str
    keys: int
    held: int
    texts: int
    salts: int


class Retention:
    """Finds and purges what is due. `days` gives an app's class; the rest as for `Eraser`."""

    def __init__(
        self,
        files: Files,
        wrappers: Wrappers,
        append: Append,
        *,
        days: Callable[[str], int],
        clock: Callable[[], datetime],
        ids: Callable[[], str],
    ) -> None:
        self._files = files
        self._wrappers = wrappers
        self._append = append
        self._days = days
        self._clock = clock
        self._ids = ids

    def due(self) -> list[Due]:
        """What is due now, app by app; destroys nothing. Reads the log; blocks. Raises `AuditUnavailable`."""
        now = self._clock()
        holds = self._holds()
        keys = DataKeys.open(self._files.keys, self._wrappers)
        try:
            apps = sorted({*keys.apps(), *apps_of(self._files.log)})
            found = {app: keys.older_than(app, self._before(app, now)) for app in apps}
        finally:
            keys.close()
        held_ids = self._held_events(holds)
        return [self._due(app, found[app], now, holds, held_ids) for app in apps]

    async def purge(self, *, by: str) -> list[Purge]:
        """Destroy what is due; recorded before and after. Raises `AuditUnavailable` if it cannot be recorded."""
        due = await asyncio.to_thread(self.due)
        return [await self._purge(one, by) for one in due if not one.empty]

    async def _purge(self, due: Due, by: str) -> Purge:
        purge = self._ids()
        refs = sorted(record.ref for record in due.keys)
        body: dict[str, Any] = {
            "purge": purge,
            "before": f"{due.before}-01T00:00:00Z",
            "days": due.days,
            "keys": len(refs),
            "keys_digest": digest_of(refs),
            "held": len(due.held),
        }
        await self._record(due.app, by, {**body, "stage": "begun"})
        keys = await asyncio.to_thread(destroy_keys, self._files, self._wrappers, refs, self._clock())
        bodies = await asyncio.to_thread(delete_bodies, self._files, refs)
        salts, clean = await asyncio.to_thread(
            destroy_salts, self._files.log, due.traces.ids, patience_s=self._files.patience_s
        )
        await asyncio.to_thread(forget_texts, self._files, due.traces)
        stage = DONE if clean and keys.complete and bodies.complete else INCOMPLETE
        await self._record(due.app, by, {**body, "stage": stage, "texts": bodies.count, "salts": salts})
        return Purge(
            app=due.app,
            purge=purge,
            stage=stage,
            keys=len(refs),
            held=len(due.held),
            texts=bodies.count,
            salts=salts,
        )

    def _due(
        self, app: str, keys: list[KeyRecord], now: datetime, holds: tuple[Hold, ...], held_ids: frozenset[str]
    ) -> Due:
        held = tuple(record for record in keys if _is_held(record.owner, holds))
        before = self._before(app, now)
        tenants = frozenset(hold.tenant for hold in holds if not hold.subject)
        return Due(
            app=app,
            days=self._days(app),
            before=before,
            keys=tuple(record for record in keys if record not in held),
            held=held,
            traces=older_traces(self._files.log, app, f"{before}-01T", tenants=tenants, but=held_ids),
        )

    def _before(self, app: str, now: datetime) -> str:
        return month_of(now - timedelta(days=self._days(app)))

    def _holds(self) -> tuple[Hold, ...]:
        holds = Holds.open(self._files.holds)
        try:
            return tuple(hold for hold in holds.list() if not hold.cleared_at)
        finally:
            holds.close()

    def _held_events(self, holds: Iterable[Hold]) -> frozenset[str]:
        found: set[str] = set()
        for hold in holds:
            if hold.subject:
                found.update(traces_of(self._files.log, hold.tenant, hold.subject).ids)
        return frozenset(found)

    async def _record(self, app: str, by: str, body: dict[str, Any]) -> None:
        await self._append(EventDraft(type=EventType.RETENTION_PURGE, app=app, principal=by, body=body))


def digest_of(refs: Iterable[str]) -> str:
    """SHA-256 of the ids of data keys, sorted, each followed by a line feed."""
    return "sha256:" + hashlib.sha256("".join(f"{ref}\n" for ref in sorted(refs)).encode()).hexdigest()


def _is_held(owner: KeyOwner, holds: Iterable[Hold]) -> bool:
    return any(hold.covers(owner.tenant, owner.subject) for hold in holds)
