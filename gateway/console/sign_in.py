"""Sign-in with a password or at a provider, sign-out, and the account page. Every one leaves an audit event."""

import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Any, Final

from litestar import Controller, Response, get, post
from litestar.datastructures import Cookie
from litestar.exceptions import NotFoundException

from gateway.console.guard import EVERYBODY, door_cookie, is_secure, safe_back, see_other, session_cookie
from gateway.console.page import page, sentence, start_of
from gateway.console.parts import APP, ConsoleRequest, Parts, blocking, parts_of, session_of
from gateway.console.sessions import Entrant, Session, key_of
from gateway.domain.errors import GatewayError, GuardUnavailable, RequestError
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.domain.text import Secret

_UNDER_WAY: Final = timedelta(minutes=10)
_DOOR_CHARS: Final = 43
_AWAY: Final = "The identity provider cannot be reached."
_WRONG: Final = "Name or password is wrong."


class SignIn(Controller):
    """Open to everybody, but for the account page."""

    @get(["/", "/start"], opt={"roles": EVERYBODY})
    async def start(self, request: ConsoleRequest) -> Response[Any]:
        """The first page that is for this person."""
        return see_other(start_of(parts_of(request), session_of(request)))

    @get("/sign-in", opt={"open": True})
    async def form(self, request: ConsoleRequest) -> Response[Any]:
        parts, back = parts_of(request), request.query_params.get("back", "")
        if request.state.session is not None:
            return see_other(safe_back(parts, back))
        return _form(request, back=back)

    @post("/sign-in", opt={"open": True}, status_code=303)
    async def local(self, request: ConsoleRequest) -> Response[Any]:
        """Check a password: as long for a name that there is not, and not at once after many failures."""
        parts = parts_of(request)
        form = await request.form()
        name, back = str(form.get("name", "")).strip(), str(form.get("back", ""))
        password = Secret(str(form.get("password", "")))
        if not parts.settings.console.local_accounts:
            raise RequestError("accounts with passwords are off here", code="local_accounts_off", status=403)
        if not _is_own(request, str(form.get("door", ""))):
            return _form(request, back=back, name=name, told="The form was out of date. Please try again.", status=403)
        address, now = request.client.host if request.client else "", parts.clock()
        wait_s = await blocking(parts.throttle.admitted, name, address, now=now)
        if wait_s:
            await _record_failure(parts, name, code="throttled")
            told = f"Too many attempts. Try again in {wait_s} s."
            return _form(request, back=back, name=name, told=told, status=429, wait_s=wait_s)
        async with parts.door:
            account = await blocking(parts.accounts.verified, name, password)
        if account is None:
            await _record_failure(parts, name, code="password")
            return _form(request, back=back, name=name, told=_WRONG, status=401)
        await blocking(parts.throttle.succeeded, name, address)
        who = Entrant(
            account=account.name, local=True, roles=account.roles, tenants=account.tenants, groups=account.groups
        )
        return await _enter(request, who, back=back)

    @get("/sign-in/provider", opt={"open": True})
    async def provider(self, request: ConsoleRequest) -> Response[Any]:
        """Send the browser to the identity provider, with a state that only this browser can bring back. A link and no
        form: `form-action 'self'` holds for where a form's answer leads, too."""
        parts = parts_of(request)
        if parts.oidc is None:
            raise NotFoundException
        try:
            attempt = await parts.oidc.begin()
        except GuardUnavailable:
            return _form(request, told=_AWAY, status=503)
        door, now = _door(request), parts.clock()
        await blocking(parts.db.write, "DELETE FROM sign_ins WHERE expires <= ?", now.isoformat())
        await blocking(
            parts.db.write,
            "INSERT INTO sign_ins VALUES (?, ?, ?, ?, ?, ?)",
            key_of(attempt.state.reveal()),
            key_of(door),
            attempt.nonce.reveal(),
            attempt.verifier.reveal(),
            safe_back(parts, request.query_params.get("back", "")),
            (now + _UNDER_WAY).isoformat(),
        )
        answer = see_other(attempt.url)
        answer.cookies.append(_cookie(parts, door_cookie(parts), door))
        return answer

    @get("/callback", opt={"open": True})
    async def callback(self, request: ConsoleRequest) -> Response[Any]:
        """The provider's answer: its state was made for this browser, and counts once."""
        parts = parts_of(request)
        row = await blocking(
            parts.db.one,
            "DELETE FROM sign_ins WHERE state = ? AND expires > ? RETURNING door, nonce, verifier, back",
            key_of(request.query_params.get("state", "")),
            parts.clock().isoformat(),
        )
        door = request.cookies.get(door_cookie(parts), "")
        try:
            if parts.oidc is None or row is None or not door or not hmac.compare_digest(row[0], key_of(door)):
                raise RequestError("the sign-in was not begun here: sign in again", code="oidc_state", status=403)
            answer = {name: str(value) for name, value in request.query_params.items()}
            who = await parts.oidc.finish(answer, nonce=row[1], verifier=row[2])
        except GatewayError as error:
            await _record_failure(parts, "", code=error.code)
            told = sentence(error.message) if isinstance(error, RequestError) else _AWAY
            return _form(request, told=told, status=getattr(error, "status", 403))
        return await _enter(request, who, back=row[3])

    @post("/sign-out", opt={"roles": EVERYBODY}, status_code=303)
    async def sign_out(self, request: ConsoleRequest) -> Response[Any]:
        parts, session = parts_of(request), session_of(request)
        await blocking(parts.sessions.close, session)
        await parts.record(EventType.CONSOLE_SIGNED_OUT, session, {"account": Commitment(text=session.account)})
        answer = see_other(f"{parts.renderer.base}/sign-in")
        answer.cookies.append(_cookie(parts, session_cookie(parts), "", max_age=0))
        return answer

    @get("/account", opt={"roles": EVERYBODY})
    async def account(self, request: ConsoleRequest) -> Response[Any]:
        """Who is signed in, with which roles, until when."""
        return page(request, "account.html", title="Account", here="/account")


async def _enter(request: ConsoleRequest, who: Entrant, *, back: str) -> Response[Any]:
    """Open a session; recorded before the cookie leaves. An earlier session of this browser ends."""
    parts = parts_of(request)
    earlier: Session | None = request.state.session
    if earlier is not None:
        await blocking(parts.sessions.close, earlier)
    opened = await blocking(parts.sessions.open, who, now=parts.clock())
    body = {
        "account": Commitment(text=who.account),
        "by": "password" if who.local else "oidc",
        "roles": sorted(who.roles),
        "tenants": list(who.tenants),
    }
    try:
        await parts.record(EventType.CONSOLE_SIGNED_IN, opened.session, body)
    except BaseException:
        await blocking(parts.sessions.close, opened.session)
        raise
    target = safe_back(parts, back)
    answer = see_other(start_of(parts, opened.session) if target == parts.renderer.base else target)
    answer.cookies.append(_cookie(parts, session_cookie(parts), opened.cookie.reveal()))
    answer.cookies.append(_cookie(parts, door_cookie(parts), "", max_age=0))
    return answer


async def _record_failure(parts: Parts, name: str, *, code: str) -> None:
    """The name is committed to, not written: people type passwords into the wrong field."""
    body = {"account": Commitment(text=name), "code": code}
    await parts.audit.append(EventDraft(type=EventType.CONSOLE_SIGN_IN_FAILED, app=APP, body=body))


def _form(
    request: ConsoleRequest, *, back: str = "", name: str = "", told: str = "", status: int = 200, wait_s: int = 0
) -> Response[Any]:
    parts = parts_of(request)
    door = _door(request)
    answer = page(
        request,
        "sign_in.html",
        title="Sign in",
        status=status,
        door=_door_token(door),
        back=safe_back(parts, back),
        name=name[:200],
        told=told,
        local=parts.settings.console.local_accounts,
        provider=parts.settings.console.oidc.label if parts.oidc else "",
    )
    if wait_s:
        answer.headers["retry-after"] = str(wait_s)
    answer.cookies.append(_cookie(parts, door_cookie(parts), door))
    return answer


def _door(request: ConsoleRequest) -> str:
    """What this browser is known by before it is signed in."""
    known = request.cookies.get(door_cookie(parts_of(request)), "")
    return known if len(known) == _DOOR_CHARS else secrets.token_urlsafe(32)


def _is_own(request: ConsoleRequest, token: str) -> bool:
    """Whether the form was made for this browser (no sign-in of a stranger's account into it)."""
    door = request.cookies.get(door_cookie(parts_of(request)), "")
    return bool(door) and secrets.compare_digest(_door_token(door).encode(), token.encode())


def _door_token(door: str) -> str:
    return hmac.new(door.encode("utf-8", "surrogatepass"), b"sign-in", hashlib.sha256).hexdigest()


def _cookie(parts: Parts, name: str, value: str, *, max_age: int | None = None) -> Cookie:
    return Cookie(
        key=name, value=value, path="/", secure=is_secure(parts), httponly=True, samesite="lax", max_age=max_age
    )
