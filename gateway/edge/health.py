"""Health, the only routes that need no key. They say whether, never what."""

from collections.abc import Callable
from typing import Final

from litestar.types import Receive, Scope, Send
from msgspec import Struct

from gateway.domain.errors import RequestError
from gateway.domain.model import Body
from gateway.edge.asgi import send_json
from gateway.edge.errors import error_reply
from gateway.rollout.rollout import PolicyState

_METHODS: Final = ("GET", "HEAD")
_ALLOW: Final = ", ".join(_METHODS)


class Health(Struct, frozen=True, kw_only=True):
    """What must be true for the gateway to answer at all, and which policies are in force: stale ones still judge."""

    audit: bool
    policy: PolicyState
    sinks: bool | None = None  # whether copies of events keep up; `None` without sinks
    bodies: bool | None = None  # whether texts are kept that have to be; `None` where none are
    schedules: bool | None = None  # whether no schedule's last run failed; `None` without schedules

    @property
    def ready(self) -> bool:
        return self.audit

    def checks(self) -> dict[str, bool]:
        """Each by its name; all but `audit` are information."""
        more = {"sinks": self.sinks, "bodies": self.bodies, "schedules": self.schedules}
        return {"audit": self.audit} | {name: value for name, value in more.items() if value is not None}

    def policy_body(self) -> Body:
        """The state of the policies, as it is told to anyone: digests, codes and places."""
        policy = self.policy
        body: Body = {"state": "stale" if policy.stale else "current", "digest": policy.digest}
        if policy.error:
            body["error"] = policy.error
        if policy.candidate:
            body["candidate"] = {"digest": policy.candidate}
        if policy.candidate_error:
            body["candidate"] = {"error": policy.candidate_error}
        return body


class HealthWire:
    """The two probes. Their requests are no exchanges: they come every few seconds, and no event is written."""

    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The process answers."""
        if await _refused(scope, send):
            return
        await send_json(send, 200, {}, {"status": "ok"})

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Requests can be served: the audit log takes events. Which policies judge them is told as well."""
        if await _refused(scope, send):
            return
        health = self._health()
        status = 200 if health.ready else 503
        body = {
            "status": "ok" if health.ready else "unavailable",
            "checks": health.checks(),
            "policy": health.policy_body(),
        }
        await send_json(send, status, {}, body)


async def _refused(scope: Scope, send: Send) -> bool:
    """Answer 405 to a method that a probe does not use."""
    if scope.get("method") in _METHODS:
        return False
    error = RequestError(f"use {_ALLOW} here", code="method_not_allowed", status=405, allow=_ALLOW)
    answer = error_reply(error, exchange="")
    await send_json(send, answer.status, answer.headers, answer.body)
    return True
