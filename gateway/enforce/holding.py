"""What is kept of an answer that a human must decide on: all of it, and all that the policies say against it.

A stop ends the judging of a text where it falls. For a human's decision that is too early: they decide on every
choice and tool call at once, and a rule that they did not see would stop the approved answer on its way out. So an
answer that escalates is read to its end, and judged once more without stopping.
"""

from typing import Any, Final

from gateway.domain.model import Body
from gateway.domain.verdict import Verdict
from gateway.domain.vocabulary import Effect
from gateway.enforce.tool_calls import ToolCallAssembly
from gateway.wire.answer import choices_of, index_of
from gateway.wire.body import encode_body

_WHOLE_KEYS: Final = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
_ONCE: Final = frozenset({"role", "name"})
CALL_KEYS: Final = frozenset({"tool_calls", "function_call"})


class HeldAnswer:
    """The answer as the model gives it, whole or chunk by chunk."""

    def __init__(self) -> None:
        self._whole: Body | None = None
        self._head: Body = {}
        self._choices: dict[int, _HeldChoice] = {}

    def take(self, body: Body) -> None:
        """A whole answer."""
        self._whole = body

    def add(self, chunk: Body) -> None:
        """The next chunk of one."""
        if not self._head:
            self._head = {key: chunk[key] for key in _WHOLE_KEYS if key in chunk}
        for choice in choices_of(chunk):
            self._choices.setdefault(index_of(choice), _HeldChoice()).add(choice)

    @property
    def body(self) -> Body:
        """The whole answer, in the shape of one that did not stream."""
        if self._whole is not None:
            return self._whole
        choices = [{"index": index, **choice.as_whole()} for index, choice in sorted(self._choices.items())]
        return {**self._head, "object": "chat.completion", "choices": choices}

    def encoded(self) -> str:
        """As JSON, without what it cost: that was booked when the model answered."""
        return encode_body({key: value for key, value in self.body.items() if key != "usage"}).decode()

    def __repr__(self) -> str:
        return f"HeldAnswer({len(choices_of(self.body))} choices)"


class _HeldChoice:
    def __init__(self) -> None:
        self._message: Body = {}
        self._texts: dict[str, list[str]] = {}  # joined at the end: a long stream has many pieces
        self._calls = ToolCallAssembly()
        self._finish: Any = None

    def add(self, choice: Body) -> None:
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        for position, call in enumerate(calls_of(delta)):
            self._calls.add(call, position)
        for key, value in delta.items():
            if key in CALL_KEYS or value is None:
                continue
            if isinstance(value, str) and key not in _ONCE:
                self._texts.setdefault(key, []).append(value)
            else:
                self._message[key] = value
        self._finish = choice.get("finish_reason") or self._finish

    def as_whole(self) -> Body:
        texts = {key: "".join(pieces) for key, pieces in self._texts.items()}
        message = {"role": "assistant", "content": None, **self._message, **texts}
        calls = [{key: value for key, value in call.items() if key != "index"} for call in self._calls.calls()]
        return {"message": with_calls(message, calls), "finish_reason": self._finish or "stop"}


def calls_of(message: Body) -> list[Body]:
    """The tool calls of a message or delta; the one of the older form has the type `legacy`."""
    calls = message.get("tool_calls")
    found = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    legacy = message.get("function_call")
    return [*found, {"function": legacy, "type": "legacy"}] if isinstance(legacy, dict) else found


def with_calls(message: Body, calls: list[Body]) -> Body:
    """The message with these calls instead of its own, each in its form."""
    if not calls and not (message.keys() & CALL_KEYS):
        return message
    kept = {key: value for key, value in message.items() if key not in CALL_KEYS}
    modern = [call for call in calls if call.get("type") != "legacy"]
    legacy = [call for call in calls if call.get("type") == "legacy"]
    if modern or message.get("tool_calls") is not None:
        kept["tool_calls"] = modern
    if legacy:
        kept["function_call"] = legacy[0]["function"]
    return kept


def refusal_among(verdicts: list[Verdict]) -> Verdict | None:
    """The first verdict that refuses: a human is not asked about what may not leave anyway."""
    return next((verdict for verdict in verdicts if verdict.effect is Effect.REFUSE), None)
