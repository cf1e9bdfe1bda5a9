"""The chat-completion request: which texts it holds, where they stand, and how it is edited.

Everything textual in a request reaches the model, so everything textual is a segment: message contents, tool
results, names, tool descriptions, schemas, and string values of fields that nobody has heard of yet. Only what
cannot be text is passed over: short identifiers under well-known keys, and media, which is named in `unscanned`.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from gateway.domain.errors import RequestError
from gateway.domain.model import Body
from gateway.domain.segment import Address, Segment
from gateway.domain.vocabulary import Provenance
from gateway.wire.body import edited, keys, long_numbers, texts
from gateway.wire.names import WIRE_NAMES
from gateway.wire.notices import is_query_notice

ROLES: Final = {
    "system": Provenance.SYSTEM,
    "developer": Provenance.SYSTEM,
    "user": Provenance.USER,
    "assistant": Provenance.ASSISTANT,
    "tool": Provenance.TOOL,
    "function": Provenance.TOOL,
}
_STRUCTURAL_KEYS: Final = frozenset(
    {
        "model",
        "role",
        "type",
        "id",
        "tool_call_id",
        "detail",
        "format",
        "service_tier",
        "encoding_format",
        "reasoning_effort",
        "verbosity",
    }
)
_STRUCTURAL_VALUE: Final = re.compile(r"[A-Za-z0-9_./:+-]{0,128}")
_SHORT_NUMBER: Final = re.compile(r"[0-9]{0,7}")  # token ids of `logit_bias`
_MEDIA: Final = {  # content-part type -> (address below the part, name in `unscanned`)
    "image_url": (("image_url", "url"), "image"),
    "input_audio": (("input_audio", "data"), "audio"),
    "file": (("file", "file_data"), "file"),
}
_MAX_CHOICES: Final = 128  # the wire's own bound for `n`
NUMBERS: Final = {
    # name: (least, most); wide enough for every known server, narrow enough to refuse nonsense
    "temperature": (0, 10),
    "top_p": (0, 1),
    "frequency_penalty": (-10, 10),
    "presence_penalty": (-10, 10),
}
COUNTS: Final = {
    "n": (1, _MAX_CHOICES),
    "max_tokens": (1, 2**31),
    "max_completion_tokens": (1, 2**31),
    "top_logprobs": (0, 20),
}
_NUMBER_KEYS: Final = frozenset({*COUNTS, "seed"})
QUARANTINED: Final = "[removed by policy]"


class Prompt(Struct, frozen=True, kw_only=True):
    """A request as the gateway reads it.

    `body` has refused earlier turns already replaced (`quarantined` counts them), so that one bad message does not
    poison the conversation. `question` is the last user text, at `question_address` (`()` if there is none).
    """

    body: Body
    model: str
    stream: bool
    include_usage: bool
    json_answer: bool
    segments: tuple[Segment, ...]
    question: str
    question_address: Address
    unscanned: frozenset[str]
    tools: frozenset[str]
    quarantined: int

    def __repr__(self) -> str:
        return f"Prompt({self.model!r}, {len(self.segments)} segments)"


def read_prompt(body: Body, *, max_messages: int, max_text_chars: int) -> Prompt:
    """Check a decoded body and find its texts. Raises `RequestError` naming the parameter."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError("`model` must be a non-empty string", param="model")
    messages = _messages(body, max_messages)
    _check_parameters(body)
    body, quarantined = _quarantine(body, messages)
    segments: list[Segment] = []
    unscanned: set[str] = set()
    question = ""
    question_address: Address = ()
    for index, message in enumerate(body["messages"]):
        provenance = ROLES[message["role"]]
        for address, text in _message_texts(message, ("messages", index), unscanned):
            segments.append(Segment(index=len(segments), text=text, provenance=provenance, address=address))
            if provenance is Provenance.USER and address[2] == "content":
                question, question_address = text, address
    segments.extend(other_segments(body, beside="messages", first=len(segments)))
    check_lengths(segments, max_text_chars)
    options = body.get("stream_options")
    return Prompt(
        body=body,
        model=model,
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        json_answer=_wants_json(body.get("response_format")),
        segments=tuple(segments),
        question=question,
        question_address=question_address,
        unscanned=frozenset(unscanned),
        tools=_tool_names(body),
        quarantined=quarantined,
    )


def other_segments(body: Body, *, beside: str, first: int) -> list[Segment]:
    """The texts of all other fields than `beside`, written by the app, and what is text without being a string:
    long numbers and object keys."""
    found = [
        (address, text)
        for address, text in texts({key: value for key, value in body.items() if key != beside})
        if not _is_structural(address[-1], text)
    ]
    found.extend((at, number) for at, number in long_numbers(body) if at[-1] not in _NUMBER_KEYS)
    # A key has no address: a verdict that would redact one cannot be carried out and therefore stops the request.
    # All keys are one text: schemas of tools have hundreds, and the same ones in every request.
    written = dict.fromkeys(key for key in keys(body) if key not in WIRE_NAMES and not _SHORT_NUMBER.fullmatch(key))
    if written:
        found.append(((), "\n".join(written)))
    return [
        Segment(index=first + offset, text=text, provenance=Provenance.SYSTEM, address=address)
        for offset, (address, text) in enumerate(found)
    ]


def check_lengths(segments: Sequence[Segment], max_text_chars: int) -> None:
    """Raises `RequestError` (413) for a text that is too long."""
    for segment in segments:
        if len(segment.text) > max_text_chars:
            raise RequestError(
                f"a text has more than {max_text_chars} characters",
                code="text_too_long",
                status=413,
                param=dotted(segment.address),
            )


def with_texts(body: Body, segments: Sequence[Segment], replaced: dict[int, str]) -> Body:
    """The body with the texts of these segments (by index) replaced."""
    edits: dict[Address, str] = {}
    for index, text in replaced.items():
        address = segments[index].address
        # A message's `name` must stay free of the brackets of a stand-in, or servers reject it.
        edits[address] = re.sub(r"[\s<|\\/>]+", "_", text).strip("_") if address[-1] == "name" else text
    return edited(body, edits)


def with_context(body: Body, question_address: Address, context: str) -> Body:
    """The body with retrieved context before the last question, inside the user's message: tainted text never
    gets the authority of a system message."""
    message = body["messages"][question_address[1]]
    content = message["content"]
    address = ("messages", question_address[1], "content")
    if isinstance(content, str):
        return edited(body, {address: f"{context}\n\n{content}"})
    return edited(body, {address: [{"type": "text", "text": context}, *content]})


def with_system_prompt(body: Body, text: str) -> Body:
    """The body with an operator's system message in front of all others."""
    return edited(body, {("messages",): [{"role": "system", "content": text}, *body["messages"]]})


def dotted(address: Address) -> str | None:
    """An address in the wire's notation: `messages[2].content`."""
    parts = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in address]
    return "".join(parts).lstrip(".") or None


def _messages(body: Body, max_messages: int) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError("`messages` must be a non-empty array", param="messages")
    if len(messages) > max_messages:
        raise RequestError(f"`messages` has more than {max_messages} entries", param="messages", status=413)
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise RequestError(f"`{where}` must be an object", param=where)
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            known = ", ".join(ROLES)
            raise RequestError(f"`{where}.role` must be one of {known}", param=f"{where}.role")
        content = message.get("content")
        if content is not None and not isinstance(content, str | list):
            raise RequestError(f"`{where}.content` must be a string or an array", param=f"{where}.content")
        if isinstance(content, list):
            _check_parts(content, f"{where}.content")
    return messages


def _check_parts(parts: list[Any], where: str) -> None:
    for index, part in enumerate(parts):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise RequestError(f"`{where}[{index}]` must be an object with a `type`", param=f"{where}[{index}]")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise RequestError(f"`{where}[{index}].text` must be a string", param=f"{where}[{index}].text")


def _check_parameters(body: Body) -> None:
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise RequestError("`stream` must be true or false", param="stream")
    for name, (least, most) in NUMBERS.items():
        value = body.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most
        ):
            raise RequestError(f"`{name}` must be a number from {least} to {most}", param=name)
    for name, (least, most) in COUNTS.items():
        value = body.get(name)
        if value is not None and not (_is_whole(value) and least <= value <= most):
            raise RequestError(f"`{name}` must be a whole number from {least} to {most}", param=name)
    for name, kind, article in (
        ("stream_options", dict, "an object"),
        ("response_format", dict, "an object"),
        ("tools", list, "an array"),
        ("functions", list, "an array"),
        ("stop", str | list, "a string or an array"),
    ):
        value = body.get(name)
        if value is not None and not isinstance(value, kind):
            raise RequestError(f"`{name}` must be {article}", param=name)


def _is_whole(value: Any) -> bool:
    """JSON has one kind of number: `1.0` is whole."""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def _message_texts(message: dict[str, Any], address: Address, unscanned: set[str]) -> list[tuple[Address, str]]:
    found: list[tuple[Address, str]] = []
    media: set[Address] = set()
    content = message.get("content")
    if isinstance(content, list):
        for index, part in enumerate(content):
            kind = _MEDIA.get(part["type"])
            if kind is None:
                continue
            unscanned.add(kind[1])
            place = (*address, "content", index, *kind[0])
            media.add(place)
    for place, text in texts(message, address):
        if place in media and _is_opaque(text):
            continue
        if not _is_structural(place[-1], text):
            found.append((place, text))
    return found


def _is_opaque(text: str) -> bool:
    """Encoded media: a data URL or bare base64. An ordinary URL is text and is judged."""
    return text.startswith("data:") or re.fullmatch(r"[A-Za-z0-9+/=\s_-]{64,}", text) is not None


def _is_structural(key: str | int, text: str) -> bool:
    return not text or (key in _STRUCTURAL_KEYS and _STRUCTURAL_VALUE.fullmatch(text) is not None)


def _wants_json(response_format: Any) -> bool:
    return isinstance(response_format, dict) and response_format.get("type") in ("json_object", "json_schema")


def _tool_names(body: Body) -> frozenset[str]:
    names = set()
    for tool in body.get("tools") or ():
        if isinstance(tool, dict):
            function = tool.get("function") or tool.get("custom")
            if isinstance(function, dict) and isinstance(function.get("name"), str):
                names.add(function["name"])
    return frozenset(names)


def _quarantine(body: Body, messages: list[dict[str, Any]]) -> tuple[Body, int]:
    """Replace the turns whose query was stopped before: the messages between the last answer and a notice of ours.

    A forged notice gains nothing: it only removes text from what the model sees.
    """
    edits: dict[Address, Any] = {}
    turn: list[int] = []
    for index, message in enumerate(messages):
        role = ROLES[message["role"]]
        if role is Provenance.ASSISTANT:
            if is_query_notice(message.get("content")):
                edits.update({("messages", i, "content"): QUARANTINED for i in turn})
            turn = []
        elif role is not Provenance.SYSTEM and message.get("content") is not None:
            turn.append(index)
    return edited(body, edits), len(edits)
