"""Wiring of texts that are kept encrypted: which key wraps their keys, and the log that keeps them."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Final

from gateway.audit.body_writer import BodyWriter
from gateway.audit.keeping import KeepingLog
from gateway.audit.transit import TransitWrapper
from gateway.audit.wrapping import KeyWrapper, MasterWrapper, Wrappers
from gateway.domain.errors import ConfigurationError
from gateway.domain.ports import AuditLog
from gateway.domain.sealing import KEY_BYTES, MasterKey, Purpose
from gateway.settings import CaptureLevel, Settings, resolve_secret
from gateway.settings.folder import BODIES_FILE, BODY_KEYS_FILE, MASTER_KEY_FILE

_HEX_DIGITS: Final = 2 * KEY_BYTES


def wrappers_of(settings: Settings, environ: Mapping[str, str]) -> Wrappers:
    """The wrapping keys that the settings name; nothing is asked of a key service yet. What the data folder's own key
    has wrapped can always be unwrapped. Raises `ConfigurationError`."""
    chosen = settings.audit.bodies
    own = MasterWrapper(MasterKey.load_or_create(settings.data_dir / MASTER_KEY_FILE).derive(Purpose.BODY_KEYS))
    previous: list[KeyWrapper] = [own, *(_master(reference, environ) for reference in chosen.previous_keys)]
    if not chosen.vault_url:
        return Wrappers(_master(chosen.master_key, environ) if chosen.master_key else own, previous)
    if chosen.master_key:
        previous.append(_master(chosen.master_key, environ))
    service = TransitWrapper(
        chosen.vault_url,
        mount=chosen.vault_mount,
        key=chosen.vault_key,
        token=resolve_secret(chosen.vault_token, environ),
        timeout_s=chosen.timeout_s,
    )
    return Wrappers(service, previous)


def keeping_log(
    settings: Settings,
    environ: Mapping[str, str],
    log: AuditLog,
    *,
    clock: Callable[[], datetime],
    closing: AsyncExitStack,
) -> AuditLog:
    """The log for events of exchanges: `log` itself where no app keeps texts. Raises `AuditUnavailable` and
    `ConfigurationError`."""
    if not any(app.capture is CaptureLevel.ENCRYPTED_BODY for app in settings.apps.values()):
        return log
    writer = BodyWriter(
        settings.data_dir / BODIES_FILE,
        settings.data_dir / BODY_KEYS_FILE,
        wrappers_of(settings, environ),
        clock=clock,
        timeout_s=settings.audit.append_timeout_s,
    )
    closing.callback(writer.close)
    keeping = KeepingLog(log, writer)
    closing.push_async_callback(keeping.drained)
    return keeping


def bodies_kept(log: AuditLog) -> bool | None:
    """Whether texts can be kept, for probes; `None` for a log of `keeping_log` that keeps none."""
    return log.healthy if isinstance(log, KeepingLog) else None


def _master(reference: str, environ: Mapping[str, str]) -> MasterWrapper:
    text = resolve_secret(reference, environ).reveal()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"a master key of `audit.bodies` is not {_HEX_DIGITS} hex digits: make one with `openssl rand -hex 32`"
        )
    return MasterWrapper(key)
