"""Local accounts: made on the command line, stored with an argon2id hash."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from gateway.console.database import ConsoleDatabase
from gateway.console.passwords import hashed, matches
from gateway.console.roles import Role
from gateway.domain.errors import RequestError
from gateway.domain.text import Secret

_NAME: Final = re.compile(r"[\w.@-]{1,200}")
_COLUMNS: Final = "name, roles, tenants, groups, created, disabled"


class Account(Struct, frozen=True, kw_only=True):
    """A person who may sign in with a password. `name` is the `user` of their API keys, so that nobody reviews a
    request of their own. Only cases and events of `tenants` are seen. `groups` are those of their API keys: whoever
    belongs to the team that owns a rule does not review cases of it."""

    name: str
    roles: frozenset[Role]
    tenants: tuple[str, ...]
    groups: frozenset[str] = frozenset()
    created: datetime
    disabled: datetime | None = None


class Accounts:
    """All methods block; see `ConsoleDatabase`."""

    def __init__(self, db: ConsoleDatabase) -> None:
        self._db = db

    def add(
        self,
        name: str,
        password: Secret,
        *,
        roles: Iterable[Role],
        tenants: Iterable[str],
        groups: Iterable[str] = (),
        now: datetime,
    ) -> Account:
        """Raises `RequestError` for a name that is taken or none, and for no role."""
        account = Account(
            name=_checked(name),
            roles=frozenset(roles),
            tenants=tuple(sorted(set(tenants))),
            groups=frozenset(groups),
            created=now.astimezone(UTC),
        )
        _check_scope(account)
        sql = (
            "INSERT OR IGNORE INTO accounts (name, password, roles, tenants, groups, created) VALUES (?, ?, ?, ?, ?, ?)"
        )
        scope = (_json(account.roles), _json(account.tenants), _json(account.groups))
        if not self._db.write(sql, name, hashed(password), *scope, account.created.isoformat()):
            raise RequestError(f"there is an account `{name}` already", code="account_exists", status=409)
        return account

    def find(self, name: str) -> Account | None:
        row = self._db.one(f"SELECT {_COLUMNS} FROM accounts WHERE name = ?", name)  # noqa: S608 names of ours
        return _account(row) if row else None

    def list(self) -> tuple[Account, ...]:
        """All accounts by name."""
        return tuple(_account(row) for row in self._db.all(f"SELECT {_COLUMNS} FROM accounts ORDER BY name"))  # noqa: S608

    def verified(self, name: str, password: Secret) -> Account | None:
        """The account if the password is right and the account is in use. Takes as long for a name that there is not:
        a fifth of a second of one core, and 64 MiB."""
        row = self._db.one("SELECT password FROM accounts WHERE name = ? AND disabled IS NULL", name)
        return self.find(name) if matches(row[0] if row else None, password) else None

    def set_password(self, name: str, password: Secret) -> Account:
        """Sessions of the account end. Raises `RequestError` if there is none."""
        return self._changed(name, "password = ?", hashed(password))

    def set_scope(
        self, name: str, *, roles: Iterable[Role], tenants: Iterable[str], groups: Iterable[str] = ()
    ) -> Account:
        """Other roles, tenants and groups, at once in sessions under way. Raises `RequestError`."""
        known = self._existing(name)
        scope = Account(
            name=name,
            roles=frozenset(roles),
            tenants=tuple(sorted(set(tenants))),
            groups=frozenset(groups),
            created=known.created,
        )
        _check_scope(scope)
        self._db.write(
            "UPDATE accounts SET roles = ?, tenants = ?, groups = ? WHERE name = ?",
            _json(scope.roles),
            _json(scope.tenants),
            _json(scope.groups),
            name,
        )
        return self._existing(name)

    def disable(self, name: str, *, now: datetime) -> Account:
        """Nobody signs in with it any more, and its sessions end. Raises `RequestError` if there is none."""
        return self._changed(name, "disabled = coalesce(disabled, ?)", now.astimezone(UTC).isoformat())

    def _changed(self, name: str, change: str, value: str) -> Account:
        self._existing(name)
        self._db.write(f"UPDATE accounts SET {change} WHERE name = ?", value, name)  # noqa: S608 names of ours
        self._db.write("DELETE FROM sessions WHERE account = ? AND local", name)
        return self._existing(name)

    def _existing(self, name: str) -> Account:
        account = self.find(name)
        if account is None:
            raise RequestError(f"there is no account `{name}`: see `gateway console user list`", code="no_account")
        return account


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise RequestError("a name has letters, digits, `.`, `@`, `_` and `-`, at most 200", code="invalid_name")
    return name


def _check_scope(account: Account) -> None:
    if not account.roles:
        raise RequestError(f"an account needs a role: one of {', '.join(Role)}", code="invalid_roles")
    if not account.tenants or not all(tenant.strip() == tenant and tenant for tenant in account.tenants):
        raise RequestError("an account needs a tenant whose cases and events it sees", code="invalid_tenants")


def _account(row: tuple[Any, ...]) -> Account:
    return Account(
        name=row[0],
        roles=frozenset(map(Role, json.loads(row[1]))),
        tenants=tuple(json.loads(row[2])),
        groups=frozenset(json.loads(row[3])),
        created=datetime.fromisoformat(row[4]),
        disabled=datetime.fromisoformat(row[5]) if row[5] else None,
    )


def _json(names: Iterable[str]) -> str:
    return json.dumps(sorted(names))
