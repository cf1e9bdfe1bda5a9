"""Reads events of a log: by exchange, place, time, type, tenant and application. Works beside a running gateway."""

import hashlib
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from msgspec import Struct

from gateway.audit import database
from gateway.audit.entry import VERSION, timestamp
from gateway.audit.progress import Progress, fits
from gateway.audit.row import Row
from gateway.audit.search_terms import Facet, Found, facets_of
from gateway.domain.errors import AuditUnavailable

_CHUNK: Final = 500


class Event(Struct, frozen=True, kw_only=True):
    """A stored event. `members` is its decoded JSON, `hash` the hex SHA-256 of `body`, its canonical bytes."""

    seq: int
    hash: str
    members: dict[str, Any]
    body: bytes


class Filter(Struct, frozen=True, kw_only=True):
    """All conditions hold together; an empty one holds always. `since` is inclusive, `until` exclusive; both are
    aware. `first` and `last` are inclusive places. `tenants` restricts what the asker may see; `None` is no bound."""

    request: str = ""
    types: frozenset[str] = frozenset()
    tenant: str = ""
    app: str = ""
    principal: str = ""
    effect: str = ""
    rule: str = ""
    case: str = ""
    commitment: str = ""
    tenants: frozenset[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    first: int = 1
    last: int | None = None

    @property
    def wanted(self) -> tuple[frozenset[Found], ...]:
        """Of each group an event must have one."""
        groups = [frozenset((Facet.TYPE, kind) for kind in self.types)] if self.types else []
        if self.tenants is not None:
            groups.append(frozenset((Facet.TENANT, tenant) for tenant in self.tenants))
        for facet in _SINGLE:
            value = getattr(self, facet.value)
            if value:
                groups.append(frozenset({(facet, value)}))
        return tuple(groups)

    def holds(self, event: dict[str, Any]) -> bool:
        """Whether a decoded event fits all but the conditions on place and time."""
        if self.request and event.get("request") != self.request:
            return False
        own = facets_of(event)
        return not any(own.isdisjoint(group) for group in self.wanted)


_SINGLE: Final = tuple(facet for facet in Facet if facet is not Facet.TYPE)
EVERYTHING: Final = Filter()


class AuditReader:
    """A read-only view of a log. Used by one thread at a time; close it after use (context manager)."""

    def __init__(self, path: Path) -> None:
        """Raises `AuditUnavailable` for a file that is no log."""
        self._path = path
        self._db = database.open_reader(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def search(self, wanted: Filter = EVERYTHING, *, limit: int | None = None, newest: bool = False) -> Iterator[Event]:
        """Matching events in log order, or the newest first. Read in portions, so that a long export does not
        hold up the gateway. Raises `AuditUnavailable` when the file is damaged; it does not verify the chain."""
        with database.unavailable_on_error(self._path):
            first, end, condition, values = self._conditions(wanted)
            checked = any((wanted.principal, wanted.effect, wanted.rule, wanted.case, wanted.commitment))
            order = "DESC" if newest else "ASC"
            left = limit
            while left is None or left > 0:
                size = _CHUNK if left is None or checked else min(_CHUNK, left)
                clause = f"WHERE seq >= ? AND seq < ? {condition} ORDER BY seq {order} LIMIT ?"
                found = list(database.rows(self._db, clause, (first, end, *values, size)))
                for row in found:
                    event = self._event(row)
                    if not checked or wanted.holds(event.members):
                        yield event
                        left = None if left is None else left - 1
                        if left == 0:
                            return
                if len(found) < size:
                    return
                first, end = (first, found[-1].seq) if newest else (found[-1].seq + 1, end)

    def timeline(self, request: str) -> list[Event]:
        """All events of one exchange, in order; empty if there is none."""
        return list(self.search(Filter(request=request))) if request else []

    def find(self, what: str) -> list[Event]:
        """The event with this place or id, or else all events of this exchange; empty if there is none."""
        if what.isascii() and what.isdecimal() and len(what) < 19:
            return list(self.search(Filter(first=int(what), last=int(what))))
        with database.unavailable_on_error(self._path):
            row = self._db.execute("SELECT seq FROM events WHERE id = ?", (what,)).fetchone()
        return list(self.search(Filter(first=row[0], last=row[0]))) if row else self.timeline(what)

    def last_exchange(self) -> str:
        """The id of the exchange that the log heard of last, "" if of none."""
        with database.unavailable_on_error(self._path):
            row = self._db.execute(
                "SELECT request FROM events WHERE request <> '' ORDER BY seq DESC LIMIT 1"
            ).fetchone()
        return str(row[0]) if row else ""

    def salt(self, event_id: str, path: str) -> bytes | None:
        """The salt of the commitment at a JSON pointer of an event, `None` once it is destroyed."""
        with database.unavailable_on_error(self._path):
            salt = database.salt_of(self._db, event_id, path)
        return salt.value if salt else None

    def salts(self, event_id: str) -> list[tuple[str, bytes]]:
        """Path and salt of every commitment of an event that can still be opened."""
        with database.unavailable_on_error(self._path):
            return self._db.execute(
                "SELECT path, salt FROM salts WHERE event_id = ? AND salt <> ?", (event_id, database.DESTROYED_SALT)
            ).fetchall()

    def checked(self, seq: int) -> Event:
        """The event at a place, whose bytes have the hash that the log keeps. Raises `AuditUnavailable` if they have
        not, or if there is none: what an index says is no evidence."""
        with database.unavailable_on_error(self._path):
            row = next(database.rows(self._db, "WHERE seq = ?", (seq,)), None)
        if row is None or hashlib.sha256(row.body).digest() != row.hash:
            raise AuditUnavailable(
                f"event {seq} of the audit log `{self._path}` is damaged: run `gateway audit verify`",
                code="audit_damaged",
            )
        return self._event(row)

    def fits(self, progress: Progress) -> bool:
        """Whether an index that came so far was made from this log."""
        with database.unavailable_on_error(self._path):
            return fits(self._db, progress)

    def bounds(self, wanted: Filter) -> tuple[int, int]:
        """The places that the conditions on place and time leave: the first, and the one after the last."""
        first = wanted.first
        with database.unavailable_on_error(self._path):
            end = database.read_tip(self._db).seq + 1
            if wanted.last is not None:
                end = min(end, wanted.last + 1)
            if wanted.since is not None:
                first = max(first, _first_seq_at(self._db, timestamp(wanted.since)))
            if wanted.until is not None:
                end = min(end, _first_seq_at(self._db, timestamp(wanted.until)))
        return max(1, first), end

    def _conditions(self, wanted: Filter) -> tuple[int, int, str, list[Any]]:
        first, end = self.bounds(wanted)
        condition, values = "", []
        for column, value in (("request", wanted.request), ("tenant", wanted.tenant), ("app", wanted.app)):
            if value:
                condition += f" AND {column} = ?"
                values.append(value)
        if wanted.tenants is not None:
            condition += f" AND tenant IN ({','.join('?' * len(wanted.tenants))})"
            values += sorted(wanted.tenants)
        if wanted.types:
            condition += f" AND type IN ({','.join('?' * len(wanted.types))})"
            values += sorted(wanted.types)
        if wanted.request:
            condition += " AND request <> ''"  # lets SQLite use the index, which leaves those out
        return first, end, condition, values

    def _event(self, row: Row) -> Event:
        try:
            members = msgspec.json.decode(row.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
            raise AuditUnavailable(
                f"event {row.seq} of the audit log `{self._path}` is damaged: run `gateway audit verify`"
            ) from None
        if members.get("v") != VERSION:
            raise AuditUnavailable(
                f"event {row.seq} of the audit log `{self._path}` has a version that this gateway does not know: use a "
                "newer gateway",
                code="event_version_unknown",
            )
        return Event(seq=row.seq, hash=row.hash.hex(), members=members, body=row.body)


def _first_seq_at(db: sqlite3.Connection, moment: str) -> int:
    """The first place whose time is `moment` or later, by bisection: time never decreases along the log."""
    low, high = 1, database.read_tip(db).seq + 1
    while low < high:
        middle = (low + high) // 2
        row = db.execute("SELECT ts FROM events WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,)).fetchone()
        if row is not None and row[0] < moment:
            low = middle + 1
        else:
            high = middle
    return low
