"""API keys to principals.

1. A malformed key is turned away without a look at the keys.
2. An unknown, expired, revoked or wrong key gives `None` alike, after the same comparison.
3. A revocation by another process takes effect within `RECHECK_S`.
4. A store that cannot be read lets nobody in: `GuardUnavailable`.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from msgspec import Struct

from gateway.domain.principal import Principal
from gateway.domain.text import Secret
from gateway.identity.key_format import KEY_CHARS, parse_key, public_id
from gateway.identity.key_store import KeyRecord, KeyStore, StoreVersion, secret_hash

RECHECK_S: Final = 0.5  # the promise is one second; the check costs microseconds
_MAX_CACHED: Final = 10_000
_NO_HASH: Final = bytes(32)  # compared with when there is no such key; no secret has this hash
_REF_BYTES: Final = 12  # 96 bits: two callers never share a pseudonym by chance


class _Cached(Struct, frozen=True):
    """A key that was presented and was right. `text_sha256` is of the whole text: a second look needs no parsing."""

    record: KeyRecord
    principal: Principal
    text_sha256: bytes


class KeyAuthenticator:
    """Implements `Authenticator`. For one event loop; `clock` gives aware UTC times, `monotonic` seconds.

    `ref_key` keys the pseudonym in `Principal.ref`: 16 to 64 bytes, the same on all nodes that share an audit trail.
    """

    def __init__(
        self,
        store: KeyStore,
        ref_key: bytes,
        clock: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 16 <= len(ref_key) <= hashlib.blake2b.MAX_KEY_SIZE:
            raise ValueError("ref_key must be 16 to 64 bytes")
        self._store = store
        self._ref_key = ref_key
        self._clock = clock
        self._monotonic = monotonic
        self._cache: dict[str, _Cached] = {}
        self._version: StoreVersion | None = None
        self._checked = float("-inf")

    async def authenticate(self, credential: Secret) -> Principal | None:
        text = credential.reveal()
        if len(text) != KEY_CHARS or not text.isascii():
            return None
        self._forget_changes()
        known = self._cache.get(public_id(text))
        if known is None or not hmac.compare_digest(_sha256(text), known.text_sha256):
            known = self._verify(text)
        if known is None or not known.record.usable(self._clock()):
            return None
        return known.principal

    def _verify(self, text: str) -> _Cached | None:
        """Look the key up and compare its secret, whether there is such a key or not."""
        parts = parse_key(text)
        if parts is None:
            return None
        stored = self._store.find(parts.id)
        expected = _NO_HASH if stored is None else stored.secret_sha256
        if not hmac.compare_digest(secret_hash(parts.secret), expected) or stored is None:
            return None
        verified = _Cached(stored.record, _principal(stored.record, self._ref_key), _sha256(text))
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[parts.id] = verified
        return verified

    def _forget_changes(self) -> None:
        now = self._monotonic()
        if now - self._checked < RECHECK_S:
            return
        version = self._store.version()
        if version != self._version:
            self._cache.clear()
            self._version = version
        self._checked = now


def principal_ref(ref_key: bytes, *, tenant: str, app: str, user: str) -> str:
    """The keyed pseudonym of a caller, `p:` and 24 hex digits. The parts are length-prefixed, so that no two
    callers give the same bytes."""
    parts = b"".join(len(part).to_bytes(4) + part for part in (text.encode() for text in (tenant, app, user)))
    return "p:" + hashlib.blake2b(parts, key=ref_key, digest_size=_REF_BYTES).hexdigest()


def _principal(record: KeyRecord, ref_key: bytes) -> Principal:
    return Principal(
        tenant=record.tenant,
        app=record.app,
        user=record.user,
        groups=frozenset(record.groups),
        roles=frozenset(record.roles),
        models=record.models,
        auth="key",
        key_id=record.id,
        ref=principal_ref(ref_key, tenant=record.tenant, app=record.app, user=record.user),
        requests_per_minute=record.requests_per_minute,
    )


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("ascii")).digest()
