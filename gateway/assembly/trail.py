"""Wires what the console's audit and overview pages read: log, proofs, kept texts, sinks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.assembly.audit import apart_of, trust_of
from gateway.assembly.bodies import wrappers_of
from gateway.assembly.erasure import body_reader
from gateway.assembly.sinks import SinkWatch
from gateway.audit.text_tag import TextTags
from gateway.domain.ports import AuditLog
from gateway.domain.sealing import MasterKey, Purpose
from gateway.settings import Settings
from gateway.settings.folder import AUDIT_FILE

if TYPE_CHECKING:
    from gateway.console.audit_trail import Trail


def build_trail(settings: Settings, environ: Mapping[str, str], master: MasterKey, audit: AuditLog) -> "Trail":
    """`audit` records what is read. Raises `ConfigurationError` for keys of the settings that are none."""
    from gateway.console.audit_trail import Trail

    return Trail(
        log=settings.data_dir / AUDIT_FILE,
        trust=trust_of(settings),
        apart=apart_of(settings),
        tags=TextTags(master.derive(Purpose.TEXT_TAG)),
        bodies=body_reader(settings, wrappers_of(settings, environ), audit),
        lags=SinkWatch(settings).lags,
    )
