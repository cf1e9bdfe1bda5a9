"""Wires what reads the audit log while the gateway runs: index, sinks, signs of life, and the routes for auditors."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime

import structlog

from gateway.assembly.sinks import deliveries
from gateway.audit.anchoring import Trust
from gateway.audit.apart import Apart
from gateway.audit.background import Background, Makes
from gateway.audit.heartbeat import Heartbeat
from gateway.audit.key_file import verifier_keys
from gateway.audit.search_follower import IndexFollower
from gateway.audit.text_tag import TextTags
from gateway.domain.ports import AuditLog
from gateway.domain.sealing import MasterKey, Purpose
from gateway.edge.audit import AuditNeeds, AuditWire
from gateway.edge.door import Door
from gateway.settings import Settings
from gateway.settings.folder import AUDIT_FILE, AUDIT_LOCK

_log = structlog.get_logger("gateway.audit")


def follow_audit(
    settings: Settings,
    environ: Mapping[str, str],
    audit: AuditLog,
    closing: AsyncExitStack,
    *,
    clock: Callable[[], datetime],
) -> None:
    """Start what follows the log, and end it with the gateway. Raises `ConfigurationError` for a wrong sink."""
    log = settings.data_dir / AUDIT_FILE
    parts: list[Makes] = [("audit-index", lambda: IndexFollower(log))] if settings.trail.index else []
    parts += deliveries(settings, environ, _warn)
    background = Background(settings.data_dir / AUDIT_LOCK, parts, warn=_warn)
    background.start()
    closing.push_async_callback(asyncio.to_thread, background.stop)
    heartbeat = Heartbeat(log, audit, every_s=settings.trail.heartbeat_s, clock=clock, warn=_warn)
    heartbeat.start()
    closing.push_async_callback(heartbeat.stop)


def trust_of(settings: Settings) -> Trust:
    """Whose checkpoints anchor the log. Raises `ConfigurationError` for a key of the settings that is none."""
    chosen = settings.audit
    return Trust(
        log_keys=verifier_keys(filter(None, [chosen.checkpoint_key])), witness_keys=verifier_keys(chosen.witness_keys)
    )


def apart_of(settings: Settings) -> Apart:
    """What reads the whole log in a process of its own. Raises `ConfigurationError` as `trust_of`."""
    trust = trust_of(settings)
    return Apart(
        settings.data_dir / AUDIT_FILE,
        trust=trust,
        keys=trust.witness_keys,
        most_events=settings.trail.export_max_events,
        monotonic=time.monotonic,
    )


def audit_wire(
    settings: Settings, door: Door, audit: AuditLog, master: MasterKey, *, clock: Callable[[], datetime]
) -> AuditWire:
    """The routes for auditors. Raises `ConfigurationError` for a key of the settings that is none."""
    needs = AuditNeeds(
        log=settings.data_dir / AUDIT_FILE,
        audit=audit,
        tags=TextTags(master.derive(Purpose.TEXT_TAG)),
        apart=apart_of(settings),
        operators=frozenset(settings.trail.operators),
        clock=clock,
    )
    return AuditWire(door, needs)


def _warn(part: str, reason: str) -> None:
    _log.warning("audit_background", part=part, reason=reason)
