"""`/v1/gateway/cases`: where a waiting client learns what became of its request, and reviewers decide.

    GET  ""                      cases of a queue, earliest due first        reviewers
    GET  /{id}                   the state of one                            its requester, reviewers of its tenant
    GET  /{id}/content           its texts, with `x-gateway-reason`          reviewers
    GET  /{id}/history           what happened to it                         reviewers
    GET  /{id}/answer            an approved answer, once                    its requester
    POST /{id}/{act}             claim, approve, …                           as the state machine says
    POST /next/claim             the next case that the caller may decide    reviewers

Nobody else learns that a case exists.
"""

import re
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from litestar.types import Receive, Scope, Send

from gateway.cases.case import REASON, REVIEWER, UNDECIDED, Case, CaseState, is_requester, may_open
from gateway.cases.desk import AuditedCaseDesk, actor_of
from gateway.cases.review import Act, CaseReview
from gateway.cases.store import CaseStore
from gateway.domain.errors import RequestError
from gateway.domain.model import Body
from gateway.domain.vocabulary import Phase
from gateway.edge.door import Door, Entry
from gateway.edge.openai import OpenAiWire
from gateway.reply import Reply
from gateway.wire.body import decode_body

_PATH: Final = re.compile(r"(?P<case>[^/]+)(?:/(?P<part>[^/]+))?")
_ROUTE: Final = "/v1/gateway/cases"
_MOST_LISTED: Final = 200
_MAX_DEPTH: Final = 64
_NEXT: Final = "next"
_ACTS: Final = frozenset(act.value for act in Act)


class CasesWire:
    """The ASGI application of these routes. `key` is the 32-byte key for `Purpose.CASE_BINDING`."""

    def __init__(
        self,
        door: Door,
        store: CaseStore,
        *,
        desk: AuditedCaseDesk,
        review: CaseReview,
        openai: OpenAiWire,
        key: bytes,
    ) -> None:
        self._door = door
        self._store = store
        self._desk = desk
        self._review = review
        self._openai = openai
        self._key = key

    async def cases(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whatever stands below the mount."""
        match = _PATH.fullmatch(str(scope["path"]).strip("/"))
        case_id, part = (match["case"], match["part"] or "") if match else ("", "")
        method = "POST" if part in _ACTS else "GET"
        route = f"{_ROUTE}/{{case}}" if case_id not in ("", _NEXT) else f"{_ROUTE}/{case_id}".rstrip("/")
        if part:
            route += f"/{part}" if part in _ACTS or part in _PARTS else "/{part}"

        async def serve(entry: Entry) -> Reply:
            if not case_id:
                return await self._list(entry, scope)
            if (case_id, part) == (_NEXT, Act.CLAIM):
                return await self._claim_next(entry)
            if part in _ACTS:
                return await self._act(entry, case_id, Act(part))
            return await self._show(entry, case_id, part)

        await self._door.run(scope, receive, send, method=method, serve=serve, route=route)

    async def _list(self, entry: Entry, scope: Scope) -> Reply:
        if REVIEWER not in entry.principal.roles:
            raise RequestError("only a reviewer may list cases", code="reviewer_required", status=403)
        asked = {name: values[0] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        found = await self._store.list_cases(
            entry.principal, queue=asked.get("queue", ""), states=_states(asked), limit=_limit(asked)
        )
        body = {"object": "list", "data": [_about(case, reviewer=True) for case in found]}
        return Reply(headers={"x-request-id": entry.exchange}, body=body)

    async def _show(self, entry: Entry, case_id: str, part: str) -> Reply:
        case = await self._case(entry, case_id)
        match part:
            case "":
                return await self._shown(entry, case)
            case "content":
                return await self._content(entry, case)
            case "history":
                return await self._history(entry, case)
            case "answer":
                return await self._answer(entry, case)
            case _:
                raise RequestError("this is not a route of this gateway", code="not_found", status=404)

    async def _shown(self, entry: Entry, case: Case) -> Reply:
        body = _about(case, reviewer=may_open(case, entry.principal))
        if is_requester(case, entry.principal) and case.state is CaseState.WAITING_INFO:
            body["question"] = await self._review.question(case)
        return _reply(entry, case, body)

    async def _content(self, entry: Entry, case: Case) -> Reply:
        file = await self._review.open_file(case, entry.principal, reason=_reason(entry.reason, "x-gateway-reason"))
        content = file.content
        body: Body = {"id": case.id, "object": "gateway.case.content", "revision": case.revision, "erased": not content}
        if content is not None:
            # Question first and the model's answer last: who reads the answer first tends to agree with it.
            body |= {
                "question": content.question,
                "rules": list(case.rules),
                "passages": [msgspec.to_builtins(passage) for passage in content.passages],
                "exchanged": [msgspec.to_builtins(text) for text in file.texts if text.kind in ("question", "reply")],
                "candidate": content.candidate,
                "choices": msgspec.json.decode(content.completion)["choices"] if content.completion else [],
                "edits": [msgspec.to_builtins(text) for text in file.texts if text.kind == "edit"],
            }
        return _reply(entry, case, body)

    async def _history(self, entry: Entry, case: Case) -> Reply:
        if not may_open(case, entry.principal):
            raise RequestError("only a reviewer may read the history", code="reviewer_required", status=403)
        steps = [msgspec.to_builtins(step) for step in await self._store.history(case.id)]
        return _reply(entry, case, {"object": "list", "data": steps})

    async def _answer(self, entry: Entry, case: Case) -> Reply:
        if case.phase is Phase.QUERY:
            raise RequestError(
                "this case holds a question: send the same request again with `x-gateway-case`",
                code="case_needs_request",
                status=409,
            )
        approval = await self._desk.approval(case.id, entry.principal)
        body = decode_body(approval.request.encode(), max_depth=_MAX_DEPTH)
        body = {name: value for name, value in body.items() if not name.startswith("stream")}
        resumed = msgspec.structs.replace(entry, body=body, case=case.id)
        return await self._openai.chat(resumed)

    async def _act(self, entry: Entry, case_id: str, act: Act) -> Reply:
        case = await self._case(entry, case_id)
        revision = entry.body.get("revision")
        if revision is not None and revision != case.revision:
            raise RequestError("the case was changed meanwhile: read it again", code="case_changed", status=409)
        actor = actor_of(case, entry.principal, self._key)
        reason = _text(entry, "reason")
        reason = _reason(reason, "reason") if reason else ""
        moved = await self._review.act(case, act, actor, reason=reason, text=_text(entry, "text"))
        return _reply(entry, moved, _about(moved, reviewer=may_open(moved, entry.principal)))

    async def _claim_next(self, entry: Entry) -> Reply:
        case = await self._review.claim_next(entry.principal, queue=_text(entry, "queue"))
        if case is None:
            raise RequestError("no case waits here that you may decide", code="queue_empty", status=404)
        return _reply(entry, case, _about(case, reviewer=True))

    async def _case(self, entry: Entry, case_id: str) -> Case:
        case = await self._store.get(case_id, entry.principal)
        if case is None:
            raise RequestError("there is no such case for this key", code="case_not_found", status=404)
        return case


_PARTS: Final = frozenset({"content", "history", "answer"})


def _about(case: Case, *, reviewer: bool) -> Body:
    """What a requester may know of a case; a reviewer knows more."""
    body: Body = {
        "id": case.id,
        "object": "gateway.case",
        "state": case.state.value,
        "opened": case.opened,
        "due": case.due,
        "expires": case.expires,
    }
    if reviewer:
        course = case.course
        body |= {
            "app": case.app,
            "queue": case.queue,
            "tier": course.tier,
            "phase": case.phase.value,
            "rules": list(case.rules),
            "policy": case.policy,
            "approvals": {"needed": case.approvals, "given": sum(vote.agrees for vote in course.votes)},
            "held": course.leased if course.holder else None,
            "reason": course.reason,
            "review_by": course.review_by,
            "post_review": course.post_review,
            "revision": case.revision,
        }
    return body


def _reply(entry: Entry, case: Case, body: Body) -> Reply:
    return Reply(headers={"x-request-id": entry.exchange, "x-gateway-case": case.id}, body=body)


def _states(asked: dict[str, str]) -> frozenset[CaseState]:
    names = [name for name in asked.get("state", "").split(",") if name]
    try:
        return frozenset(map(CaseState, names)) or UNDECIDED
    except ValueError:
        raise RequestError("`state` names states of a case, with commas", code="invalid_state", param="state") from None


def _limit(asked: dict[str, str]) -> int:
    text = asked.get("limit", str(_MOST_LISTED))
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= _MOST_LISTED:
        raise RequestError(f"`limit` lies in 1..{_MOST_LISTED}", code="invalid_limit", param="limit")
    return int(text)


def _reason(text: str, name: str) -> str:
    if not REASON.fullmatch(text):
        raise RequestError(f"give `{name}`: a code, a ticket or a few plain words", code="reason_required", param=name)
    return text


def _text(entry: Entry, name: str) -> str:
    value: Any = entry.body.get(name, "")
    if not isinstance(value, str):
        raise RequestError(f"`{name}` must be a string", code="invalid_type", param=name)
    return value
