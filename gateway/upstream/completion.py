"""A finished text in the shapes of the chat completions API, with the options that shape it.

Tokens are words and punctuation marks here: the built-in model has no tokenizer of its own, and `usage` and
`max_tokens` count the same thing.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from gateway.domain.errors import UpstreamError
from gateway.domain.model import Body

MAX_CHOICES: Final = 128  # as the API documents it
MAX_STOPS: Final = 4
_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
_GROUP: Final = re.compile(
    r"\s*\S+(?:\s+\S+){0,3}(?:\s+$)?|\s+$"
)  # four words a chunk: as fast to read, cheap to judge


class Options(Struct, frozen=True, kw_only=True):
    """What a request asks of the answer's shape. `max_tokens` 0 means no limit."""

    choices: int = 1
    max_tokens: int = 0
    stops: tuple[str, ...] = ()
    include_usage: bool = False


class Finished(Struct, frozen=True):
    """A text after `stop` and `max_tokens`, and why it ends."""

    text: str
    reason: str

    def __repr__(self) -> str:
        return f"Finished(<{len(self.text)} chars>, {self.reason!r})"


class Head(Struct, frozen=True):
    """What all parts of one answer share. `created` is in seconds since 1970."""

    id: str
    created: int
    model: str
    fingerprint: str


def read_options(body: Body) -> Options:
    """Options of a request body. Raises `UpstreamError` with status 400 for what cannot be honoured."""
    choices = body.get("n")
    if choices is None:
        choices = 1
    if not _is_count(choices) or choices > MAX_CHOICES:
        raise _refused(f"`n` must be 1 to {MAX_CHOICES}", "invalid_value")
    limit = body.get("max_completion_tokens")
    if limit is None:
        limit = body.get("max_tokens")
    if limit is not None and not _is_count(limit):
        raise _refused("`max_tokens` and `max_completion_tokens` must be 1 or more", "invalid_value")
    response_format = body.get("response_format")
    if response_format is not None and not _is_plain_text(response_format):
        raise _refused(
            "the built-in model quotes text and cannot write JSON; leave `response_format` out or choose another model",
            "unsupported",
        )
    stream_options = body.get("stream_options")
    return Options(
        choices=int(choices),
        max_tokens=int(limit or 0),
        stops=_stops(body.get("stop")),
        include_usage=isinstance(stream_options, dict) and stream_options.get("include_usage") is True,
    )


def finish(text: str, options: Options) -> Finished:
    """Cut `text` before the first stop text and after the last allowed token."""
    ends = [at for at in (text.find(stop) for stop in options.stops) if at >= 0]
    if ends:
        text = text[: min(ends)]
    if options.max_tokens:
        for number, token in enumerate(_TOKEN.finditer(text), start=1):
            if number > options.max_tokens:
                return Finished(text[: token.start()].rstrip(), "length")
    return Finished(text, "stop")


def count_tokens(text: str) -> int:
    return sum(1 for _ in _TOKEN.finditer(text))


def completion(head: Head, answer: Finished, options: Options, prompt_tokens: int) -> Body:
    """A `chat.completion` with the same answer in every choice."""
    return {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "system_fingerprint": head.fingerprint,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "logprobs": None,
                "finish_reason": answer.reason,
            }
            for index in range(options.choices)
        ],
        "usage": _usage(answer, options, prompt_tokens),
    }


def chunks(head: Head, answer: Finished, options: Options, prompt_tokens: int) -> Iterator[Body]:
    """The same as `chat.completion.chunk`s: the role, groups of words, the finish reason, and usage if asked for."""

    def chunk(choices: list[Body]) -> Body:
        body: Body = {
            "id": head.id,
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": head.model,
            "system_fingerprint": head.fingerprint,
            "choices": choices,
        }
        if options.include_usage:
            body["usage"] = None
        return body

    def choice(index: int, delta: dict[str, Any], reason: str | None = None) -> list[Body]:
        return [{"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}]

    for index in range(options.choices):
        yield chunk(choice(index, {"role": "assistant", "content": "", "refusal": None}))
        for group in _GROUP.findall(answer.text):
            yield chunk(choice(index, {"content": group}))
        yield chunk(choice(index, {}, answer.reason))
    if options.include_usage:
        yield {**chunk([]), "usage": _usage(answer, options, prompt_tokens)}


def _usage(answer: Finished, options: Options, prompt_tokens: int) -> Body:
    tokens = count_tokens(answer.text) * options.choices
    return {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": prompt_tokens + tokens}


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > MAX_STOPS or not all(isinstance(stop, str) for stop in stops):
        raise _refused(f"`stop` must be a text or up to {MAX_STOPS} texts", "invalid_value")
    return tuple(stop for stop in stops if stop)


def _is_count(value: Any) -> bool:
    whole = value.is_integer() if isinstance(value, float) else isinstance(value, int) and not isinstance(value, bool)
    return whole and value >= 1


def _is_plain_text(response_format: Any) -> bool:
    return isinstance(response_format, dict) and response_format.get("type") == "text"


def _refused(message: str, code: str) -> UpstreamError:
    return UpstreamError(message, code=code, status=400)
