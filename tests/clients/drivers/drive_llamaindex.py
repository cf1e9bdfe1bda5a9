"""Drives LlamaIndex's `OpenAILike` with its default settings."""

import json
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.llms.openai_like import OpenAILike
from loop import nothing, serve, told


def chat(
    url: str,
    key: str,
    *,
    stream: bool,
    model: str,
    messages: list[dict[str, Any]],
    extra: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    llm = OpenAILike(api_base=f"{url}/v1", api_key=key, model=model, is_chat_model=True, is_function_calling_model=True)
    if extra:
        options["extra_body"] = extra
    turns = [message_of(message) for message in messages]
    if not stream:
        return read(llm.chat(turns, **options))
    found = nothing()
    try:
        for response in llm.stream_chat(turns, **options):
            seen = read(response)
            found["parts"] += bool(response.delta)
            found["texts"], found["calls"] = seen["texts"], seen["calls"]
            for name in ("finish", "id", "total_tokens", "gateway", "unknown"):
                found[name] = found[name] if seen[name] is None else seen[name]
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is what the user of the library sees
        found["error"] = told(error)
    return found


def message_of(message: dict[str, Any]) -> ChatMessage:
    more = {key: value for key, value in message.items() if key not in ("role", "content")}
    return ChatMessage(role=message["role"], content=message["content"], additional_kwargs=more)


def read(response: ChatResponse) -> dict[str, Any]:
    raw = response.raw
    extra = raw.model_extra or {}
    choices = raw.choices
    return {
        **nothing(),
        "texts": [response.message.content],
        "finish": choices[0].finish_reason if choices else None,
        "calls": [
            [call.function.name, decoded(call.function.arguments)]
            for call in response.message.additional_kwargs.get("tool_calls") or ()
        ],
        "id": raw.id,
        "total_tokens": raw.usage.total_tokens if raw.usage else None,
        "tokens": [entries[0].token for entries in response.logprobs] if response.logprobs else None,
        "gateway": extra.get("gateway"),
        "unknown": extra.get("x_top"),
    }


def decoded(arguments: str) -> Any:
    """The arguments, or their source text while a stream has brought only a part of them."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


if __name__ == "__main__":
    serve({"chat": chat})
