"""The real thing: a file system without room, a file-size limit, and a file that may not be written."""

import asyncio
import itertools
import multiprocessing
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.audit.log import SqliteAuditLog
from gateway.audit.read import AuditReader
from gateway.audit.verify import Outcome, verify_log
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType

NOTE = EventDraft(type=EventType.INGEST, body={"pad": "x" * 2_000})


def open_log(path: Path, reserve_bytes: int) -> SqliteAuditLog:
    counter = itertools.count()
    return SqliteAuditLog.open(
        path,
        log_name="node",
        group_max_events=64,
        append_timeout_s=5,
        reserve_bytes=reserve_bytes,
        clock=lambda: datetime.now(UTC),
        ids=lambda: f"{os.getpid()}-{next(counter)}",
        salts=lambda: os.urandom(32),
    )


async def fill(log: SqliteAuditLog, limit: int) -> int:
    """Append until the log refuses; returns how many events were acknowledged."""
    done = 0
    while done < limit:
        results = await asyncio.gather(*(log.append(NOTE) for _ in range(20)), return_exceptions=True)
        done += sum(not isinstance(result, Exception) for result in results)
        for result in results:
            if isinstance(result, Exception):
                assert isinstance(result, AuditUnavailable)
                return done
    raise AssertionError("the disk did not fill")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    command = [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    made = subprocess.run(command, check=False, capture_output=True)
    if made.returncode != 0:
        pytest.skip("this machine does not allow mounts")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_stops_the_log_keeps_what_was_acknowledged_and_records_the_stop(small_disk: Path) -> None:
    path = small_disk / "audit.db"
    log = open_log(path, reserve_bytes=512 * 1024)
    acknowledged = await fill(log, 5_000)
    assert not log.healthy
    with pytest.raises(AuditUnavailable, match="disk_full"):
        await log.append(NOTE)
    log.close()
    with AuditReader(path) as reader:
        types = [event.members["type"] for event in reader.search()]
        last = next(reader.search(limit=1, newest=True)).members
    assert types.count("ingest") == acknowledged > 100
    assert (last["type"], last["reason"]) == ("log.stopped", "disk_full")
    assert last["unwritten"] >= 1
    assert verify_log(path).outcome is Outcome.VERIFIED_UNANCHORED


def test_a_disk_without_room_for_the_reserve_refuses_to_start(small_disk: Path) -> None:
    with pytest.raises(AuditUnavailable, match="No space left"):
        open_log(small_disk / "audit.db", reserve_bytes=64 * 1024 * 1024)
    assert list((small_disk / "audit.db.boots").iterdir()) == []


def limited_size(path: Path) -> None:
    log = open_log(path, reserve_bytes=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
    acknowledged = asyncio.run(fill(log, 5_000))
    assert not log.healthy
    log.close()
    path.with_name("acknowledged").write_text(str(acknowledged))


def as_nobody(path: Path) -> None:
    os.setgid(65534)
    os.setuid(65534)
    try:
        open_log(path, reserve_bytes=0)
    except AuditUnavailable:
        os._exit(17)
    os._exit(0)


def run(target, path: Path) -> int | None:
    process = multiprocessing.get_context("spawn").Process(target=target, args=(path,))
    process.start()
    process.join(60)
    return process.exitcode


def test_a_file_that_may_not_grow_stops_the_log_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    assert run(limited_size, path) == 0
    with AuditReader(path) as reader:
        stored = sum(event.members["type"] == "ingest" for event in reader.search())
    assert stored >= int(path.with_name("acknowledged").read_text()) > 50
    assert verify_log(path).outcome is Outcome.VERIFIED_UNANCHORED


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up the right to write needs root")
@pytest.mark.parametrize("folder_mode", [0o555, 0o777])
def test_a_read_only_file_is_refused(folder_mode: int) -> None:
    folder = Path(tempfile.mkdtemp())  # not under tmp_path, which only its owner may enter
    try:
        path = folder / "audit.db"
        open_log(path, reserve_bytes=0).close()
        path.chmod(0o444)
        folder.chmod(folder_mode)
        assert run(as_nobody, path) == 17
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def verify_as_nobody(path: Path) -> None:
    os.setgid(65534)
    os.setuid(65534)
    os._exit(17 if verify_log(path).events == 1 else 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up the right to write needs root")
def test_a_copy_that_cannot_be_written_is_verified() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "audit.db"
        open_log(path, reserve_bytes=0).close()
        path.chmod(0o444)
        folder.chmod(0o555)
        assert run(verify_as_nobody, path) == 17
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
