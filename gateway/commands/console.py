"""`gateway console user`: the console's local accounts.

Each change is an audit event, written first. Passwords are made up and printed once, or read from standard input;
they never stand on a command line.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.console.accounts import Account, Accounts
from gateway.console.database import ConsoleDatabase
from gateway.console.passwords import new_password
from gateway.console.roles import Role
from gateway.domain.errors import GatewayError
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.domain.text import Secret
from gateway.settings import Settings
from gateway.settings.folder import CONSOLE_FILE

_roles = click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice([role.value for role in Role]),
    help="What they may do. Repeatable.",
)
_tenants = click.option(
    "--tenant", "tenants", multiple=True, required=True, help="Tenant whose cases and events they see. Repeatable."
)
_groups = click.option(
    "--group", "groups", multiple=True, help="Team they belong to: they review no case of its rules. Repeatable."
)
_from_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input instead of making one up."
)


@click.group("console")
def console() -> None:
    """The console's accounts."""


@console.group("user")
def user() -> None:
    """Add, list and change people who may sign in with a password."""


@user.command("add")
@click.argument("name")
@_roles
@_tenants
@_groups
@_from_stdin
@click.pass_context
def add(
    context: click.Context,
    *,
    name: str,
    roles: tuple[str, ...],
    tenants: tuple[str, ...],
    groups: tuple[str, ...],
    password_stdin: bool,
) -> None:
    """Add an account; NAME is the user of that person's API keys, so that nobody reviews a request of their own."""
    password = _password(from_stdin=password_stdin)
    with _accounts(context) as accounts:
        if accounts.find(name) is None:
            _record(context, "added", name, roles, tenants)
        accounts.add(name, password, roles=map(Role, roles), tenants=tenants, groups=groups, now=datetime.now(UTC))
    _show(name, password, made_up=not password_stdin)


@user.command("list")
@click.pass_context
def list_users(context: click.Context) -> None:
    """List all accounts."""
    with _accounts(context) as accounts:
        for one in accounts.list():
            state = "disabled" if one.disabled else "active"
            click.echo(f"{one.name}  {state}  roles={','.join(sorted(one.roles))}  tenants={','.join(one.tenants)}")


@user.command("disable")
@click.argument("name")
@click.pass_context
def disable(context: click.Context, *, name: str) -> None:
    """Let nobody sign in with an account any more; its sessions end at once."""
    with _accounts(context) as accounts:
        account = _existing(accounts, name)
        _record(context, "disabled", name, account.roles, account.tenants)
        accounts.disable(name, now=datetime.now(UTC))
    click.echo(f"account {name} is disabled")


@user.command("password")
@click.argument("name")
@_from_stdin
@click.pass_context
def password(context: click.Context, *, name: str, password_stdin: bool) -> None:
    """Give an account another password; its sessions end at once."""
    chosen = _password(from_stdin=password_stdin)
    with _accounts(context) as accounts:
        account = _existing(accounts, name)
        _record(context, "password", name, account.roles, account.tenants)
        accounts.set_password(name, chosen)
    _show(name, chosen, made_up=not password_stdin)


@user.command("roles")
@click.argument("name")
@_roles
@_tenants
@_groups
@click.pass_context
def roles(
    context: click.Context, *, name: str, roles: tuple[str, ...], tenants: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    """Give an account these roles, tenants and groups and no others, at once in sessions under way."""
    with _accounts(context) as accounts:
        _existing(accounts, name)
        _record(context, "roles", name, roles, tenants)
        accounts.set_scope(name, roles=map(Role, roles), tenants=tenants, groups=groups)
    click.echo(f"account {name} has roles {', '.join(sorted(set(roles)))} in {', '.join(sorted(set(tenants)))}")


def account_event(change: str, name: str, roles: Iterable[str], tenants: Iterable[str]) -> EventDraft:
    """What the audit log keeps of a change of an account: the name as a commitment."""
    body = {"change": change, "account": Commitment(text=name), "roles": sorted(roles), "tenants": sorted(tenants)}
    return EventDraft(type=EventType.CONSOLE_ACCOUNT_CHANGED, app="console", body=body)


def _record(context: click.Context, change: str, name: str, roles: Iterable[str], tenants: Iterable[str]) -> None:
    write: Callable[[EventDraft], object] = context.obj["record"]
    write(account_event(change, name, roles, tenants))


def _existing(accounts: Accounts, name: str) -> Account:
    account = accounts.find(name)
    if account is None:
        raise click.ClickException(f"there is no account `{name}`: see `gateway console user list`")
    return account


def _password(*, from_stdin: bool) -> Secret:
    return Secret(sys.stdin.readline().rstrip("\n")) if from_stdin else new_password()


def _show(name: str, password: Secret, *, made_up: bool) -> None:
    if made_up:
        click.echo(f"password of {name}; it is shown only now", err=True)
        click.echo(password.reveal())
    else:
        click.echo(f"account {name} has its password")


@contextmanager
def _accounts(context: click.Context) -> Iterator[Accounts]:
    settings: Settings = context.obj["settings"]
    folder = Path(settings.data_dir)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        db = ConsoleDatabase.open(folder / CONSOLE_FILE)
        try:
            yield Accounts(db)
        finally:
            db.close()
    except GatewayError as error:
        raise click.ClickException(str(error)) from None
