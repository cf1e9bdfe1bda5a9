"""The part of the OpenAPI document that is about cases and feedback."""

from collections.abc import Callable
from typing import Any, Final

from gateway.cases.case import CaseState
from gateway.cases.review import Act
from gateway.domain.model import Body
from gateway.edge.feedback import RATINGS, REASONS

_STRING: Final = {"type": "string"}
_TIME: Final = {**_STRING, "description": "RFC 3339, UTC"}
CASE_ID: Final = {
    "name": "case",
    "in": "path",
    "required": True,
    "schema": {**_STRING, "pattern": "^case_[0-9a-f]{32}$"},
}
RESUMES: Final = {
    "name": "x-gateway-case",
    "in": "header",
    "required": False,
    "description": "the approved case of this very request: its approval is consumed, once",
    "schema": {**_STRING, "pattern": "^(case_[0-9a-f]{32})?$"},
}
_REASON_HEADER: Final = {
    "name": "x-gateway-reason",
    "in": "header",
    "required": False,
    "description": "why the content is opened, a code or a few plain words; nothing opens without it",
    "schema": _STRING,
}
_QUERY: Final = [
    {"name": "queue", "in": "query", "required": False, "schema": _STRING},
    {
        "name": "state",
        "in": "query",
        "required": False,
        "description": "states with commas; undecided ones if absent",
        "schema": _STRING,
    },
    {"name": "limit", "in": "query", "required": False, "schema": {"type": "integer", "minimum": 1, "maximum": 200}},
]
_ACTS: Final = {
    Act.CLAIM: "Take a case for review",
    Act.RELEASE: "Give a claimed case back",
    Act.APPROVE: "Agree that the request or its held answer may pass; `reason` is required",
    Act.EDIT: "Approve another answer, `text`; it is inspected first",
    Act.REFUSE: "Refuse the case; `reason` is required",
    Act.ASK: "Ask the requester `text`",
    Act.REPLY: "The requester's reply, `text`",
    Act.WITHDRAW: "The requester no longer wants an answer",
    Act.APPEAL: "The requester wants another reviewer to look; `reason` is required",
    Act.BREAK_GLASS: "An admin approves alone; reviewed afterwards",
    Act.UPHOLD: "Another person has looked at a broken glass and agrees; `reason` is required",
    Act.CONTEST: "Another person has looked at a broken glass and does not; what has not left is refused",
}
_CASE: Final = {
    "type": "object",
    "required": ["id", "object", "state", "opened", "due", "expires"],
    "properties": {
        "id": _STRING,
        "object": {"const": "gateway.case"},
        "state": {"enum": [state.value for state in CaseState]},
        "opened": _TIME,
        "due": _TIME,
        "expires": _TIME,
        "question": {**_STRING, "description": "what a reviewer asks the requester"},
        "queue": _STRING,
        "tier": {"type": "integer"},
        "phase": _STRING,
        "rules": {"type": "array", "items": _STRING},
        "approvals": {"type": "object"},
        "held": {"type": ["string", "null"], "description": "until when a reviewer has the case"},
        "revision": {"type": "integer"},
    },
}
_CONTENT: Final = {
    "type": "object",
    "required": ["id", "object", "revision", "erased"],
    "properties": {
        "id": _STRING,
        "object": {"const": "gateway.case.content"},
        "revision": {"type": "integer"},
        "erased": {"type": "boolean"},
        "question": _STRING,
        "passages": {"type": "array"},
        "exchanged": {"type": "array"},
        "candidate": _STRING,
        "choices": {"type": "array", "description": "the held answer whole: every choice with its tool calls"},
        "edits": {"type": "array"},
    },
}
_ACT: Final = {
    "type": "object",
    "properties": {
        "reason": {**_STRING, "description": "a code, a ticket or a few plain words"},
        "text": _STRING,
        "revision": {"type": ["integer", "null"], "description": "the revision that was read; refused if it is old"},
    },
}
_NEXT: Final = {
    "type": "object",
    "properties": {"queue": {**_STRING, "description": "of this queue only"}},
}
_FEEDBACK: Final = {
    "type": "object",
    "required": ["id", "rating"],
    "properties": {
        "id": {**_STRING, "description": "the `id` of an answer"},
        "rating": {"enum": list(RATINGS)},
        "reason": {"enum": list(REASONS)},
    },
}
SCHEMAS: Final[dict[str, Body]] = {
    "Case": _CASE,
    "CaseContent": _CONTENT,
    "CaseAct": _ACT,
    "NextCase": _NEXT,
    "Feedback": _FEEDBACK,
}


def case_paths(operation: Callable[..., dict[str, Any]], ref: Callable[[str], Body]) -> dict[str, Any]:
    """Paths with their operations, made with the document's own `operation` and `ref`."""
    base = "/v1/gateway/cases"

    def get(summary: str, answer: str, *parameters: Body) -> dict[str, Any]:
        return {"get": {**operation(summary, ref(answer)), "parameters": list(parameters)}}

    paths = {
        base: get("Cases of a queue, earliest due first", "List", *_QUERY),
        f"{base}/{{case}}": get("The state of an escalated case", "Case", CASE_ID),
        f"{base}/{{case}}/content": get("The texts of a case, for reviewers", "CaseContent", CASE_ID, _REASON_HEADER),
        f"{base}/{{case}}/history": get("What happened to a case, for reviewers", "List", CASE_ID),
        f"{base}/{{case}}/answer": get("The approved answer, for its requester", "ChatAnswer", CASE_ID),
        f"{base}/next/claim": {
            "post": operation(
                "Claim the earliest due case that the caller may decide; 404 `queue_empty` if there is none",
                ref("Case"),
                request=ref("NextCase"),
            )
        },
        "/v1/gateway/feedback": {
            "post": operation("What the caller thinks of an answer", {"type": "object"}, request=ref("Feedback"))
        },
    }
    for act, summary in _ACTS.items():
        told = operation(summary, ref("Case"), request=ref("CaseAct"))
        paths[f"{base}/{{case}}/{act.value}"] = {"post": {**told, "parameters": [CASE_ID]}}
    return paths
