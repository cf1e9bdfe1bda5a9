"""Tool calls in an answer: put together from stream deltas, judged as a whole, and given their values back.

Arguments are source text of JSON. They are judged by their decoded strings, so that an escape sequence hides nothing,
and stand-ins are restored inside those strings, so that the call stays valid JSON. Long numbers and keys are judged
as text, too; a key cannot be redacted, so that a verdict that asks for it stops the call.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct, structs

from gateway.domain.model import Body
from gateway.domain.segment import Address, Segment
from gateway.domain.signal import by_segment
from gateway.domain.verdict import RuleOutcome, Verdict
from gateway.domain.vocabulary import Effect, Provenance, RuleStatus
from gateway.enforce.redaction import Redactor
from gateway.enforce.release import Judge, restorer
from gateway.wire.body import edited, keys, long_numbers, texts

IMPOSSIBLE: Final = "gateway.redaction_impossible"
"""Reason of the stop when what must be redacted cannot be edited."""

_PAYLOADS: Final = (("function", "arguments"), ("custom", "input"))


class JudgedCall(Struct, frozen=True, kw_only=True):
    """A tool call after judgement; `call` is what may be released unless the verdict stops it."""

    call: Body
    verdict: Verdict
    redacted: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"JudgedCall({self.verdict.effect.value})"


class ToolCallAssembly:
    """Collects the deltas of one choice's tool calls; `calls()` gives the whole calls in order of their index."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[int, Body] = {}

    def add(self, delta: Body, position: int) -> None:
        index = delta.get("index")
        call = self._calls.setdefault(index if isinstance(index, int) else position, {})
        _join(call, delta)

    def calls(self) -> list[Body]:
        return [self._calls[index] for index in sorted(self._calls)]


async def judge_call(call: Body, judge: Judge, redactor: Redactor) -> JudgedCall:
    """Inspect and decide on one whole call, apply the redactions, and restore stand-ins in its arguments."""
    arguments = _Arguments.of(call)
    loose = [item for item in texts(call) if item[0] != arguments.place and item[0][-1] not in ("id", "type")]
    places = [*loose, *(((*arguments.place, *address), text) for address, text in arguments.strings)]
    places.extend(((), key) for key in arguments.keys)
    segments = [
        Segment(index=index, text=text, provenance=Provenance.ASSISTANT, address=address)
        for index, (address, text) in enumerate(places)
    ]
    inspection = await judge.inspect(segments)
    verdict = judge.decide(inspection.values, inspection.runs)
    if verdict.effect.stops:
        return JudgedCall(call=call, verdict=verdict)
    edits: dict[Address, Any] = {}
    inner: dict[Address, str] = {}
    kinds: dict[str, int] = {}
    restore = restorer(redactor.pseudonyms, inside_json=not arguments.is_json)
    found = by_segment(inspection.findings)
    for segment in segments:
        redacted = redactor.redact(segment, found.get(segment.index, ()), verdict.obligations.redactions, brought=False)
        for kind, count in redacted.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + count
        if not segment.address:
            if redacted.text != segment.text:
                return JudgedCall(call=call, verdict=_impossible(verdict))
            continue
        text = restore(redacted.text)
        if text == segment.text:
            continue
        if segment.index < len(loose):
            edits[segment.address] = text
        else:
            inner[segment.address[len(arguments.place) :]] = text
    if inner:
        edits[arguments.place] = arguments.with_strings(inner)
    return JudgedCall(call=edited(call, edits), verdict=verdict, redacted=kinds)


class _Arguments(Struct, frozen=True, kw_only=True):
    """The payload of a call: where it stands, its decoded strings, numbers among them, and its keys. Invalid JSON
    counts as one string."""

    place: Address
    value: Any
    is_json: bool
    strings: Sequence[tuple[Address, str]]
    keys: Sequence[str] = ()

    @classmethod
    def of(cls, call: Body) -> "_Arguments":
        for outer, name in _PAYLOADS:
            payload = call.get(outer)
            source = payload.get(name) if isinstance(payload, dict) else None
            if isinstance(source, str):
                return cls._read((outer, name), source)
        return cls(place=("function", "arguments"), value=None, is_json=True, strings=())

    @classmethod
    def _read(cls, place: Address, source: str) -> "_Arguments":
        try:
            value = json.loads(source)
        except (ValueError, RecursionError):
            return cls(place=place, value=source, is_json=False, strings=[((), source)])
        value = {"": value}  # so that a lone string has an address as well
        strings = [*texts(value), *long_numbers(value)]
        return cls(place=place, value=value, is_json=True, strings=strings, keys=sorted({*keys(value)} - {""}))

    def with_strings(self, edits: dict[Address, str]) -> str:
        if not self.is_json:
            return edits[()]
        return json.dumps(edited(self.value, edits)[""], ensure_ascii=False, separators=(",", ":"))


def _impossible(verdict: Verdict) -> Verdict:
    outcome = RuleOutcome(rule=IMPOSSIBLE, status=RuleStatus.ERROR, effect=Effect.REFUSE, severity="high")
    return structs.replace(verdict, effect=Effect.REFUSE, outcomes=(*verdict.outcomes, outcome))


def _join(call: Body, delta: Body) -> None:
    """Merge a delta into a call: strings that grow are appended, identifiers are set once, objects are merged."""
    for key, value in delta.items():
        known = call.get(key)
        if isinstance(value, dict):
            if not isinstance(known, dict):
                known = call[key] = {}
            _join(known, value)
        elif isinstance(value, str) and isinstance(known, str) and key not in ("id", "type"):
            call[key] = known + value
        elif value is not None or known is None:
            call[key] = value
