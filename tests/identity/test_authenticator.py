import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.errors import GuardUnavailable
from gateway.domain.text import Secret
from gateway.identity.authenticator import RECHECK_S, KeyAuthenticator, principal_ref
from gateway.identity.key_format import new_key
from gateway.identity.key_store import KeyStore

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
REF_KEY = b"0123456789abcdef"


class World:
    """A store, its authenticator, and their clocks."""

    def __init__(self, path):
        self.path = path
        self.store = KeyStore.open(path)
        self.now = NOW
        self.seconds = 0.0
        self.authenticator = KeyAuthenticator(self.store, REF_KEY, lambda: self.now, monotonic=lambda: self.seconds)

    def create(self, **changes):
        return self.store.create(**{"tenant": "bank", "app": "chat", "user": "ann", "now": NOW, **changes})

    async def ask(self, key):
        return await self.authenticator.authenticate(key if isinstance(key, Secret) else Secret(key))


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "identity.db")
    yield world
    world.store.close()


async def test_a_key_becomes_its_principal(world):
    created = world.create(groups=["staff"], roles=["auditor"], models=["m1", "m2"], requests_per_minute=7)
    principal = await world.ask(created.key)
    assert (principal.tenant, principal.app, principal.user) == ("bank", "chat", "ann")
    assert principal.groups == frozenset({"staff"})
    assert principal.roles == frozenset({"auditor"})
    assert principal.models == ("m1", "m2")
    assert (principal.auth, principal.key_id, principal.requests_per_minute) == ("key", created.record.id, 7)
    assert principal.ref == principal_ref(REF_KEY, tenant="bank", app="chat", user="ann")
    assert await world.ask(created.key) is principal, "the second time from memory"


async def test_the_pseudonym_is_of_the_caller_not_of_the_key(world):
    first, second, other = world.create(), world.create(), world.create(user="bob")
    refs = [(await world.ask(created.key)).ref for created in (first, second, other)]
    assert refs[0] == refs[1] != refs[2]
    assert refs[0].startswith("p:")
    assert "ann" not in refs[0]


def test_pseudonyms_do_not_run_together():
    assert principal_ref(REF_KEY, tenant="ab", app="c", user="d") != principal_ref(
        REF_KEY, tenant="a", app="bc", user="d"
    )
    assert principal_ref(REF_KEY, tenant="a", app="b", user="c") != principal_ref(
        REF_KEY[::-1], tenant="a", app="b", user="c"
    )


async def test_nothing_else_gets_in(world):
    created = world.create(expires=NOW + timedelta(hours=1))
    revoked = world.create()
    world.store.revoke(revoked.record.id, now=NOW)
    stranger = new_key(lambda count: b"\x05" * count)[1]
    forged = new_key_with_id(created.record.id)
    for key in ("", "gw_x", created.key.reveal()[:-1], created.key.reveal().upper(), stranger, forged, revoked.key):
        assert await world.ask(key) is None
    assert await world.ask(created.key) is not None
    assert await world.ask(forged) is None, "although its id is in memory"
    world.now = NOW + timedelta(hours=1)
    assert await world.ask(created.key) is None, "expired, although in memory"


def new_key_with_id(key_id: str) -> Secret:
    """A well-formed key with a known id and another secret."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    number = 0
    for character in key_id:
        number = number * 32 + alphabet.index(character)
    taken = iter([number.to_bytes(8), b"\x07" * 20])
    return new_key(lambda _: next(taken))[1]


async def test_revoking_here_takes_effect_at_the_next_check(world):
    created = world.create()
    assert await world.ask(created.key) is not None
    world.store.revoke(created.record.id, now=NOW)
    world.seconds += RECHECK_S
    assert await world.ask(created.key) is None


async def test_revoking_in_another_process_takes_effect_within_a_second(world):
    created = world.create()
    assert await world.ask(created.key) is not None
    script = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from gateway.identity.key_store import KeyStore\n"
        "KeyStore.open(Path(sys.argv[1])).revoke(sys.argv[2], now=datetime.now(UTC))"
    )
    command = [sys.executable, "-c", script, str(world.path), created.record.id]
    await asyncio.to_thread(subprocess.run, command, check=True)
    assert RECHECK_S <= 1.0
    world.seconds += RECHECK_S
    assert await world.ask(created.key) is None


async def test_a_new_key_works_at_once(world):
    assert await world.ask(world.create().key) is not None
    assert await world.ask(world.create(user="bob").key) is not None


async def test_a_store_that_fails_is_an_error_not_a_stranger(world):
    created = world.create()
    assert await world.ask(created.key) is not None
    world.store.close()
    assert await world.ask(created.key) is not None, "known within the recheck time"
    world.seconds += RECHECK_S
    with pytest.raises(GuardUnavailable):
        await world.ask(created.key)
    assert await world.ask("malformed") is None


def test_a_short_ref_key_is_refused(world):
    with pytest.raises(ValueError, match="16 to 64 bytes"):
        KeyAuthenticator(world.store, b"short", lambda: NOW)


async def test_from_memory_it_takes_microseconds(world):
    created = world.create()
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(500):
            await world.ask(created.key)
        best = min(best, (time.perf_counter() - began) / 500)
    assert best < 50e-6, "about 4 us on an idle machine"
