"""What an approval would release, as a text that a person can read to the end."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from gateway.cases.case import CaseContent

_READABLE: Final = frozenset({"role", "content", "tool_calls"})


def held_answer(content: CaseContent) -> str:
    """The held answer. One that is more than a text is shown whole: every choice, every tool call with its arguments,
    and as JSON whatever else its messages carry, since all of that leaves with an approval."""
    if not content.completion:
        return content.candidate
    choices = msgspec.json.decode(content.completion)["choices"]
    messages = [choice["message"] for choice in choices]
    if len(messages) == 1 and _is_plain(messages[0]):
        return content.candidate
    parts: list[str] = []
    for number, message in enumerate(messages, start=1):
        head = f"Choice {number} of {len(messages)}\n" if len(messages) > 1 else ""
        parts.append(head + "\n\n".join(_parts(message)))
    return "\n\n".join(parts)


def _is_plain(message: Mapping[str, Any]) -> bool:
    return isinstance(message.get("content"), str) and not any(
        message.get(name) for name in message.keys() - {"role", "content"}
    )


def _parts(message: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(message.get("content"), str) and message["content"]:
        yield message["content"]
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        yield f"Calls {function.get('name', '')} with\n{_pretty(function.get('arguments', ''))}"
    rest = {name: value for name, value in message.items() if name not in _READABLE and value}
    if rest or not isinstance(message.get("content") or "", str):
        yield _shown(rest if isinstance(message.get("content") or "", str) else dict(message))


def _pretty(arguments: Any) -> str:
    """Arguments are JSON in a string; what is none is shown as it is."""
    try:
        return _shown(msgspec.json.decode(arguments))
    except (msgspec.DecodeError, TypeError):
        return str(arguments)


def _shown(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
