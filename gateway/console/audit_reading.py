"""Who reads the audit log in the console: bound to their tenants, each reading recorded first."""

from typing import Final

from gateway.audit.export_event import read
from gateway.audit.read import Filter
from gateway.console.parts import Parts
from gateway.console.roles import Role
from gateway.console.sessions import Session
from gateway.domain.principal import Principal

TEXTS: Final = frozenset({Role.AUDITOR})
"""Who may look for texts, open kept ones, and take events along."""


def tenants_of(parts: Parts, session: Session) -> frozenset[str] | None:
    """Whose events the person may see; `None` for an operator's people, who see those of the node, too."""
    own = frozenset(session.tenants)
    return None if own & frozenset(parts.settings.trail.operators) else own


def reader_of(parts: Parts, session: Session) -> Principal:
    """The person as events name a reader."""
    return parts.principal(session, session.tenants[0] if len(session.tenants) == 1 else "")


async def record_reading(parts: Parts, session: Session, what: str, wanted: Filter, *, text: str | None = None) -> None:
    """Write that the person reads, before anything is shown. Raises `AuditUnavailable`: then nothing is."""
    await parts.audit.append(read(what, wanted, by=reader_of(parts, session), via="console", text=text))
