import sqlite3
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.errors import ConfigurationError, GuardUnavailable, RequestError
from gateway.identity.key_format import parse_key
from gateway.identity.key_store import KeyStore, secret_hash

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OWNER = {"tenant": "bank", "app": "chat", "user": "ann", "now": NOW}


@pytest.fixture
def store(tmp_path):
    store = KeyStore.open(tmp_path / "sub" / "identity.db")
    yield store
    store.close()


def test_create_gives_a_key_once_and_keeps_its_hash_only(store, tmp_path):
    created = store.create(**OWNER, groups=["staff", "public"], roles=["auditor"], models=["m"], requests_per_minute=5)
    key = created.key.reveal()
    parts = parse_key(key)
    assert parts.id == created.record.id
    found = store.find(parts.id)
    assert found.record == created.record
    assert found.record.groups == ("public", "staff")
    assert found.secret_sha256 == secret_hash(parts.secret)
    store.close()
    for file in (tmp_path / "sub").iterdir():
        raw = file.read_bytes()
        assert parts.secret.reveal().encode() not in raw
        assert key.encode() not in raw
    assert key not in repr(created)


def test_file_is_readable_by_its_owner_alone(store, tmp_path):
    assert stat.S_IMODE((tmp_path / "sub" / "identity.db").stat().st_mode) == 0o600


def test_list_is_in_order_of_creation(store):
    ids = [store.create(**{**OWNER, "now": NOW + timedelta(seconds=n)}, label=f"key {n}").record.id for n in range(3)]
    assert [record.id for record in store.list()] == ids
    assert [record.label for record in store.list()] == ["key 0", "key 1", "key 2"]


def test_revoke_is_for_good_and_counts_once(store):
    key_id = store.create(**OWNER).record.id
    assert store.revoke(key_id, now=NOW + timedelta(hours=1)).revoked == NOW + timedelta(hours=1)
    assert store.revoke(key_id, now=NOW + timedelta(hours=2)).revoked == NOW + timedelta(hours=1)
    assert not store.find(key_id).record.usable(NOW)


def test_revoke_of_an_unknown_key(store):
    assert store.revoke("nosuchkey0", now=NOW) is None
    assert store.find("nosuchkey0") is None


def test_times_are_kept_in_utc(store):
    zone = datetime.fromisoformat("2026-06-01T10:00+02:00")
    record = store.create(**OWNER, expires=zone).record
    assert record.expires.isoformat() == "2026-06-01T08:00:00+00:00"
    assert record.usable(zone - timedelta(seconds=1))
    assert not record.usable(zone)


WRONG = [
    ({"tenant": ""}, "tenant"),
    ({"app": "a" * 201}, "app"),
    ({"user": "line\nbreak"}, "user"),
    ({"user": " ann"}, "user"),
    ({"groups": ["ok", ""]}, "group"),
    ({"groups": [str(n) for n in range(201)]}, "group"),
    ({"models": []}, "model"),
    ({"requests_per_minute": -1}, "requests_per_minute"),
    ({"expires": NOW}, "expires"),
    ({"label": "\x1b[31m"}, "label"),
]


@pytest.mark.parametrize(("changes", "param"), WRONG)
def test_create_refuses(store, changes, param):
    with pytest.raises(RequestError) as caught:
        store.create(**{**OWNER, **changes})
    assert caught.value.param == param
    assert store.list() == ()


def test_version_moves_with_every_change_here_and_elsewhere(store, tmp_path):
    versions = [store.version(), store.version()]
    assert versions[0] == versions[1]
    key_id = store.create(**OWNER).record.id
    versions.append(store.version())
    other = KeyStore.open(tmp_path / "sub" / "identity.db")
    other.revoke(key_id, now=NOW)
    other.close()
    versions.append(store.version())
    assert len(set(versions)) == 3


def test_many_threads_share_a_store(store):
    def work():
        for _ in range(10):
            store.find(store.create(**OWNER).record.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({record.id for record in store.list()}) == 40


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "identity.db").write_bytes(b"not a database, only long enough to be looked at" * 100)
    with pytest.raises(ConfigurationError, match="cannot be opened: SQLITE_NOTADB"):
        KeyStore.open(tmp_path / "identity.db")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        KeyStore.open(tmp_path / "file" / "identity.db")


def test_a_file_of_a_newer_gateway(tmp_path):
    with sqlite3.connect(tmp_path / "identity.db") as connection:
        connection.execute("pragma user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="newer gateway"):
        KeyStore.open(tmp_path / "identity.db")


def test_a_store_that_fails_lets_nobody_in(store):
    store.close()
    for call in (store.version, store.list, lambda: store.find("x"), lambda: store.create(**OWNER)):
        with pytest.raises(GuardUnavailable, match="key store cannot be used"):
            call()
