"""Who acts: people are known by an API key that they type, others by the account of the operating system."""

import asyncio
import os
from datetime import UTC, datetime
from typing import Final

import click

from gateway.domain.principal import Principal
from gateway.domain.sealing import MasterKey, Purpose
from gateway.domain.text import Secret
from gateway.identity.authenticator import KeyAuthenticator
from gateway.identity.key_store import KeyStore
from gateway.settings import Settings
from gateway.settings.folder import IDENTITY_FILE, MASTER_KEY_FILE

ADMIN: Final = "admin"


def account() -> str:
    """The account that runs the command."""
    return f"os:{os.getuid()}"


def admins(settings: Settings, users: tuple[str, ...]) -> list[Principal]:
    """These people, each asked for an API key of theirs with the role `admin`. Raises `ClickException`."""
    store = KeyStore.open(settings.data_dir / IDENTITY_FILE)
    try:
        master = MasterKey.load_or_create(settings.data_dir / MASTER_KEY_FILE)
        guard = KeyAuthenticator(store, master.derive(Purpose.PRINCIPAL_REF), lambda: datetime.now(UTC))
        return [_admin(guard, user) for user in users]
    finally:
        store.close()


def _admin(guard: KeyAuthenticator, user: str) -> Principal:
    typed = click.prompt(f"API key of {user}", hide_input=True, err=True)
    principal = asyncio.run(guard.authenticate(Secret(typed.strip())))
    if principal is None or principal.user != user or ADMIN not in principal.roles:
        raise click.ClickException(f"that is no valid API key of `{user}` with the role `{ADMIN}`")
    return principal
