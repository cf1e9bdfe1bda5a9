"""Checks on what an OpenAI-compatible model sends, without I/O.

Only what the gateway relies on is checked; everything else passes through untouched.
"""

from typing import Any

import msgspec

from gateway.domain.errors import UpstreamError
from gateway.domain.model import Body
from gateway.upstream.faults import from_stream, malformed
from gateway.upstream.sse import SseEvent

DONE = b"[DONE]"


def decode_object(model: str, raw: bytes) -> Body:
    """The JSON object in `raw`. Raises `UpstreamError`."""
    try:
        decoded = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise malformed(model, "something that is not JSON") from None
    if not isinstance(decoded, dict):
        raise malformed(model, "JSON that is not an object")
    return decoded


def check_reply(model: str, raw: bytes) -> Body:
    """A whole `chat.completion`: at least one choice, each with a message. Raises `UpstreamError`."""
    body = decode_object(model, raw)
    if body.get("error"):
        raise from_stream(model, body["error"])
    choices = _choices(model, body, "message")
    if not choices:
        raise malformed(model, "an answer without choices")
    return body


class ChunkReader:
    """Reads the events of one stream and knows whether the answer is whole."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._open: set[int] = set()
        self._finished: set[int] = set()

    def read(self, event: SseEvent) -> Body:
        """One `chat.completion.chunk`, with `choices` present: clients crash without it. Raises `UpstreamError`."""
        chunk = decode_object(self._model, event.data)
        if chunk.get("error") or event.name == "error":
            raise from_stream(self._model, chunk.get("error") or chunk)
        for choice in _choices(self._model, chunk, "delta"):
            index = choice.get("index", 0)
            if not isinstance(index, int):
                raise malformed(self._model, "a choice whose index is not a number")
            (self._finished if choice.get("finish_reason") else self._open).add(index)
        return chunk

    def finish(self) -> None:
        """Raise `UpstreamError` unless every choice was finished: clients take a cut answer for a whole one."""
        if not self._finished or self._open - self._finished:
            raise UpstreamError(
                f"model `{self._model}` ended its stream without a finish reason", code="upstream_incomplete"
            )


def _choices(model: str, body: Body, part: str) -> list[dict[str, Any]]:
    choices = body.setdefault("choices", [])
    if not isinstance(choices, list):
        raise malformed(model, "`choices` that is not a list")
    for choice in choices:
        if not isinstance(choice, dict):
            raise malformed(model, "a choice that is not an object")
        content = choice.get(part)
        if content is None and part == "delta":
            continue
        if not isinstance(content, dict):
            raise malformed(model, f"a choice without `{part}`")
        if not isinstance(content.get("content"), str | None):
            raise malformed(model, "content that is not text")
    return choices
