"""Wires the console, if the settings ask for it: nothing of it is imported otherwise."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from litestar.types import ASGIApp
from msgspec import Struct

from gateway.audit.read import AuditReader, Event
from gateway.cases import CaseReview, CaseStore
from gateway.domain.ports import AuditLog, Inspecting
from gateway.domain.sealing import MasterKey, Purpose
from gateway.domain.segment import Segment
from gateway.domain.signal import Finding, by_segment
from gateway.domain.vocabulary import Provenance, SignalStatus
from gateway.exchange import Ports, Rulebook
from gateway.inspection.inspector import Inspector
from gateway.policy.bundle import Bundle
from gateway.retrieval.store import PassageStore
from gateway.rollout.rollout import Rollout
from gateway.settings import Settings, resolve_secret
from gateway.settings.folder import AUDIT_FILE, CONSOLE_FILE
from rules.pii.detector import PiiPatterns
from rules.secrets.detector import SecretDetector

if TYPE_CHECKING:
    from gateway.console.oidc import OidcClient
    from gateway.console.parts import Parts

BASE: Final = "/console"
_MASKING_S: Final = 20.0  # for all texts of a page; a page whose texts are not masked shows none
_CACHE_BYTES: Final = 16 * 1024 * 1024
_PASSWORDS_AT_ONCE: Final = 2  # each takes 64 MiB and a fifth of a second of a core


class ConsoleNeeds(Struct, frozen=True, kw_only=True):
    """What the console shares with the rest of a worker process."""

    settings: Settings
    variables: Mapping[str, str]
    master: MasterKey
    audit: AuditLog
    cases: CaseStore
    review: CaseReview
    rulebook: Callable[[], Rulebook]
    clock: Callable[[], datetime]
    clock_us: Callable[[], int]
    policies: Rollout[Rulebook]
    passages: PassageStore
    ports: Ports
    ids: Callable[[], str]


def build_console(needs: ConsoleNeeds, closing: AsyncExitStack) -> ASGIApp | None:
    """The console's application, `None` if it is off. Raises `ConfigurationError`."""
    if not needs.settings.console.enabled:
        return None
    from gateway.console.app import ConsoleApp
    from gateway.console.assets import load_assets

    return ConsoleApp(_parts(needs, closing), load_assets())


def _parts(needs: ConsoleNeeds, closing: AsyncExitStack) -> "Parts":
    from gateway.assembly.trail import build_trail
    from gateway.assembly.workbench import build_workbench
    from gateway.console.accounts import Accounts
    from gateway.console.assets import load_assets
    from gateway.console.database import ConsoleDatabase
    from gateway.console.parts import Parts
    from gateway.console.rendering import Renderer
    from gateway.console.sessions import Sessions
    from gateway.console.throttle import Throttle

    settings = needs.settings
    chosen = settings.console
    db = ConsoleDatabase.open(settings.data_dir / CONSOLE_FILE)
    closing.callback(db.close)
    patterns = Inspector(
        [PiiPatterns(), SecretDetector()],
        threads=1,
        cache_bytes=_CACHE_BYTES,
        cache_key=needs.master.derive(Purpose.INSPECTION_CACHE),
        clock_us=needs.clock_us,
    )
    closing.callback(patterns.close)
    return Parts(
        settings=settings,
        origin=chosen.public_url,
        db=db,
        accounts=Accounts(db),
        sessions=Sessions(
            db, idle=timedelta(seconds=chosen.session_idle_s), absolute=timedelta(seconds=chosen.session_s)
        ),
        throttle=Throttle(db),
        oidc=_oidc(needs),
        store=needs.cases,
        review=needs.review,
        policy=lambda: _bundle(needs.rulebook()),
        trace=_trace(settings.data_dir / AUDIT_FILE),
        find_personal=_find_personal(lambda: needs.rulebook().inspector, patterns),
        audit=needs.audit,
        clock=needs.clock,
        case_key=needs.master.derive(Purpose.CASE_BINDING),
        ref_key=needs.master.derive(Purpose.PRINCIPAL_REF),
        renderer=Renderer(load_assets(), base=BASE),
        door=asyncio.Semaphore(_PASSWORDS_AT_ONCE),
        trail=build_trail(settings, needs.variables, needs.master, needs.audit),
        workbench=build_workbench(
            settings,
            policies=needs.policies,
            ports=needs.ports,
            store=needs.passages,
            audit=needs.audit,
            ids=needs.ids,
            clock_us=needs.clock_us,
        ),
    )


def _oidc(needs: ConsoleNeeds) -> "OidcClient | None":
    from gateway.console.oidc import OidcClient

    chosen = needs.settings.console.oidc
    if not chosen.issuer:
        return None
    origin = needs.settings.console.public_url or f"http://127.0.0.1:{needs.settings.server.port}"
    return OidcClient(
        chosen,
        secret=resolve_secret(chosen.client_secret, needs.variables) if chosen.client_secret else None,
        redirect_uri=f"{origin}{BASE}/callback",
        clock=needs.clock,
    )


def _bundle(rulebook: Rulebook) -> Bundle:
    assert isinstance(rulebook.policy, Bundle)
    return rulebook.policy


def _trace(log: Path) -> Callable[[str], Awaitable[list[Event]]]:
    def read(exchange: str) -> list[Event]:
        with AuditReader(log) as reader:
            return reader.timeline(exchange)

    async def trace(exchange: str) -> list[Event]:
        return await asyncio.to_thread(read, exchange)

    return trace


def _find_personal(
    in_force: Callable[[], Inspecting], patterns: Inspector
) -> Callable[[Sequence[str]], Awaitable[Sequence[Sequence[Finding]] | None]]:
    """With the detectors that the policies use, which know names where a rule asks for them, and else by patterns."""

    async def find(texts: Sequence[str]) -> Sequence[Sequence[Finding]] | None:
        segments = [Segment(index=index, text=text, provenance=Provenance.PASSAGE) for index, text in enumerate(texts)]
        inspector = in_force()
        installed = frozenset(inspector.detectors) if isinstance(inspector, Inspector) else frozenset()
        asked = [(patterns, frozenset({"pii_patterns", "secrets"})), (inspector, installed & {"pii"})]
        found: list[Finding] = []
        for one, names in asked:
            if not names:
                continue
            seen = await one.inspect(segments, detectors=names, timeouts={}, default_timeout_s=_MASKING_S)
            if any(run.status is not SignalStatus.OK for run in seen.runs.values()):
                return None
            found += seen.findings
        grouped = by_segment(found)
        return [grouped.get(index, []) for index in range(len(texts))]

    return find
