"""The events by which reading leaves a trace: that events leave, and that they were read over the network."""

from typing import Any

from gateway.audit.bundle import plain_filter
from gateway.audit.export_forms import Form
from gateway.audit.read import Filter
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.domain.principal import Principal


def exported(form: Form, wanted: Filter, *, via: str, bundle: bool, by: Principal | None = None) -> EventDraft:
    """Written before the first byte leaves. `via` is `http`, `console` or `command`."""
    body = {"form": form.value, "via": via, "bundle": bundle, "filter": _told(wanted)}
    return _draft(EventType.EXPORT, body, by)


def read(what: str, wanted: Filter, *, by: Principal, via: str = "http", text: str | None = None) -> EventDraft:
    """Written before events are shown. `what` is the kind of reading, such as `events` or `stats`; `text` one that was
    looked for, of which the log keeps a commitment."""
    body: dict[str, Any] = {"what": what, "via": via, "filter": _told(wanted)}
    if text is not None:
        body["text"] = Commitment(text=text)
    return _draft(EventType.AUDIT_READ, body, by)


def _told(wanted: Filter) -> dict[str, str]:
    """A filter as strings: one form of value for every condition."""
    return {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in plain_filter(wanted).items()
        if value != [] and (name, value) != ("first", 1)
    }


def _draft(kind: EventType, body: dict[str, Any], by: Principal | None) -> EventDraft:
    if by is None:
        return EventDraft(type=kind, body=body)
    return EventDraft(type=kind, tenant=by.tenant, app=by.app, principal=by.ref, body=body)
