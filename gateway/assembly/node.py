"""A node's data folder, and the audit log in it: for the server and for commands."""

import os
from pathlib import Path
from typing import Final

from gateway.assembly.ambient import ascending_id, utc_now
from gateway.audit.boot import Accept
from gateway.audit.log import SqliteAuditLog
from gateway.audit.text_tag import TextTags
from gateway.domain.errors import ConfigurationError
from gateway.domain.event import EventDraft, Receipt
from gateway.domain.sealing import MasterKey, Purpose
from gateway.settings import Settings
from gateway.settings.folder import AUDIT_FILE, MASTER_KEY_FILE

_SALT_BYTES: Final = 32


def data_folder(settings: Settings) -> Path:
    """The data folder, made if it is missing. Raises `ConfigurationError`."""
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"the data folder `{folder}` cannot be made: {reason}: set `data_dir`") from None
    return folder


def open_audit(settings: Settings, accept: Accept | None = None) -> SqliteAuditLog:
    """This node's audit log. Raises `AuditUnavailable`, and `ConfigurationError` for a folder that cannot be. A log
    that its last signed checkpoint does not fit opens only with `accept`."""
    folder = data_folder(settings)
    return SqliteAuditLog.open(
        folder / AUDIT_FILE,
        log_name=settings.audit.log_name,
        group_max_events=settings.audit.group_max_events,
        append_timeout_s=settings.audit.append_timeout_s,
        reserve_bytes=settings.audit.reserve_bytes,
        clock=utc_now,
        ids=ascending_id,
        salts=lambda: os.urandom(_SALT_BYTES),
        accept=accept,
        tags=TextTags(MasterKey.load_or_create(folder / MASTER_KEY_FILE).derive(Purpose.TEXT_TAG)),
    )


def record_event(settings: Settings, draft: EventDraft) -> Receipt:
    """Write one event and close the log again: for commands. Raises `AuditUnavailable`."""
    audit = open_audit(settings)
    try:
        return audit.append_blocking(draft)
    finally:
        audit.close()
