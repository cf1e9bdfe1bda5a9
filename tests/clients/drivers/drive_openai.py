"""Drives the `openai` library, of any release since 1.92, with its default settings."""

import base64
import json
from array import array
from typing import Any

from loop import gateway_headers, nothing, serve, told
from openai import OpenAI
from pydantic import BaseModel


class Weather(BaseModel):
    city: str
    degrees: int


def client(url: str, key: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key)


def chat(url: str, key: str, *, stream: bool, extra: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    create = client(url, key).chat.completions.with_raw_response.create
    if not stream:
        raw = create(**request, extra_body=extra)
        return {**read(raw.parse()), "headers": gateway_headers(raw.headers)}
    raw = create(**request, extra_body=extra, stream=True)
    return {**read_stream(raw.parse()), "headers": gateway_headers(raw.headers)}


def read(completion: Any) -> dict[str, Any]:
    first = completion.choices[0]
    return {
        **nothing(),
        "texts": [choice.message.content for choice in completion.choices],
        "finish": first.finish_reason,
        "calls": [[call.function.name, json.loads(call.function.arguments)] for call in first.message.tool_calls or ()],
        "id": completion.id,
        "total_tokens": completion.usage.total_tokens if completion.usage else None,
        "tokens": [entry.token for entry in first.logprobs.content or ()] if first.logprobs else None,
        "gateway": (completion.model_extra or {}).get("gateway"),
        "unknown": (completion.model_extra or {}).get("x_top"),
    }


def read_stream(stream: Any) -> dict[str, Any]:
    found = nothing()
    texts: dict[int, str] = {}
    calls: dict[int, list[str]] = {}
    try:
        for chunk in stream:
            found["id"] = chunk.id
            extra = chunk.model_extra or {}
            found["gateway"] = extra.get("gateway", found["gateway"])
            found["unknown"] = extra.get("x_top", found["unknown"])
            if chunk.usage:
                found["total_tokens"] = chunk.usage.total_tokens
            for choice in chunk.choices:
                if choice.delta.content:
                    texts[choice.index] = texts.get(choice.index, "") + choice.delta.content
                    found["parts"] += 1
                for call in choice.delta.tool_calls or ():
                    known = calls.setdefault(call.index, ["", ""])
                    known[0] += call.function.name or ""
                    known[1] += call.function.arguments or ""
                if choice.logprobs and choice.logprobs.content:
                    found["tokens"] = [
                        *(found["tokens"] or ()),
                        *(entry.token for entry in choice.logprobs.content),
                    ]
                found["finish"] = choice.finish_reason or found["finish"]
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is what the user of the library sees
        found["error"] = told(error)
    found["texts"] = [text for _, text in sorted(texts.items())]
    found["calls"] = [[name, json.loads(arguments)] for _, (name, arguments) in sorted(calls.items())]
    return found


def structured(url: str, key: str, *, stream: bool, **request: Any) -> dict[str, Any]:
    completions = client(url, key).chat.completions
    if not stream:
        completion = completions.parse(**request, response_format=Weather)
        return {**read(completion), "parsed": completion.choices[0].message.parsed.model_dump()}
    with completions.stream(**request, response_format=Weather) as events:
        for _ in events:
            pass
        completion = events.get_final_completion()
    return {**read(completion), "parsed": completion.choices[0].message.parsed.model_dump()}


def models(url: str, key: str) -> list[str]:
    return [model.id for model in client(url, key).models.list()]


def model(url: str, key: str, *, name: str) -> str:
    return client(url, key).models.retrieve(name).id


def embeddings(url: str, key: str, *, model: str, texts: list[str], encoding: str | None) -> dict[str, Any]:
    more = {"encoding_format": encoding} if encoding else {}
    answer = client(url, key).embeddings.create(model=model, input=texts, **more)
    return {**nothing(), "parsed": [decoded(entry.embedding) for entry in answer.data]}


def decoded(embedding: list[float] | str) -> list[float]:
    """An embedding; who asks for base64 gets it as it came."""
    return list(array("f", base64.b64decode(embedding))) if isinstance(embedding, str) else embedding


if __name__ == "__main__":
    serve({"chat": chat, "structured": structured, "models": models, "model": model, "embeddings": embeddings})
