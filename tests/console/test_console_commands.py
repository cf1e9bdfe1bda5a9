"""`gateway console user`: accounts on the command line, with an audit event before each change."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.commands.console import console
from gateway.commands.demo_console import create_accounts
from gateway.console.accounts import Accounts
from gateway.console.database import ConsoleDatabase
from gateway.console.roles import Role
from gateway.domain.errors import AuditUnavailable, ConfigurationError
from gateway.domain.event import EventDraft, EventType
from gateway.domain.text import Secret
from gateway.settings import Settings

SCOPE = ("--role", "reviewer", "--tenant", "acme")
Run = Callable[..., Result]


@pytest.fixture
def drafts() -> list[EventDraft]:
    return []


@pytest.fixture
def run(tmp_path: Path, drafts: list[EventDraft]) -> Run:
    def call(*arguments: str, stdin: str = "", record: Any = drafts.append) -> Result:
        context = {"settings": Settings(data_dir=tmp_path), "record": record}
        return CliRunner().invoke(console, ["user", *arguments], obj=context, input=stdin)

    return call


def test_an_account_from_its_first_day_to_its_last(run: Run, drafts: list[EventDraft]) -> None:
    made = run("add", "zoe", *SCOPE, "--group", "risk")
    assert made.exit_code == 0, made.output
    password = made.stdout.strip()
    assert len(password) == 20
    assert run("list").output == "zoe  active  roles=reviewer  tenants=acme\n"
    assert run("roles", "zoe", "--role", "lead", "--tenant", "rival", "--tenant", "acme").exit_code == 0
    assert run("list").output == "zoe  active  roles=lead  tenants=acme,rival\n"
    assert run("password", "zoe", "--password-stdin", stdin="another password\n").exit_code == 0
    assert run("disable", "zoe").exit_code == 0
    assert "disabled" in run("list").output
    assert [draft.body["change"] for draft in drafts] == ["added", "roles", "password", "disabled"]
    assert {draft.type for draft in drafts} == {EventType.CONSOLE_ACCOUNT_CHANGED}
    assert password not in repr(drafts)


def test_the_printed_password_is_the_one_that_signs_in(run: Run, tmp_path: Path) -> None:
    password = run("add", "zoe", *SCOPE).stdout.strip()
    db = ConsoleDatabase.open(tmp_path / "console.db")
    accounts = Accounts(db)
    assert accounts.verified("zoe", Secret(password)) is not None
    assert accounts.verified("zoe", Secret("another")) is None
    db.close()


@pytest.mark.parametrize(
    ("arguments", "stdin", "told"),
    [
        (("add", "a b", *SCOPE), "", "a name has letters"),
        (("add", "zoe", "--role", "king", "--tenant", "acme"), "", "is not one of"),
        (("add", "zoe", "--tenant", "acme"), "", "Missing option '--role'"),
        (("add", "zoe", "--role", "reviewer"), "", "Missing option '--tenant'"),
        (("add", "zoe", *SCOPE, "--password-stdin"), "short\n", "a password has 12 to 256 characters"),
        (("disable", "nobody"), "", "there is no account `nobody`"),
        (("password", "nobody"), "", "there is no account `nobody`"),
        (("roles", "nobody", *SCOPE), "", "there is no account `nobody`"),
    ],
)
def test_what_does_not_fit_is_told(run: Run, arguments: tuple[str, ...], stdin: str, told: str) -> None:
    done = run(*arguments, stdin=stdin)
    assert done.exit_code != 0
    assert told in done.output
    assert run("list").output == ""


def test_a_name_is_given_once(run: Run, drafts: list[EventDraft]) -> None:
    run("add", "zoe", *SCOPE)
    again = run("add", "zoe", *SCOPE)
    assert again.exit_code != 0
    assert "there is an account `zoe` already" in again.output
    assert len(drafts) == 1


@pytest.mark.parametrize(
    "arguments", [("disable", "zoe"), ("password", "zoe"), ("roles", "zoe", *SCOPE), ("add", "bram", *SCOPE)]
)
def test_what_cannot_be_recorded_does_not_happen(run: Run, arguments: tuple[str, ...]) -> None:
    run("add", "zoe", *SCOPE)
    before = run("list").output

    def broken(_: EventDraft) -> None:
        raise AuditUnavailable("the audit log cannot be written: test")

    assert run(*arguments, record=broken).exit_code != 0
    assert run("list").output == before


def test_the_file_is_its_owners_alone_and_not_of_a_newer_gateway(tmp_path: Path) -> None:
    path = tmp_path / "console.db"
    db = ConsoleDatabase.open(path)
    db.write("PRAGMA user_version = 99")
    db.close()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="newer gateway"):
        ConsoleDatabase.open(path)
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        ConsoleDatabase.open(tmp_path / "nowhere" / "console.db")


def test_the_demo_makes_an_account_per_role_with_fresh_passwords(tmp_path: Path, drafts: list[EventDraft]) -> None:
    settings, now = Settings(data_dir=tmp_path), datetime.now(UTC)
    first = create_accounts(settings, drafts.append, now=now)
    second = create_accounts(settings, drafts.append, now=now)
    assert first.keys() == second.keys() == set(Role)
    assert not set(first.values()) & set(second.values())
    db = ConsoleDatabase.open(tmp_path / "console.db")
    found = Accounts(db).verified("lead", second["lead"])
    assert found is not None
    assert (found.roles, found.tenants) == ({Role.LEAD}, ("larkfield",))
    assert Accounts(db).verified("lead", first["lead"]) is None
    db.close()
