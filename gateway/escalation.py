"""Turns a verdict that escalates into a case that a human can decide, and an approval back into an answer."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import structs

from gateway.domain.case import Approval, CaseDraft, CaseReceipt
from gateway.domain.errors import RequestError
from gateway.domain.model import Body, ModelReply
from gateway.domain.passage import Retrieval, RetrievalStatus
from gateway.domain.ports import CaseDesk
from gateway.domain.verdict import Escalation, FieldValue, RuleOutcome, Verdict
from gateway.domain.vocabulary import Effect, Phase, RuleMode, strictest
from gateway.exchange import Exchange
from gateway.settings import ClientMode
from gateway.wire.body import encode_body

CHANGED = "gateway.approval_changed"
"""Reason of the stop when an approved answer may no longer leave."""

_RETRIES: Final = timedelta(minutes=2)
"""How long after a delivery a waiting client that sends the same request again may have lost the connection."""

_DEFAULT_TERMS = Escalation(rule="", queue="default", sla_s=4 * 3600)
"""For a verdict that escalates by `on_error`: its rule names no queue."""


async def open_case(
    desk: CaseDesk,
    exchange: Exchange,
    verdict: Verdict,
    *,
    candidate: str,
    completion: str,
    lifts: frozenset[str],
    key: bytes,
    now: datetime,
) -> CaseReceipt:
    """Open the case and note it on the exchange. `completion` is the held answer whole, "" for a question. Raises
    `GuardUnavailable` if the case may not be durable."""
    principal = exchange.principal
    receipt = await desk.open_case(
        CaseDraft(
            exchange=exchange.id,
            fingerprint=fingerprint(exchange, key, phase=verdict.phase, policy=exchange.policy.digest),
            tenant=principal.tenant,
            app=principal.app,
            principal=principal.ref,
            user=principal.user,
            phase=verdict.phase,
            policy=verdict.policy,
            rules=verdict.reasons,
            escalations=verdict.obligations.escalations or (_DEFAULT_TERMS,),
            opened=now,
            question=exchange.call.prompt.question,
            candidate=candidate,
            passages=exchange.shown,
            request=encode_body(exchange.call.prompt.body).decode(),
            fields={**exchange.fields, **answer_facts(exchange)},
            lifts=lifts | (exchange.approval.lifts if exchange.approval else frozenset()),
            completion=completion,
            redeliver_since=now - _RETRIES if exchange.app.escalation.client is ClientMode.WAIT else None,
            authors=exchange.policy.authors(verdict),
        )
    )
    exchange.case = receipt.id
    exchange.case_expires = _utc(receipt.expires)
    return receipt


def united(verdicts: Sequence[Verdict]) -> tuple[Verdict, frozenset[str]]:
    """All verdicts of one held answer as one, in the phase of the first on a text, else of the first; and the
    `phase:rule` of the other phases, which its approval lifts as well."""
    first = next((verdict for verdict in verdicts if verdict.phase is Phase.ANSWER), verdicts[0])
    own = [verdict for verdict in verdicts if verdict.phase is first.phase]
    outcomes = {outcome.rule: outcome for verdict in reversed(own) for outcome in verdict.outcomes}
    escalations = {one for verdict in verdicts for one in verdict.obligations.escalations}
    merged = structs.replace(
        first,
        outcomes=tuple(outcomes[rule] for rule in sorted(outcomes)),
        obligations=structs.replace(
            first.obligations,
            escalations=tuple(sorted(escalations, key=lambda one: (one.rule, one.queue, one.sla_s, one.approvals))),
        ),
    )
    others = (verdict for verdict in verdicts if verdict.phase is not first.phase)
    return merged, frozenset(f"{verdict.phase.value}:{rule}" for verdict in others for rule in verdict.reasons)


def answer_facts(exchange: Exchange) -> dict[str, FieldValue]:
    """What rules on an answer may ask besides the request's own facts."""
    return {
        "retrieval.status": exchange.retrieval.status.value,
        "retrieval.passages": len(exchange.shown),
    }


def fingerprint(exchange: Exchange, key: bytes, *, phase: Phase, policy: str) -> str:
    """A keyed digest of who asked what under which policies: the same request of the same principal has the same one.
    Transport (`stream`) does not count, since a client may retry in the other mode."""
    body = {name: value for name, value in exchange.call.prompt.body.items() if not name.startswith("stream")}
    digest = hashlib.blake2b(key=key, digest_size=32)
    for part in (exchange.principal.ref, policy, phase.value):
        digest.update(len(part).to_bytes(4, "big") + part.encode())
    digest.update(encode_body(body))
    return digest.hexdigest()


async def resume(desk: CaseDesk, exchange: Exchange, key: bytes) -> Approval:
    """Find the approval that the request names, and note it on the exchange. One that was given under other policies
    goes back to its queue. Raises `RequestError` for a case that is not approved or was opened by another request."""
    approval = await desk.approval(exchange.call.case, exchange.principal)
    exchange.case, exchange.case_expires = approval.case, _utc(approval.expires)
    asked = fingerprint(exchange, key, phase=approval.phase, policy=approval.policy)
    if asked != approval.fingerprint:
        raise RequestError(
            "the case belongs to another request: send the same body again", code="case_binding", status=409
        )
    if approval.delivered is None and approval.policy != exchange.policy.digest:
        await requeue(desk, exchange, approval, "policy_changed", key)
        raise RequestError(
            "the policies have changed since the approval: the case is decided again", code="case_requeued", status=409
        )
    exchange.approval = approval
    return approval


async def requeue(desk: CaseDesk, exchange: Exchange, approval: Approval, reason: str, key: bytes) -> None:
    """Send the case back to its queue, bound to what holds now."""
    policy = exchange.policy.digest
    now = fingerprint(exchange, key, phase=approval.phase, policy=policy)
    await desk.requeue(approval, exchange.principal, reason=reason, policy=policy, fingerprint=now)


def lifted(verdict: Verdict, lifts: Iterable[str], case: str) -> Verdict:
    """The verdict without the escalations that an approval covers. All else stays: redactions, refusals, and the
    escalations of other rules."""
    covered = frozenset(lifts)

    def lift(outcome: RuleOutcome) -> RuleOutcome:
        if outcome.effect is not Effect.ESCALATE or f"{verdict.phase.value}:{outcome.rule}" not in covered:
            return outcome
        return structs.replace(outcome, effect=Effect.ALLOW, exception=case)

    outcomes = tuple(map(lift, verdict.outcomes))
    if outcomes == verdict.outcomes:
        return verdict
    effect = strictest(*(outcome.effect for outcome in outcomes if outcome.mode is not RuleMode.SHADOW))
    remaining = tuple(
        one for one in verdict.obligations.escalations if f"{verdict.phase.value}:{one.rule}" not in covered
    )
    return structs.replace(
        verdict,
        outcomes=outcomes,
        effect=effect,
        obligations=structs.replace(verdict.obligations, escalations=remaining),
        message=verdict.message if effect.stops else "",
    )


def still_held(approval: Approval, found: Retrieval) -> bool:
    """Whether the requester may still see every passage that the model was shown, each as it was. `found` is what the
    same search, with their access filter, finds for them now."""
    if not approval.passages:
        return True
    if found.status is not RetrievalStatus.OK:
        return False
    now = {(passage.id, passage.revision) for passage in found.passages}
    return all((passage.id, passage.revision) in now for passage in approval.passages)


def held_reply(exchange: Exchange, approval: Approval) -> ModelReply:
    """The approved answer in the shape of a model's: whole as it was held, or what a human wrote instead."""
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    if approval.completion:
        kept = {**json.loads(approval.completion), "id": "", "usage": nothing}
        return ModelReply(body=kept, provider="case", model="held")
    message: Body = {"role": "assistant", "content": approval.answer}
    body: Body = {
        "id": "",
        "object": "chat.completion",
        "created": int(exchange.call.started.timestamp()),
        "model": exchange.call.prompt.model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": nothing,
    }
    return ModelReply(body=body, provider="case", model="edited" if approval.edited else "held")


def facts_of(fields: Mapping[str, bool | int | str | tuple[str, ...]]) -> dict[str, FieldValue]:
    """The facts of a sealed case as policies take them."""
    return {name: frozenset(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _utc(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
