"""What the pages for authors and admins are made of, besides what all pages have."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from gateway.domain.passage import Passage
from gateway.exchange import Ports, Rulebook
from gateway.retrieval.store import Catalogue, DocumentRecord
from gateway.rollout.rollout import PolicyState, Prepared


class Sources(Protocol):
    """The documents of the index, and what admins do to them: each change is in the audit log before it is made.
    Changes raise `ConfigurationError` for what is not there."""

    async def catalogue(self, tenant: str) -> Catalogue: ...

    async def open_withheld(self, tenant: str, name: str, *, by: str, reason: str) -> Passage: ...

    async def delete(self, tenant: str, doc: str, *, by: str, reason: str) -> DocumentRecord: ...

    async def release(self, tenant: str, name: str, *, by: str, reason: str) -> DocumentRecord: ...


class Workbench(Struct, frozen=True, kw_only=True):
    """`prepared` and `state` tell of the policies in force; `candidate` gives what the candidate would judge with,
    `None` without one. `log` is the audit log's file. `ports` are those of the request path; `ids` makes exchange
    ids, `trials` bounds how many trials run at a time, `clock_us` is monotonic."""

    prepared: Callable[[], Prepared[Rulebook]]
    state: Callable[[], PolicyState]
    candidate: Callable[[], Awaitable[Rulebook | None]]
    log: Path
    sources: Sources
    ports: Ports
    ids: Callable[[], str]
    trials: asyncio.Semaphore
    clock_us: Callable[[], int]
