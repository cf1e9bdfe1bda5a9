"""Step 11: the durable `outcome` (or `stream.close`) that every exchange ends with."""

from collections.abc import Mapping
from typing import Any

from gateway.domain.event import EventType
from gateway.domain.model import ModelReply
from gateway.enforce.answer import AnswerRelease
from gateway.exchange import Exchange, Ports
from gateway.record import settled
from gateway.wire.answer import choices_of

_MICROSECONDS = 1_000_000


async def settle(
    ports: Ports,
    exchange: Exchange,
    kind: EventType,
    *,
    release: AnswerRelease | None = None,
    model: ModelReply | None = None,
    notice: str = "",
    finish: str = "",
    error: str = "",
) -> None:
    """Write the event; what it describes may leave once this returns. Raises `AuditUnavailable`.

    INVARIANT I2: called exactly once per exchange that has an `intent`. The mark is set first: a caller that is
    cancelled while the log works does not cancel the write, and must not write again.
    """
    exchange.settled = True
    elapsed = ports.clock() - exchange.call.started
    usage = model.body.get("usage") if model else None
    await ports.audit.append(
        settled(
            exchange,
            kind,
            answer=release,
            released=release.released_content if release else notice,
            usage=usage if isinstance(usage, Mapping) else None,
            provider=model.provider if model else "",
            answered_by=model.model if model else "",
            response_id=_text(model.body.get("id")) if model else "",
            finish=finish or (_finish(model) if model else ""),
            error=error,
            took_us=int(elapsed.total_seconds() * _MICROSECONDS),
        )
    )


def _finish(model: ModelReply) -> str:
    return ",".join(sorted({_text(choice.get("finish_reason")) for choice in choices_of(model.body)}))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
