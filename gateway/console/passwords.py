"""Passwords of local accounts: argon2id (RFC 9106)."""

import secrets
from functools import lru_cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.domain.errors import RequestError
from gateway.domain.text import Secret

LEAST_CHARS: Final = 12
MOST_CHARS: Final = 256
_HASHER: Final = PasswordHasher()  # RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes


def hashed(password: Secret) -> str:
    """The hash to store. Raises `RequestError` for a password that is too short or too long."""
    if not LEAST_CHARS <= len(password.reveal()) <= MOST_CHARS:
        raise RequestError(f"a password has {LEAST_CHARS} to {MOST_CHARS} characters", code="weak_password")
    return _HASHER.hash(password.reveal())


def matches(stored: str | None, password: Secret) -> bool:
    """Whether the password is the one behind the hash. Takes as long for `None`, an account that there is not."""
    text = password.reveal()
    if len(text) > MOST_CHARS:
        return False
    try:
        return _HASHER.verify(stored or _nobody(), text) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def new_password() -> Secret:
    """A random one of about 119 bits."""
    return Secret(secrets.token_urlsafe(15)[:20])


@lru_cache(maxsize=1)
def _nobody() -> str:
    return _HASHER.hash(secrets.token_urlsafe(32))
