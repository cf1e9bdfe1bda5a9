"""The part of the OpenAPI document that is about the audit trail."""

from collections.abc import Callable
from typing import Any, Final

from gateway.audit.export_forms import Form
from gateway.audit.search import MOST
from gateway.audit.verify import Outcome
from gateway.domain.event import EventType
from gateway.domain.model import Body
from gateway.edge.audit import EFFECTS, GROUPINGS, ROUTE

_STRING: Final = {"type": "string"}
_COUNTS: Final = {"type": "object", "additionalProperties": {"type": "integer"}}


def _query(name: str, description: str, schema: Body | None = None) -> Body:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema or _STRING}


_FILTERS: Final = [
    _query("type", f"types of events, with commas, such as `{EventType.OUTCOME.value},{EventType.STREAM_CLOSE.value}`"),
    _query("tenant", "one of the tenants that the key may see"),
    _query("app", "the application"),
    _query("principal", "pseudonym of who acted"),
    _query("effect", "what an exchange ended with", {"enum": list(EFFECTS)}),
    _query("rule", "id of a rule that matched or failed"),
    _query("case", "id of a case"),
    _query("commitment", "commitment to a question, an answer or a text of a case"),
    _query("request", "id of an exchange"),
    _query("since", "from this time on, RFC 3339 with a zone"),
    _query("until", "before this time, RFC 3339 with a zone"),
]
_BY_NAME: Final = {one["name"]: one for one in _FILTERS}
_EXCHANGE_ID: Final = {"name": "exchange", "in": "path", "required": True, "schema": {**_STRING, "minLength": 1}}
_EVENT: Final = {
    "type": "object",
    "description": "an event as it was hashed, and its hash; `gateway/audit/events.schema.json` describes all types",
    "required": ["hash", "v", "log", "seq", "id", "type", "ts", "tenant", "app", "principal", "request", "prev"],
    "properties": {
        "hash": {**_STRING, "pattern": "^sha256:[0-9a-f]{64}$"},
        "seq": {"type": "integer"},
        "type": _STRING,
    },
}
_EVENTS: Final = {
    "type": "object",
    "required": ["object", "data", "next"],
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/AuditEvent"}},
        "next": {"type": ["string", "null"], "description": "`cursor` of the next page; null after the last"},
    },
}
_MOMENT: Final = {
    "type": "object",
    "required": ["seq", "id", "hash", "ts", "after_us", "type", "title", "facts"],
    "properties": {"title": {**_STRING, "description": "the event in words"}, "facts": {"type": "array"}},
}
_EXCHANGE: Final = {
    "type": "object",
    "required": ["object", "exchange", "effect", "moments", "events"],
    "properties": {
        "object": {"const": "gateway.exchange"},
        "exchange": _STRING,
        "effect": _STRING,
        "moments": {"type": "array", "items": _MOMENT},
        "events": {"type": "array", "items": {"$ref": "#/components/schemas/AuditEvent"}},
    },
}
_TEXT: Final = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {**_STRING, "minLength": 1, "description": "exactly the text to look for"}},
}
_PLACES: Final = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {
        "object": {"const": "list"},
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "event"],
                "properties": {
                    "path": {**_STRING, "description": "JSON pointer to the commitment in the event"},
                    "event": {"$ref": "#/components/schemas/AuditEvent"},
                },
            },
        },
    },
}
_GROUP: Final = {
    "type": "object",
    "required": ["day", "tenant", "app", "events", "effects", "errors", "rules", "detectors", "latency"],
    "properties": dict.fromkeys(("events", "effects", "errors", "latency", "feedback"), _COUNTS),
}
_STATS: Final = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": _GROUP}},
}
_VERIFICATION: Final = {
    "type": "object",
    "required": ["object", "outcome", "log", "events", "hash"],
    "properties": {
        "object": {"const": "gateway.verification"},
        "outcome": {"enum": [outcome.value for outcome in Outcome]},
        "log": _STRING,
        "events": {"type": "integer"},
        "hash": _STRING,
    },
}
AUDIT_SCHEMAS: Final[dict[str, Body]] = {
    "AuditEvent": _EVENT,
    "AuditEvents": _EVENTS,
    "AuditExchange": _EXCHANGE,
    "AuditPlaces": _PLACES,
    "AuditStats": _STATS,
    "AuditText": _TEXT,
    "AuditVerification": _VERIFICATION,
}


def audit_paths(operation: Callable[..., dict[str, Any]], ref: Callable[[str], Body]) -> dict[str, Any]:
    """Paths with their operations, made with the document's own `operation` and `ref`."""

    def get(summary: str, answer: Body, *parameters: Body) -> dict[str, Any]:
        return {"get": {**operation(summary, answer), "parameters": list(parameters)}}

    form = _query("form", "form of the events beside the evidence", {"enum": [one.value for one in Form]})
    export = get("Events as an evidence bundle, for auditors", {"type": "object"}, *_FILTERS, form)
    bundle = {"application/zip": {"schema": {**_STRING, "format": "binary"}}}
    export["get"]["responses"]["200"] = {"description": "a zip file", "content": bundle}
    limit = _query("limit", "events of a page", {"type": "integer", "minimum": 1, "maximum": MOST})
    by = _query("by", "how counts are grouped, beside the tenant", {"enum": list(GROUPINGS)})
    cursor = _query("cursor", "`next` of the page before")
    counted = [_BY_NAME[name] for name in ("tenant", "app", "since", "until")]
    told = "One exchange, told in order, for auditors"
    found = "Where exactly this text was asked, answered or written, for auditors"
    return {
        f"{ROUTE}/events": get("Events, the newest first, for auditors", ref("AuditEvents"), *_FILTERS, limit, cursor),
        f"{ROUTE}/exchanges/{{exchange}}": get(told, ref("AuditExchange"), _EXCHANGE_ID),
        f"{ROUTE}/texts": {"post": operation(found, ref("AuditPlaces"), request=ref("AuditText"))},
        f"{ROUTE}/stats": get("Counts by day and application, for auditors", ref("AuditStats"), *counted, by),
        f"{ROUTE}/verify": get("The log, recomputed, for auditors", ref("AuditVerification")),
        f"{ROUTE}/export": export,
    }
