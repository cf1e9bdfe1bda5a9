"""The only place where an exception becomes an HTTP answer. Every body has the OpenAI error shape (clients.md's
contract: string message, string or null elsewhere), and no text of an unexpected exception leaves."""

import math
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import Struct

from gateway.domain.errors import AdmissionDenied, GatewayError, GuardUnavailable, RequestError, UpstreamError
from gateway.domain.model import Body
from gateway.wire.errors import error_body

_NO_RETRY: Final = {"x-should-retry": "false"}
_UNAVAILABLE: Final = "the gateway cannot process requests safely at the moment; nothing unrecorded was released"


class ErrorReply(Struct, frozen=True, kw_only=True):
    status: int
    headers: dict[str, str]
    body: Body


def error_reply(error: Exception, *, exchange: str) -> ErrorReply:
    """The answer to an exception. Of those that no branch names, ours or a defect, the caller learns only that
    the gateway fails closed: 503."""
    headers = {"x-request-id": exchange, "x-gateway-audit-id": exchange}
    if isinstance(error, RequestError):
        body = error_body(error.message, status=error.status, code=error.code, param=error.param)
        if error.status == 401:
            headers["www-authenticate"] = "Bearer"
        if error.allow:
            headers["allow"] = error.allow
        return ErrorReply(status=error.status, headers=headers | _NO_RETRY, body=body)
    if isinstance(error, AdmissionDenied):
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
        return _plain(error, error.status, headers)
    if isinstance(error, UpstreamError):
        if error.retry_after_s is not None:
            headers["retry-after"] = str(math.ceil(error.retry_after_s))
        return _plain(error, error.status, headers)
    # What is wrong with the gateway is for its operator's log: a caller gets no path of a file, no cause.
    body = error_body(_UNAVAILABLE, status=503, code=GuardUnavailable.code)
    return ErrorReply(status=503, headers=headers | _NO_RETRY, body=body)


def _plain(error: GatewayError, status: int, headers: dict[str, str]) -> ErrorReply:
    return ErrorReply(status=status, headers=headers, body=error_body(error.message, status=status, code=error.code))


def http_exception_reply(_request: Request[Any, Any, Any], error: Exception) -> Response[Body]:
    """What Litestar raises itself (no such route, wrong method), in the same shape."""
    status = error.status_code if isinstance(error, HTTPException) else 503
    if status >= 500:
        answer = error_reply(error, exchange="")
        return Response(answer.body, status_code=answer.status, headers=_NO_RETRY)
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "invalid_request")
    # The path is not repeated: it is the caller's text.
    message = "this is not a route of this gateway: its routes stand in `/openapi.json`"
    return Response(error_body(message, status=status, code=code), status_code=status, headers=_NO_RETRY)
