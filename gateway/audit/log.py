"""The audit log of a node in one SQLite file, appended by all its processes (port `AuditLog`)."""

import asyncio
from asyncio import Future
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Self

from gateway.audit import database
from gateway.audit.boot import Accept, Author, record_boot
from gateway.audit.liveness import BootFile, remove_dead
from gateway.audit.text_tag import TextTags
from gateway.audit.turn import Turn
from gateway.audit.writer import GroupWriter, Waiting, begin
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, Receipt


class SqliteAuditLog:
    """Appends events to a hash chain; each is on disk before its receipt is returned.

    Fails closed: the first failure of the file makes this object unusable, and each append from then on raises
    `AuditUnavailable`. Only a new object tries again. Usable from any thread and event loop; the file may be
    shared by processes of one machine, on a local file system.
    """

    def __init__(self, path: Path, author: Author, writer: GroupWriter, append_timeout_s: float) -> None:
        self.path = path
        self.boot = author.boot
        self._author = author
        self._writer = writer
        self._append_timeout_s = append_timeout_s
        self._closed = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        log_name: str,
        group_max_events: int,
        append_timeout_s: float,
        reserve_bytes: int,
        clock: Callable[[], datetime],
        ids: Callable[[], str],
        salts: Callable[[], bytes],
        accept: Accept | None = None,
        tags: TextTags | None = None,
    ) -> Self:
        """Open or create the log at `path`, whose folder exists, and record the boot.

        `ids` gives unique ids (ascending ones keep the file compact), `salts` 32 random bytes; `tags` let texts be
        found again. Blocks for some
        milliseconds. Raises `AuditUnavailable` if the file cannot be used, the last events are not a chain, or
        the log does not fit its last signed checkpoint; `accept` records that people take it as it is.
        """
        author = Author(log_name, boot=ids(), ids=ids, salts=salts, tags=tags)
        with database.unavailable_on_error(path):
            db = database.open_writer(path)
            try:
                boot_file = BootFile.create(path, author.boot, reserve_bytes)
                try:
                    begin(db, append_timeout_s)
                    record_boot(db, path, author, clock(), accept)
                    remove_dead(path)
                    turn = Turn(path)
                except BaseException:
                    boot_file.close()
                    raise
            except BaseException:
                db.close()
                raise
        writer = GroupWriter(
            db,
            path,
            author,
            boot_file,
            turn,
            group_max_events=group_max_events,
            lock_timeout_s=append_timeout_s / 2,  # so that callers learn the reason before their time is up
            clock=clock,
        )
        return cls(path, author, writer, append_timeout_s)

    @property
    def healthy(self) -> bool:
        """Whether the next append is tried at all: nothing failed, and the disk answers."""
        return self._writer.failure is None and not self._writer.stalled and not self._closed

    async def append(self, draft: EventDraft) -> Receipt:
        """Return once the event is on disk.

        Raises `AuditUnavailable` if it may not be, also when that is not known after `append_timeout_s`: the
        event may then still reach the log, and later appends fail at once until the log answers again.
        Cancelling the caller does not cancel the write. `TypeError` and `ValueError` tell of a draft that is no
        event, before anything is written.
        """
        self._check_open()
        entry = self._author.entry(draft)
        loop = asyncio.get_running_loop()
        future: Future[Receipt] = loop.create_future()
        timer = loop.call_later(self._append_timeout_s, self._expire, future)
        self._writer.submit(Waiting(entry, loop, future))
        try:
            return await future
        finally:
            timer.cancel()

    def append_blocking(self, draft: EventDraft) -> Receipt:
        """`append` for commands, which run no event loop."""
        return asyncio.run(self.append(draft))

    def close(self) -> None:
        """Write what waits and close the file. Idempotent; blocks until the running group is on disk."""
        if self._closed:
            return
        self._closed = True
        if not self._writer.close(self._append_timeout_s):
            raise AuditUnavailable(f"the audit log `{self.path}` does not close: its disk does not answer")

    def _check_open(self) -> None:
        if self._writer.failure is not None:
            raise self._writer.failure.again()
        if self._writer.stalled:
            raise AuditUnavailable(f"the audit log `{self.path}` is stalled: its disk or another process holds it up")
        if self._closed:
            raise AuditUnavailable(f"the audit log `{self.path}` is closed: the gateway is stopping")

    def _expire(self, future: Future[Receipt]) -> None:
        if not future.done():
            self._writer.stalled = True
            future.set_exception(
                AuditUnavailable(f"the audit log `{self.path}` did not answer within {self._append_timeout_s:g} s")
            )
