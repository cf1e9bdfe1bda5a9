"""Clients that wait: the connection is held until a human has decided, or until its time is over.

    hold      asks as ever; what escalates has its case and its record, and the notice is ready
    wait      looks at the case, again and again; nothing is consumed meanwhile, so a client may leave
    resume    the approved request goes through the pipeline like one with `x-gateway-case`, and is delivered, once
    fall back to the notice, with the state of the case

A whole answer is silent until then: JSON could be led by white space, but status and headers would have to go first,
and they tell the decision. A stream begins at once and is kept alive by comments. A client whose connection broke
after the delivery sends the same request again and gets the same answer (`CaseDraft.redeliver_since`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final, Protocol

from msgspec import structs

from gateway.cases.case import CaseState
from gateway.domain.errors import RequestError
from gateway.domain.model import Body
from gateway.domain.principal import Principal
from gateway.domain.vocabulary import Effect
from gateway.exchange import Call
from gateway.reply import Reply, StreamedReply
from gateway.settings import ClientMode, Settings

_LOOK_EVERY_S: Final = 0.5
_GRANTED: Final = frozenset({CaseState.APPROVED, CaseState.OVERTURNED, CaseState.RELEASABLE, CaseState.DELIVERED})
_NO_USE: Final = frozenset(
    {CaseState.REFUSED, CaseState.WITHDRAWN, CaseState.UPHELD, CaseState.CLOSED, CaseState.WAITING_INFO}
)
"""Nothing more comes of waiting: it is over, or the requester is asked something first."""
_DECIDED_AGAIN: Final = frozenset({"case_not_approved", "case_requeued", "case_changed"})


class Answering(Protocol):
    """The pipeline."""

    async def answer(self, call: Call) -> Reply: ...

    async def embed(self, call: Call) -> Reply: ...


class LooksAtCases(Protocol):
    async def state(self, case: str, principal: Principal) -> CaseState:
        """Of the principal's own case. Raises `RequestError` (404)."""
        ...


class WaitingPipeline:
    """A pipeline whose answers wait for humans where an app is set up so; any other it passes on. `clock` is aware
    UTC, `ids` gives fresh exchange ids: a resumed request is an exchange of its own."""

    def __init__(
        self,
        pipeline: Answering,
        cases: LooksAtCases,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
        ids: Callable[[], str],
    ) -> None:
        self._pipeline = pipeline
        self._cases = cases
        self._settings = settings
        self._clock = clock
        self._ids = ids

    async def embed(self, call: Call) -> Reply:
        return await self._pipeline.embed(call)

    async def answer(self, call: Call) -> Reply:
        escalation = self._settings.app(call.principal.app).escalation
        reply = await self._pipeline.answer(call)
        if escalation.client is not ClientMode.WAIT or call.case:
            return reply
        until = asyncio.get_running_loop().time() + escalation.wait_s
        if reply.stream is None:
            return await self._decided(call, reply, _held(reply), until)
        if not _held(reply) and "x-gateway-buffered" not in reply.headers:
            return reply  # its words leave as they come: none can be taken back
        return Reply(headers=reply.headers, stream=_WaitingStream(self, call, reply, until))

    async def _decided(self, call: Call, reply: Reply, case: str, until: float) -> Reply:
        """The reply after the human's decision; `reply` itself, with the state of its case, if there is none to use."""
        while case:
            state = await self._awaited(case, call.principal, until)
            if state not in _GRANTED:
                return _with_state(reply, state)
            resumed = structs.replace(call, case=case, exchange=self._ids(), started=self._clock())
            try:
                reply = await self._pipeline.answer(resumed)
            except RequestError as error:
                if error.code not in _DECIDED_AGAIN:
                    raise
                continue
            case = _held(reply)  # an approved question may get an answer that a human must see, too
        return reply

    async def _awaited(self, case: str, principal: Principal, until: float) -> CaseState:
        loop = asyncio.get_running_loop()
        while True:
            state = await self._cases.state(case, principal)
            if state in _GRANTED or state in _NO_USE:
                return state
            left = until - loop.time()
            if left <= 0:
                return state
            await asyncio.sleep(min(left, _LOOK_EVERY_S))


class _WaitingStream:
    """A stream that begins before the decision (`StreamedReply`). Held back until its end is known: an answer that a
    human must see first is buffered anyway."""

    def __init__(self, waiting: WaitingPipeline, call: Call, reply: Reply, until: float) -> None:
        assert reply.stream is not None
        self._waiting = waiting
        self._call = call
        self._reply = reply
        self._until = until
        self._open: list[StreamedReply] = [reply.stream]

    async def chunks(self) -> AsyncIterator[Body]:
        first = [chunk async for chunk in self._open[0].chunks()]
        case = _held(self._reply) or _held_in(first)
        if not case:
            for chunk in first:
                yield chunk
            return
        told = await self._waiting._decided(self._call, self._reply, case, self._until)  # noqa: SLF001 -- one unit
        if told.stream is None or told.stream is self._reply.stream:
            state = told.headers.get("x-gateway-case-state", "")
            for chunk in first:
                yield _stated(chunk, state)
            return
        self._open.append(told.stream)
        async for chunk in told.stream.chunks():
            yield chunk

    async def close(self) -> None:
        for stream in self._open:
            await stream.close()


def _held(reply: Reply) -> str:
    """The case that the reply waits for, "" if it does not."""
    return reply.headers.get("x-gateway-case", "") if reply.headers.get("x-gateway-decision") == Effect.ESCALATE else ""


def _held_in(chunks: list[Body]) -> str:
    for chunk in reversed(chunks):
        about = chunk.get("gateway")
        if isinstance(about, dict):
            return str(about.get("case", "")) if about.get("decision") == Effect.ESCALATE else ""
    return ""


def _with_state(reply: Reply, state: CaseState) -> Reply:
    headers = {**reply.headers, "x-gateway-case-state": state.value}
    return structs.replace(reply, headers=headers, body=_stated(reply.body, state.value) if reply.body else None)


def _stated(body: Body, state: str) -> Body:
    about = body.get("gateway")
    return {**body, "gateway": {**about, "state": state}} if state and isinstance(about, dict) else body
