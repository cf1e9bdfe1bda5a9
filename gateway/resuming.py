"""What differs where a request is sent again that a human has approved: how its approval counts, and its delivery."""

from typing import Final

from gateway.delivery import delivered_reply, packed, unpacked
from gateway.domain.case import Approval
from gateway.domain.event import EventType
from gateway.domain.model import Body, ModelReply
from gateway.domain.ports import Retriever
from gateway.domain.vocabulary import Effect
from gateway.enforce.answer import AnswerRelease
from gateway.escalation import CHANGED, requeue, still_held
from gateway.exchange import Exchange, Ports
from gateway.judging import Judging
from gateway.reply import Reply, whole_reply
from gateway.retrieving import UNREACHABLE, judge_passage, search
from gateway.settle import settle, settle_failure

_CHANGED: Final = "What this answer was approved for has changed. It is being checked again."
_REASON: Final = "judged_differently"


async def redelivered(exchange: Exchange, approval: Approval, kept: bytes, ports: Ports) -> Reply:
    """The answer of a case that has been delivered, once more."""
    await ports.cases.redelivered(approval, exchange.principal, exchange=exchange.id)
    return unpacked(kept, exchange)


async def recheck_sources(exchange: Exchange, approval: Approval, retriever: Retriever, judging: Judging) -> None:
    """Steps 7 and 8 for an answer that was held: give the exchange the passages that it is made of, or stop it where
    the caller may no longer see all of them."""
    if not await _holds_still(exchange, approval, retriever, judging):
        exchange.stop(Effect.REFUSE, CHANGED, message=_CHANGED)


async def return_stopped(exchange: Exchange, approval: Approval, ports: Ports) -> None:
    """Send the case of a stopped exchange back to its queue."""
    if exchange.retrieval.status not in UNREACHABLE:  # which says nothing against the approval
        await requeue(ports.cases, exchange, approval, _REASON, ports.hash_key)


async def deliver(
    exchange: Exchange, approval: Approval, release: AnswerRelease, answer: Body, *, model: ModelReply, ports: Ports
) -> Reply:
    """Step 11: seal the judged answer with its case, settle, and let it go. An approved answer that is stopped now
    goes back to its queue. Of racing requests the first delivers; the others get the same."""
    cases = ports.cases
    if approval.answer is not None and (release.all_stopped or release.any_held):
        await requeue(cases, exchange, approval, _REASON, ports.hash_key)
        await settle(ports, exchange, EventType.OUTCOME, release=release, model=model)
        return unpacked(packed(whole_reply(exchange, release, answer)), exchange)
    reply = delivered_reply(exchange, release, answer, edited=approval.edited)
    kept = packed(reply)
    delivered = await cases.deliver(approval, exchange.principal, exchange=exchange.id, answer=kept)
    if delivered != kept:  # a racing request was faster: its answer is the one that counts
        await settle_failure(ports, exchange, "case_delivered")
        return unpacked(delivered, exchange)
    await settle(ports, exchange, EventType.OUTCOME, release=release, model=model)
    return unpacked(kept, exchange)


async def _holds_still(exchange: Exchange, approval: Approval, retriever: Retriever, judging: Judging) -> bool:
    """Whether the caller may still see all that a held answer is made of; then the exchange has these passages."""
    if not approval.passages:
        return True
    await search(exchange, retriever)
    if not still_held(approval, exchange.retrieval):
        return False
    exchange.passages = [await judge_passage(exchange, passage, judging) for passage in approval.passages]
    return all(judged.kept for judged in exchange.passages)
