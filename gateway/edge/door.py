"""The way in and out that all wire routes share: identify, admit, run, answer; one audit event for every rejection.

Steps 1 and 2 of the request path stand here because they need only the credential: an unknown caller's body is
not even read.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog
from litestar.types import Receive, Scope, Send
from msgspec import Struct

from gateway.domain.errors import (
    AdmissionDenied,
    AuditUnavailable,
    GatewayError,
    GuardUnavailable,
    RequestError,
    UpstreamError,
)
from gateway.domain.ports import Admission, AuditLog, Authenticator
from gateway.domain.principal import Principal
from gateway.edge.asgi import (
    STOPPING,
    ClientGoneError,
    DisconnectWatch,
    credential,
    header,
    read_body,
    send_download,
    send_json,
    send_raw,
    send_stream,
)
from gateway.edge.errors import ErrorReply, error_reply
from gateway.record import rejected
from gateway.reply import Reply
from gateway.settings import ServerSettings
from gateway.wire.body import decode_body

_log = structlog.get_logger("gateway.exchange")
_MILLISECONDS: Final = 1_000


class Entry(Struct, frozen=True, kw_only=True):
    """A caller that was let in, with the decoded body (empty for a route without one)."""

    exchange: str
    principal: Principal
    body: dict[str, object]
    started: datetime
    skip_retrieval: bool
    case: str = ""  # the approved case that the request resumes
    reason: str = ""  # why sealed content is to be opened

    def __repr__(self) -> str:
        return f"Entry({self.exchange})"


Serve = Callable[[Entry], Awaitable[Reply]]


class Door:
    """Runs one wire route's requests. `clock` is aware UTC, `ids` gives fresh exchange ids (32 hex digits)."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        admission: Admission,
        audit: AuditLog,
        server: ServerSettings,
        clock: Callable[[], datetime],
        ids: Callable[[], str],
    ) -> None:
        self._authenticator = authenticator
        self._admission = admission
        self._audit = audit
        self._server = server
        self._clock = clock
        self._ids = ids
        self._under_way: set[asyncio.Task[None]] = set()

    async def drained(self, timeout_s: float) -> None:
        """Return once no request is under way any more, at the latest after `timeout_s`. For the end of a stop: what
        the server has cancelled still writes its outcome."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=timeout_s)

    async def run(
        self, scope: Scope, receive: Receive, send: Send, *, method: str, serve: Serve, route: str = ""
    ) -> None:
        """Answer one request. Never raises."""
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            await self._run(scope, receive, send, method=method, serve=serve, route=route)
        finally:
            self._under_way.discard(task)

    async def _run(self, scope: Scope, receive: Receive, send: Send, *, method: str, serve: Serve, route: str) -> None:
        exchange, started = self._ids(), self._clock()
        route = route or str(scope["path"])
        principal: Principal | None = None
        status, decision = 499, "client_disconnected"
        answering = False  # whether the response has begun: then an error has no place of its own any more
        try:
            _check_method(scope, method)
            principal = await self._identify(scope)  # 1 identify
            await self._admission.admit(principal)  # 2 admit
            try:
                body = await self._body(scope, receive) if method == "POST" else {}
                async with DisconnectWatch(receive):
                    entry = Entry(
                        exchange=exchange,
                        principal=principal,
                        body=body,
                        started=started,
                        skip_retrieval=header(scope, b"x-gateway-retrieval").lower() == "off",
                        case=header(scope, b"x-gateway-case"),
                        reason=header(scope, b"x-gateway-reason"),
                    )
                    reply = await serve(entry)
                    status, decision = reply.status, reply.headers.get("x-gateway-decision", "")
                    answering = True
                    await self._send(send, reply, exchange)
            finally:
                self._admission.release(principal)
        except ClientGoneError:
            pass
        except asyncio.CancelledError:  # the server stops; the exchange has been settled on the way here
            stopping = GuardUnavailable(STOPPING)
            if not answering:
                status, decision = await self._fail(send, stopping, exchange=exchange, route=route, principal=principal)
        except Exception as error:  # noqa: BLE001 -- mapped to a wire error, which is where exceptions end
            status, decision = await self._fail(send, error, exchange=exchange, route=route, principal=principal)
        took = (self._clock() - started).total_seconds() * _MILLISECONDS
        _log.info(
            "exchange",
            exchange=exchange,
            route=route,
            status=status,
            decision=decision,
            tenant=principal.tenant if principal else None,
            app=principal.app if principal else None,
            principal=principal.ref if principal else None,
            ms=round(took, 1),
        )

    async def _identify(self, scope: Scope) -> Principal:
        key = credential(scope)
        if key is None:
            raise RequestError(
                "no API key: send one as `Authorization: Bearer <key>`", code="missing_api_key", status=401
            )
        principal = await self._authenticator.authenticate(key)
        if principal is None:
            raise RequestError("the API key is not valid here", code="invalid_api_key", status=401)
        return principal

    async def _body(self, scope: Scope, receive: Receive) -> dict[str, object]:
        payload = await read_body(scope, receive, limit=self._server.max_body_bytes)
        return decode_body(payload, max_depth=self._server.max_depth)

    async def _send(self, send: Send, reply: Reply, exchange: str) -> None:
        if reply.stream is not None:
            await send_stream(send, reply.headers, reply.stream, lambda error: _logged_reply(error, exchange).body)
        elif reply.download is not None:
            await send_download(send, reply.status, reply.headers, reply.download)
        elif reply.raw is not None:
            await send_raw(send, reply.status, reply.headers, reply.raw.content, reply.raw.content_type)
        else:
            await send_json(send, reply.status, reply.headers, reply.body)

    async def _fail(
        self, send: Send, error: Exception, *, exchange: str, route: str, principal: Principal | None
    ) -> tuple[int, str]:
        answer = _logged_reply(error, exchange)
        code = str(answer.body["error"]["code"])
        if isinstance(error, RequestError | AdmissionDenied):
            draft = rejected(exchange, route=route, principal=principal, code=code, status=answer.status)
            try:
                await asyncio.shield(self._audit.append(draft))
            except AuditUnavailable as unavailable:
                answer = _logged_reply(unavailable, exchange)
                code = unavailable.code
        await send_json(send, answer.status, answer.headers, answer.body)
        return answer.status, f"error:{code}"


def _logged_reply(error: Exception, exchange: str) -> ErrorReply:
    """The answer to an error; what callers are not told goes to the log. Texts of our own errors hold no content; of
    a foreign one only type and place are written."""
    answer = error_reply(error, exchange=exchange)
    if answer.status == 503 and not isinstance(error, RequestError | AdmissionDenied | UpstreamError):
        reason = error.message if isinstance(error, GatewayError) else _place(error)
        _log.error("guard_unavailable", exchange=exchange, error=type(error).__name__, reason=reason)
    return answer


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _check_method(scope: Scope, method: str) -> None:
    if scope.get("method") != method:
        raise RequestError(f"use {method} here", code="method_not_allowed", status=405, allow=method)
