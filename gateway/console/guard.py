"""The console's door, before every page: host, origin, session, role, CSRF token. Numbered as in the README."""

import secrets
from typing import Any, Final
from urllib.parse import quote, urlsplit

from litestar import Request
from litestar.exceptions import MethodNotAllowedException
from litestar.response import Response

from gateway.console.parts import ConsoleRequest, Parts, blocking, parts_of
from gateway.console.roles import Role
from gateway.domain.errors import RequestError

EVERYBODY: Final = frozenset(Role)
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_METHODS: Final = frozenset({"GET", "POST"})
_COOKIE: Final = "gateway_console"
_DOOR: Final = "gateway_console_door"


async def guard(request: Request[Any, Any, Any]) -> Response[Any] | None:
    """Let the request pass, with `request.state.session` set, or answer it. Raises `RequestError`."""
    parts = parts_of(request)
    if request.method not in _METHODS:
        raise MethodNotAllowedException
    _check_host(parts, request)  # 1 host
    if request.method == "POST":
        _check_origin(parts, request)  # 2 origin
    request.state.session, request.state.kept = None, ""
    opt = request.route_handler.opt
    if opt.get("asset"):
        return None
    cookie = request.cookies.get(cookie_name(parts, _COOKIE), "")
    by_hand = "x-gateway-poll" not in request.headers
    session = await blocking(parts.sessions.find, cookie, now=parts.clock(), used=by_hand)  # 3 session
    request.state.session = session
    if opt.get("open"):
        return None
    if request.method == "POST":
        form = await request.form()
        request.state.kept = str(form.get("text", ""))  # shown again should the form come to nothing
    if session is None:
        return _to_sign_in(parts, request)
    roles: frozenset[Role] = opt["roles"]
    if not roles & session.roles:  # 4 role
        names = " or ".join(sorted(roles))
        raise RequestError(f"this page is for the role {names}", code="role_required", status=403)
    if request.method == "POST":
        form = await request.form()
        if not secrets.compare_digest(str(form.get("csrf", "")).encode(), session.csrf.encode()):  # 5 token
            raise RequestError("the form is not of this session: open the page again", code="csrf", status=403)
    return None


def cookie_name(parts: Parts, name: str) -> str:
    """With the prefix that binds a cookie to this host and to https (RFC 6265bis), where there is https."""
    return f"__Host-{name}" if is_secure(parts) else name


def session_cookie(parts: Parts) -> str:
    return cookie_name(parts, _COOKIE)


def door_cookie(parts: Parts) -> str:
    return cookie_name(parts, _DOOR)


def is_secure(parts: Parts) -> bool:
    return parts.origin.startswith("https:")


def safe_back(parts: Parts, back: str) -> str:
    """A path of the console to return to; its start for anything else (no open redirect)."""
    base = parts.renderer.base
    plain = back.isascii() and back.isprintable() and not set(back) & set("\\<>\"' ")
    inside = back == base or back.startswith((f"{base}/", f"{base}?"))
    return back if plain and inside and "//" not in back and ".." not in back else base


def see_other(url: str) -> Response[str]:
    """Go on with a GET of another page. The address is one that we have made."""
    return Response("", status_code=303, headers={"location": url}, media_type="text/plain")


def _to_sign_in(parts: Parts, request: ConsoleRequest) -> Response[Any]:
    url = f"{parts.renderer.base}/sign-in"
    if request.headers.get("hx-request") == "true":  # the whole page goes there, not a part of it
        return Response("", status_code=401, headers={"hx-redirect": url})
    if request.method == "GET":
        query = request.scope["query_string"].decode("latin-1")
        wanted = parts.renderer.base + str(request.scope["path"]).rstrip("/") + (f"?{query}" if query else "")
        return see_other(f"{url}?back={quote(safe_back(parts, wanted), safe='')}")
    raise RequestError("you are no longer signed in: sign in and send the form again", code="signed_out", status=401)


def _check_host(parts: Parts, request: ConsoleRequest) -> None:
    host = request.headers.get("host", "")
    if parts.origin:
        if host != urlsplit(parts.origin).netloc:
            raise RequestError("the console has another address", code="host", status=421)
    elif _name(host) not in _LOOPBACK:
        raise RequestError("set `console.public_url` to serve the console on a network", code="host", status=421)


def _name(host: str) -> str | None:
    """The host without its port, `None` if it is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _check_origin(parts: Parts, request: ConsoleRequest) -> None:
    """Browsers name where a form comes from; one that names nothing is not let in."""
    origin = request.headers.get("origin")
    if origin is None:
        sound = request.headers.get("sec-fetch-site") == "same-origin"
    else:
        sound = origin == (parts.origin or f"http://{request.headers.get('host', '')}")
    if not sound:
        raise RequestError("the form comes from another site", code="origin", status=403)
