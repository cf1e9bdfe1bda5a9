"""Drives LangChain's `ChatOpenAI` with its default settings."""

from typing import Any

from langchain_core.messages import AIMessage, convert_to_messages
from langchain_openai import ChatOpenAI
from loop import gateway_headers, nothing, serve, told
from pydantic import BaseModel


class Weather(BaseModel):
    city: str
    degrees: int


def chat(
    url: str,
    key: str,
    *,
    stream: bool,
    model: str,
    messages: list[dict[str, Any]],
    extra: dict[str, Any] | None = None,
    tools: list[dict[str, Any]] | None = None,
    stream_options: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    llm = ChatOpenAI(
        base_url=f"{url}/v1",
        api_key=key,
        model=model,
        include_response_headers=True,
        extra_body=extra,
        stream_usage=bool(stream_options),
        **options,
    )
    if options.get("n"):
        return {
            **nothing(),
            "texts": [found.text for found in llm.generate([convert_to_messages(messages)]).generations[0]],
        }
    chain = llm.bind_tools(tools) if tools else llm
    if not stream:
        return read(chain.invoke(messages))
    whole, parts, error = None, 0, None
    try:
        for piece in chain.stream(messages):
            whole = piece if whole is None else whole + piece
            parts += bool(piece.content)
    except Exception as raised:  # noqa: BLE001 -- whatever it is, it is what the user of the library sees
        error = told(raised)
    return {**(read(whole) if whole is not None else nothing()), "parts": parts, "error": error}


def read(message: AIMessage) -> dict[str, Any]:
    about = message.response_metadata
    logprobs = about.get("logprobs")
    return {
        **nothing(),
        "texts": [message.content],
        "finish": about.get("finish_reason"),
        "calls": [[call["name"], call["args"]] for call in message.tool_calls],
        "id": about.get("id") or message.id,
        "total_tokens": message.usage_metadata["total_tokens"] if message.usage_metadata else None,
        "tokens": [entry["token"] for entry in logprobs["content"]] if logprobs else None,
        "headers": gateway_headers(about.get("headers", {})),
    }


def structured(url: str, key: str, *, stream: bool, model: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    llm = ChatOpenAI(base_url=f"{url}/v1", api_key=key, model=model)
    chain = llm.with_structured_output(Weather, method="json_schema")
    last = list(chain.stream(messages))[-1] if stream else chain.invoke(messages)
    return {**nothing(), "parsed": last.model_dump()}


if __name__ == "__main__":
    serve({"chat": chat, "structured": structured})
