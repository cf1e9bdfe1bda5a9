"""Events in the Open Cybersecurity Schema Framework (OCSF) 1.8.0, for security teams' stores.

| event | OCSF class |
|---|---|
| `case.*` | Incident Finding (2005) |
| anything else | API Activity (6003), with the profile `ai_operation` where a model was asked |
| an exchange flagged, escalated or refused, and what the gateway finds of itself | also Detection Finding (2004) |
| an exchange in which something was redacted | also Data Security Finding (2006) |

A record says by the event's id and SHA-256 which event it tells of; the event is the evidence, the record a reading
of it. Records hold no text, since events hold none.
"""

from collections.abc import Iterator
from typing import Any, Final

from gateway import __version__
from gateway.audit.entry import ENDS, parse_timestamp
from gateway.audit.read import Event
from gateway.audit.search_terms import Facet, facets_of
from gateway.domain.event import EventType
from gateway.domain.vocabulary import Effect

OCSF_VERSION: Final = "1.8.0"
_API_ACTIVITY: Final = 6003
_DETECTION: Final = 2004
_INCIDENT: Final = 2005
_DATA_SECURITY: Final = 2006
_SHA_256: Final = 3
_CREATE, _READ, _UPDATE, _OTHER = 1, 2, 3, 99
_CLOSE: Final = 3  # of findings
_SUCCESS, _FAILURE, _UNKNOWN = 1, 2, 0
_RULE_ANALYTIC: Final = 1
_PERSONAL: Final = 1
_APPLICATION_DLP: Final = 10
_ASSISTANT: Final = 2
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH = 1, 2, 3, 4
_SEVERITIES: Final = {
    Effect.ALLOW.value: _INFORMATIONAL,
    Effect.FLAG.value: _LOW,
    Effect.REDACT.value: _LOW,
    Effect.ESCALATE.value: _MEDIUM,
    Effect.REFUSE.value: _HIGH,
}
_ALERTS: Final = frozenset({Effect.FLAG.value, Effect.ESCALATE.value, Effect.REFUSE.value})
_OWN_FINDINGS: Final = {
    EventType.ACCESS_MISMATCH.value: "the store returned passages that the caller may not see",
    EventType.BREAK_GLASS.value: "two people accepted a log that its last checkpoint does not fit",
    EventType.LOG_STOPPED.value: "the audit log could not be written any more",
    EventType.LOG_RECOVERED.value: "exchanges were cut off by a crash",
    EventType.LOG_SILENT.value: "a node gave no sign of life and was not retired",
}
_READS: Final = frozenset({EventType.BODY_READ.value, EventType.AUDIT_READ.value, EventType.EXPORT.value})
# What a case is after its act: New, In Progress, On Hold, Resolved, Closed.
_CASE_STATES: Final = {
    EventType.CASE_OPENED.value: 1,
    EventType.CASE_ASKED.value: 3,
    EventType.CASE_APPROVED.value: 4,
    EventType.CASE_EDITED.value: 4,
    EventType.CASE_REFUSED.value: 4,
    EventType.CASE_RELEASABLE.value: 4,
    EventType.CASE_DELIVERED.value: 5,
    EventType.CASE_REDELIVERED.value: 5,
    EventType.CASE_WITHDRAWN.value: 5,
    EventType.CASE_CLOSED.value: 5,
}
_IN_PROGRESS: Final = 2
_CLOSED: Final = 5


def ocsf_records(event: Event) -> Iterator[dict[str, Any]]:
    """What an event is in OCSF: one record, or two or three. Raises `ValueError` for an event without a time."""
    own = event.members
    kind = str(own["type"])
    if kind.startswith("case."):
        yield _incident(event)
        return
    yield _activity(event)
    effect = own.get("effect")
    ended = kind in ENDS
    if kind in _OWN_FINDINGS or (ended and effect in _ALERTS):
        yield _detection(event)
    if ended and _redacted(own):
        yield _data_security(event)


def _activity(event: Event) -> dict[str, Any]:
    own = event.members
    kind = str(own["type"])
    failed = kind == EventType.REJECTED or isinstance(own.get("error"), str)
    record = _record(event, _API_ACTIVITY, _activity_id(kind))
    code = own.get("code") or own.get("error") or own.get("reason")
    record |= {
        "actor": _actor(own),
        "api": {"operation": kind, "request": {"uid": own["request"] or own["id"]}, "service": _service(own)},
        "src_endpoint": {"svc_name": f"{own['tenant']}/{own['app']}" if own["tenant"] else own["log"]},
        "status_id": _UNKNOWN if code == "unknown_after_crash" else _FAILURE if failed else _SUCCESS,
    }
    if isinstance(own.get("route"), str):
        record["api"]["operation"] = f"{kind} {own['route']}"
    if isinstance(code, str):
        record["status_code"] = code
    model = own.get("model")
    if isinstance(model, dict) and isinstance(model.get("name"), str):
        record |= _asked(model)
        record["metadata"]["profiles"] = ["ai_operation"]
    if type(own.get("took_us")) is int:
        record["duration"] = own["took_us"] // 1_000
    return record


def _asked(model: dict[str, Any]) -> dict[str, Any]:
    """The attributes of the profile `ai_operation`."""
    context: dict[str, Any] = {"ai_role_id": _ASSISTANT, "service": {"name": "answer-gateway"}}
    counts = {"prompt_tokens": model.get("tokens_in"), "completion_tokens": model.get("tokens_out")}
    known = {name: count for name, count in counts.items() if type(count) is int}
    if len(known) == len(counts):
        known["total_tokens"] = sum(known.values())
    name = str(model.get("answered_by") or model["name"])
    return {
        "ai_model": {"ai_provider": str(model.get("provider") or "none"), "name": name},
        "message_context": context | known,
    }


def _detection(event: Event) -> dict[str, Any]:
    own = event.members
    kind = str(own["type"])
    title = _OWN_FINDINGS.get(kind) or f"an exchange ended with the decision {own['effect']}"
    rules = _rules(own)
    finding = _finding(event, title)
    if rules:
        finding["analytic"] = rules[0]
    if len(rules) > 1:
        finding["related_analytics"] = rules[1:]
    evidence = {"actor": _actor(own), "api": {"operation": kind, "request": {"uid": own["request"] or own["id"]}}}
    return _record(event, _DETECTION, _CREATE) | {
        "finding_info": finding,
        "evidences": [evidence],
        "is_alert": kind in _OWN_FINDINGS or own.get("effect") != Effect.FLAG,
        "status_id": 1,
    }


def _data_security(event: Event) -> dict[str, Any]:
    own = event.members
    security: dict[str, Any] = {
        "category_id": _PERSONAL,
        "detection_system_id": _APPLICATION_DLP,
        "discovery_details": [{"type": kind, "count": count} for kind, count in sorted(_redacted(own).items())],
    }
    if isinstance(own.get("policy"), str) and own["policy"]:
        security["policy"] = {"uid": own["policy"], "is_applied": True}
    return _record(event, _DATA_SECURITY, _CREATE) | {
        "actor": _actor(own),
        "data_security": security,
        "finding_info": _finding(event, "sensitive data was taken out of an exchange"),
        "status_id": 1,
    }


def _incident(event: Event) -> dict[str, Any]:
    own = event.members
    kind = str(own["type"])
    state = _CASE_STATES.get(kind, _IN_PROGRESS)
    activity = _CREATE if kind == EventType.CASE_OPENED else _CLOSE if state == _CLOSED else _UPDATE
    finding: dict[str, Any] = {"uid": str(own.get("case") or own["id"]), "title": "an answer waits for a human"}
    rules = _rules(own)
    if rules:
        finding["analytic"] = rules[0]
    return _record(event, _INCIDENT, activity) | {
        "assignee_group": {"name": str(own.get("queue") or "reviewers")},
        "desc": kind,
        "finding_info_list": [finding],
        "status_id": state,
    }


def _record(event: Event, class_uid: int, activity: int) -> dict[str, Any]:
    """What every class asks for."""
    own = event.members
    metadata = {
        "version": OCSF_VERSION,
        "product": {"name": "answer-gateway", "vendor_name": "answer-gateway", "version": __version__},
        "uid": f"{own['id']}:{class_uid}",
        "original_event_uid": own["id"],
        "event_code": own["type"],
        "log_name": own["log"],
        "original_time": own["ts"],
        "sequence": event.seq,
    }
    if own["tenant"]:
        metadata["tenant_uid"] = own["tenant"]
    if own["request"]:
        metadata["correlation_uid"] = own["request"]
    return {
        "activity_id": activity,
        "category_uid": class_uid // 1_000,
        "class_uid": class_uid,
        "metadata": metadata,
        "raw_data_hash": {"algorithm_id": _SHA_256, "value": event.hash},
        "severity_id": _severity(own),
        "time": _milliseconds(own),
        "type_uid": class_uid * 100 + activity,
    }


def _finding(event: Event, title: str) -> dict[str, Any]:
    own = event.members
    return {"uid": own["id"], "title": title, "created_time": _milliseconds(own), "types": [str(own["type"])]}


def _rules(event: dict[str, Any]) -> list[dict[str, Any]]:
    rules = sorted(value for facet, value in facets_of(event) if facet is Facet.RULE)
    return [{"type_id": _RULE_ANALYTIC, "uid": rule, "name": rule} for rule in rules]


def _redacted(event: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    redacted = event.get("redacted")
    for kinds in redacted.values() if isinstance(redacted, dict) else ():
        for kind, count in kinds.items() if isinstance(kinds, dict) else ():
            if type(count) is int and count > 0:
                counts[kind] = counts.get(kind, 0) + count
    return counts


def _actor(event: dict[str, Any]) -> dict[str, Any]:
    if event["principal"]:
        return {"user": {"uid": event["principal"]}, "app_name": event["app"] or "answer-gateway"}
    return {"app_name": event["app"] or "answer-gateway"}


def _service(event: dict[str, Any]) -> dict[str, Any]:
    return {"name": "answer-gateway", "uid": event["log"]}


def _activity_id(kind: str) -> int:
    if kind in ENDS or kind in (EventType.INTENT, EventType.STREAM_OPEN, EventType.KEY_CREATED):
        return _CREATE
    if kind in _READS:
        return _READ
    if kind in (EventType.POLICY_ACTIVATE, EventType.INGEST, EventType.KEY_REVOKED):
        return _UPDATE
    return _OTHER


def _severity(event: dict[str, Any]) -> int:
    if event["type"] in _OWN_FINDINGS:
        return _HIGH
    effect = event.get("effect")
    return _SEVERITIES.get(effect, _INFORMATIONAL) if isinstance(effect, str) else _INFORMATIONAL


def _milliseconds(event: dict[str, Any]) -> int:
    return int(parse_timestamp(event["ts"]).timestamp() * 1_000)
