"""`GET /openapi.json`: the contract of the routes, as an OpenAPI 3.1 document.

The wire routes take any field beyond those described: unknown ones pass through to the model.
"""

from typing import Any, Final

from litestar.types import Receive, Scope, Send

from gateway import __version__
from gateway.domain.model import Body
from gateway.edge.door import Door, Entry
from gateway.edge.openapi_audit import AUDIT_SCHEMAS, audit_paths
from gateway.edge.openapi_cases import RESUMES, SCHEMAS, case_paths
from gateway.reply import Reply
from gateway.wire.chat import COUNTS, NUMBERS, ROLES

_STRING: Final = {"type": "string"}
_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": _STRING,
                "type": _STRING,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
                "innererror": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
            },
        },
        "gateway": {"$ref": "#/components/schemas/Gateway"},
    },
}
_GATEWAY: Final = {
    "type": "object",
    "description": "what the gateway decided; never a matched value",
    "required": ["id", "decision", "policy", "rules"],
    "properties": {
        "id": {**_STRING, "description": "resolves to the audit record"},
        "decision": {"enum": ["allow", "flag", "redact", "escalate", "refuse"]},
        "policy": {**_STRING, "description": "digest of the policies in force"},
        "rules": {"type": "array", "items": _STRING},
        "redacted": {"type": "object"},
        "retrieval": {"enum": ["ok", "off", "error", "timeout"]},
        "citations": {"type": "array", "items": {"type": "object"}},
        "unscanned": {"type": "array", "items": _STRING},
        "case": _STRING,
        "poll": _STRING,
        "expires": _STRING,
        "review": {"enum": ["approved", "edited"], "description": "what a human did with the answer"},
    },
}
_TEXT_PART: Final = {
    "type": "object",
    "required": ["type", "text"],
    "properties": {"type": {"const": "text"}, "text": _STRING},
}
_OTHER_PART: Final = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {**_STRING, "not": {"const": "text"}}},
}
_MESSAGE: Final = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"enum": list(ROLES)},
        "content": {
            "anyOf": [
                _STRING,
                {"type": "null"},
                {"type": "array", "items": {"anyOf": [_TEXT_PART, _OTHER_PART]}},
            ]
        },
    },
}
_CHAT_REQUEST: Final = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {**_STRING, "minLength": 1},
        "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
        "stream": {"type": ["boolean", "null"]},
        "stream_options": {"type": ["object", "null"]},
        **{
            name: {"type": ["integer", "null"], "minimum": least, "maximum": most}
            for name, (least, most) in COUNTS.items()
        },
        **{
            name: {"type": ["number", "null"], "minimum": least, "maximum": most}
            for name, (least, most) in NUMBERS.items()
        },
        "response_format": {"type": ["object", "null"]},
        "tools": {"type": ["array", "null"]},
        "functions": {"type": ["array", "null"]},
        "stop": {"type": ["string", "array", "null"]},
    },
}
_CHAT_ANSWER: Final = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage", "gateway"],
    "properties": {
        "id": _STRING,
        "object": {"const": "chat.completion"},
        "created": {"type": "integer"},
        "model": _STRING,
        "choices": {"type": "array", "minItems": 1, "items": {"type": "object"}},
        "usage": {"type": "object"},
        "gateway": {"$ref": "#/components/schemas/Gateway"},
    },
}
_CHAT_CHUNK: Final = {
    "anyOf": [
        {
            "type": "object",
            "required": ["id", "object", "created", "model", "choices"],
            "properties": {
                "id": _STRING,
                "object": {"const": "chat.completion.chunk"},
                "created": {"type": "integer"},
                "model": _STRING,
                "choices": {"type": "array", "items": {"type": "object", "required": ["index", "delta"]}},
                "gateway": {"$ref": "#/components/schemas/Gateway"},
            },
        },
        {"$ref": "#/components/schemas/Error"},
    ]
}
_CHAT_EVENT: Final = {
    "type": "object",
    "description": "a server-sent event: a chunk, or the end of the stream; an error is the last event of its stream",
    "required": ["data"],
    "properties": {
        "data": {
            "anyOf": [
                {"const": "[DONE]"},
                {
                    **_STRING,
                    "contentMediaType": "application/json",
                    "contentSchema": {"$ref": "#/components/schemas/ChatChunk"},
                },
            ]
        }
    },
}
_EMBEDDINGS_REQUEST: Final = {
    "type": "object",
    "required": ["model", "input"],
    "properties": {
        "model": {**_STRING, "minLength": 1},
        "input": {
            "anyOf": [
                {**_STRING, "minLength": 1},
                {"type": "array", "minItems": 1, "items": {**_STRING, "minLength": 1}},
            ]
        },
        "encoding_format": {"enum": ["float", "base64", None]},
    },
}
_MODEL: Final = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {"id": _STRING, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": _STRING},
}
_LIST: Final = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {"object": {"const": "list"}, "data": {"type": "array"}},
}
_HEALTH: Final = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": _STRING,
        "checks": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "policy": {
            "type": "object",
            "description": "what is in force; `stale` says that newer files could not come into force",
            "required": ["state", "digest"],
            "properties": {
                "state": {"enum": ["current", "stale"]},
                "digest": _STRING,
                "error": {**_STRING, "description": "code and place of what keeps newer files out of force"},
                "candidate": {"type": "object", "description": "policies evaluated beside them"},
            },
        },
    },
}


def openapi_document() -> Body:
    """The document; the same for every caller."""
    chat = _operation("Chat completion", _ref("ChatAnswer"), request=_ref("ChatRequest"))
    chat["responses"]["200"]["content"]["text/event-stream"] = {"schema": _ref("ChatEvent")}
    chat["parameters"] = [RESUMES]
    name = {"name": "name", "in": "path", "required": True, "schema": _STRING}
    metrics = _operation("Counts of this node in the text format of Prometheus; for role `admin` or `monitor`", _STRING)
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": _STRING}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Answer gateway", "version": __version__},
        "security": [{"key": []}],
        "paths": {
            "/v1/chat/completions": {"post": chat},
            "/v1/embeddings": {"post": _operation("Embeddings", _ref("List"), request=_ref("EmbeddingsRequest"))},
            "/v1/models": {"get": _operation("Models open to this key", _ref("List"))},
            "/v1/models/{name}": {"get": {**_operation("One model", _ref("Model")), "parameters": [name]}},
            **case_paths(_operation, _ref),
            **audit_paths(_operation, _ref),
            "/metrics": {"get": metrics},
            "/openapi.json": {"get": _operation("This document", {"type": "object"})},
            "/health/live": {"get": {**_operation("The process answers", _ref("Health")), "security": []}},
            "/health/ready": {"get": {**_operation("Requests can be served", _ref("Health")), "security": []}},
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "ChatRequest": _CHAT_REQUEST,
                "ChatAnswer": _CHAT_ANSWER,
                "ChatChunk": _CHAT_CHUNK,
                "ChatEvent": _CHAT_EVENT,
                "EmbeddingsRequest": _EMBEDDINGS_REQUEST,
                "List": _LIST,
                "Model": _MODEL,
                **SCHEMAS,
                **AUDIT_SCHEMAS,
                "Health": _HEALTH,
                "Gateway": _GATEWAY,
                "Error": _ERROR,
            },
        },
    }


class OpenApiWire:
    def __init__(self, door: Door) -> None:
        self._door = door

    async def document(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The document, for any valid key."""

        async def serve(entry: Entry) -> Reply:
            return Reply(headers={"x-request-id": entry.exchange}, body=openapi_document())

        await self._door.run(scope, receive, send, method="GET", serve=serve)


def _ref(name: str) -> Body:
    return {"$ref": f"#/components/schemas/{name}"}


def _operation(summary: str, answer: Body, *, request: Body | None = None) -> dict[str, Any]:
    error = {"description": "an error in the OpenAI shape", "content": {"application/json": {"schema": _ref("Error")}}}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": {"application/json": {"schema": answer}}},
            "4XX": error,
            "5XX": error,
        },
    }
    if request is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": request}}}
    return operation
