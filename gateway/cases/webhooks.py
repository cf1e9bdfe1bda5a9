"""Tells webhooks what became of a case: signed, at least once, without content.

The form is that of Standard Webhooks 1.0: headers `webhook-id`, `webhook-timestamp` (seconds) and `webhook-signature`
(`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`). `verified` is what a receiver does: it refuses a wrong
signature and a timestamp that is minutes off, and an id that it has seen it takes only once.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import aiohttp
from msgspec import Struct

from gateway.cases.announce import Interest, is_change
from gateway.cases.case import Case
from gateway.cases.store import Notice
from gateway.domain.event import EventType
from gateway.domain.text import Secret

TOLERANCE_S: Final = 300
"""How far a call's timestamp may be off the receiver's clock."""


class Webhook(Struct, frozen=True, kw_only=True):
    """A program that follows cases (`announce.Audience`)."""

    name: str
    url: str
    secret: Secret
    interest: Interest = Interest()

    @property
    def target(self) -> str:
        return self.name

    def hears(self, case: Case, kind: EventType, *, drill: bool) -> bool:
        return is_change(kind, drill=drill) and self.interest.includes(case)


class WebhookCarrier:
    """Calls one webhook (`courier.Carrier`)."""

    def __init__(self, webhook: Webhook, *, timeout_s: float, clock: Callable[[], datetime]) -> None:
        self._webhook = webhook
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._clock = clock

    async def carry(self, notice: Notice) -> bool:
        timestamp = str(int(self._clock().timestamp()))  # of this attempt: a receiver refuses old ones
        headers = {
            "content-type": "application/json",
            "webhook-id": notice.id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(self._webhook.secret, notice.id, timestamp, notice.payload),
        }
        return await post(self._webhook.url, notice.payload, headers, self._timeout)


async def post(url: str, body: str, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout) -> bool:  # noqa: ASYNC109 -- aiohttp's own
    """Whether the server took it: any 2xx. Redirects are not followed, nor proxies of the environment used."""
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.post(url, data=body.encode(), headers=headers, allow_redirects=False) as response,
        ):
            return 200 <= response.status < 300
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return False


def signature(secret: Secret, notice: str, timestamp: str, payload: str) -> str:
    """The value of `webhook-signature`."""
    signed = f"{notice}.{timestamp}.{payload}".encode()
    mac = hmac.new(secret.reveal().encode(), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode()


def verified(secret: Secret, headers: Mapping[str, str], payload: str, *, now: datetime) -> str:
    """The id of a call that is genuine and recent, "" for any other. A receiver keeps the ids of the last ten minutes
    (twice `TOLERANCE_S`) and does nothing for one that it has seen. `headers` are in lower case."""
    notice, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isascii() or not timestamp.isdigit() or abs(now.timestamp() - int(timestamp)) > TOLERANCE_S:
        return ""
    expected = signature(secret, notice, timestamp, payload)
    given = headers.get("webhook-signature", "").split()  # several while a secret is replaced
    return notice if any(hmac.compare_digest(expected.encode(), one.encode()) for one in given) else ""
