"""What every page has: navigation, who is signed in, the answer to an error."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response

from gateway.console.parts import ConsoleRequest, Parts, parts_of
from gateway.console.roles import Page, Role
from gateway.console.sessions import Session

CASES: Final = frozenset({Role.REVIEWER, Role.LEAD})

POLICIES: Final = frozenset({Role.AUTHOR, Role.AUDITOR, Role.ADMIN})

SOURCES: Final = POLICIES

TRY_IT: Final = frozenset({Role.AUTHOR, Role.ADMIN})

AUDIT: Final = frozenset({Role.AUDITOR, Role.LEAD, Role.ADMIN})

QUALITY: Final = frozenset({Role.LEAD})

NAVIGATION: Final = (
    Page(path="/cases", title="Cases", roles=CASES),
    Page(path="/quality", title="Review quality", roles=QUALITY),
    Page(path="/overview", title="Overview", roles=AUDIT),
    Page(path="/audit", title="Audit", roles=AUDIT),
    Page(path="/policies", title="Policies", roles=POLICIES),
    Page(path="/sources", title="Sources", roles=SOURCES),
    Page(path="/try", title="Try it", roles=TRY_IT),
)
"""Pages in the order in which they are shown; each to those who may open it."""


def page(
    request: ConsoleRequest,
    template: str,
    *,
    title: str,
    here: str = "",
    status: int = 200,
    **context: Any,
) -> Response[str]:
    """A page of the console. `here` is the path of its entry in the navigation; `context` is for its template."""
    parts = parts_of(request)
    session: Session | None = getattr(request.state, "session", None)
    shared: Mapping[str, Any] = {
        "title": title,
        "here": here,
        "now": parts.clock(),
        "session": session,
        "csrf": session.csrf if session else "",
        "navigation": [entry for entry in NAVIGATION if session and entry.roles & session.roles],
    }
    return parts.renderer.page(template, {**shared, **context}, status=status)


def start_of(parts: Parts, session: Session) -> str:
    """Where somebody begins: the first page that is for them."""
    path = next((entry.path for entry in NAVIGATION if entry.roles & session.roles), "/account")
    return parts.renderer.base + path


def sentence(message: str) -> str:
    """The text of an error of ours, as a page says it."""
    return f"{message[:1].upper()}{message[1:]}."


def error_page(request: ConsoleRequest, status: int, code: str, message: str) -> Response[str]:
    """What went wrong, in the words of the error, and what was typed into a form that came to nothing."""
    title = {401: "Signed out", 403: "Not allowed", 404: "Not found", 409: "Not as it was", 503: "Not available"}
    return page(
        request,
        "error.html",
        title=title.get(status, "That did not work"),
        status=status,
        code=code,
        message=sentence(message),
        kept=getattr(request.state, "kept", ""),
    )
