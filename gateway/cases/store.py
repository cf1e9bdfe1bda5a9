"""Cases in one SQLite file: what may be shown in columns, content sealed.

Every write is on disk before it is acknowledged (`synchronous=FULL`). The file may be shared by processes of one
machine. Content is sealed with the id and the binding of its case, so that it cannot be moved to another.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import msgspec

from gateway.cases.case import UNDECIDED, Case, CaseContent, CaseState, Operator, Reader, may_open, may_see
from gateway.cases.rows import COLUMNS, UNDECIDED_SQL, VERSION, case_of, migrate, row_of
from gateway.cases.terms import content_of
from gateway.domain.case import CaseDraft
from gateway.domain.errors import GuardUnavailable
from gateway.domain.sealing import Sealer
from gateway.domain.text import outline

_BUSY_TIMEOUT_S: Final = 5.0
_MOST_LISTED: Final = 1_000
_AT_ONCE: Final = 200

T = TypeVar("T")


class Stored(msgspec.Struct, frozen=True):
    """A case in the store; `existing` if the same request had opened it before."""

    case: Case
    existing: bool


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a case's history; `event` is the audit event that was written before it."""

    revision: int
    at: datetime
    command: str
    before: CaseState
    after: CaseState
    actor: str  # Principal.ref, or `gateway` for the clock
    reason: str
    event: str


class CaseText(msgspec.Struct, frozen=True, kw_only=True):
    """A text that came to a case after it was opened; sealed. `number` counts the texts of a kind from 1."""

    kind: str  # "edit" | "question" | "reply" | "delivery"
    number: int
    text: str

    def __repr__(self) -> str:
        return f"CaseText({self.kind}, {self.number}, {outline(self.text)})"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook call that is due. `payload` is its body, without content of the case."""

    id: str
    target: str
    payload: str
    attempts: int = 0
    next_at: datetime


class SqliteCaseStore:
    """Opens, finds and lists cases. All methods run off the event loop, one at a time."""

    def __init__(self, db: sqlite3.Connection, path: Path, key: bytes) -> None:
        self._db = db
        self._path = path
        self._sealer = Sealer(key)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cases")

    @classmethod
    def open(cls, path: Path, *, key: bytes) -> Self:
        """Open or create the store; its folder exists. `key` is the 32-byte key for `Purpose.CASE_CONTENT`.
        Raises `GuardUnavailable`."""
        with _unavailable_on_error(path):
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA fullfsync = ON")
                _create_or_check(db, path)
            except BaseException:
                db.close()
                raise
        return cls(db, path, key)

    async def add(self, case: Case, draft: CaseDraft, *, notices: Sequence[Notice] = ()) -> Stored:
        """Store a new case with the texts of its draft, or find the undecided one of the same request."""
        content = msgspec.json.encode(content_of(draft))
        sealed = self._sealer.seal(content, _context(case))
        return await self._run(lambda: self._add(case, sealed, notices))

    async def get(self, case_id: str, reader: Reader) -> Case | None:
        """The case, or `None` if there is none that this reader may know of."""
        case = await self._run(lambda: self._one("id = ?", case_id))
        return case if case is not None and may_see(case, reader) else None

    async def find_undecided(self, fingerprint: str) -> Case | None:
        """The undecided case of this request."""
        condition = f"fingerprint = ? AND state IN ({UNDECIDED_SQL})"
        return await self._run(lambda: self._one(condition, fingerprint))

    async def find_by_binding(self, binding: str) -> Case | None:
        """The latest case that was opened for exactly this."""
        return await self._run(lambda: self._one("binding = ?", binding))

    async def list_cases(
        self,
        reader: Reader,
        *,
        tenant: str = "",
        queue: str = "",
        states: frozenset[CaseState] = UNDECIDED,
        limit: int = 100,
    ) -> list[Case]:
        """Cases that this reader may know of, the earliest due first. `limit` is capped at 1,000."""
        return await self._run(lambda: self._list_cases(reader, tenant, queue, states, min(limit, _MOST_LISTED)))

    async def content(self, case_id: str, reader: Reader) -> CaseContent | None:
        """The texts, or `None` if there is no such case, it is not for this reader, or its content was erased.
        The caller records the reading first (`body.read`). Raises `UnsealError` for content that was altered."""
        return await self._run(lambda: self._content(case_id, reader))

    async def find(self, case_id: str) -> Case | None:
        """The case, whoever asks. Only for the gateway itself."""
        return await self._run(lambda: self._one("id = ?", case_id))

    async def move(
        self, case: Case, step: Step, *, texts: Sequence[CaseText] = (), notices: Sequence[Notice] = ()
    ) -> bool:
        """Write the next revision of a case, with its history, texts and notices, all or nothing. False if the stored
        revision is not the one before: somebody else was faster."""
        sealed = [
            (case.id, text.kind, text.number, self._sealer.seal(text.text.encode(), _text_context(case, text)))
            for text in texts
        ]
        return await self._run(lambda: self._move(case, step, sealed, notices))

    async def history(self, case_id: str) -> list[Step]:
        """What happened to a case, oldest first."""
        return await self._run(lambda: self._history(case_id))

    async def texts(self, case: Case) -> list[CaseText]:
        """The texts that came later, in the order of kind and number. The caller has checked who reads, and recorded
        it. Raises `UnsealError`."""
        return await self._run(lambda: self._texts(case))

    async def sealed_content(self, case: Case) -> CaseContent | None:
        """The texts of the case at opening, for delivery to its requester. Raises `UnsealError`."""
        return await self._run(lambda: self._content(case.id, Operator()))

    async def due(self, now: datetime) -> list[Case]:
        """Cases that the clock may have to move: late, no longer leased, or over and expired. Earliest due first."""
        sql = (
            f"SELECT {COLUMNS} FROM cases WHERE coalesce(julianday(json_extract(course, '$.leased')), 0) "  # noqa: S608 names of ours
            "<= julianday(:now) AND ((state IN ('queued', 'waiting_info', 'await_second', 'adjudication', 'appealed') "
            "AND due <= :now) OR state = 'in_review' OR (state NOT IN ('closed', 'withdrawn') AND expires <= :now)) "
            f"ORDER BY due LIMIT {_AT_ONCE}"
        )
        return await self._run(
            lambda: [case_of(row) for row in self._db.execute(sql, {"now": now.isoformat()}).fetchall()]
        )

    async def notices(self, now: datetime) -> list[Notice]:
        """Webhook calls that are due, oldest first."""
        sql = f"SELECT id, target, payload, attempts, next_at FROM outbox WHERE next_at <= ? ORDER BY next_at LIMIT {_AT_ONCE}"  # noqa: S608, E501
        rows = await self._run(lambda: self._db.execute(sql, (now.isoformat(),)).fetchall())
        return [
            Notice(id=row[0], target=row[1], payload=row[2], attempts=row[3], next_at=datetime.fromisoformat(row[4]))
            for row in rows
        ]

    async def postpone(self, notice: Notice) -> None:
        """Keep a notice whose call failed, with its new count and time."""
        await self._run(
            lambda: self._db.execute(
                "UPDATE outbox SET attempts = ?, next_at = ? WHERE id = ?",
                (notice.attempts, notice.next_at.isoformat(), notice.id),
            )
        )

    async def forget(self, notice: Notice) -> None:
        """Drop a notice that was taken, or that nobody will take."""
        await self._run(lambda: self._db.execute("DELETE FROM outbox WHERE id = ?", (notice.id,)))

    def close(self) -> None:
        """Finish what runs and close the file."""
        self._thread.shutdown(wait=True)
        self._db.close()

    async def _run(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            with _unavailable_on_error(self._path):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _add(self, case: Case, sealed: bytes, notices: Sequence[Notice]) -> Stored:
        with _transaction(self._db):
            existing = self._one(f"fingerprint = ? AND state IN ({UNDECIDED_SQL})", case.fingerprint)
            if existing is not None:
                return Stored(existing, existing=True)
            places = ", ".join("?" * (COLUMNS.count(",") + 2))
            sql = f"INSERT INTO cases ({COLUMNS}, content) VALUES ({places})"  # noqa: S608 names of ours
            self._db.execute(sql, (*row_of(case), sealed))
            self._put_notices(notices)
        return Stored(case, existing=False)

    def _move(
        self, case: Case, step: Step, sealed: list[tuple[str, str, int, bytes]], notices: Sequence[Notice]
    ) -> bool:
        with _transaction(self._db):
            try:
                done = self._db.execute(
                    "UPDATE cases SET state = ?, queue = ?, policy = ?, due = ?, fingerprint = ?, binding = ?, "
                    "revision = ?, course = ? WHERE id = ? AND revision = ?",
                    (
                        case.state.value,
                        case.queue,
                        case.policy,
                        case.due.isoformat(),
                        case.fingerprint,
                        case.binding,
                        case.revision,
                        msgspec.json.encode(case.course).decode(),
                        case.id,
                        case.revision - 1,
                    ),
                )
            except sqlite3.IntegrityError:  # the request as it is now has another undecided case
                return False
            if done.rowcount != 1:
                return False
            self._db.execute(
                "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    case.id,
                    step.revision,
                    step.at.isoformat(),
                    step.command,
                    step.before.value,
                    step.after.value,
                    step.actor,
                    step.reason,
                    step.event,
                ),
            )
            self._db.executemany("INSERT INTO texts VALUES (?, ?, ?, ?)", sealed)
            self._put_notices(notices)
        return True

    def _put_notices(self, notices: Sequence[Notice]) -> None:
        self._db.executemany(
            "INSERT INTO outbox VALUES (?, ?, ?, ?, ?)",
            [(one.id, one.target, one.payload, one.attempts, one.next_at.isoformat()) for one in notices],
        )

    def _history(self, case_id: str) -> list[Step]:
        sql = (
            "SELECT revision, at, command, before, after, actor, reason, event FROM history WHERE case_id = ? "
            "ORDER BY revision"
        )
        return [
            Step(
                revision=row[0],
                at=datetime.fromisoformat(row[1]),
                command=row[2],
                before=CaseState(row[3]),
                after=CaseState(row[4]),
                actor=row[5],
                reason=row[6],
                event=row[7],
            )
            for row in self._db.execute(sql, (case_id,))
        ]

    def _texts(self, case: Case) -> list[CaseText]:
        sql = "SELECT kind, number, sealed FROM texts WHERE case_id = ? ORDER BY kind, number"
        found = []
        for kind, number, sealed in self._db.execute(sql, (case.id,)):
            place = CaseText(kind=kind, number=number, text="")
            text = self._sealer.open(sealed, _text_context(case, place)).decode()
            found.append(msgspec.structs.replace(place, text=text))
        return found

    def _one(self, condition: str, value: str) -> Case | None:
        sql = f"SELECT {COLUMNS} FROM cases WHERE {condition} ORDER BY opened DESC LIMIT 1"  # noqa: S608 conditions of ours
        row = self._db.execute(sql, (value,)).fetchone()
        return case_of(row) if row else None

    def _list_cases(
        self, reader: Reader, tenant: str, queue: str, states: frozenset[CaseState], limit: int
    ) -> list[Case]:
        own_tenant = tenant if isinstance(reader, Operator) else reader.tenant
        if tenant and tenant != own_tenant:
            return []
        conditions = [f"state IN ({', '.join('?' * len(states))})"]
        values: list[Any] = sorted(states)
        for column, value in (("tenant", own_tenant), ("queue", queue)):
            if value:
                conditions.append(f"{column} = ?")
                values.append(value)
        sql = f"SELECT {COLUMNS} FROM cases WHERE {' AND '.join(conditions)} ORDER BY due, id"  # noqa: S608 as above
        found = []
        for row in self._db.execute(sql, values):
            case = case_of(row)
            if may_see(case, reader):
                found.append(case)
                if len(found) >= limit:
                    break
        return found

    def _content(self, case_id: str, reader: Reader) -> CaseContent | None:
        sql = f"SELECT {COLUMNS}, content FROM cases WHERE id = ?"  # noqa: S608 names of ours
        row = self._db.execute(sql, (case_id,)).fetchone()
        if row is None or row[-1] is None:
            return None
        case = case_of(row[:-1])
        if not may_open(case, reader):
            return None
        return msgspec.json.decode(self._sealer.open(row[-1], _context(case)), type=CaseContent)


def _text_context(case: Case, text: CaseText) -> bytes:
    return msgspec.json.encode(["case-text", case.id, case.tenant, case.course.origin, text.kind, text.number])


def _context(case: Case) -> bytes:
    return msgspec.json.encode(["case", case.id, case.tenant, case.course.origin])


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def _unavailable_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise GuardUnavailable(f"the case store `{path}` cannot be used: {error}") from error


def _create_or_check(db: sqlite3.Connection, path: Path) -> None:
    with _transaction(db):
        version = migrate(db)
    if version != VERSION:
        raise GuardUnavailable(
            f"the case store `{path}` has format {version}, not {VERSION}: use a gateway that knows it"
        )
