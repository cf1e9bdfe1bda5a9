import asyncio
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway.audit import database
from gateway.audit.boot import Author
from gateway.audit.commitment import verify_commitment
from gateway.audit.liveness import BootFile
from gateway.audit.read import AuditReader, Filter
from gateway.audit.turn import Turn
from gateway.audit.verify import Outcome, verify_log
from gateway.audit.writer import GroupWriter, Waiting
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import Commitment, EventDraft, EventType, Receipt

NOTE = EventDraft(type=EventType.INGEST, tenant="acme", body={"documents": 3})


async def test_a_receipt_names_an_event_that_is_in_the_file(logs) -> None:
    log = logs.open()
    receipt = await log.append(NOTE)
    db = sqlite3.connect(logs.path)
    row = db.execute("SELECT id, hash, type, tenant FROM events WHERE seq = ?", (receipt.seq,)).fetchone()
    db.close()
    assert row == (receipt.id, bytes.fromhex(receipt.hash), "ingest", "acme")
    assert oct(logs.path.stat().st_mode & 0o777) == "0o600"


async def test_concurrent_appends_form_one_chain_and_all_receipts_are_in_it(logs, exchange) -> None:
    log = logs.open()

    async def client(name: str) -> list[Receipt]:
        receipts = []
        for number in range(5):
            receipts += [await log.append(draft) for draft in exchange(f"{name}-{number}")]
        return receipts

    receipts = [one for many in await asyncio.gather(*map(client, "abcdefgh")) for one in many]
    with AuditReader(logs.path) as reader:
        stored = {(event.seq, event.members["id"], event.hash) for event in reader.search()}
    assert {(one.seq, one.id, one.hash) for one in receipts} <= stored
    assert len(receipts) == 80 == len(stored) - 1  # and the boot
    assert verify_log(logs.path).outcome is Outcome.VERIFIED_UNANCHORED


async def test_a_group_is_never_larger_than_configured_and_nothing_is_lost(logs) -> None:
    log = logs.open(group_max_events=3)
    receipts = await asyncio.gather(*(log.append(NOTE) for _ in range(20)))
    assert sorted(one.seq for one in receipts) == list(range(2, 22))


async def test_salts_are_kept_apart_and_verify_the_commitment_until_destroyed(logs) -> None:
    log = logs.open()
    text = "is my loan approved?"
    receipt = await log.append(
        EventDraft(type=EventType.INTENT, request="r", body={"a": [{"query": Commitment(text=text)}]})
    )
    with AuditReader(logs.path) as reader:
        (event,) = reader.search(Filter(request="r"))
        salt = reader.salt(receipt.id, "/a/0/query")
    assert salt is not None
    assert verify_commitment(event.members, ("a", 0, "query"), text, salt)
    assert text.encode() not in logs.path.read_bytes() + logs.path.with_name("audit.db-wal").read_bytes()
    log.close()
    db = sqlite3.connect(logs.path)
    db.execute("DELETE FROM salts")
    db.commit()
    db.close()
    assert verify_log(logs.path).bad is None


async def test_a_cancelled_caller_does_not_cancel_the_write(logs) -> None:
    log = logs.open()
    task = asyncio.create_task(log.append(NOTE))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    receipt = await log.append(NOTE)
    assert receipt.seq == 3
    with AuditReader(logs.path) as reader:
        assert [event.members["type"] for event in reader.search()] == ["log.boot", "ingest", "ingest"]


async def test_a_draft_that_is_no_event_raises_and_the_log_goes_on(logs) -> None:
    log = logs.open()
    with pytest.raises(TypeError, match="float at `/score`"):
        await log.append(EventDraft(type=EventType.INGEST, body={"score": 0.5}))
    assert (await log.append(NOTE)).seq == 2


async def test_a_stalled_log_fails_the_waiting_and_later_callers_and_comes_back(logs) -> None:
    log = logs.open(append_timeout_s=0.2)
    with Turn(logs.path):
        with pytest.raises(AuditUnavailable, match="did not answer within"):
            await log.append(NOTE)
        assert not log.healthy
        with pytest.raises(AuditUnavailable, match="stalled"):
            await log.append(NOTE)
    for _ in range(200):
        if log.healthy:
            break
        await asyncio.sleep(0.01)
    assert (await log.append(NOTE)).seq == 3  # the event that nobody was told of is there too


async def test_a_database_that_stays_locked_is_a_final_failure(logs) -> None:
    log = logs.open(append_timeout_s=0.3)
    other = sqlite3.connect(logs.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    results = await asyncio.gather(*(log.append(NOTE) for _ in range(3)), return_exceptions=True)
    other.execute("ROLLBACK")
    other.close()
    assert {(type(result), "locked" in str(result)) for result in results} == {(AuditUnavailable, True)}
    with pytest.raises(AuditUnavailable, match="locked"):
        await log.append(NOTE)
    assert not log.healthy
    assert (await logs.open().append(NOTE)).seq == 3  # only a new object tries again


async def test_a_log_that_lost_events_under_us_is_a_final_failure(logs) -> None:
    log = logs.open()
    for _ in range(3):
        await log.append(NOTE)
    db = sqlite3.connect(logs.path)
    db.execute("DELETE FROM events WHERE seq > 2")
    db.commit()
    db.close()
    with pytest.raises(AuditUnavailable, match="lost events: it ends at 2, this process wrote 4") as caught:
        await log.append(NOTE)
    assert caught.value.code == "audit_damaged"


async def test_after_close_nothing_is_appended_and_what_waited_is_written(logs) -> None:
    log = logs.open()
    tasks = [asyncio.create_task(log.append(NOTE)) for _ in range(5)]
    await asyncio.sleep(0)
    log.close()
    log.close()
    assert [receipt.seq for receipt in await asyncio.gather(*tasks)] == [2, 3, 4, 5, 6]
    assert not log.healthy
    with pytest.raises(AuditUnavailable, match="closed"):
        await log.append(NOTE)


def test_commands_append_without_a_loop(logs) -> None:
    assert logs.open().append_blocking(NOTE).seq == 2


async def test_two_loops_share_a_log(logs) -> None:
    log = logs.open()
    other = asyncio.to_thread(log.append_blocking, NOTE)
    one, two = await asyncio.gather(log.append(NOTE), other)
    assert {one.seq, two.seq} == {2, 3}


@pytest.mark.parametrize("make", ["missing folder", "folder", "text", "other database", "newer format"])
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, logs, make: str) -> None:
    path = tmp_path / "x" / "audit.db" if make == "missing folder" else tmp_path / "audit.db"
    if make == "folder":
        path.mkdir()
    elif make == "text":
        path.write_text("not a database, and long enough to be read as a header " * 20)
    elif make in {"other database", "newer format"}:
        if make == "newer format":
            logs.open(path=path).close()
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 9")
        db.execute("CREATE TABLE other (a)")
        db.commit()
        db.close()
    with pytest.raises(AuditUnavailable, match="audit"):
        logs.open(path=path)


class Failing:
    """A connection that fails as a disk does, at one statement."""

    def __init__(self, db: sqlite3.Connection, at: str, code: int) -> None:
        self._db, self._at, self._code = db, at, code

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith(self._at):
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode = self._code
            raise error
        return self._db.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


@pytest.mark.parametrize(
    ("at", "code", "reason"),
    [
        ("COMMIT", sqlite3.SQLITE_IOERR_FSYNC, "io_error"),
        ("COMMIT", sqlite3.SQLITE_FULL, "disk_full"),
        ("INSERT", sqlite3.SQLITE_READONLY, "read_only"),
        ("INSERT", sqlite3.SQLITE_CORRUPT, "corrupt"),
        ("BEGIN", sqlite3.SQLITE_CANTOPEN, "cannot_open"),
    ],
)
async def test_any_failure_of_the_file_fails_the_whole_group_and_all_later_ones(
    logs, at: str, code: int, reason: str
) -> None:
    logs.open().close()
    author = Author("gateway.test/node-1", "boot-2", iter(map(str, range(99))).__next__, lambda: os.urandom(32))
    boot_file = BootFile.create(logs.path, "boot-2", 0)
    db = database.open_writer(logs.path)
    writer = GroupWriter(
        Failing(db, at, code),  # type: ignore[arg-type]
        logs.path,
        author,
        boot_file,
        Turn(logs.path),
        group_max_events=8,
        lock_timeout_s=1,
        clock=logs.clock,
    )
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(12)]
    for future in futures:
        writer.submit(Waiting(author.entry(NOTE), loop, future))
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert {(type(result), f"cannot be written: {reason}" in str(result)) for result in results} == {
        (AuditUnavailable, True)
    }
    assert len(set(map(id, results))) == 12  # each caller has an exception of its own
    assert writer.close(1)
    with AuditReader(logs.path) as reader:
        types = [event.members["type"] for event in reader.search()]
    assert types == ["log.boot"] + ["log.stopped"] * (reason == "disk_full")
