"""What can go wrong with a model, mapped to `UpstreamError`.

The text of an error names the model as the operator configured it and says what happened; addresses, keys and
the upstream's own words stay out of it. The upstream's words travel beside it in `upstream_message`, which is
released only after a verdict.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.domain.errors import UpstreamError

MAX_ERROR_BODY_BYTES: Final = 64 * 1024
_MAX_MESSAGE_CHARS: Final = 2_000
_MAX_CODE_CHARS: Final = 100
_MAX_RETRY_AFTER_S: Final = 86_400.0

_CALLER_STATUSES: Final = frozenset({400, 404, 413, 422})
_CREDENTIAL_STATUSES: Final = frozenset({401, 402, 403, 407})


class TransientUpstreamError(UpstreamError):
    """Another attempt may succeed, and nothing of an answer has been seen yet."""


def is_callers_fault(error: UpstreamError) -> bool:
    """Whether another model would refuse the same request too: no fallback, no failure of the circuit."""
    return error.status in _CALLER_STATUSES


def malformed(model: str, what: str) -> UpstreamError:
    return UpstreamError(f"model `{model}` sent {what}", code="upstream_malformed")


def timed_out(model: str, what: str) -> UpstreamError:
    return UpstreamError(f"model `{model}` {what}", code="upstream_timeout", status=504)


def cannot_connect(model: str, *, why: str, status: int = 502) -> TransientUpstreamError:
    return TransientUpstreamError(f"model `{model}` {why}", code="upstream_unreachable", status=status)


def from_status(model: str, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error for a response that is not 200. The caller's 4xx keep their status; 401 and 403 are about our
    credential and become 502; 429 stays 429 with its `retry-after`."""
    message, code = _read_error(body)
    if status == 429:
        return TransientUpstreamError(
            f"model `{model}` is over its rate limit",
            code="upstream_rate_limited",
            status=429,
            upstream_message=message,
            upstream_code=code,
            retry_after_s=retry_after_s(headers.get("retry-after", "")),
        )
    if status in _CALLER_STATUSES:
        return UpstreamError(
            f"model `{model}` rejected the request with status {status}",
            code="upstream_rejected",
            status=status,
            upstream_message=message,
            upstream_code=code,
        )
    if status in _CREDENTIAL_STATUSES:
        return UpstreamError(
            f"model `{model}` rejected the gateway's credential with status {status}; check `api_key` of the model",
            code="upstream_credential",
            upstream_code=code,
        )
    if 300 <= status < 400:
        return UpstreamError(
            f"model `{model}` answered with a redirect, which is not followed; set `base_url` to the final address",
            code="upstream_redirect",
        )
    kind = TransientUpstreamError if status >= 500 or status in {408, 425} else UpstreamError
    return kind(
        f"model `{model}` failed with status {status}",
        code="upstream_error",
        upstream_message=message,
        upstream_code=code,
        retry_after_s=retry_after_s(headers.get("retry-after", "")),
    )


def from_stream(model: str, error: Any) -> UpstreamError:
    """The error for an `error` value inside a stream that began with status 200."""
    message, code = _error_parts(error)
    return UpstreamError(
        f"model `{model}` reported an error in its stream",
        code="upstream_error",
        upstream_message=message,
        upstream_code=code,
    )


def retry_after_s(value: str) -> float | None:
    """Seconds of a `retry-after` header. Dates are not read: they need a clock that agrees with the upstream's."""
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= _MAX_RETRY_AFTER_S else None


def _read_error(body: bytes) -> tuple[str, str]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", ""
    if not isinstance(decoded, dict):
        return "", ""
    return _error_parts(decoded.get("error", decoded))


def _error_parts(error: Any) -> tuple[str, str]:
    """Message and code of the shapes in use: a string, or an object with `message` or `detail`."""
    if isinstance(error, str):
        return error[:_MAX_MESSAGE_CHARS], ""
    if not isinstance(error, dict):
        return "", ""
    texts = [error[key] for key in ("message", "detail") if isinstance(error.get(key), str)]
    codes = [str(error[key]) for key in ("code", "type") if isinstance(error.get(key), str | int)]
    return (texts[0][:_MAX_MESSAGE_CHARS] if texts else ""), (codes[0][:_MAX_CODE_CHARS] if codes else "")
