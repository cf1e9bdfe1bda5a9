"""Tells webhooks what became of a case: signed, at least once, without content.

The form is that of Standard Webhooks 1.0: headers `webhook-id`, `webhook-timestamp` (seconds) and `webhook-signature`
(`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`). A receiver refuses a timestamp that is minutes off
and an id it has seen.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import aiohttp
import msgspec
import structlog
from msgspec import Struct, structs

from gateway.cases.case import Case
from gateway.cases.store import CaseStore, Notice
from gateway.domain.event import EventType
from gateway.domain.text import Secret

_log = structlog.get_logger("gateway.cases")
_FIRST_PAUSE_S: Final = 5
_LONGEST_PAUSE_S: Final = 3600
_TOLD: Final = frozenset(EventType) - {EventType.CASE_CLAIMED, EventType.CASE_RELEASED, EventType.CASE_RELEASABLE}
"""Who has a case on their desk is nobody's business outside."""


class Webhook(Struct, frozen=True, kw_only=True):
    """Somebody who is told. `*` in `apps` or `queues` stands for all."""

    name: str
    url: str
    secret: Secret
    apps: tuple[str, ...] = ("*",)
    queues: tuple[str, ...] = ("*",)

    def hears_of(self, case: Case) -> bool:
        return bool({"*", case.app} & set(self.apps)) and bool({"*", case.queue} & set(self.queues))


class Announcer:
    """Makes the notices of a transition. They are stored with it, so that none is lost and none told of what did not
    happen. `ids` gives unique ids."""

    def __init__(self, webhooks: Sequence[Webhook], ids: Callable[[], str]) -> None:
        self._webhooks = webhooks
        self._ids = ids

    def __call__(self, case: Case, kind: EventType, now: datetime) -> Iterator[Notice]:
        for webhook in self._webhooks:
            if kind in _TOLD and webhook.hears_of(case):
                yield Notice(
                    id=f"msg_{self._ids()}", target=webhook.name, payload=_payload(case, kind, now), next_at=now
                )


class WebhookCaller:
    """Calls what is due. `attempts` failures give a notice up, which the log says. One caller runs at a time per
    store."""

    def __init__(
        self,
        store: CaseStore,
        webhooks: Sequence[Webhook],
        *,
        timeout_s: float,
        attempts: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._webhooks = {webhook.name: webhook for webhook in webhooks}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._attempts = attempts
        self._clock = clock

    async def call_due(self) -> None:
        """Call each webhook that is due once."""
        notices = await self._store.notices(self._clock())
        if not notices:
            return
        async with aiohttp.ClientSession(timeout=self._timeout, trust_env=False) as session:
            for notice in notices:
                webhook = self._webhooks.get(notice.target)
                if webhook is None or await self._taken(session, webhook, notice):
                    await self._store.forget(notice)
                else:
                    await self._later(notice)

    async def _taken(self, session: aiohttp.ClientSession, webhook: Webhook, notice: Notice) -> bool:
        timestamp = str(int(self._clock().timestamp()))
        headers = {
            "content-type": "application/json",
            "webhook-id": notice.id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(webhook.secret, notice.id, timestamp, notice.payload),
        }
        try:
            async with session.post(
                webhook.url, data=notice.payload.encode(), headers=headers, allow_redirects=False
            ) as response:
                return 200 <= response.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def _later(self, notice: Notice) -> None:
        failed = notice.attempts + 1
        if failed >= self._attempts:
            _log.error("webhook_given_up", webhook=notice.target, notice=notice.id, attempts=failed)
            await self._store.forget(notice)
            return
        pause = min(_FIRST_PAUSE_S * 2 ** min(failed - 1, 20), _LONGEST_PAUSE_S)
        next_at = self._clock() + timedelta(seconds=pause)
        await self._store.postpone(structs.replace(notice, attempts=failed, next_at=next_at))


def signature(secret: Secret, notice: str, timestamp: str, payload: str) -> str:
    """The value of `webhook-signature`."""
    signed = f"{notice}.{timestamp}.{payload}".encode()
    mac = hmac.new(secret.reveal().encode(), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode()


def _payload(case: Case, kind: EventType, now: datetime) -> str:
    told = {
        "type": kind.value,
        "timestamp": now,
        "data": {
            "case": case.id,
            "state": case.state.value,
            "revision": case.revision,
            "tenant": case.tenant,
            "app": case.app,
            "queue": case.queue,
            "phase": case.phase.value,
            "due": case.due,
            "expires": case.expires,
        },
    }
    return msgspec.json.encode(told).decode()
