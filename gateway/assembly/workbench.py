"""Wires the console's pages for authors and admins: policies, sources, trial runs."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final

from gateway.assembly.sources import SourceDesk
from gateway.console.workbench import Workbench
from gateway.detectors import growth_index
from gateway.domain.event import EventDraft, Receipt
from gateway.domain.ports import AuditLog
from gateway.exchange import Candidate, Ports, Rulebook
from gateway.inspection.inspector import Inspector
from gateway.policy.bundle import Bundle
from gateway.retrieval.store import PassageStore
from gateway.rollout.rollout import Rollout
from gateway.settings import Settings
from gateway.settings.folder import AUDIT_FILE

_TRIALS: Final = 2  # at a time, in a worker that serves apps besides


def build_workbench(
    settings: Settings,
    *,
    policies: Rollout[Rulebook],
    ports: Ports,
    store: PassageStore,
    audit: AuditLog,
    ids: Callable[[], str],
    clock_us: Callable[[], int],
) -> Workbench:
    """`audit` is the log as the rest of the worker writes it. Called on the loop that serves."""
    return Workbench(
        prepared=lambda: policies.current,
        state=policies.state,
        candidate=_candidate(policies),
        log=settings.data_dir / AUDIT_FILE,
        sources=SourceDesk(settings, store, _blocking(audit, asyncio.get_running_loop())),
        ports=ports,
        ids=ids,
        trials=asyncio.Semaphore(_TRIALS),
        clock_us=clock_us,
    )


def _candidate(policies: Rollout[Rulebook]) -> Callable[[], Awaitable[Rulebook | None]]:
    @lru_cache(maxsize=1)
    def rulebook_of(candidate: Candidate) -> Rulebook:
        assert isinstance(candidate.policy, Bundle)  # every candidate here is of our making
        assert isinstance(candidate.inspector, Inspector)
        growth = growth_index(candidate.policy, list(candidate.inspector.detectors.values()))
        return Rulebook(policy=candidate.policy, inspector=candidate.inspector, growth=growth)

    async def rulebook() -> Rulebook | None:
        candidate = policies.rulebook().candidate
        return None if candidate is None else await asyncio.to_thread(rulebook_of, candidate)

    return rulebook


def _blocking(audit: AuditLog, loop: asyncio.AbstractEventLoop) -> Callable[[EventDraft], Receipt]:
    """Appends from another thread, and returns once the event is durable."""

    def record(draft: EventDraft) -> Receipt:
        return asyncio.run_coroutine_threadsafe(_append(audit, draft), loop).result()

    return record


async def _append(audit: AuditLog, draft: EventDraft) -> Receipt:
    return await audit.append(draft)
