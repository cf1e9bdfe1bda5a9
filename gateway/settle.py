"""Step 11: the durable `outcome` (or `stream.close`) that every exchange ends with."""

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

from gateway.domain.event import EventType
from gateway.domain.model import ModelReply
from gateway.enforce.answer import AnswerRelease
from gateway.exchange import Exchange, Ports
from gateway.record import settled
from gateway.reply import released_text
from gateway.wire.answer import choices_of

_MICROSECONDS: Final = 1_000_000
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.:/=+-]{1,128}")
_FINISHES: Final = ("stop", "length", "tool_calls", "content_filter", "function_call")


async def settle(
    ports: Ports,
    exchange: Exchange,
    kind: EventType,
    *,
    release: AnswerRelease | None = None,
    model: ModelReply | None = None,
    finish: str = "",
    error: str = "",
) -> None:
    """Write the event; what it describes may leave once this returns. Raises `AuditUnavailable`.

    INVARIANT I2: called exactly once per exchange that has an `intent`. The mark is set first: a caller that is
    cancelled while the log works does not cancel the write, and must not write again.
    """
    exchange.settled = True
    elapsed = ports.clock() - exchange.call.started
    write = partial(
        _write, ports, exchange, kind, release=release, model=model, finish=finish, error=error, elapsed=elapsed
    )
    pending = [scan for one in exchange.rehearsals for scan in one.pending]
    if not pending:
        await write()
        return

    async def wait_and_write() -> None:
        await asyncio.wait(pending)
        await write()

    # The wait for the candidate's detectors is short; whoever is cancelled meanwhile does not take the event along.
    await asyncio.shield(asyncio.create_task(wait_and_write()))


async def settle_failure(ports: Ports, exchange: Exchange, code: str) -> None:
    """Settle an exchange that ended without an answer, unless nothing was begun or it is settled already."""
    if exchange.intended and not exchange.settled:
        kind = EventType.STREAM_CLOSE if exchange.opened else EventType.OUTCOME
        await settle(ports, exchange, kind, error=code)


async def _write(
    ports: Ports,
    exchange: Exchange,
    kind: EventType,
    *,
    release: AnswerRelease | None,
    model: ModelReply | None,
    finish: str,
    error: str,
    elapsed: timedelta,
) -> None:
    for one in exchange.rehearsals:
        one.conclude(release, ports.clock())
    usage = model.body.get("usage") if model else None
    await ports.audit.append(
        settled(
            exchange,
            kind,
            answer=release,
            released=released_text(exchange, release) if release else exchange.notice,
            usage=usage if isinstance(usage, Mapping) else None,
            provider=model.provider if model else "",
            answered_by=model.model if model else "",
            response_id=_identifier(model.body.get("id")) if model else "",
            finish=finish or (_finish(model) if model else ""),
            error=error,
            took_us=int(elapsed.total_seconds() * _MICROSECONDS),
        )
    )


def _finish(model: ModelReply) -> str:
    finishes = (choice.get("finish_reason") for choice in choices_of(model.body))
    return ",".join(sorted({finish if finish in _FINISHES else "other" for finish in finishes}))


def _identifier(value: Any) -> str:
    """The model's own id of its answer, for its operator's books. What could be prose is not kept: the log holds no
    free text, whoever wrote it."""
    return value if isinstance(value, str) and _IDENTIFIER.fullmatch(value) else ""
