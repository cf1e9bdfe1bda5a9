"""The chat-completion answer: its texts and tool calls, and the shapes that we make ourselves."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.domain.model import Body
from gateway.domain.segment import Address
from gateway.wire.body import texts

CONTENT_FILTER: Final = "content_filter"
CONTENT: Final[Address] = ("content",)
_TOOL_KEYS: Final = frozenset({"tool_calls", "function_call"})
_STRUCTURAL_KEYS: Final = frozenset({"role", "type", "id", "object", "format", "index"})
_TOP_LEVEL_STRUCTURAL: Final = frozenset({"id", "object", "model", "service_tier", "system_fingerprint"})
_STRUCTURAL_VALUE: Final = re.compile(r"[A-Za-z0-9_./:@+-]{0,128}")


def message_texts(message: Mapping[str, Any]) -> list[tuple[Address, str]]:
    """The texts of a message or delta that are not tool calls, `content` last.

    Reasoning and unknown fields come first because a stream brings them first: whatever stops them stops the content
    in either mode.
    """
    found = [
        (address, text)
        for key, value in message.items()
        if key not in _TOOL_KEYS
        for address, text in texts(value, (key,))
        if not (address[-1] in _STRUCTURAL_KEYS and _STRUCTURAL_VALUE.fullmatch(text))
    ]
    found.sort(key=lambda item: item[0][0] == "content")
    return found


def loose_texts(body: Mapping[str, Any]) -> Iterator[tuple[Address, str]]:
    """Texts outside of `choices` that are no identifiers: fields a server added on its own."""
    for key, value in body.items():
        if key in ("choices", "usage", "gateway"):
            continue
        for address, text in texts(value, (key,)):
            if not (key in _TOP_LEVEL_STRUCTURAL and _STRUCTURAL_VALUE.fullmatch(text)):
                yield address, text


def choices_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The choices that are objects; anything else in their place is dropped rather than passed on unjudged."""
    choices = body.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def index_of(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) and not isinstance(index, bool) else 0


def stopped_completion(*, completion_id: str, created: int, model: str, notice: str) -> Body:
    """A whole answer that consists of a notice."""
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": notice, "refusal": None},
                "logprobs": None,
                "finish_reason": CONTENT_FILTER,
            }
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def chunk_head(*, completion_id: str, created: int, model: str) -> Body:
    """The fields that all chunks of a stream share."""
    return {"id": completion_id, "object": "chat.completion.chunk", "created": created, "model": model}


def delta_of(index: int, delta: Body) -> Body:
    """A choice of a chunk."""
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def finish(index: int, reason: str) -> Body:
    """The choice that ends a stream's choice."""
    return {"index": index, "delta": {}, "logprobs": None, "finish_reason": reason}


def stopped(index: int, delta: Body) -> Body:
    """The choice that ends a stopped choice of a stream with its notice. One piece, not two: a client that parses
    structured output as it comes must know why the answer ended before it takes the notice for JSON."""
    return {**delta_of(index, delta), "finish_reason": CONTENT_FILTER}
