"""A delivered answer as it is kept: whole, so that its requester gets the same again in either mode."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.model import Body
from gateway.enforce.answer import AnswerRelease
from gateway.exchange import Exchange
from gateway.reply import FixedStream, Reply, whole_reply
from gateway.wire.answer import choices_of, finish, index_of


class _Kept(Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def delivered_reply(exchange: Exchange, release: AnswerRelease, answer: Body, *, edited: bool) -> Reply:
    """The whole answer of an approved case, labelled as what a human agreed to."""
    reply = whole_reply(exchange, release, answer)
    review = "edited" if edited else "approved"
    body = dict(reply.body or {})
    if isinstance(body.get("gateway"), dict):
        body["gateway"] = {**body["gateway"], "review": review}
    return Reply(status=reply.status, headers={**reply.headers, "x-gateway-review": review}, body=body)


def packed(reply: Reply) -> bytes:
    """The reply as it is sealed with its case."""
    return msgspec.json.encode(_Kept(reply.status, reply.headers, reply.body or {}))


def unpacked(kept: bytes, exchange: Exchange) -> Reply:
    """The reply that `packed` was given, as the answer to this exchange: a stream if it asks for one."""
    found = msgspec.json.decode(kept, type=_Kept)
    headers = {**found.headers, "x-request-id": exchange.id}
    if not exchange.call.prompt.stream or found.status != 200:
        return Reply(status=found.status, headers=headers, body=found.body)
    return Reply(headers=headers, stream=FixedStream(_chunks(found.body, usage=exchange.call.prompt.include_usage)))


def _chunks(body: Body, *, usage: bool) -> list[Body]:
    """A completion as the chunks of a stream: each choice, its end, then what belongs to all of them."""
    head: Body = {key: body[key] for key in ("id", "created", "model") if key in body}
    head["object"] = "chat.completion.chunk"
    chunks: list[Body] = []
    for choice in choices_of(body):
        delta = dict(choice.get("message") or {})
        if isinstance(delta.get("tool_calls"), list):
            delta["tool_calls"] = [{"index": place, **call} for place, call in enumerate(delta["tool_calls"])]
        piece = {"index": index_of(choice), "delta": delta, "logprobs": choice.get("logprobs"), "finish_reason": None}
        chunks.append({**head, "choices": [piece]})
        chunks.append({**head, "choices": [finish(index_of(choice), str(choice.get("finish_reason") or "stop"))]})
    last: Body = {**head, "choices": [], "gateway": body.get("gateway")}
    if usage:
        last["usage"] = body.get("usage")
    return [*chunks, last]
