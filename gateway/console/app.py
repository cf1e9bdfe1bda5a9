"""The console as one ASGI application, mounted below a path of the gateway."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from litestar import Controller, Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath
from litestar.routes import BaseRoute
from litestar.types import Receive, Scope, Send

from gateway.console.assets import Assets
from gateway.console.audit_page import AuditPage
from gateway.console.audit_texts import AuditTexts
from gateway.console.case_page import CasePage
from gateway.console.guard import guard
from gateway.console.overview_page import OverviewPage
from gateway.console.page import error_page
from gateway.console.parts import ConsoleRequest, Parts
from gateway.console.policies_page import PoliciesPage
from gateway.console.quality_page import QualityPage
from gateway.console.queue_page import QueuePage
from gateway.console.sign_in import SignIn
from gateway.console.sources_page import SourcesPage
from gateway.console.tryit_page import TryItPage
from gateway.domain.errors import GatewayError, RequestError

PAGES: Final[tuple[type[Controller], ...]] = (
    QueuePage,
    CasePage,
    QualityPage,
    OverviewPage,
    AuditPage,
    AuditTexts,
    PoliciesPage,
    SourcesPage,
    TryItPage,
)
"""Every page of the console; a new one is added here, and to `gateway.console.page.NAVIGATION`."""

_MOST_BYTES: Final = 1_000_000
_KEPT: Final = ("type", "asgi", "http_version", "method", "scheme", "raw_path", "query_string", "headers", "client")
_HEADERS: Final = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    # Not `no-referrer`: with that browsers send `Origin: null` for our own forms.
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    b"cache-control": b"no-store",
}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_log = structlog.get_logger("gateway.console")


class ConsoleApp:
    """Serves the console's pages. Every answer carries the security headers, those to errors too."""

    def __init__(self, parts: Parts, assets: Assets) -> None:
        self._secure = parts.origin.startswith("https:")
        self._litestar = Litestar(
            route_handlers=[SignIn, *PAGES, _static(assets)],
            before_request=guard,
            exception_handlers={Exception: _failed},
            state=State({"parts": parts}),
            request_max_body_size=_MOST_BYTES,
            openapi_config=None,
            logging_config=None,
        )

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """Every route, for tests of who may use it."""
        return self._litestar.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given: Mapping[str, Any] = scope
        own: Any = {name: given[name] for name in _KEPT if name in given}
        own |= {"path": scope["path"], "root_path": "", "state": {}}

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                named = {name.lower() for name, _ in message["headers"]}
                added = [(name, value) for name, value in _HEADERS.items() if name not in named]
                if self._secure:
                    added.append((b"strict-transport-security", b"max-age=31536000"))
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._litestar(own, receive, guarded)


def _static(assets: Assets) -> Any:
    @get("/static/{name:str}", opt={"asset": True}, sync_to_thread=False)
    def serve(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
        asset = assets.served.get(name)
        if asset is None:
            raise NotFoundException
        headers = {"etag": asset.etag, "cache-control": _FOR_GOOD}
        if request.headers.get("if-none-match") == asset.etag:
            return Response(b"", status_code=304, headers=headers, media_type=asset.type)
        return Response(asset.content, headers=headers, media_type=asset.type)

    return serve


def _failed(request: ConsoleRequest, error: Exception) -> Response[Any]:
    """The page of an error. Texts of our own errors hold no content; of a foreign one nothing is shown."""
    if isinstance(error, RequestError):
        return error_page(request, error.status, error.code, error.message)
    if isinstance(error, HTTPException) and error.status_code < 500:
        known = {404: "there is no such page", 405: "this page takes no such request", 413: "the form is too large"}
        return error_page(request, error.status_code, "", known.get(error.status_code, "the request is malformed"))
    reason = error.message if isinstance(error, GatewayError) else ""
    _log.error("console_unavailable", error=type(error).__name__, reason=reason)
    message = "the console cannot do this safely at the moment: nothing unrecorded was shown or decided"
    return error_page(request, 503, "guard_unavailable", message)
