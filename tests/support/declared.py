"""Every event that a test makes the gateway write is one that `gateway.audit.schema` declares."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from gateway.audit.entry import EMPTY, chain, prepare
from gateway.audit.read import AuditReader
from gateway.audit.schema import fault_of
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import Commitment, EventDraft

_WHEN = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
_KEY = "k:" + "0" * 32


def event_of(draft: EventDraft) -> dict[str, Any]:
    """The event that a log would write of a draft, its texts kept."""
    ids = count()
    bodies = [Commitment(text=text.text, members={"field": text.field, "key": _KEY}) for text in draft.bodies]
    if bodies:
        draft = structs.replace(draft, body={**draft.body, "bodies": bodies}, bodies=())
    entry = prepare(draft, log_name="test", boot="b", ids=lambda: f"id-{next(ids)}", salts=lambda: bytes(32))
    (chained,) = chain([entry], EMPTY, _WHEN)
    event: dict[str, Any] = msgspec.json.decode(chained.body)
    return event


def check_draft(draft: EventDraft) -> None:
    check_event(event_of(draft))


def check_event(event: Mapping[str, Any]) -> None:
    fault = fault_of(event)
    assert not fault, f"{event.get('type')}: {fault}"


def check_log(path: Path) -> None:
    """Every event of a log. One that a test damaged on purpose is passed over."""
    try:
        with AuditReader(path) as reader:
            events = [event.members for event in reader.search()]
    except AuditUnavailable:
        return
    for event in events:
        check_event(event)
