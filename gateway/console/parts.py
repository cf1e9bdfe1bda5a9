"""What the pages of the console are made of: everything they may use, passed in by the composition root."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from litestar import Request
from msgspec import Struct

from gateway.audit.read import Event
from gateway.cases import CaseReview, CaseStore
from gateway.cases.case import Case
from gateway.cases.desk import actor_of
from gateway.cases.machine import Actor
from gateway.console.accounts import Accounts
from gateway.console.audit_trail import Trail
from gateway.console.database import ConsoleDatabase
from gateway.console.oidc import OidcClient
from gateway.console.rendering import Renderer
from gateway.console.roles import case_roles
from gateway.console.sessions import Session, Sessions
from gateway.console.throttle import Throttle
from gateway.console.workbench import Workbench
from gateway.domain.event import EventDraft, EventType
from gateway.domain.ports import AuditLog
from gateway.domain.principal import Principal
from gateway.domain.signal import Finding
from gateway.identity.authenticator import principal_ref
from gateway.policy.bundle import Bundle
from gateway.settings import Settings

APP = "console"
"""The app of principals that act through the console."""

T = TypeVar("T")

FindPersonal = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[Finding]] | None]]
"""The places of personal data and secrets in each text; `None` if they could not be looked for."""

ConsoleRequest = Request[Any, Any, Any]


class Parts(Struct, frozen=True, kw_only=True):
    """`origin` is scheme and host under which browsers see the console, "" for loopback. `trace` gives the audit events
    of an exchange. `case_key` and `ref_key` are those for `Purpose.CASE_BINDING` and `Purpose.PRINCIPAL_REF`."""

    settings: Settings
    origin: str
    db: ConsoleDatabase
    accounts: Accounts
    sessions: Sessions
    throttle: Throttle
    oidc: OidcClient | None
    store: CaseStore
    review: CaseReview
    policy: Callable[[], Bundle]
    trace: Callable[[str], Awaitable[list[Event]]]
    find_personal: FindPersonal
    audit: AuditLog
    clock: Callable[[], datetime]
    case_key: bytes
    ref_key: bytes
    renderer: Renderer
    door: asyncio.Semaphore  # so many passwords are checked at a time
    trail: Trail
    workbench: Workbench

    @property
    def lease(self) -> timedelta:
        """How long a claim holds."""
        return timedelta(seconds=self.settings.cases.lease_s)

    def principal(self, session: Session, tenant: str) -> Principal:
        """The person as a reader and reviewer of one tenant."""
        return Principal(
            tenant=tenant,
            app=APP,
            user=session.account,
            groups=session.groups,
            roles=case_roles(session.roles) if tenant in session.tenants else frozenset(),
            auth="password" if session.local else "oidc",
            ref=principal_ref(self.ref_key, tenant=tenant, app=APP, user=session.account),
        )

    def actor(self, case: Case, session: Session) -> Actor:
        """The person as the state machine sees them."""
        return actor_of(case, self.principal(session, case.tenant), self.case_key)

    async def record(self, kind: EventType, session: Session, body: Mapping[str, Any]) -> None:
        """Write an event of the console itself, before what it tells of happens."""
        tenant = session.tenants[0] if len(session.tenants) == 1 else ""
        ref = principal_ref(self.ref_key, tenant=tenant, app=APP, user=session.account)
        await self.audit.append(EventDraft(type=kind, tenant=tenant, app=APP, principal=ref, body=dict(body)))


def parts_of(request: ConsoleRequest) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def session_of(request: ConsoleRequest) -> Session:
    """The session that the guard has let in."""
    session: Session = request.state.session
    return session


async def blocking(work: Callable[..., T], *args: Any, **more: Any) -> T:
    """Run what waits for a disk or a password hash off the event loop."""
    return await asyncio.to_thread(work, *args, **more)
