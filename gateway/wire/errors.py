"""Error bodies in the OpenAI shape: every value a string or null, so that no client loses the message."""

from collections.abc import Mapping
from typing import Final

from gateway.domain.model import Body

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}


def error_body(
    message: str,
    *,
    status: int,
    code: str,
    param: str | None = None,
    inner: Mapping[str, str] | None = None,
    gateway: Mapping[str, object] | None = None,
) -> Body:
    """`{"error": {…}}`; `inner` becomes `innererror`, the place where Azure's clients look for a policy's details."""
    error: Body = {"message": message, "type": _TYPES.get(status, "server_error"), "param": param, "code": code}
    if inner is not None:
        error["innererror"] = dict(inner)
    return {"error": error} if gateway is None else {"error": error, "gateway": dict(gateway)}
