"""A case as a row: what may be shown in columns, how far it has come as JSON; and the tables with their migration."""

import sqlite3
from datetime import datetime
from typing import Any, Final

import msgspec

from gateway.cases.case import UNDECIDED, Case, CaseState, Course
from gateway.domain.vocabulary import Phase

VERSION: Final = 2
COLUMNS: Final = (
    "id, state, tenant, app, principal, exchange, phase, queue, approvals, rules, policy, opened, due, expires, "
    "fingerprint, binding, revision, course"
)
UNDECIDED_SQL: Final = ", ".join(f"'{state.value}'" for state in sorted(UNDECIDED))
_CASES: Final = (
    """CREATE TABLE cases (
      id TEXT PRIMARY KEY, state TEXT NOT NULL, tenant TEXT NOT NULL, app TEXT NOT NULL, principal TEXT NOT NULL,
      exchange TEXT NOT NULL, phase TEXT NOT NULL, queue TEXT NOT NULL, approvals INTEGER NOT NULL,
      rules TEXT NOT NULL, policy TEXT NOT NULL, opened TEXT NOT NULL, due TEXT NOT NULL, expires TEXT NOT NULL,
      fingerprint TEXT NOT NULL, binding TEXT NOT NULL, revision INTEGER NOT NULL, content BLOB
    ) STRICT""",
    f"CREATE UNIQUE INDEX undecided_request ON cases (fingerprint) WHERE state IN ({UNDECIDED_SQL})",
    "CREATE INDEX by_binding ON cases (binding)",
    "CREATE INDEX by_queue ON cases (tenant, state, due)",
)
_COURSE: Final = (
    "ALTER TABLE cases ADD COLUMN course TEXT NOT NULL DEFAULT '{}'",
    # The sealed texts belong to the binding at opening; the person behind an older case is not known.
    """UPDATE cases SET course = json_object('origin', binding,
      'sla_s', max(1, CAST(round((julianday(due) - julianday(opened)) * 86400) AS INTEGER)))""",
    """CREATE TABLE history (
      case_id TEXT NOT NULL, revision INTEGER NOT NULL, at TEXT NOT NULL, command TEXT NOT NULL, before TEXT NOT NULL,
      after TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL, event TEXT NOT NULL,
      PRIMARY KEY (case_id, revision)
    ) STRICT""",
    """CREATE TABLE texts (
      case_id TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, sealed BLOB NOT NULL,
      PRIMARY KEY (case_id, kind, number)
    ) STRICT""",
    """CREATE TABLE outbox (
      id TEXT PRIMARY KEY, target TEXT NOT NULL, payload TEXT NOT NULL, attempts INTEGER NOT NULL, next_at TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX outbox_next ON outbox (next_at)",
)
MIGRATIONS: Final = (_CASES, _COURSE)
"""`MIGRATIONS[n]` makes format `n + 1` from format `n`; 0 is an empty file."""


def row_of(case: Case) -> tuple[Any, ...]:
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
        msgspec.json.encode(case.course).decode(),
    )


def case_of(row: tuple[Any, ...]) -> Case:
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
        course=msgspec.json.decode(row[17], type=Course),
    )


def migrate(db: sqlite3.Connection) -> int:
    """Bring the file to `VERSION`, inside the caller's transaction; the version it has then. One that is newer, or
    that is no case store at all, is left alone."""
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        return 0
    for step in MIGRATIONS[version:]:
        for statement in step:
            db.execute(statement)
    if version < VERSION:
        db.execute(f"PRAGMA user_version = {VERSION}")
        version = VERSION
    return version
