"""The error tree.

    GatewayError                    has a stable code and a text without content
    ├── ConfigurationError          settings, policy or corpus cannot be used: the gateway does not start
    │   └── FaultsFound             a list of faults, each with place and remedy
    ├── RequestError                the caller's fault: 4xx
    ├── GuardUnavailable            the gateway cannot keep its promises: 503, `x-should-retry: false`
    │   ├── AuditUnavailable        the log cannot be written (I2)
    │   └── StoreUnavailable        passages cannot be searched or indexed; the retriever makes it a status
    ├── UpstreamError               the model's fault: its status, or 502 / 504
    └── AdmissionDenied             a limit: 429 with `retry-after`

A policy verdict is a value, never an exception. HTTP statuses appear here as numbers that the edge maps to a
wire format; nothing below the edge writes a response.
"""

from collections.abc import Sequence

from msgspec import Struct


class GatewayError(Exception):
    """Base of all errors of ours. `code` is stable; the text is lower case, one line, and holds no content."""

    code = "gateway_error"
    status = 500

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        if code:
            self.code = code

    def for_operator(self) -> str:
        """What a terminal shows: each line, and so each fault, with the program's name before it."""
        return "\n".join(f"gateway: {line}" for line in self.message.splitlines())


class ConfigurationError(GatewayError):
    code = "configuration_error"


class Fault(Struct, frozen=True, order=True):
    """One fault of a file, with its place (1-based; 0 where there is none) and what to do."""

    file: str
    line: int
    column: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.code} {self.message}"


class FaultsFound(ConfigurationError):
    """All faults of a load, sorted by place."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(map(str, self.faults)))


class RequestError(GatewayError):
    """The caller's fault. `param` names the offending key of the body in the wire's notation, `allow` the methods
    that the route has (405)."""

    code = "invalid_request"
    status = 400

    def __init__(
        self, message: str, *, code: str = "", status: int = 400, param: str | None = None, allow: str = ""
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.param = param
        self.allow = allow


class GuardUnavailable(GatewayError):
    code = "guard_unavailable"
    status = 503


class AuditUnavailable(GuardUnavailable):
    code = "guard_unavailable"


class StoreUnavailable(GuardUnavailable):
    code = "store_unavailable"


class UpstreamError(GatewayError):
    """The model did not answer. `status` is what the caller gets; `upstream_message` is text of the upstream's
    error body and is released only after a verdict on it."""

    code = "upstream_error"
    status = 502

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        status: int = 502,
        upstream_message: str = "",
        upstream_code: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.upstream_message = upstream_message
        self.upstream_code = upstream_code
        self.retry_after_s = retry_after_s

    def with_message(self, message: str) -> "UpstreamError":
        """The same error in other words."""
        return UpstreamError(
            message,
            code=self.code,
            status=self.status,
            upstream_message=self.upstream_message,
            upstream_code=self.upstream_code,
            retry_after_s=self.retry_after_s,
        )


class AdmissionDenied(GatewayError):
    code = "rate_limit_exceeded"
    status = 429

    def __init__(self, message: str, *, retry_after_s: float, code: str = "") -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s
