"""Sessions: a random id in a cookie, all else here. Idle and absolute expiry; a local account's roles count as they
are now, so that a change or a disabled account takes effect with the next request."""

import hashlib
import json
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct, structs

from gateway.console.database import ConsoleDatabase
from gateway.console.roles import Role
from gateway.domain.text import Secret

_TOUCH: Final = timedelta(seconds=30)  # so often the time of the last request is written at most
_COOKIE_CHARS: Final = 43


class Entrant(Struct, frozen=True, kw_only=True):
    """Somebody whose password was right (`local`), or whom a provider vouches for."""

    account: str
    local: bool
    roles: frozenset[Role]
    tenants: tuple[str, ...]
    groups: frozenset[str] = frozenset()


class Session(Struct, frozen=True, kw_only=True):
    """Who is signed in. `key` is what the store knows the session by, the SHA-256 of its cookie. `csrf` stands in
    every form. `local` tells a local account from a person whom a provider vouched for."""

    key: bytes
    account: str
    local: bool
    roles: frozenset[Role]
    tenants: tuple[str, ...]
    groups: frozenset[str]
    csrf: str
    expires: datetime

    def __repr__(self) -> str:
        return f"Session({self.account!r}, {sorted(self.roles)})"


class OpenedSession(Struct, frozen=True):
    """A new session with the value of its cookie, which cannot be read back."""

    session: Session
    cookie: Secret


class Sessions:
    """All methods block; see `ConsoleDatabase`. `idle` ends a session without requests, `absolute` every one."""

    def __init__(self, db: ConsoleDatabase, *, idle: timedelta, absolute: timedelta) -> None:
        self._db = db
        self._idle = idle
        self._absolute = absolute

    def open(self, who: Entrant, *, now: datetime) -> OpenedSession:
        """A session with a fresh id, whatever cookie the browser brought (no fixation)."""
        cookie = Secret(secrets.token_urlsafe(32))
        session = Session(
            key=key_of(cookie.reveal()),
            account=who.account,
            local=who.local,
            roles=who.roles,
            tenants=who.tenants,
            groups=who.groups,
            csrf=secrets.token_urlsafe(32),
            expires=now + self._absolute,
        )
        self._db.write("DELETE FROM sessions WHERE expires <= ? OR seen <= ?", _text(now), _text(now - self._idle))
        self._db.write(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            session.key,
            who.account,
            int(who.local),
            json.dumps(sorted(who.roles)),
            json.dumps(who.tenants),
            json.dumps(sorted(who.groups)),
            session.csrf,
            _text(now),
            _text(now),
            _text(session.expires),
        )
        return OpenedSession(session, cookie)

    def find(self, cookie: str, *, now: datetime, used: bool = True) -> Session | None:
        """The session of this cookie, if it lasts. `used` says that a person did something: a page that refreshes
        itself keeps no session alive."""
        if len(cookie) != _COOKIE_CHARS:
            return None
        key = key_of(cookie)
        row = self._db.one(
            "SELECT s.account, s.local, s.roles, s.tenants, s.groups, s.csrf, s.expires, s.seen, a.roles, a.tenants, "
            "a.groups, a.disabled FROM sessions s LEFT JOIN accounts a ON s.local AND a.name = s.account "
            "WHERE s.key = ? AND s.expires > ? AND s.seen > ?",
            key,
            _text(now),
            _text(now - self._idle),
        )
        if row is None:
            return None
        session = _session(key, row)
        if row[1]:
            if row[8] is None or row[11] is not None:  # the account is gone, or disabled
                return None
            session = structs.replace(
                session,
                roles=frozenset(map(Role, json.loads(row[8]))),
                tenants=tuple(json.loads(row[9])),
                groups=frozenset(json.loads(row[10])),
            )
        if used and datetime.fromisoformat(row[7]) < now - _TOUCH:
            self._db.write("UPDATE sessions SET seen = max(seen, ?) WHERE key = ?", _text(now), key)
        return session

    def close(self, session: Session) -> None:
        self._db.write("DELETE FROM sessions WHERE key = ?", session.key)

    def unmask(self, session: Session, case_id: str, reason: str, *, until: datetime) -> None:
        """Personal data of a case is shown in this session until then, for this reason."""
        self._db.write(
            "INSERT OR REPLACE INTO unmasked VALUES (?, ?, ?, ?)", session.key, case_id, reason, _text(until)
        )

    def unmasked(self, session: Session, case_id: str, *, now: datetime) -> str:
        """Why personal data of the case is shown in this session, "" if it is not."""
        row = self._db.one(
            "SELECT reason FROM unmasked WHERE session = ? AND case_id = ? AND until > ?",
            session.key,
            case_id,
            _text(now),
        )
        return str(row[0]) if row else ""

    def mask(self, session: Session, case_id: str) -> None:
        self._db.write("DELETE FROM unmasked WHERE session = ? AND case_id = ?", session.key, case_id)


def key_of(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()


def _session(key: bytes, row: tuple[Any, ...]) -> Session:
    return Session(
        key=key,
        account=row[0],
        local=bool(row[1]),
        roles=frozenset(map(Role, json.loads(row[2]))),
        tenants=tuple(json.loads(row[3])),
        groups=frozenset(json.loads(row[4])),
        csrf=row[5],
        expires=datetime.fromisoformat(row[6]),
    )


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
