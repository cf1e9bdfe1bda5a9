"""The answer's way out: every text and tool call of every choice is judged before it leaves (I1), in the same
units whether it streams or not (I5).

    a whole body   ─┐                             ┌─ the edited body
                    ├─ per choice: texts, calls ──┤
    chunk by chunk ─┘                             └─ chunks with what has become releasable

A choice that a human must decide on is read to its end and kept whole (`holding.py`); its notice comes then.
A choice that is stopped ends with a notice and `finish_reason: content_filter`; what it still held, its
tool calls included, is dropped, and nothing more of it is taken in.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct

from gateway.domain.model import Body
from gateway.domain.segment import Address
from gateway.domain.verdict import Obligations, Verdict
from gateway.domain.vocabulary import Effect, strictest
from gateway.enforce.holding import CALL_KEYS, HeldAnswer, calls_of, refusal_among, with_calls
from gateway.enforce.logprobs import LogprobQueue
from gateway.enforce.redaction import Redactor
from gateway.enforce.release import Cut, Judge, Released, TextRelease
from gateway.enforce.tool_calls import ToolCallAssembly, judge_call
from gateway.enforce.units import Granularity
from gateway.wire.answer import (
    CONTENT,
    CONTENT_FILTER,
    choices_of,
    delta_of,
    finish,
    index_of,
    loose_texts,
    message_texts,
    stopped,
)
from gateway.wire.body import edited

OnStop = Callable[[Verdict, str], Awaitable[str]]
"""Called once per stopped choice with the verdict and the answer as far as it is known; returns the notice."""

OnHold = Callable[[Sequence[Verdict], str, HeldAnswer], Awaitable[str]]
"""Called once per answer that a human must decide on, when all of it is known: with all verdicts that escalate, the
content of the held choices, and the answer as the model gave it. Returns the notice of each held choice."""


class AnswerPlan(Struct, frozen=True, kw_only=True):
    """How an exchange's answer is judged; fixed before the model is asked."""

    judge: Judge
    judge_call: Callable[[str], Judge]  # by the name of the tool
    redactor: Redactor
    cut: Cut
    json_answer: bool
    obligations: Obligations  # of the query; those of the answer's own verdicts come on top
    sources: str  # the passages the model was given, as a line of text; "" for none
    on_stop: OnStop
    on_hold: OnHold
    caveat: str = ""  # what the reader of any answer must know about how it came about


class AnswerRelease:
    """Judges one answer. Use either `whole` or `chunk` and `finish`; calls must not overlap."""

    def __init__(self, plan: AnswerPlan) -> None:
        self._plan = plan
        self._choices: dict[int, _Choice] = {}
        self._loose = _LooseTexts(plan)
        self._held = HeldAnswer()
        self._against: list[Verdict] = []  # what else is against an answer that is held

    @property
    def verdicts(self) -> list[Verdict]:
        own = [verdict for choice in self._choices.values() for verdict in choice.verdicts]
        return [*own, *self._loose.verdicts, *(verdict for verdict in self._against if verdict not in own)]

    @property
    def effect(self) -> Effect:
        return strictest(*(verdict.effect for verdict in self.verdicts))

    @property
    def redacted(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for choice in self._choices.values():
            for kind, count in choice.redacted.items():
                total[kind] = total.get(kind, 0) + count
        return total

    @property
    def texts(self) -> list[TextRelease]:
        return [text for choice in self._choices.values() for text in choice.texts]

    @property
    def released_content(self) -> str:
        """The content of all choices as released, for citations and the audit's commitment."""
        return "\n".join(choice.content for _, choice in sorted(self._choices.items()))

    @property
    def candidate_content(self) -> str:
        """The content of all choices as the model gave it, as far as it was taken in."""
        return "\n".join(choice.raw for _, choice in sorted(self._choices.items()))

    @property
    def all_stopped(self) -> bool:
        """Whether nothing the model may still say can be released."""
        return bool(self._choices) and all(choice.stopped for choice in self._choices.values())

    @property
    def any_held(self) -> bool:
        """Whether a human must decide on any of it."""
        return any(choice.held for choice in self._choices.values())

    @property
    def is_over(self) -> bool:
        """Whether the rest of the model's answer is of no use: nothing of it can be released, nor is it kept."""
        return self.all_stopped and not self.any_held

    async def whole(self, body: Body) -> Body:
        """A complete answer, edited in place by address."""
        self._held.take(body)
        choices = [await self._choice(index_of(choice)).whole(choice) for choice in choices_of(body)]
        if self.any_held:
            notice = await self._hold()
            choices = [self._choice(index_of(choice)).with_notice(choice, notice) for choice in choices]
        return {**await self._loose.judged(body), "choices": choices}

    async def chunk(self, chunk: Body) -> list[Body]:
        """The chunks that may leave now that `chunk` has come; none while everything is held."""
        choices = choices_of(chunk)
        self._held.add(chunk)
        head = await self._loose.judged({key: value for key, value in chunk.items() if key != "choices"})
        if not choices:
            return [{**head, "choices": []}]
        released: list[Body] = []
        for choice in choices:
            released.extend(await self._choice(index_of(choice)).delta(choice))
        return [{**head, "choices": [choice]} for choice in released]

    async def finish(self) -> list[Body]:
        """Choices (not chunks) for whatever the model left open: each is closed as if it had ended here."""
        pieces = [piece for choice in self._choices.values() for piece in await choice.close("stop")]
        if self.any_held:
            notice = await self._hold()
            pieces.extend(choice.end_held(notice) for choice in self._choices.values() if choice.held)
        return pieces

    async def _hold(self) -> str:
        """Judge what is held once more, all of it, and have it kept; the notice."""
        held = [choice for choice in choices_of(self._held.body) if self._choice(index_of(choice)).held]
        for choice in held:
            self._against.extend(await self._choice(index_of(choice)).assess(choice))
        refused = refusal_among(self._against)
        candidate = "\n\n".join(filter(None, (self._choice(index_of(choice)).raw for choice in held)))
        if refused is not None:
            return await self._plan.on_stop(refused, candidate)
        stops = [choice.held for choice in self._choices.values() if choice.held]
        stops.extend(verdict for verdict in self._against if verdict.effect.stops and verdict not in stops)
        return await self._plan.on_hold(stops, candidate, self._held)

    def _choice(self, index: int) -> "_Choice":
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(index, self._plan)
        return choice


class _Choice:
    def __init__(self, index: int, plan: AnswerPlan) -> None:
        self._index = index
        self._plan = plan
        self._calls = ToolCallAssembly()
        self._logprobs = LogprobQueue()
        self._closed = False
        self.raw = ""
        self._open: dict[Address, TextRelease] = {}
        self.texts: list[TextRelease] = []
        self.call_verdicts: list[Verdict] = []
        self.call_redactions: dict[str, int] = {}
        self.content = ""
        self.stopped = False
        self.held: Verdict | None = None  # the first verdict that asks for a human

    @property
    def verdicts(self) -> list[Verdict]:
        return [*(verdict for text in self.texts for verdict in text.verdicts), *self.call_verdicts]

    @property
    def redacted(self) -> dict[str, int]:
        total = dict(self.call_redactions)
        for text in self.texts:
            for kind, count in text.redacted.items():
                total[kind] = total.get(kind, 0) + count
        return total

    async def whole(self, choice: Body) -> Body:
        message = choice.get("message")
        message = message if isinstance(message, dict) else {}
        edits: dict[Address, Any] = {}
        content_changed = False
        for address, text in message_texts(message):
            release = self._text(address)
            if address == CONTENT:
                self.raw = text
            released = await release.whole(text)
            edits[address] = released.text
            if address == CONTENT:
                self.content = released.text
                content_changed = released.changed
            if release.stopped is not None:
                return await self._stopped_whole(choice, message, edits, release.stopped)
        calls: list[Body] = []
        for call in calls_of(message):
            judged, stop = await self._judge_call(call)
            if stop is not None:
                return await self._stopped_whole(choice, message, edits, stop)
            calls.append(judged)
        message = edited(message, edits)
        message = with_calls(message, calls)
        suffix = self._suffix(has_calls=bool(calls))
        if suffix:
            self.content += suffix
            message = {**message, "content": self.content}
        result = {**choice, "message": message}
        if (content_changed or suffix) and result.get("logprobs") is not None:
            result["logprobs"] = None
        return result

    async def delta(self, choice: Body) -> list[Body]:
        """The pieces (choices of chunks) that may leave now."""
        if self.stopped or self._closed:
            return []
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        self._logprobs.add(choice.get("logprobs"))
        for position, call in enumerate(calls_of(delta)):
            self._calls.add(call, position)
        pieces: list[Body] = []
        edits: dict[Address, Any] = {}
        released_any = False
        logprobs = None
        for address, text in message_texts(delta):
            if text:
                # A text is over when another begins: it is judged to its end before the next may leave, as it is
                # when the answer comes as a whole.
                pieces.extend(await self._finish_texts(beside=address))
                if self._has_ended():
                    return pieces
            release = self._text(address)
            if address == CONTENT:
                self.raw += text
            released = await release.feed(text)
            edits[address] = released.text
            released_any = released_any or bool(released.text)
            if address == CONTENT:
                self.content += released.text
                logprobs = self._logprobs.take(released)
            if release.stopped is not None:
                if released_any:
                    pieces.append(self._piece(choice, delta, edits, logprobs))
                return [*pieces, *await self._stop(release.stopped)]
        if released_any or _carries_more(delta, edits):
            pieces.append(self._piece(choice, delta, edits, logprobs))
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            pieces.extend(await self.close(reason))
        return pieces

    async def close(self, reason: str) -> list[Body]:
        """The model has ended this choice: judge and release the rest, then its calls, then say why it ended."""
        if self.stopped or self._closed:
            return []
        self._closed = True
        pieces = await self._finish_texts()
        if self._has_ended():
            return pieces
        calls: list[Body] = []
        for position, call in enumerate(self._calls.calls()):
            judged, stop = await self._judge_call(call)
            if stop is not None:
                return [*pieces, *await self._stop(stop)]
            calls.append({"index": position, **judged})
        if calls:
            pieces.append(delta_of(self._index, with_calls({}, calls)))
        suffix = self._suffix(has_calls=bool(calls))
        if suffix:
            self.content += suffix
            pieces.append(delta_of(self._index, {"content": suffix}))
        return [*pieces, finish(self._index, reason)]

    async def assess(self, choice: Body) -> list[Verdict]:
        """All verdicts on the choice as the model gave it, none of which stops the next."""
        message = choice.get("message")
        message = message if isinstance(message, dict) else {}
        found: list[Verdict] = []
        for address, text in message_texts(message):
            release = TextRelease(
                self._plan.judge,
                self._plan.redactor,
                Cut(granularity=Granularity.WHOLE),
                inside_json=self._plan.json_answer and address == CONTENT,
            )
            await release.whole(text)
            found.extend(release.verdicts)
        for call in calls_of(message):
            judged = await judge_call(call, self._plan.judge_call(_call_name(call)), self._plan.redactor)
            found.append(judged.verdict)
        return found

    def with_notice(self, choice: Body, notice: str) -> Body:
        """The choice as it leaves when a human must decide on it; any other as it is."""
        if self.held is None:
            return choice
        text = self._after_content(notice)
        return {**choice, "message": {**choice["message"], "content": text}}

    def end_held(self, notice: str) -> Body:
        """The piece that ends a held choice of a stream."""
        before = self.content
        return stopped(self._index, {"content": self._after_content(notice)[len(before) :]})

    def _after_content(self, notice: str) -> str:
        self.content += f"\n\n{notice}" if self.content else notice
        return self.content

    def _has_ended(self) -> bool:
        return self.stopped

    async def _finish_texts(self, beside: Address | None = None) -> list[Body]:
        """Judge and release the rest of the texts that are open, but for the one that goes on."""
        pieces: list[Body] = []
        for address in [address for address in self._open if address != beside]:
            release = self._open.pop(address)
            released = await release.finish()
            if released.text:
                pieces.append(self._text_piece(address, released))
            if release.stopped is not None:
                return [*pieces, *await self._stop(release.stopped)]
        return pieces

    def _text(self, address: Address) -> TextRelease:
        text = self._open.get(address)
        if text is None:
            plan = self._plan
            text = self._open[address] = TextRelease(
                plan.judge, plan.redactor, plan.cut, inside_json=plan.json_answer and address == CONTENT
            )
            self.texts.append(text)
        return text

    async def _judge_call(self, call: Body) -> tuple[Body, Verdict | None]:
        judged = await judge_call(call, self._plan.judge_call(_call_name(call)), self._plan.redactor)
        self.call_verdicts.append(judged.verdict)
        for kind, count in judged.redacted.items():
            self.call_redactions[kind] = self.call_redactions.get(kind, 0) + count
        return judged.call, judged.verdict if judged.verdict.effect.stops else None

    def _suffix(self, *, has_calls: bool) -> str:
        """What is to be said behind the answer: how it came about, its sources, where the policies want them and it
        cites none itself, and disclaimers."""
        if has_calls or self._plan.json_answer:
            return ""
        obligations = [self._plan.obligations, *(verdict.obligations for verdict in self.verdicts)]
        parts = [self._plan.caveat] if self._plan.caveat else []
        if self._plan.sources and any(one.cite for one in obligations) and not _CITED.search(self.content):
            parts.append(self._plan.sources)
        parts.extend(dict.fromkeys(text for one in obligations for text in one.disclaimers))
        text = "\n\n".join(parts)
        return f"\n\n{text}" if self.content and text else text

    async def _stop(self, verdict: Verdict) -> list[Body]:
        self.stopped = True
        if verdict.effect is Effect.ESCALATE:
            self.held = verdict
            return []
        return [stopped(self._index, {"content": await self._notice(verdict)})]

    async def _stopped_whole(self, choice: Body, message: Body, edits: dict[Address, Any], verdict: Verdict) -> Body:
        self.stopped = True
        # Texts that were not reached are not known to be harmless: they go, as they would in a stream.
        kept = {address[0] for address in edits} | {"role"}
        message = edited({key: value for key, value in message.items() if key in kept}, edits)
        already = self.content
        if verdict.effect is Effect.ESCALATE:
            self.held, notice = verdict, ""
        else:
            notice = await self._notice(verdict)
        message |= {"role": "assistant", "content": already + notice, "refusal": None}
        return {**choice, "message": message, "logprobs": None, "finish_reason": CONTENT_FILTER}

    async def _notice(self, verdict: Verdict) -> str:
        before = self.content
        return self._after_content(await self._plan.on_stop(verdict, self.raw))[len(before) :]

    def _piece(self, choice: Body, delta: Body, edits: dict[Address, Any], logprobs: Body | None) -> Body:
        delta = edited({key: value for key, value in delta.items() if key not in CALL_KEYS}, edits)
        return {**choice, "delta": delta, "logprobs": logprobs, "finish_reason": None}

    def _text_piece(self, address: Address, released: Released) -> Body:
        delta: Any = released.text
        for step in reversed(address):
            delta = [delta] if isinstance(step, int) else {step: delta}
        logprobs = None
        if address == CONTENT:
            self.content += released.text
            logprobs = self._logprobs.take(released)
        return {**delta_of(self._index, delta), "logprobs": logprobs}


_CITED = re.compile(r"\[\d{1,3}\]")


class _LooseTexts:
    """Judges the texts that stand outside of the choices, each as a whole; one that stops is left out."""

    def __init__(self, plan: AnswerPlan) -> None:
        self._plan = plan
        self._last: tuple[Body, Body] | None = None
        self.verdicts: list[Verdict] = []

    async def judged(self, body: Body) -> Body:
        """`body` without what its texts may not show. The chunks of a stream repeat the same fields."""
        if self._last is None or self._last[0] != body:
            self._last = body, await self._judged(body)
        return self._last[1]

    async def _judged(self, body: Body) -> Body:
        edits: dict[Address, Any] = {}
        for address, text in loose_texts(body):
            release = TextRelease(self._plan.judge, self._plan.redactor, Cut(granularity=Granularity.WHOLE))
            released = await release.whole(text)
            self.verdicts.extend(verdict for verdict in release.verdicts if verdict not in self.verdicts)
            if released.text != text:
                edits[address] = released.text
        return edited(body, edits)


def _carries_more(delta: Body, edits: dict[Address, Any]) -> bool:
    """Whether a delta says anything besides texts and tool calls, such as the role."""
    texts_only = {address[0] for address in edits}
    return any(key not in texts_only and key not in CALL_KEYS and value is not None for key, value in delta.items())


def _call_name(call: Body) -> str:
    for outer in ("function", "custom"):
        inner = call.get(outer)
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            return str(inner["name"])
    return ""
