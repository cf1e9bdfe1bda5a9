"""Wires what reads the audit log while the gateway runs: index, sinks, signs of life, and the routes for auditors."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import structlog

from gateway.audit.background import Background, Makes
from gateway.audit.heartbeat import Heartbeat
from gateway.audit.search_follower import IndexFollower
from gateway.domain.ports import AuditLog
from gateway.settings import Settings
from gateway.settings.folder import AUDIT_FILE, AUDIT_LOCK

_log = structlog.get_logger("gateway.audit")


def follow_audit(
    settings: Settings,
    audit: AuditLog,
    closing: AsyncExitStack,
    *,
    clock: Callable[[], datetime],
) -> None:
    """Start what follows the log, and end it with the gateway."""
    log = settings.data_dir / AUDIT_FILE
    background = Background(settings.data_dir / AUDIT_LOCK, _parts(settings, log), warn=_warn)
    background.start()
    closing.callback(background.stop)
    heartbeat = Heartbeat(log, audit, every_s=settings.trail.heartbeat_s, clock=clock, warn=_warn)
    heartbeat.start()
    closing.push_async_callback(heartbeat.stop)


def _parts(settings: Settings, log: Path) -> list[Makes]:
    parts: list[Makes] = []
    if settings.trail.index:
        parts.append(("audit-index", lambda: IndexFollower(log)))
    return parts


def _warn(part: str, reason: str) -> None:
    _log.warning("audit_background", part=part, reason=reason)
