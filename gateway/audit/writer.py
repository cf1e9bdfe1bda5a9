"""The thread that appends to the log: group commit over all callers of this process.

Contract:
- An event is acknowledged only after the transaction that holds it is on disk.
- Events that wait together share one transaction and one sync (group commit; DeWitt et al., "Implementation
  techniques for main memory database systems", SIGMOD 1984). A lone event is not delayed.
- The place in the chain is read inside the transaction, so several processes append to one chain.
- The first failure is final: nothing is tried again on the same descriptor, because after a failed sync the
  kernel may already have dropped the pages it could not write. Every waiting and every later event fails.
"""

import sqlite3
import time
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

from msgspec import Struct

from gateway.audit import database
from gateway.audit.boot import Author
from gateway.audit.entry import Chained, Entry, Tip, chain
from gateway.audit.liveness import BootFile
from gateway.audit.turn import Turn
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType, Receipt

_FIRST_PAUSE_S: Final = 50e-6  # another process holds the lock for the time of one sync: fractions of a millisecond
_LONGEST_PAUSE_S: Final = 1e-3


Settled = tuple[Future[Receipt], Receipt | AuditUnavailable]


class Waiting(Struct, frozen=True):
    """An entry with the caller that waits for it."""

    entry: Entry
    loop: AbstractEventLoop
    future: Future[Receipt]


class Failure(Struct, frozen=True):
    """Why the writer gave up. Each caller gets an exception of its own: one that is raised again and again would
    collect the traceback of every raise."""

    message: str
    code: str

    def again(self) -> AuditUnavailable:
        return AuditUnavailable(self.message, code=self.code)


class GroupWriter:
    """Owns the connection and the boot file from the start of its thread until `close`."""

    def __init__(
        self,
        db: sqlite3.Connection,
        path: Path,
        author: Author,
        boot_file: BootFile,
        turn: Turn,
        *,
        group_max_events: int,
        lock_timeout_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._db = db
        self._path = path
        self._author = author
        self._boot_file = boot_file
        self._turn = turn
        self._group_max_events = group_max_events
        self._lock_timeout_s = lock_timeout_s
        self._clock = clock
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._written = 0  # the highest place this process knows to be taken
        self.failure: Failure | None = None
        self.stalled = False  # a caller waited in vain, and no group has come back since; belongs to the loops
        self._thread = Thread(target=self._run, name="audit-writer", daemon=True)
        self._thread.start()

    def submit(self, waiting: Waiting) -> None:
        """Thread-safe. The future is settled on its own loop."""
        self._queue.put(waiting)

    def close(self, timeout_s: float) -> bool:
        """Write what waits, stop, and close the file. False if that took longer than `timeout_s`."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while group := self._next_group():
            failed = self.failure
            self._settle(group, [failed.again() for _ in group] if failed else self._write_or_fail(group))
        with suppress(sqlite3.Error):
            self._db.close()
        with suppress(OSError):
            self._boot_file.close()
            self._turn.close()

    def _next_group(self) -> list[Waiting]:
        """At least one event, or none at the end. Waits for the first and takes what else is there already."""
        first = self._queue.get()
        if first is None:
            return []
        group = [first]
        while len(group) < self._group_max_events:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                break
            if waiting is None:
                self._queue.put(None)
                break
            group.append(waiting)
        return group

    def _settle(self, group: list[Waiting], results: Sequence[Receipt | AuditUnavailable]) -> None:
        """Wake each loop once for all of its callers."""
        by_loop: dict[AbstractEventLoop, list[Settled]] = {}
        for waiting, result in zip(group, results, strict=True):
            by_loop.setdefault(waiting.loop, []).append((waiting.future, result))
        for loop, settled in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._deliver, settled)

    def _deliver(self, settled: list[Settled]) -> None:
        self.stalled = False
        for future, result in settled:
            if future.done():  # cancelled, or told that time was up
                continue
            if isinstance(result, AuditUnavailable):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _write_or_fail(self, group: list[Waiting]) -> list[Receipt | AuditUnavailable]:
        try:
            chained = self._write([waiting.entry for waiting in group])
        except Exception as error:  # noqa: BLE001 whatever it is, nobody is told that the event is durable
            failure = self._fail(error, len(group))
            return [failure.again() for _ in group]
        return [Receipt(seq=one.seq, id=one.entry.id, hash=one.hash.hex()) for one in chained]

    def _write(self, entries: list[Entry]) -> list[Chained]:
        with self._turn:
            begin(self._db, self._lock_timeout_s)
            chained = chain(entries, self._checked_tip(), self._clock())
            database.insert(self._db, chained)
            self._db.execute("COMMIT")
        self._written = chained[-1].seq
        return chained

    def _checked_tip(self) -> Tip:
        tip = database.read_tip(self._db)
        if tip.seq < self._written:
            raise AuditUnavailable(
                f"the audit log `{self._path}` lost events: it ends at {tip.seq}, this process wrote {self._written}",
                code="audit_damaged",
            )
        return tip

    def _fail(self, error: Exception, unwritten: int) -> Failure:
        reason = database.reason_of(error)
        if isinstance(error, AuditUnavailable):
            self.failure = Failure(error.message, error.code)
        else:
            self.failure = Failure(
                f"the audit log `{self._path}` cannot be written: {reason}; remove the cause and restart the gateway",
                AuditUnavailable.code,
            )
        with suppress(sqlite3.Error):
            self._db.close()  # rolls back
        if reason == "disk_full":
            with suppress(sqlite3.Error, OSError, AuditUnavailable):
                self._record_stop(reason, unwritten)
        return self.failure

    def _record_stop(self, reason: str, unwritten: int) -> None:
        """The last event of this boot, in the space kept free for it."""
        self._boot_file.release_reserve()
        db = database.open_writer(self._path)
        try:
            begin(db, self._lock_timeout_s)
            draft = EventDraft(type=EventType.LOG_STOPPED, body={"reason": reason, "unwritten": unwritten})
            database.insert(db, chain([self._author.entry(draft)], database.read_tip(db), self._clock()))
            db.execute("COMMIT")
        finally:
            db.close()


def begin(db: sqlite3.Connection, timeout_s: float) -> None:
    """Take the write lock, waiting for other processes at most `timeout_s`. SQLite's own wait sleeps in steps of
    up to 100 ms; groups take a millisecond."""
    deadline = time.monotonic() + timeout_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not database.is_busy(error) or time.monotonic() >= deadline:
                raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        else:
            return
