"""API keys to principals.

1. A malformed key is turned away without a look at the store.
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
from gateway.identity.key_format import parse_key
from gateway.identity.key_store import KeyRecord, KeyStore, StoredKey, StoreVersion, secret_hash

RECHECK_S: Final = 0.5  # the promise is one second; the check costs microseconds
_MAX_CACHED: Final = 10_000
_NO_HASH: Final = bytes(32)  # compared with when there is no such key; no secret has this hash
_REF_BYTES: Final = 12  # 96 bits: two callers never share a pseudonym by chance


class _Cached(Struct, frozen=True):
    stored: StoredKey
    principal: Principal


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
        parts = parse_key(credential.reveal())
        if parts is None:
            return None
        self._forget_changes()
        known = self._cache.get(parts.id) or self._load(parts.id)
        expected = _NO_HASH if known is None else known.stored.secret_sha256
        matches = hmac.compare_digest(secret_hash(parts.secret), expected)
        if known is None or not matches or not known.stored.record.usable(self._clock()):
            return None
        return known.principal

    def _forget_changes(self) -> None:
        now = self._monotonic()
        if now - self._checked < RECHECK_S:
            return
        version = self._store.version()
        if version != self._version:
            self._cache.clear()
            self._version = version
        self._checked = now

    def _load(self, key_id: str) -> _Cached | None:
        stored = self._store.find(key_id)
        if stored is None:
            return None
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        loaded = _Cached(stored, _principal(stored.record, self._ref_key))
        self._cache[key_id] = loaded
        return loaded


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
