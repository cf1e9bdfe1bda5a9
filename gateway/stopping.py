"""What happens when a verdict stops an exchange: a case where a human must decide, and the notice for the caller."""

from collections.abc import Sequence

from gateway.domain.verdict import Verdict
from gateway.domain.vocabulary import Effect
from gateway.enforce.holding import HeldAnswer
from gateway.escalation import open_case, united
from gateway.exchange import Exchange, Ports
from gateway.wire.notices import notice


async def stop_answer(ports: Ports, exchange: Exchange, verdict: Verdict, candidate: str) -> str:
    """Stop one choice of an answer (`enforce.answer.OnStop`)."""
    exchange.stop(verdict.effect)
    return await tell(ports, exchange, verdict, candidate=candidate)


async def hold_answer(
    ports: Ports, exchange: Exchange, verdicts: Sequence[Verdict], candidate: str, held: HeldAnswer
) -> str:
    """Have a human decide on a whole answer (`enforce.answer.OnHold`)."""
    verdict, lifts = united(verdicts)
    exchange.stop(verdict.effect)
    return await tell(ports, exchange, verdict, candidate=candidate, held=held, lifts=lifts)


async def tell(
    ports: Ports,
    exchange: Exchange,
    verdict: Verdict,
    *,
    candidate: str = "",
    held: HeldAnswer | None = None,
    lifts: frozenset[str] = frozenset(),
) -> str:
    """The notice of a stop, noted on the exchange; where it escalates, the case is durable first. Raises
    `GuardUnavailable` if the case may not be."""
    effect = exchange.stopped or verdict.effect
    if effect is Effect.ESCALATE:
        await open_case(
            ports.cases,
            exchange,
            verdict,
            candidate=candidate,
            completion=held.encoded() if held else "",
            lifts=lifts,
            key=ports.hash_key,
            now=ports.clock(),
        )
    message = exchange.stop_message or verdict.message
    exchange.notice = notice(effect, message, phase=verdict.phase, exchange=exchange.id, case=exchange.case)
    return exchange.notice
