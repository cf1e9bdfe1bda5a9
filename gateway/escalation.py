"""Turns a verdict that escalates into a case that a human can decide."""

import hashlib
from datetime import datetime

from gateway.domain.case import CaseDraft, CaseReceipt
from gateway.domain.ports import CaseDesk
from gateway.domain.verdict import Escalation, Verdict
from gateway.exchange import Exchange
from gateway.wire.body import encode_body

_DEFAULT_TERMS = Escalation(rule="", queue="default", sla_s=4 * 3600)
"""For a verdict that escalates by `on_error`: its rule names no queue."""


async def open_case(
    desk: CaseDesk, exchange: Exchange, verdict: Verdict, *, candidate: str, key: bytes, now: datetime
) -> CaseReceipt:
    """Open the case and note it on the exchange. Raises `GuardUnavailable` if it may not be durable."""
    receipt = await desk.open_case(
        CaseDraft(
            exchange=exchange.id,
            fingerprint=fingerprint(exchange, key),
            tenant=exchange.principal.tenant,
            app=exchange.principal.app,
            principal=exchange.principal.ref,
            phase=verdict.phase,
            policy=verdict.policy,
            rules=verdict.reasons,
            escalations=verdict.obligations.escalations or (_DEFAULT_TERMS,),
            opened=now,
            question=exchange.call.prompt.question,
            candidate=candidate,
            passages=exchange.shown,
        )
    )
    exchange.case = receipt.id
    exchange.case_expires = receipt.expires.isoformat().replace("+00:00", "Z")
    return receipt


def fingerprint(exchange: Exchange, key: bytes) -> str:
    """A keyed digest of who asked what: the same request of the same principal has the same one. Transport
    (`stream`) does not count, since a client may retry in the other mode."""
    body = {name: value for name, value in exchange.call.prompt.body.items() if not name.startswith("stream")}
    digest = hashlib.blake2b(key=key, digest_size=32)
    for part in (exchange.principal.ref, exchange.policy.digest):
        digest.update(len(part).to_bytes(4, "big") + part.encode())
    digest.update(encode_body(body))
    return digest.hexdigest()
