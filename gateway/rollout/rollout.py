"""Follows the policy files of a node and brings what they say into force, or says why not.

1. look: the files' stamps, every few seconds; nothing more happens while they stay
2. try: read all of them, compile, check signatures and tests beside the bundle in force, in a thread
3. record: `policy.activate` with what differs, or `policy.rejected`, by one worker of the node
4. swap: one reference; exchanges under way keep what they began with

INVARIANT: no bundle is in force that the audit log has not heard of; a worker that could not record does not swap.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Generic, Protocol, TypeVar

import structlog
from msgspec import Struct, structs

from gateway.domain.errors import GatewayError
from gateway.domain.ports import AuditLog
from gateway.loop_task import LoopTask
from gateway.policy.bundle import Bundle
from gateway.rollout.edition import Edition, Look
from gateway.rollout.record import activated, code_of, place_of, rejected
from gateway.rollout.shelf import NodeState, Shelf

_log = structlog.get_logger("gateway.policy")
SETTLE_S: Final = 0.1  # files that change twice within are still being written

R = TypeVar("R")


class Reading(Struct, frozen=True, kw_only=True):
    """What the policy files say now: those to be in force, and those to be evaluated beside them."""

    edition: Edition
    candidate: Edition | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.edition.digest, self.candidate.digest if self.candidate else ""


class Prepared(Struct, Generic[R], frozen=True, kw_only=True, eq=False):
    """A reading that may come into force. `rulebook` is all that judging needs, in one reference. `candidate` is the
    digest of the candidate's bundle; `candidate_error` says why there is none although one was asked for."""

    reading: Reading
    bundle: Bundle
    rulebook: R
    approved_by: tuple[str, ...] = ()
    candidate: str = ""
    candidate_error: str = ""


class PolicyState(Struct, frozen=True, kw_only=True):
    """For health and metrics. `error` is the code and place of what keeps newer files out of force, "" for nothing."""

    digest: str
    error: str = ""
    candidate: str = ""
    candidate_error: str = ""

    @property
    def stale(self) -> bool:
        return bool(self.error)


class Workshop(Protocol[R]):
    """Reads and makes what a rollout brings into force. Methods block and are called off the event loop."""

    def look(self) -> Look: ...

    def read(self) -> Reading: ...

    def compile(self, edition: Edition) -> Bundle:
        """Raises `ConfigurationError`."""
        ...

    def prepare(self, reading: Reading, current: Prepared[R] | None) -> Prepared[R]:
        """Compile, check and build all that is needed, with what `current` has where it is the same. Raises
        `ConfigurationError` for an edition that must not come into force."""
        ...


class _Failure(Struct, frozen=True):
    edition: str
    error: str


class Rollout(Generic[R]):
    """The policies in force in one worker. `begin` first; belongs to one event loop."""

    def __init__(self, workshop: Workshop[R], shelf: Shelf, audit: AuditLog, *, reload_s: float) -> None:
        """`reload_s` of 0 looks only when woken."""
        self._workshop = workshop
        self._shelf = shelf
        self._audit = audit
        self._reload_s = reload_s
        self._seen: Look | None = None
        self._current: Prepared[R]
        self._failure: _Failure | None = None
        self._unreachable = ""  # an edition of the node that this worker could not follow
        self._wake = asyncio.Event()
        self._task = LoopTask(self._run)

    @property
    def current(self) -> Prepared[R]:
        return self._current

    def rulebook(self) -> R:
        """What is in force now."""
        return self._current.rulebook

    def state(self) -> PolicyState:
        return PolicyState(
            digest=self._current.bundle.digest,
            error=self._failure.error if self._failure else "",
            candidate=self._current.candidate,
            candidate_error=self._current.candidate_error,
        )

    async def begin(self) -> None:
        """Bring the files into force, or else the node's last good edition. Raises `ConfigurationError` where there
        is none, and `AuditUnavailable`. Blocks while it loads: nothing else runs then."""
        seen = self._workshop.look()
        reading = self._workshop.read()
        failed: GatewayError | None = None
        try:
            self._current = self._workshop.prepare(reading, None)
        except GatewayError as error:
            self._current = self._last_good(reading, error)
            failed = error
        async with self._turn() as node:
            await self._agree(self._current, node, cause="start")
        if failed is not None:
            await self._reject(reading.edition, failed)
        self._seen = seen

    def start(self) -> None:
        """Begin to look for changes, in a task of the running loop."""
        self._task.start()

    async def stop(self) -> None:
        """End the task; what is in force stays."""
        await self._task.stop()

    def wake(self) -> None:
        """Look at once, and read the files even if their stamps are those of the last look."""
        self._seen = None
        self._wake.set()

    async def check(self) -> None:
        """Look once, and bring into force what is new. Raises `GatewayError` when that could not be recorded or
        agreed: then nothing was swapped, and the next look tries again."""
        seen = await asyncio.to_thread(self._workshop.look)
        node = await asyncio.to_thread(self._shelf.state)
        if seen == self._seen and node.edition in (self._current.reading.edition.digest, self._unreachable):
            return
        if seen != self._seen:
            await asyncio.sleep(SETTLE_S)
            if await asyncio.to_thread(self._workshop.look) != seen:
                return
            await self._take_in(await asyncio.to_thread(self._workshop.read), seen)
        await self._follow()
        self._seen = seen

    async def _take_in(self, reading: Reading, seen: Look) -> None:
        in_force = self._current.reading.edition
        if reading.edition.digest == in_force.digest:
            self._failure = None  # put right
        elif self._failure is not None and reading.edition.digest == self._failure.edition:
            reading = structs.replace(reading, edition=in_force)  # no need to try again; a candidate may be new
        if reading.key == self._current.reading.key:
            return
        try:
            prepared = await asyncio.to_thread(self._workshop.prepare, reading, self._current)
        except Exception as error:  # noqa: BLE001 -- whatever keeps a bundle from loading keeps the last good in force
            await self._reject(reading.edition, error)
            return
        async with self._turn() as node:
            # Somebody may have changed the files meanwhile, and another worker may have brought that into force.
            if await asyncio.to_thread(self._workshop.look) != seen:
                raise GatewayError("the policy files changed while they were tried", code="policy_unsettled")
            await self._agree(prepared, node, cause="change")
        if reading.edition.digest != in_force.digest:
            self._failure = None
        self._swap(prepared)

    async def _follow(self) -> None:
        """Take over what another worker brought into force and this one cannot read any more."""
        node = await asyncio.to_thread(self._shelf.state)
        if node.edition in ("", self._current.reading.edition.digest, self._unreachable):
            return
        try:
            kept = await asyncio.to_thread(self._shelf.kept, node.edition)
            reading = structs.replace(self._current.reading, edition=kept)
            prepared = await asyncio.to_thread(self._workshop.prepare, reading, self._current)
        except Exception as error:  # noqa: BLE001 -- as above
            self._unreachable = node.edition
            self._failure = _Failure(node.edition, place_of(error))
            _log.error("policy_not_followed", edition=node.edition, code=code_of(error), reason=_reason(error))
            return
        self._swap(prepared)  # the files themselves may be as faulty as before

    def _swap(self, prepared: Prepared[R]) -> None:
        before = self._current.bundle.digest
        self._current = prepared
        _log.info("policy_activated", policy=prepared.bundle.digest, before=before)
        if prepared.candidate_error:
            _log.error("policy_candidate_failed", reason=prepared.candidate_error)

    def _last_good(self, reading: Reading, error: GatewayError) -> Prepared[R]:
        node = self._shelf.state()
        if node.edition in ("", reading.edition.digest):
            raise error
        try:
            kept = self._shelf.kept(node.edition)
            return self._workshop.prepare(structs.replace(reading, edition=kept), None)
        except GatewayError:
            raise error from None

    async def _agree(self, prepared: Prepared[R], node: NodeState, *, cause: str) -> None:
        """Record that a bundle comes into force in this node, unless another worker has, and keep its sources."""
        edition, bundle = prepared.reading.edition, prepared.bundle
        changed = bool(node.policy) and node.policy != bundle.digest
        if changed or cause == "start":
            old = await asyncio.to_thread(self._old, node) if changed else None
            await self._audit.append(
                activated(
                    edition,
                    bundle,
                    cause=cause,
                    approved_by=prepared.approved_by,
                    previous=node.policy if changed else "",
                    old=old,
                )
            )
        if (node.edition, node.policy) != (edition.digest, bundle.digest):
            await asyncio.to_thread(self._shelf.keep, edition)
            state = structs.replace(node, edition=edition.digest, policy=bundle.digest)
            await asyncio.to_thread(self._shelf.set, state)

    def _old(self, node: NodeState) -> Bundle | None:
        """The bundle that the node has in force, `None` where it cannot be had any more."""
        if self._current.bundle.digest == node.policy:
            return self._current.bundle
        try:
            return self._workshop.compile(self._shelf.kept(node.edition))
        except GatewayError:
            return None

    async def _reject(self, edition: Edition, error: Exception) -> None:
        async with self._turn() as node:
            if node.rejected != edition.digest:
                await self._audit.append(rejected(edition, error, in_force=self._current.bundle.digest))
                await asyncio.to_thread(self._shelf.set, structs.replace(node, rejected=edition.digest))
        self._failure = _Failure(edition.digest, place_of(error))
        _log.error("policy_rejected", edition=edition.digest, code=code_of(error), reason=_reason(error))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[NodeState]:
        """The node's state, which no other worker changes until the block ends."""
        waiting = asyncio.ensure_future(asyncio.to_thread(self._shelf.acquire))
        try:
            descriptor = await asyncio.shield(waiting)
        except asyncio.CancelledError:
            waiting.add_done_callback(_give_back)  # the thread may get the lock after we have left
            raise
        try:
            yield await asyncio.to_thread(self._shelf.state)
        finally:
            os.close(descriptor)

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._reload_s or None)
            self._wake.clear()
            try:
                await self.check()
            except Exception as error:  # noqa: BLE001 -- the next look tries again
                _log.error("policy_check", code=code_of(error), reason=_reason(error))


def _give_back(waiting: "asyncio.Future[int]") -> None:
    if not waiting.cancelled() and waiting.exception() is None:
        os.close(waiting.result())


def _reason(error: Exception) -> str:
    """For the operator's log: texts of ours, which hold no content of requests; of others the type alone."""
    return error.message if isinstance(error, GatewayError) else type(error).__name__
