"""The demo's console: an account per role, and a few cases that wait for whoever signs in."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from gateway.commands.console import account_event
from gateway.console.accounts import Accounts
from gateway.console.database import ConsoleDatabase
from gateway.console.passwords import new_password
from gateway.console.roles import Role
from gateway.demo.setup import TENANT
from gateway.domain.event import EventDraft
from gateway.domain.text import Secret
from gateway.settings import Settings
from gateway.settings.folder import CONSOLE_FILE

_QUESTIONS: Final = (
    (
        "My name is Jonas Abel, IBAN DE89 3704 0044 0532 0130 00. I have 40,000 pounds in my savings account, "
        "should I put all of it into the Larkfield Growth Fund?"
    ),
    "Will my application for a mortgage of 210,000 be approved with my salary of 41,000?",
    "I have been charged the overdraft fee three times for one payment and I want to complain officially.",
)
"""Each is stopped by a rule of the finance pack that asks for a person."""
_ANSWER_S: Final = 60


def create_accounts(settings: Settings, record: Callable[[EventDraft], object], *, now: datetime) -> dict[str, Secret]:
    """An account per role, named like it, with a fresh password; those of an earlier demo get a new one."""
    db = ConsoleDatabase.open(settings.data_dir / CONSOLE_FILE)
    try:
        accounts = Accounts(db)
        made = {role.value: new_password() for role in Role}
        for name, password in made.items():
            known = accounts.find(name) is not None
            record(account_event("password" if known else "added", name, (name,), (TENANT,)))
            if known:
                accounts.set_password(name, password)
            else:
                accounts.add(name, password, roles=(Role(name),), tenants=(TENANT,), now=now)
    finally:
        db.close()
    return made


def instructions(url: str, passwords: dict[str, Secret]) -> list[str]:
    """What to print: where the console is, and who may sign in."""
    lines = ["", f"The console for people is at {url}/console. Accounts, one per role:"]
    return lines + [f"  {name:<14} {password.reveal()}" for name, password in passwords.items()]


def ask_for_people(url: str, key: str) -> int:
    """Send what will wait for a person, so that the console has something to show, and return how many questions do.
    One that waits already opens no second case."""
    waiting = 0
    for question in _QUESTIONS:
        body = {"model": "extractive", "messages": [{"role": "user", "content": question}]}
        request = urllib.request.Request(  # noqa: S310 our own server on loopback
            f"{url}/v1/chat/completions",
            json.dumps(body).encode(),
            {"authorization": f"Bearer {key}", "content-type": "application/json"},
        )
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:  # noqa: S310
            waiting += "x-gateway-case" in answer.headers
            answer.read()
    return waiting
