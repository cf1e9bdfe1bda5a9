"""Secrets stand outside the file; the file says where."""

import re
from collections.abc import Mapping
from pathlib import Path

from gateway.domain.errors import ConfigurationError
from gateway.domain.text import Secret
from gateway.settings.model import LimitSettings
from gateway.strict_yaml import quoted


def resolve_secret(reference: str, environ: Mapping[str, str]) -> Secret:
    """The value behind `env:NAME` or `file:/path`, without the white space around it. Raises `ConfigurationError`."""
    kind, _, place = reference.partition(":")
    if kind == "env" and place:
        value = environ.get(place, "")
        where = f"environment variable {quoted(place)}"
    elif kind == "file" and place:
        where = f"file {quoted(place)}"
        try:
            value = Path(place).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{where} cannot be read: {type(error).__name__}: it must hold the secret and nothing else"
            ) from None
    else:
        raise ConfigurationError("a secret must be written as `env:NAME` or `file:/path`, not as itself")
    if not value.strip():
        raise ConfigurationError(f"{where} is empty or missing: it must hold the secret")
    return Secret(value.strip())


def optional_secret(reference: str, environ: Mapping[str, str]) -> Secret | None:
    """The same for a setting that may be empty: `None` then."""
    return resolve_secret(reference, environ) if reference else None


def resolve_redis_url(settings: LimitSettings, environ: Mapping[str, str]) -> Secret:
    """The address of Redis, a secret since it may hold a password. Raises `ConfigurationError`."""
    return (
        resolve_secret(settings.redis_url, environ) if is_reference(settings.redis_url) else Secret(settings.redis_url)
    )


def is_reference(value: str) -> bool:
    return re.fullmatch(r"(env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*)", value) is not None
