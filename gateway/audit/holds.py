"""Legal holds: what they cover is neither erased nor purged. Two people: who set one does not clear it.

INVARIANT: a hold is in force from before its `hold.set` is written until after its `hold.clear` is.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from msgspec import Struct

from gateway.audit.body_read import check_reason
from gateway.audit.secure_file import open_secure, unavailable_on_error
from gateway.domain.errors import RequestError
from gateway.domain.event import EventDraft, EventType, Receipt

WHAT: Final = "store of legal holds"
_APPLICATION_ID: Final = 0x6175686F  # "auho"
_STATEMENTS: Final = (
    """CREATE TABLE holds (
      id TEXT PRIMARY KEY, tenant TEXT NOT NULL, subject TEXT NOT NULL, reason TEXT NOT NULL, set_by TEXT NOT NULL,
      set_at TEXT NOT NULL, cleared_by TEXT NOT NULL, cleared_at TEXT NOT NULL
    ) STRICT""",
)
_COLUMNS: Final = "id, tenant, subject, reason, set_by, set_at, cleared_by, cleared_at"

Append = Callable[[EventDraft], Awaitable[Receipt]]


class Person(Struct, frozen=True):
    """Who acts: `ref` is `Principal.ref`; `person` is the same for one human whichever app their key is for."""

    ref: str
    person: str


class Hold(Struct, frozen=True, kw_only=True):
    """A hold on one caller of a tenant, or on the whole tenant if `subject` is empty. `set_by` and `cleared_by` are
    persons. Times are ISO 8601 in UTC."""

    id: str
    tenant: str
    subject: str
    reason: str
    set_by: str
    set_at: str
    cleared_by: str = ""
    cleared_at: str = ""

    def covers(self, tenant: str, subject: str) -> bool:
        return not self.cleared_at and self.tenant == tenant and self.subject in ("", subject)


class Holds:
    """Used by one thread at a time, beside other processes. Methods raise `AuditUnavailable`."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        return cls(open_secure(path, what=WHAT, application_id=_APPLICATION_ID, statements=_STATEMENTS), path)

    def list(self) -> list[Hold]:
        """All holds, cleared ones included, oldest first."""
        with unavailable_on_error(self._path, WHAT):
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM holds ORDER BY set_at, id").fetchall()  # noqa: S608 names of ours
        return [Hold(**dict(zip(Hold.__struct_fields__, row, strict=True))) for row in rows]

    def covering(self, tenant: str, subject: str) -> tuple[Hold, ...]:
        """Holds in force on a caller."""
        return tuple(hold for hold in self.list() if hold.covers(tenant, subject))

    async def set(
        self, append: Append, *, hold_id: str, tenant: str, subject: str, by: Person, reason: str, now: datetime
    ) -> Hold:
        """Put a hold in force, and record it. Raises `RequestError` for a reason that is none."""
        check_reason(reason)
        hold = Hold(id=hold_id, tenant=tenant, subject=subject, reason=reason, set_by=by.person, set_at=moment(now))
        values = (hold.id, tenant, subject, reason, hold.set_by, hold.set_at, "", "")
        with unavailable_on_error(self._path, WHAT):
            self._db.execute("INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        body = {"hold": hold.id, "subject": subject, "reason": reason, "person": by.person}
        await append(EventDraft(type=EventType.HOLD_SET, tenant=tenant, principal=by.ref, body=body))
        return hold

    async def clear(self, append: Append, hold_id: str, *, by: Person, reason: str, now: datetime) -> Hold:
        """Record that a hold ends, and end it: the hold as it was. Raises `RequestError`: 404, 409 for one that is
        over, 403 for the person who set it."""
        check_reason(reason)
        hold = next((one for one in self.list() if one.id == hold_id), None)
        if hold is None:
            raise RequestError(f"there is no hold `{hold_id[:80]}`", code="hold_not_found", status=404)
        if hold.cleared_at:
            raise RequestError(f"the hold `{hold.id}` is over already", code="hold_cleared", status=409)
        if by.person == hold.set_by:
            raise RequestError(
                "who set a hold does not clear it: another person must", code="second_person_required", status=403
            )
        body = {
            "hold": hold.id,
            "subject": hold.subject,
            "reason": reason,
            "person": by.person,
            "set_by": hold.set_by,
        }
        await append(EventDraft(type=EventType.HOLD_CLEAR, tenant=hold.tenant, principal=by.ref, body=body))
        sql = "UPDATE holds SET cleared_by = ?, cleared_at = ? WHERE id = ?"
        with unavailable_on_error(self._path, WHAT):
            self._db.execute(sql, (by.person, moment(now), hold.id))
        return hold

    def close(self) -> None:
        self._db.close()


def moment(now: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
