"""Files that hold a signing key, readable by their owner alone, and keys of verifiers."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gateway.audit.note import KeyType, NoteError, SigningKey, VerifierKey
from gateway.domain.errors import ConfigurationError

_SEED_BYTES: Final = 32
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def create_key(path: Path, name: str, key_type: KeyType) -> SigningKey:
    """Make a new key and its file (mode 0600). Raises `ConfigurationError`, also for a file that exists."""
    try:
        key = SigningKey(name, key_type, os.urandom(_SEED_BYTES))
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except NoteError as error:
        raise ConfigurationError(f"`{name}` cannot name a key: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"the key file `{path}` cannot be made: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(key.export() + "\n")
        file.flush()
        os.fsync(descriptor)
    return key


def load_key(path: Path, key_type: KeyType) -> SigningKey:
    """Raises `ConfigurationError` for a file that is missing, is of another kind, or others may read."""
    try:
        with path.open() as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1024)
    except OSError as error:
        raise ConfigurationError(
            f"the key file `{path}` cannot be read: {error.strerror}: make one with `--create-key`"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"the key file `{path}` does not hold a signing key") from None
    if mode & _OTHERS:
        raise ConfigurationError(f"the key file `{path}` can be read by others: `chmod 600` it, or make a new key")
    try:
        key = SigningKey.parse(text)
    except NoteError as error:
        raise ConfigurationError(f"the key file `{path}`: {error}") from None
    if key.verifier.type is not key_type:
        raise ConfigurationError(
            f"the key file `{path}` holds a key for another purpose: {key_type.name.lower()} is asked"
        )
    return key


def verifier_keys(texts: Iterable[str]) -> tuple[VerifierKey, ...]:
    """Verifier keys, each given as such or as the name of a file that holds it. Raises `ConfigurationError`."""
    keys = []
    for text in texts:
        try:
            keys.append(VerifierKey.parse(text if "+" in text else Path(text).read_text(encoding="utf-8")))
        except (OSError, NoteError, UnicodeDecodeError):
            raise ConfigurationError(f"`{text[:80]}` is neither a verifier key nor a file that holds one") from None
    return tuple(keys)
