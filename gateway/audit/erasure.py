"""Erasing what one caller left: keys, texts and salts are destroyed; events stay as they were hashed, and proofs hold.

Steps: 1 no legal hold covers the caller; 2 `erasure` (`begun`) with the keys that go; 3 data keys; 4 texts; 5 salts of
commitments; 6 every other place that could hold something; 7 `erasure` (`done`, or `incomplete`) with what each place
answered. Each step can be done again: an erasure that was cut off, or is incomplete, is run once more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from gateway.audit.body_read import check_reason
from gateway.audit.body_store import BodyStore
from gateway.audit.data_keys import DataKeys, KeyOwner
from gateway.audit.holds import Append, Hold, Holds
from gateway.audit.search_index import SearchIndex, index_of
from gateway.audit.traces import Traces, destroy_salts, key_events_of, traces_of
from gateway.audit.wrapping import Wrappers
from gateway.domain.errors import GatewayError, RequestError
from gateway.domain.event import EventDraft, EventType

DONE: Final = "done"
INCOMPLETE: Final = "incomplete"


class Answer(StrEnum):
    """What a place says to an erasure."""

    ERASED = "erased"
    HOLDS_NONE = "holds_none"  # nothing of a caller ever lies there, or not beyond the moment
    INCOMPLETE = "incomplete"  # destroyed, but an old page may still be on disk
    FAILED = "failed"


class Acknowledgement(Struct, frozen=True, kw_only=True):
    """`count` of destroyed entries; `reason` is a code where the answer is not plain."""

    place: str
    status: Answer
    count: int = 0
    reason: str = ""

    @property
    def complete(self) -> bool:
        return self.status in (Answer.ERASED, Answer.HOLDS_NONE)


class Place(Protocol):
    """Somewhere else that could hold something of a caller."""

    name: str

    async def erase(self, owner: KeyOwner) -> Acknowledgement:
        """Raises `GatewayError` if it cannot be done."""
        ...


class Fixed:
    """A place that never holds such a thing beyond the moment; `reason` says why, as a code."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    async def erase(self, owner: KeyOwner) -> Acknowledgement:  # noqa: ARG002 the same for everybody
        return Acknowledgement(place=self.name, status=Answer.HOLDS_NONE, reason=self.reason)


OF_THE_MOMENT: Final = (
    Fixed("pseudonyms", "live_for_one_exchange"),
    Fixed("inspection_cache", "keyed_digests_in_memory"),
    Fixed("embedding_cache", "digests_in_memory"),
    Fixed("rate_limits", "key_ids_and_times"),
    Fixed("passage_index", "documents_not_callers"),
    Fixed("replay", "reads_the_log"),
    Fixed("sinks", "events_without_texts"),
)
"""Places that hold no text of a caller: each is named in every erasure, so that nobody has to guess."""


class Files(Struct, frozen=True, kw_only=True):
    """The files that erasure and retention work on. `patience_s` is how long they wait for those who read the log."""

    log: Path
    bodies: Path
    keys: Path
    holds: Path
    patience_s: float = 5.0


class ErasureReport(Struct, frozen=True, kw_only=True):
    """What was done for one caller."""

    erasure: str
    owner: KeyOwner
    stage: str
    keys: int
    exchanges: int
    acknowledged: tuple[Acknowledgement, ...]


class HeldError(RequestError):
    """A legal hold covers what should be destroyed."""

    def __init__(self, holds: Sequence[Hold]) -> None:
        names = ", ".join(f"`{hold.id}`" for hold in holds)
        super().__init__(f"a legal hold covers this caller: {names}; clear it first", code="legal_hold", status=409)


class Eraser:
    """Erases callers, one after the other. `append` writes to the log; `clock` is aware UTC; `ids` gives fresh ids."""

    def __init__(
        self,
        files: Files,
        wrappers: Wrappers,
        append: Append,
        *,
        places: Sequence[Place],
        clock: Callable[[], datetime],
        ids: Callable[[], str],
    ) -> None:
        self._files = files
        self._wrappers = wrappers
        self._append = append
        self._places: tuple[Place, ...] = (*places, *OF_THE_MOMENT)
        self._clock = clock
        self._ids = ids

    async def erase(self, owner: KeyOwner, *, by: str, reason: str, user: str = "") -> ErasureReport:
        """Erase one caller. `by` says who does it; `user`, where it is known, also finds the events of their API
        keys. Raises `RequestError` for a reason that is none, `HeldError`, and `AuditUnavailable` if it cannot be
        recorded: then nothing is destroyed, or what was is told by the `begun` event."""
        check_reason(reason)
        await asyncio.to_thread(self._check_holds, owner)  # 1
        refs = await asyncio.to_thread(self._refs, owner)
        traces = await asyncio.to_thread(traces_of, self._files.log, owner.tenant, owner.subject)
        if user:
            traces += await asyncio.to_thread(key_events_of, self._files.log, owner.tenant, user)
        erasure = self._ids()
        about: dict[str, object] = {
            "erasure": erasure,
            "subject": owner.subject,
            "reason": reason,
            "keys": refs,
            "exchanges": traces.exchanges,
        }
        await self._record(owner, by, {**about, "stage": "begun"})  # 2
        answers = [
            await _answered("data_keys", lambda: self._destroy_keys(refs)),  # 3
            await _answered("bodies", lambda: self._delete_bodies(refs)),  # 4
            await _answered("salts", lambda: self._destroy_salts(traces)),  # 5
            await _answered("search_index", lambda: self._forget_texts(traces)),
            *[await _asked(place, owner) for place in self._places],  # 6
        ]
        stage = DONE if all(answer.complete for answer in answers) else INCOMPLETE
        told = [
            {"place": one.place, "status": one.status.value, "count": one.count, "reason": one.reason}
            for one in answers
        ]
        await self._record(owner, by, {**about, "stage": stage, "acknowledged": told})  # 7
        return ErasureReport(
            erasure=erasure,
            owner=owner,
            stage=stage,
            keys=len(refs),
            exchanges=traces.exchanges,
            acknowledged=tuple(answers),
        )

    async def leaves(self, owner: KeyOwner) -> bool:
        """Whether a caller has left anything in the log or the key store. Reads the log."""
        if await asyncio.to_thread(self._refs, owner):
            return True
        return bool((await asyncio.to_thread(traces_of, self._files.log, owner.tenant, owner.subject)).ids)

    def _check_holds(self, owner: KeyOwner) -> None:
        holds = Holds.open(self._files.holds)
        try:
            covering = holds.covering(owner.tenant, owner.subject)
        finally:
            holds.close()
        if covering:
            raise HeldError(covering)

    def _refs(self, owner: KeyOwner) -> list[str]:
        """Destroyed ones, too: after a restored backup they may be there again."""
        keys = DataKeys.open(self._files.keys, self._wrappers)
        try:
            return [record.ref for record in keys.of_subject(owner.tenant, owner.subject)]
        finally:
            keys.close()

    def _destroy_keys(self, refs: Sequence[str]) -> Acknowledgement:
        return destroy_keys(self._files, self._wrappers, refs, self._clock())

    def _delete_bodies(self, refs: Sequence[str]) -> Acknowledgement:
        return delete_bodies(self._files, refs)

    def _destroy_salts(self, traces: Traces) -> Acknowledgement:
        done, clean = destroy_salts(self._files.log, traces.ids, patience_s=self._files.patience_s)
        return _acknowledged("salts", done, clean=clean)

    def _forget_texts(self, traces: Traces) -> Acknowledgement:
        forget_texts(self._files, traces)
        return _acknowledged("search_index", len(traces.places), clean=True)

    async def _record(self, owner: KeyOwner, by: str, body: dict[str, object]) -> None:
        await self._append(
            EventDraft(type=EventType.ERASURE, tenant=owner.tenant, app=owner.app, principal=by, body=body)
        )


def destroy_keys(files: Files, wrappers: Wrappers, refs: Sequence[str], now: datetime) -> Acknowledgement:
    keys = DataKeys.open(files.keys, wrappers)
    try:
        done = keys.destroy(refs, now)
        return _acknowledged("data_keys", done, clean=keys.forget())
    finally:
        keys.close()


def delete_bodies(files: Files, refs: Sequence[str]) -> Acknowledgement:
    store = BodyStore.open(files.bodies)
    try:
        done = store.delete(refs)
        return _acknowledged("bodies", done, clean=store.forget())
    finally:
        store.close()


def forget_texts(files: Files, traces: Traces) -> None:
    """Make the index of the log forget the texts of these events, if there is one."""
    if index_of(files.log).exists():
        with SearchIndex(files.log) as index:
            index.forget_texts(traces.places)


def _acknowledged(place: str, count: int, *, clean: bool) -> Acknowledgement:
    if clean:
        return Acknowledgement(place=place, status=Answer.ERASED, count=count)
    return Acknowledgement(place=place, status=Answer.INCOMPLETE, count=count, reason="log_in_use")


async def _answered(place: str, work: Callable[[], Acknowledgement]) -> Acknowledgement:
    return await _or_failed(place, asyncio.to_thread(work))


async def _asked(place: Place, owner: KeyOwner) -> Acknowledgement:
    return await _or_failed(place.name, place.erase(owner))


async def _or_failed(place: str, answer: Awaitable[Acknowledgement]) -> Acknowledgement:
    """A place that fails does not keep the others from being erased."""
    try:
        return await answer
    except GatewayError as error:
        return Acknowledgement(place=place, status=Answer.FAILED, reason=error.code)
