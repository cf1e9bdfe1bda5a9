"""A case as a row: what may be shown in columns, how far it has come as JSON."""

from typing import Any, Final

import msgspec

from gateway.cases.case import UNDECIDED, Case, CaseState, Course
from gateway.cases.database import Row, Value, moment
from gateway.domain.vocabulary import Phase

COLUMNS: Final = (
    "id, state, tenant, app, principal, exchange, phase, queue, approvals, rules, policy, opened, due, expires, "
    "fingerprint, binding, revision, course"
)
UNDECIDED_SQL: Final = ", ".join(f"'{state.value}'" for state in sorted(UNDECIDED))


def row_of(case: Case) -> tuple[Value, ...]:
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
        case.opened,
        case.due,
        case.expires,
        case.fingerprint,
        case.binding,
        case.revision,
        course_text(case),
    )


def course_text(case: Case) -> str:
    return msgspec.json.encode(case.course).decode()


def case_of(row: Row | tuple[Any, ...]) -> Case:
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
        opened=moment(row[11]),
        due=moment(row[12]),
        expires=moment(row[13]),
        fingerprint=row[14],
        binding=row[15],
        revision=row[16],
        course=msgspec.json.decode(row[17], type=Course),
    )
