"""Cases in one SQLite file: what may be shown in columns, content sealed.

Every write is on disk before it is acknowledged (`synchronous=FULL`). The file may be shared by processes of one
machine. Content is sealed with the id and the binding of its case, so that it cannot be moved to another.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import msgspec

from gateway.cases.case import UNDECIDED, Case, CaseContent, CaseState, Operator, Reader, may_open, may_see
from gateway.cases.terms import content_of
from gateway.domain.case import CaseDraft
from gateway.domain.errors import GuardUnavailable
from gateway.domain.sealing import Sealer
from gateway.domain.vocabulary import Phase

_VERSION: Final = 1
_BUSY_TIMEOUT_S: Final = 5.0
_MOST_LISTED: Final = 1_000
_COLUMNS: Final = (
    "id, state, tenant, app, principal, exchange, phase, queue, approvals, rules, policy, opened, due, expires, "
    "fingerprint, binding, revision"
)
_UNDECIDED_SQL: Final = ", ".join(f"'{state.value}'" for state in sorted(UNDECIDED))
_SCHEMA: Final = (
    """CREATE TABLE cases (
      id TEXT PRIMARY KEY, state TEXT NOT NULL, tenant TEXT NOT NULL, app TEXT NOT NULL, principal TEXT NOT NULL,
      exchange TEXT NOT NULL, phase TEXT NOT NULL, queue TEXT NOT NULL, approvals INTEGER NOT NULL,
      rules TEXT NOT NULL, policy TEXT NOT NULL, opened TEXT NOT NULL, due TEXT NOT NULL, expires TEXT NOT NULL,
      fingerprint TEXT NOT NULL, binding TEXT NOT NULL, revision INTEGER NOT NULL, content BLOB
    ) STRICT""",
    f"CREATE UNIQUE INDEX undecided_request ON cases (fingerprint) WHERE state IN ({_UNDECIDED_SQL})",
    "CREATE INDEX by_binding ON cases (binding)",
    "CREATE INDEX by_queue ON cases (tenant, state, due)",
    f"PRAGMA user_version = {_VERSION}",
)

T = TypeVar("T")


class Stored(msgspec.Struct, frozen=True):
    """A case in the store; `existing` if the same request had opened it before."""

    case: Case
    existing: bool


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

    async def add(self, case: Case, draft: CaseDraft) -> Stored:
        """Store a new case with the texts of its draft, or find the undecided one of the same request."""
        content = msgspec.json.encode(content_of(draft))
        sealed = self._sealer.seal(content, _context(case))
        return await self._run(lambda: self._add(case, sealed))

    async def get(self, case_id: str, reader: Reader) -> Case | None:
        """The case, or `None` if there is none that this reader may know of."""
        case = await self._run(lambda: self._one("id = ?", case_id))
        return case if case is not None and may_see(case, reader) else None

    async def find_undecided(self, fingerprint: str) -> Case | None:
        """The undecided case of this request."""
        condition = f"fingerprint = ? AND state IN ({_UNDECIDED_SQL})"
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

    def close(self) -> None:
        """Finish what runs and close the file."""
        self._thread.shutdown(wait=True)
        self._db.close()

    async def _run(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            with _unavailable_on_error(self._path):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _add(self, case: Case, sealed: bytes) -> Stored:
        with _transaction(self._db):
            existing = self._one(f"fingerprint = ? AND state IN ({_UNDECIDED_SQL})", case.fingerprint)
            if existing is not None:
                return Stored(existing, existing=True)
            places = ", ".join("?" * (_COLUMNS.count(",") + 2))
            sql = f"INSERT INTO cases ({_COLUMNS}, content) VALUES ({places})"  # noqa: S608 names of ours
            self._db.execute(sql, (*_row(case), sealed))
        return Stored(case, existing=False)

    def _one(self, condition: str, value: str) -> Case | None:
        sql = f"SELECT {_COLUMNS} FROM cases WHERE {condition} ORDER BY opened DESC LIMIT 1"  # noqa: S608 conditions of ours
        row = self._db.execute(sql, (value,)).fetchone()
        return _case(row) if row else None

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
        sql = f"SELECT {_COLUMNS} FROM cases WHERE {' AND '.join(conditions)} ORDER BY due, id"  # noqa: S608 as above
        found = []
        for row in self._db.execute(sql, values):
            case = _case(row)
            if may_see(case, reader):
                found.append(case)
                if len(found) >= limit:
                    break
        return found

    def _content(self, case_id: str, reader: Reader) -> CaseContent | None:
        sql = f"SELECT {_COLUMNS}, content FROM cases WHERE id = ?"  # noqa: S608 names of ours
        row = self._db.execute(sql, (case_id,)).fetchone()
        if row is None or row[-1] is None:
            return None
        case = _case(row[:-1])
        if not may_open(case, reader):
            return None
        return msgspec.json.decode(self._sealer.open(row[-1], _context(case)), type=CaseContent)


def _context(case: Case) -> bytes:
    return msgspec.json.encode(["case", case.id, case.tenant, case.binding])


def _row(case: Case) -> tuple[Any, ...]:
    return (
        case.id,
        case.state.value,
        case.tenant,
        case.app,
        case.principal,
        case.exchange,
        case.phase.value,
        case.queue,
        case.approvals,
        msgspec.json.encode(case.rules).decode(),
        case.policy,
        case.opened.isoformat(),
        case.due.isoformat(),
        case.expires.isoformat(),
        case.fingerprint,
        case.binding,
        case.revision,
    )


def _case(row: tuple[Any, ...]) -> Case:
    return Case(
        id=row[0],
        state=CaseState(row[1]),
        tenant=row[2],
        app=row[3],
        principal=row[4],
        exchange=row[5],
        phase=Phase(row[6]),
        queue=row[7],
        approvals=row[8],
        rules=msgspec.json.decode(row[9], type=tuple[str, ...]),
        policy=row[10],
        opened=datetime.fromisoformat(row[11]),
        due=datetime.fromisoformat(row[12]),
        expires=datetime.fromisoformat(row[13]),
        fingerprint=row[14],
        binding=row[15],
        revision=row[16],
    )


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
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            for statement in _SCHEMA:
                db.execute(statement)
            version = _VERSION
    if version != _VERSION:
        raise GuardUnavailable(
            f"the case store `{path}` has format {version}, not {_VERSION}: use a gateway that knows it"
        )
