"""The store of cases: what may be shown in columns, content sealed.

Content is sealed with the id and the binding of its case, so that it cannot be moved to another. The same code serves
SQLite (one machine) and PostgreSQL (any number of nodes); what a write does, it does in one transaction.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.cases.case import UNDECIDED, Case, CaseContent, CaseState, Operator, Reader, may_open, may_see
from gateway.cases.database import AlreadyThere, Database, Session, Value, moment
from gateway.cases.drill import Drill, DrillKind
from gateway.cases.rows import COLUMNS, UNDECIDED_SQL, case_of, course_text, row_of
from gateway.cases.sqlite import SqliteDatabase
from gateway.cases.terms import content_of
from gateway.domain.case import CaseDraft
from gateway.domain.errors import GuardUnavailable
from gateway.domain.sealing import Sealer
from gateway.domain.text import Secret, outline

_MOST_LISTED: Final = 1_000
_AT_ONCE: Final = 200
_OFFERED: Final = 100
_RESERVED: Final = timedelta(seconds=10)
"""How long a case that was offered to one reviewer is offered to nobody else: until the claim is written."""
_RACES: Final = 3


class Stored(msgspec.Struct, frozen=True):
    """A case in the store; `existing` if the same request had opened it before."""

    case: Case
    existing: bool


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a case's history; `event` is the audit event that was written before it, `person` the keyed digest
    of the human ("" for the clock, and in lines of older gateways)."""

    revision: int
    at: datetime
    command: str
    before: CaseState
    after: CaseState
    actor: str  # Principal.ref, or `gateway` for the clock
    reason: str
    event: str
    person: str = ""


class CaseText(msgspec.Struct, frozen=True, kw_only=True):
    """A text that came to a case after it was opened; sealed. `number` counts the texts of a kind from 1."""

    kind: str  # "edit" | "question" | "reply" | "delivery"
    number: int
    text: str

    def __repr__(self) -> str:
        return f"CaseText({self.kind}, {self.number}, {outline(self.text)})"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """An announcement that is due. `target` names who is told, `payload` is what, without content of the case."""

    id: str
    target: str
    payload: str
    attempts: int = 0
    next_at: datetime


class HistoryLine(msgspec.Struct, frozen=True, kw_only=True):
    """A step of some case with what measures of the review need to know of it."""

    case: str
    step: Step
    tenant: str
    queue: str
    rules: tuple[str, ...]
    opened: datetime
    drill: Drill | None


class Erased(msgspec.Struct, frozen=True):
    """How many cases lost their texts; `clean` if no old page of them is left."""

    cases: int
    clean: bool


class CaseStore:
    """Opens, finds and lists cases. All methods run off the event loop, and raise `GuardUnavailable` for a database
    that does not work. `key` is the 32-byte key for `Purpose.CASE_CONTENT`, the same on all nodes."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._sealer = Sealer(key)

    async def add(
        self, case: Case, draft: CaseDraft, *, notices: Sequence[Notice] = (), drill: Drill | None = None
    ) -> Stored:
        """Store a new case with the texts of its draft, or find the undecided one of the same request."""
        return await self._add(case, content_of(draft), notices, drill)

    async def copy(self, case: Case, content: CaseContent, drill: Drill) -> bool:
        """Store a drill with the content of another case; False if there is one about the same already."""
        if await self.drill_about(drill.kind, drill.about) is not None:
            return False
        try:
            return not (await self._add(case, content, (), drill)).existing
        except GuardUnavailable:
            if await self.drill_about(drill.kind, drill.about) is None:
                raise
            return False

    async def get(self, case_id: str, reader: Reader) -> Case | None:
        """The case, or `None` if there is none that this reader may know of."""
        case = await self.find(case_id)
        return case if case is not None and may_see(case, reader) else None

    async def find_undecided(self, fingerprint: str) -> Case | None:
        """The undecided case of this request."""
        condition = f"fingerprint = ? AND state IN ({UNDECIDED_SQL})"
        return await self._database.read(lambda session: _one(session, condition, fingerprint))

    async def find_latest(self, fingerprint: str) -> Case | None:
        """The latest case of this request, whatever became of it."""
        return await self._database.read(lambda session: _one(session, "fingerprint = ?", fingerprint))

    async def count_by_state(self) -> dict[CaseState, int]:
        """How many cases of all tenants are in each state, for whoever runs the node; states without any are left
        out."""
        sql = "SELECT state, count(*) FROM cases GROUP BY state"
        rows = await self._database.read(lambda session: session.rows(sql, ()))
        return {CaseState(state): count for state, count in rows}

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
        own_tenant = tenant if isinstance(reader, Operator) else reader.tenant
        if tenant and tenant != own_tenant:
            return []
        found: list[Case] = []
        most = min(limit, _MOST_LISTED)

        def read(session: Session) -> None:
            for case in _listed(session, own_tenant, queue, states):
                if may_see(case, reader):
                    found.append(case)
                    if len(found) >= most:
                        return

        await self._database.read(read)
        return found

    async def content(self, case_id: str, reader: Reader) -> CaseContent | None:
        """The texts, or `None` if there is no such case, it is not for this reader, or its content was erased.
        The caller records the reading first (`body.read`). Raises `UnsealError` for content that was altered."""
        sql = f"SELECT {COLUMNS}, content FROM cases WHERE id = ?"  # noqa: S608 names of ours
        rows = await self._database.read(lambda session: session.rows(sql, (case_id,)))
        if not rows or rows[0][-1] is None:
            return None
        case = case_of(rows[0][:-1])
        if not may_open(case, reader):
            return None
        return msgspec.json.decode(self._sealer.open(rows[0][-1], _context(case)), type=CaseContent)

    async def find(self, case_id: str) -> Case | None:
        """The case, whoever asks. Only for the gateway itself."""
        return await self._database.read(lambda session: _one(session, "id = ?", case_id))

    async def offer_next(self, tenant: str, queue: str, now: datetime, eligible: Callable[[Case], bool]) -> Case | None:
        """The earliest due case that waits for a claim and is `eligible`, kept for this caller for some seconds:
        callers at the same moment get different ones. `queue` "" stands for all. `None` if there is none."""

        def offer(session: Session) -> Case | None:
            conditions = "tenant = ? AND state IN ('queued', 'await_second', 'adjudication', 'appealed')"
            values: list[Value] = [tenant, now, now]
            free = "(leased IS NULL OR leased <= ?) AND (reserved IS NULL OR reserved <= ?)"
            if queue:
                conditions, values = f"{conditions} AND queue = ?", [tenant, queue, now, now]
            sql = (
                f"SELECT {COLUMNS} FROM cases WHERE {conditions} AND {free} ORDER BY due, id LIMIT {_OFFERED}"  # noqa: S608 as above
                f"{session.skip_locked}"
            )
            for row in session.rows(sql, values):
                case = case_of(row)
                if eligible(case):
                    session.change("UPDATE cases SET reserved = ? WHERE id = ?", (now + _RESERVED, case.id))
                    return case
            return None

        return await self._database.write(offer)

    async def move(
        self, case: Case, step: Step, *, texts: Sequence[CaseText] = (), notices: Sequence[Notice] = ()
    ) -> bool:
        """Write the next revision of a case, with its history, texts and notices, all or nothing. False if the stored
        revision is not the one before: somebody else was faster."""
        sealed = [
            (case.id, text.kind, text.number, self._sealer.seal(text.text.encode(), _text_context(case, text)))
            for text in texts
        ]
        try:
            return await self._database.write(lambda session: _move(session, case, step, sealed, notices))
        except AlreadyThere:  # the request as it is now has another undecided case
            return False

    async def history(self, case_id: str) -> list[Step]:
        """What happened to a case, oldest first."""
        sql = f"SELECT {_STEP} FROM history h WHERE case_id = ? ORDER BY revision"  # noqa: S608 as above
        rows = await self._database.read(lambda session: session.rows(sql, (case_id,)))
        return [_step(row) for row in rows]

    async def texts(self, case: Case) -> list[CaseText]:
        """The texts that came later, in the order of kind and number. The caller has checked who reads, and recorded
        it. Raises `UnsealError`."""
        sql = "SELECT kind, number, sealed FROM texts WHERE case_id = ? ORDER BY kind, number"
        found = []
        for kind, number, sealed in await self._database.read(lambda session: session.rows(sql, (case.id,))):
            place = CaseText(kind=kind, number=number, text="")
            text = self._sealer.open(sealed, _text_context(case, place)).decode()
            found.append(msgspec.structs.replace(place, text=text))
        return found

    async def sealed_content(self, case: Case) -> CaseContent | None:
        """The texts of the case at opening, for delivery to its requester. Raises `UnsealError`."""
        return await self.content(case.id, Operator())

    async def erase(self, tenant: str, principal: str) -> Erased:
        """Destroy all texts of the cases of a requester, and of the blind copies of these; what was decided, and why,
        stays. Texts that are gone open no more (`content` is `None`)."""
        cases = await self._database.write(lambda session: _erase(session, tenant, principal))
        return Erased(cases, clean=await self._database.scrub() if cases else True)

    async def due(self, now: datetime) -> list[Case]:
        """Cases that the clock may have to move: late, no longer leased, or over and expired. Earliest due first."""
        sql = (
            f"SELECT {COLUMNS} FROM cases WHERE (leased IS NULL OR leased <= ?) AND ("  # noqa: S608 names of ours
            "(state IN ('queued', 'waiting_info', 'await_second', 'adjudication', 'appealed') AND due <= ?) "
            "OR state = 'in_review' OR (state NOT IN ('closed', 'withdrawn') AND expires <= ?)) "
            f"ORDER BY due LIMIT {_AT_ONCE}"
        )
        rows = await self._database.read(lambda session: session.rows(sql, (now, now, now)))
        return [case_of(row) for row in rows]

    async def post_reviews(self, reader: Reader) -> list[Case]:
        """Cases that were approved by breaking the glass and nobody has looked at since, the earliest due first."""
        sql = f"SELECT {COLUMNS} FROM cases WHERE review_by IS NOT NULL ORDER BY review_by, id LIMIT {_MOST_LISTED}"  # noqa: S608 as above
        rows = await self._database.read(lambda session: session.rows(sql))
        return [case for case in map(case_of, rows) if may_see(case, reader)]

    async def note_view(self, case_id: str, actor: str, at: datetime) -> None:
        """Remember when somebody first opened the content. `actor` is their `Principal.ref`."""

        def note(session: Session) -> None:
            found = session.rows("SELECT 1 FROM views WHERE case_id = ? AND actor = ?", (case_id, actor))
            if not found:
                session.change("INSERT INTO views (case_id, actor, at) VALUES (?, ?, ?)", (case_id, actor, at))

        try:
            await self._database.write(note)
        except AlreadyThere:
            return

    async def views(self, since: datetime) -> dict[tuple[str, str], datetime]:
        """When content was first opened, by case and actor, of what was opened since then."""
        rows = await self._database.read(
            lambda session: session.rows("SELECT case_id, actor, at FROM views WHERE at >= ?", (since,))
        )
        return {(row[0], row[1]): moment(row[2]) for row in rows}

    async def drill_of(self, case_id: str) -> Drill | None:
        """The mark of a drill. For leads, and the gateway itself."""
        return await self._drill("case_id = ?", case_id)

    async def drill_about(self, kind: DrillKind, about: str) -> Drill | None:
        """The drill about this seed or case."""
        return await self._drill("kind = ? AND about = ?", kind.value, about)

    async def drills(
        self, kind: DrillKind, since: datetime, until: datetime, tenant: str = ""
    ) -> list[tuple[Case, Drill]]:
        """The drills of a kind that were opened in a span of time, the latest first, at most 1,000; `tenant` "" stands
        for all. For leads."""
        own = "SELECT case_id FROM drills WHERE kind = ? AND at >= ? AND at < ?"
        condition = f"id IN ({own}){' AND tenant = ?' if tenant else ''}"
        values: list[Value] = [kind.value, since, until, *((tenant,) if tenant else ())]

        def read(session: Session) -> list[tuple[Case, Drill]]:
            sql = f"SELECT {COLUMNS} FROM cases WHERE {condition} ORDER BY opened DESC, id LIMIT {_MOST_LISTED}"  # noqa: S608
            cases = [case_of(row) for row in session.rows(sql, values)]
            sql = "SELECT case_id, kind, about, expected, at FROM drills WHERE kind = ? AND at >= ? AND at < ?"
            marks = {row[0]: _drill(row) for row in session.rows(sql, (kind.value, since, until))}
            return [(case, marks[case.id]) for case in cases]

        return await self._database.read(read)

    async def lines(self, since: datetime, until: datetime, tenant: str = "") -> list[HistoryLine]:
        """All steps in a span of time, by case and in order; `tenant` "" stands for all. For leads."""
        condition, values = "h.at >= ? AND h.at < ?", [since, until]
        more: list[Value] = [*values, *((tenant,) if tenant else ())]
        sql = (
            f"SELECT {_STEP}, h.case_id, c.tenant, c.queue, c.rules, c.opened, d.kind, d.about, d.expected, d.at "  # noqa: S608 as above
            "FROM history h JOIN cases c ON c.id = h.case_id LEFT JOIN drills d ON d.case_id = h.case_id "
            f"WHERE {condition}{' AND c.tenant = ?' if tenant else ''} ORDER BY h.case_id, h.revision"
        )
        rows = await self._database.read(lambda session: session.rows(sql, more))
        return [_line(row) for row in rows]

    async def arrivals(self, since: datetime, until: datetime, tenant: str = "") -> list[tuple[str, datetime]]:
        """Queue and time of every case that was opened in a span of time, drills included: they cost time as well."""
        sql = "SELECT queue, opened FROM cases WHERE opened >= ? AND opened < ?"
        values: list[Value] = [since, until]
        if tenant:
            sql, values = f"{sql} AND tenant = ?", [*values, tenant]
        rows = await self._database.read(lambda session: session.rows(f"{sql} ORDER BY opened", values))
        return [(row[0], moment(row[1])) for row in rows]

    async def notices(self, now: datetime) -> list[Notice]:
        """Announcements that are due, oldest first."""
        sql = f"SELECT id, target, payload, attempts, next_at FROM outbox WHERE next_at <= ? ORDER BY next_at LIMIT {_AT_ONCE}"  # noqa: S608, E501
        rows = await self._database.read(lambda session: session.rows(sql, (now,)))
        return [
            Notice(id=row[0], target=row[1], payload=row[2], attempts=row[3], next_at=moment(row[4])) for row in rows
        ]

    async def postpone(self, notice: Notice) -> None:
        """Keep a notice whose call failed, with its new count and time."""
        sql = "UPDATE outbox SET attempts = ?, next_at = ? WHERE id = ?"
        values: tuple[Value, ...] = (notice.attempts, notice.next_at, notice.id)
        await self._database.write(lambda session: session.change(sql, values))

    async def forget(self, notice: Notice) -> None:
        """Drop a notice that was taken, or that nobody will take."""
        await self._database.write(lambda session: session.change("DELETE FROM outbox WHERE id = ?", (notice.id,)))

    def close(self) -> None:
        """Finish what runs and close the database."""
        self._database.close()

    async def _add(self, case: Case, content: CaseContent, notices: Sequence[Notice], drill: Drill | None) -> Stored:
        sealed = self._sealer.seal(msgspec.json.encode(content), _context(case))
        for _ in range(_RACES):
            try:
                return await self._database.write(lambda session: _add(session, case, sealed, notices, drill))
            except AlreadyThere:  # the same request at the same moment on another node: its case is there now
                continue
        raise GuardUnavailable("the case store has another case of this id: send the request again")

    async def _drill(self, condition: str, *values: str) -> Drill | None:
        sql = f"SELECT case_id, kind, about, expected, at FROM drills WHERE {condition}"  # noqa: S608 conditions of ours
        rows = await self._database.read(lambda session: session.rows(sql, values))
        return _drill(rows[0]) if rows else None


class SqliteCaseStore(CaseStore):
    """Cases in one SQLite file."""

    @classmethod
    def open(cls, path: Path, *, key: bytes) -> "SqliteCaseStore":
        """Open or create the store; its folder exists. Raises `GuardUnavailable`."""
        return cls(SqliteDatabase.open(path), key)


class PostgresCaseStore(CaseStore):
    """Cases in PostgreSQL, shared by nodes."""

    @classmethod
    def open(cls, url: Secret, *, key: bytes) -> "PostgresCaseStore":
        """Connect to a server. Raises `GuardUnavailable`."""
        from gateway.cases.postgres import PostgresDatabase  # its driver takes 16 MB: only for whoever uses it

        return cls(PostgresDatabase.open(url), key)


_STEP: Final = "h.revision, h.at, h.command, h.before, h.after, h.actor, h.reason, h.event, h.person"
_STEP_COLUMNS: Final = 9


def _erase(session: Session, tenant: str, principal: str) -> int:
    own = "SELECT id FROM cases WHERE tenant = ? AND principal = ?"
    copies = f"SELECT case_id FROM drills WHERE kind = ? AND about IN ({own})"  # noqa: S608 statements of ours
    values = (tenant, principal, DrillKind.BLIND.value, tenant, principal)
    session.change(f"DELETE FROM texts WHERE case_id IN ({own} UNION {copies})", values)  # noqa: S608 as above
    sql = f"UPDATE cases SET content = NULL WHERE content IS NOT NULL AND id IN ({own} UNION {copies})"  # noqa: S608
    return session.change(sql, values)


def _one(session: Session, condition: str, value: str) -> Case | None:
    sql = f"SELECT {COLUMNS} FROM cases WHERE {condition} ORDER BY opened DESC LIMIT 1"  # noqa: S608 conditions of ours
    rows = session.rows(sql, (value,))
    return case_of(rows[0]) if rows else None


def _listed(session: Session, tenant: str, queue: str, states: frozenset[CaseState]) -> list[Case]:
    conditions = [f"state IN ({', '.join('?' * len(states))})"]
    values: list[Value] = [state.value for state in sorted(states)]
    for column, value in (("tenant", tenant), ("queue", queue)):
        if value:
            conditions.append(f"{column} = ?")
            values.append(value)
    sql = f"SELECT {COLUMNS} FROM cases WHERE {' AND '.join(conditions)} ORDER BY due, id"  # noqa: S608 as above
    return [case_of(row) for row in session.rows(sql, values)]


def _add(session: Session, case: Case, sealed: bytes, notices: Sequence[Notice], drill: Drill | None) -> Stored:
    existing = _one(session, f"fingerprint = ? AND state IN ({UNDECIDED_SQL})", case.fingerprint)
    if existing is not None:
        return Stored(existing, existing=True)
    places = ", ".join("?" * (COLUMNS.count(",") + 2))
    sql = f"INSERT INTO cases ({COLUMNS}, content) VALUES ({places})"  # noqa: S608 names of ours
    session.change(sql, (*row_of(case), sealed))
    if drill is not None:
        session.change(
            "INSERT INTO drills (case_id, kind, about, expected, at) VALUES (?, ?, ?, ?, ?)",
            (drill.case, drill.kind.value, drill.about, drill.expected, drill.at),
        )
    _put_notices(session, notices)
    return Stored(case, existing=False)


def _move(
    session: Session,
    case: Case,
    step: Step,
    sealed: Sequence[tuple[str, str, int, bytes]],
    notices: Sequence[Notice],
) -> bool:
    course = case.course
    changed = session.change(
        "UPDATE cases SET state = ?, queue = ?, policy = ?, due = ?, fingerprint = ?, binding = ?, revision = ?, "
        "course = ?, leased = ?, reserved = NULL, review_by = ? WHERE id = ? AND revision = ?",
        (
            case.state.value,
            case.queue,
            case.policy,
            case.due,
            case.fingerprint,
            case.binding,
            case.revision,
            course_text(case),
            course.leased,
            None if course.post_review else course.review_by,
            case.id,
            case.revision - 1,
        ),
    )
    if changed != 1:
        return False
    session.change(
        "INSERT INTO history (case_id, revision, at, command, before, after, actor, reason, event, person) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            case.id,
            step.revision,
            step.at,
            step.command,
            step.before.value,
            step.after.value,
            step.actor,
            step.reason,
            step.event,
            step.person,
        ),
    )
    for text in sealed:
        session.change("INSERT INTO texts (case_id, kind, number, sealed) VALUES (?, ?, ?, ?)", text)
    _put_notices(session, notices)
    return True


def _put_notices(session: Session, notices: Sequence[Notice]) -> None:
    for one in notices:
        session.change(
            "INSERT INTO outbox (id, target, payload, attempts, next_at) VALUES (?, ?, ?, ?, ?)",
            (one.id, one.target, one.payload, one.attempts, one.next_at),
        )


def _step(row: Sequence[Any]) -> Step:
    return Step(
        revision=row[0],
        at=moment(row[1]),
        command=row[2],
        before=CaseState(row[3]),
        after=CaseState(row[4]),
        actor=row[5],
        reason=row[6],
        event=row[7],
        person=row[8],
    )


def _line(row: Sequence[Any]) -> HistoryLine:
    case, tenant, queue, rules, opened, kind, about, expected, at = row[_STEP_COLUMNS:]
    return HistoryLine(
        case=case,
        step=_step(row[:_STEP_COLUMNS]),
        tenant=tenant,
        queue=queue,
        rules=msgspec.json.decode(rules, type=tuple[str, ...]),
        opened=moment(opened),
        drill=None if kind is None else _drill((case, kind, about, expected, at)),
    )


def _drill(row: Sequence[Any]) -> Drill:
    return Drill(case=row[0], kind=DrillKind(row[1]), about=row[2], expected=row[3], at=moment(row[4]))


def _text_context(case: Case, text: CaseText) -> bytes:
    return msgspec.json.encode(["case-text", case.id, case.tenant, case.course.origin, text.kind, text.number])


def _context(case: Case) -> bytes:
    return msgspec.json.encode(["case", case.id, case.tenant, case.course.origin])
