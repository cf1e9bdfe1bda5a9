"""Texts of exchanges are on disk, encrypted, before the event that names them; one that cannot be kept stops it all."""

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from msgspec import structs
from support.declared import check_draft
from support.fakes import FakeAudit

from gateway.assembly.bodies import bodies_kept
from gateway.audit.body_store import BodyStore, unseal
from gateway.audit.body_writer import BodyWriter
from gateway.audit.data_keys import DataKeys, KeyDestroyedError, KeyOwner, month_of
from gateway.audit.keeping import KeepingLog
from gateway.audit.wrapping import MasterWrapper, Wrappers
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import BodyText, Commitment, EventDraft, EventType
from gateway.domain.sealing import UnsealError

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
MASTER = MasterWrapper(bytes(range(32)))
OWNER = KeyOwner("acme", "desk", "p:alice")
INTENT = EventDraft(
    type=EventType.INTENT,
    request="r1",
    tenant="acme",
    app="desk",
    principal="p:alice",
    body={
        "route": "/v1/chat/completions",
        "auth": "key",
        "key": "k1",
        "groups": [],
        "model": "m",
        "stream": False,
        "segments": 1,
        "quarantined": 0,
        "query": Commitment(text="the secret question"),
        "phase": {"phase": "query", "effect": "allow", "policy": "p", "evaluated": 0, "rules": []},
        "coverage": {"required": [], "ran": [], "not_ok": [], "unscanned": []},
    },
    bodies=(BodyText(field="query", text="the secret question"), BodyText(field="request", text='{"a": "b"}')),
)


class Folder:
    """Both files of a data folder, and writers that are closed in the end."""

    def __init__(self, folder: Path) -> None:
        self.bodies, self.keys = folder / "bodies.db", folder / "keys.db"
        self.now = NOW
        self._writers: list[BodyWriter] = []

    def writer(self, wrappers: Wrappers | None = None, timeout_s: float = 5.0) -> BodyWriter:
        made = BodyWriter(
            self.bodies, self.keys, wrappers or Wrappers(MASTER), clock=lambda: self.now, timeout_s=timeout_s
        )
        self._writers.append(made)
        return made

    def open_keys(self, wrappers: Wrappers | None = None) -> DataKeys:
        return DataKeys.open(self.keys, wrappers or Wrappers(MASTER))

    def read(self, request: str, field: str) -> str:
        store, keys = BodyStore.open(self.bodies), self.open_keys()
        try:
            found = store.get(request, field)
            assert found is not None
            return unseal(found, keys.unwrap(found.key).key)
        finally:
            store.close()
            keys.close()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    made.close()


def raw(*paths: Path) -> bytes:
    """Every byte of the files and of what lies beside them."""
    return b"".join(one.read_bytes() for path in paths for one in path.parent.glob(path.name + "*"))


async def test_texts_are_stored_before_the_event_that_names_them(folder: Folder) -> None:
    class Looking(FakeAudit):
        async def append(self, draft: EventDraft):
            assert folder.read("r1", "query") == "the secret question"
            return await super().append(draft)

    audit = Looking()
    await KeepingLog(audit, folder.writer()).append(INTENT)
    (draft,) = audit.drafts
    assert draft.bodies == ()
    bodies = draft.body["bodies"]
    assert [one.members["field"] for one in bodies] == ["query", "request"]
    assert len({one.members["key"] for one in bodies}) == 1
    assert folder.read("r1", "request") == '{"a": "b"}'
    assert b"secret question" not in raw(folder.bodies, folder.keys)
    assert oct(folder.keys.stat().st_mode & 0o777) == "0o600"


async def test_a_draft_without_texts_passes_untouched(folder: Folder) -> None:
    audit = FakeAudit()
    bare = structs.replace(INTENT, bodies=())
    await KeepingLog(audit, folder.writer()).append(bare)
    assert audit.drafts == [bare]


async def test_texts_that_wait_together_are_all_kept(folder: Folder) -> None:
    writer = folder.writer()
    owners = [KeyOwner("acme", "desk", f"p:{number % 5}") for number in range(60)]
    refs = await asyncio.gather(
        *(writer.keep(f"r{n}", owner, [BodyText(field="query", text=f"text {n}")]) for n, owner in enumerate(owners))
    )
    assert len(set(refs)) == 5, "one key a caller and month"
    assert [folder.read(f"r{n}", "query") for n in range(60)] == [f"text {n}" for n in range(60)]


async def test_a_key_serves_one_caller_for_one_month(folder: Folder) -> None:
    writer = folder.writer()
    text = [BodyText(field="query", text="x")]
    first = await writer.keep("r1", OWNER, text)
    assert await writer.keep("r2", OWNER, text) == first
    assert await writer.keep("r3", KeyOwner("other", "desk", "p:alice"), text) != first
    folder.now = datetime(2026, 12, 1, tzinfo=UTC)
    assert await writer.keep("r4", OWNER, text) != first


async def test_two_processes_use_one_key(folder: Folder) -> None:
    text = [BodyText(field="query", text="x")]
    refs = await asyncio.gather(
        *(writer.keep(f"r{n}", OWNER, text) for n, writer in enumerate([folder.writer(), folder.writer()]))
    )
    assert len(set(refs)) == 1


async def test_a_key_that_another_process_destroyed_is_used_no_more(folder: Folder) -> None:
    writer = folder.writer()
    text = [BodyText(field="query", text="x")]
    first = await writer.keep("r1", OWNER, text)
    keys = folder.open_keys()
    assert keys.destroy([first], NOW) == 1
    keys.close()
    second = await writer.keep("r2", OWNER, text)
    assert second != first
    assert folder.read("r2", "query") == "x"
    with pytest.raises(KeyDestroyedError, match="erased on 2026-11-24"):
        folder.read("r1", "query")


async def test_a_store_that_cannot_be_written_stops_the_exchange_and_says_so(folder: Folder) -> None:
    writer, audit = folder.writer(), FakeAudit()
    keeping = KeepingLog(audit, writer)
    assert bodies_kept(keeping) is True
    folder.bodies.unlink()
    folder.bodies.with_name("bodies.db-wal").unlink()
    db = sqlite3.connect(folder.keys)
    db.execute("DROP TABLE data_keys")
    db.commit()
    with pytest.raises(AuditUnavailable):
        await keeping.append(INTENT)
    db.close()
    (draft,) = audit.drafts
    assert draft.body["uncaptured"] == ["query", "request"]
    assert "bodies" not in draft.body
    assert bodies_kept(keeping) is False
    check_draft(draft)


async def test_a_writer_recovers_when_the_cause_is_gone(folder: Folder) -> None:
    writer = folder.writer()
    await writer.keep("r1", OWNER, [BodyText(field="query", text="x")])
    moved = folder.bodies.with_name("elsewhere")
    blocker = sqlite3.connect(folder.bodies, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    writer._opened[0]._db.execute("PRAGMA busy_timeout = 10")  # type: ignore[index]
    with pytest.raises(AuditUnavailable, match="locked"):
        await writer.keep("r2", OWNER, [BodyText(field="query", text="x")])
    blocker.execute("ROLLBACK")
    blocker.close()
    assert not moved.exists()
    await writer.keep("r3", OWNER, [BodyText(field="query", text="y")])
    assert writer.healthy
    assert folder.read("r3", "query") == "y"


async def test_a_key_service_that_hangs_ends_in_time(folder: Folder) -> None:
    class Slow(MasterWrapper):
        def wrap(self, key: bytes, context: bytes) -> bytes:
            time.sleep(0.5)
            return super().wrap(key, context)

    writer = folder.writer(Wrappers(Slow(bytes(32))), timeout_s=0.05)
    with pytest.raises(AuditUnavailable, match="did not answer"):
        await writer.keep("r1", OWNER, [BodyText(field="query", text="x")])


async def test_a_cancelled_caller_cancels_neither_texts_nor_event(folder: Folder) -> None:
    audit = FakeAudit()
    log = KeepingLog(audit, folder.writer())
    task = asyncio.create_task(log.append(INTENT))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await log.drained()
    assert audit.types == ["intent"]
    assert folder.read("r1", "query") == "the secret question"


async def test_a_text_opens_in_its_place_only(folder: Folder) -> None:
    writer = folder.writer()
    for request in ("r1", "r2"):
        await writer.keep(request, OWNER, [BodyText(field="query", text=request), BodyText(field="answer", text="a")])
    store, keys = BodyStore.open(folder.bodies), folder.open_keys()
    one = store.get("r1", "query")
    assert one is not None
    key = keys.unwrap(one.key).key
    assert unseal(one, key) == "r1"
    for moved in (structs.replace(one, request="r2"), structs.replace(one, field="answer")):
        with pytest.raises(UnsealError):
            unseal(moved, key)
    store.close()
    keys.close()


async def test_rotation_wraps_anew_and_the_old_key_is_not_needed_then(folder: Folder) -> None:
    await folder.writer().keep("r1", OWNER, [BodyText(field="query", text="x")])
    new = MasterWrapper(os.urandom(32))
    keys = folder.open_keys(Wrappers(new))
    ref = keys.of_subject("acme", "p:alice")[0].ref
    with pytest.raises(UnsealError, match="previous_keys"):
        keys.unwrap(ref)
    assert keys.rotate() == (0, 1), "without the old key nothing is lost"
    keys.close()
    keys = folder.open_keys(Wrappers(new, [MASTER]))
    plain = keys.unwrap(ref).key
    assert keys.rotate() == (1, 0)
    keys.close()
    keys = folder.open_keys(Wrappers(new))
    assert keys.unwrap(ref).key == plain
    assert plain not in raw(folder.keys)
    keys.close()


async def test_a_destroyed_key_is_nowhere_in_the_files(folder: Folder) -> None:
    writer = folder.writer()
    owners = [KeyOwner("acme", "desk", f"p:{number:05d}") for number in range(400)]
    refs = [await writer.keep(f"r{n}", owner, [BodyText(field="query", text="x")]) for n, owner in enumerate(owners)]
    keys = folder.open_keys()
    rows = dict(keys._db.execute("SELECT ref, wrapped FROM data_keys"))
    assert all(wrapped in raw(folder.keys) for wrapped in rows.values())
    assert keys.destroy(refs[::3], NOW) == 134
    assert keys.forget()
    left = raw(folder.keys)
    gone, kept = refs[::3], [ref for ref in refs if ref not in refs[::3]]
    assert not any(rows[ref] in left for ref in gone)
    assert all(rows[ref] in left for ref in kept)
    assert keys.destroy(kept, NOW) == len(kept)
    assert keys.forget()
    assert not any(wrapped in raw(folder.keys) for wrapped in rows.values())
    keys.close()


def test_months_are_those_of_utc() -> None:
    assert month_of(datetime(2026, 12, 1, 1, 0, tzinfo=timezone(timedelta(hours=5)))) == "2026-11"


def test_a_foreign_file_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    BodyStore.open(path).close()
    with pytest.raises(AuditUnavailable, match="no key store"):
        DataKeys.open(path, Wrappers(MASTER))
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(AuditUnavailable, match="key store"):
        DataKeys.open(path, Wrappers(MASTER))


def test_nothing_shows_a_text_or_a_key() -> None:
    shown = repr(INTENT) + repr(MASTER) + json.dumps([repr(body) for body in INTENT.bodies])
    assert "secret" not in shown
    assert bytes(range(32)).hex() not in shown
