"""What a caller left in the log: their events, and the salts that prove the texts of these events.

A salt is overwritten in place, so that the event stays as it was hashed and the salt is nowhere in the file.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gateway.audit import database
from gateway.audit.commitment import verify_commitment
from gateway.audit.secure_file import forget
from gateway.audit.turn import Turn
from gateway.audit.writer import begin
from gateway.domain.event import EventType

_CHUNK: Final = 20_000  # events that one reading looks through, so that it holds up nobody
_AT_ONCE: Final = 200  # events whose salts one transaction overwrites
_LOCK_TIMEOUT_S: Final = 5.0


class Traces(Struct, frozen=True):
    """Ids and places of the events, and how many exchanges they are of."""

    ids: tuple[str, ...] = ()
    places: tuple[int, ...] = ()
    exchanges: int = 0

    def __add__(self, other: "Traces") -> "Traces":
        return Traces(self.ids + other.ids, self.places + other.places, self.exchanges + other.exchanges)


def traces_of(log: Path, tenant: str, subject: str) -> Traces:
    """All events of the exchanges that a caller began, and those of theirs that belong to none. What they did with
    somebody else's exchange, as a reviewer, is that person's. Reads the whole log."""
    db = database.open_reader(log)
    try:
        with database.unavailable_on_error(log):
            found: dict[int, str] = {}
            requests: set[str] = set()
            for seq, event_id, kind, request in _by_principal(db, tenant, subject):
                if kind == EventType.INTENT:
                    requests.add(request)
                if not request:
                    found[seq] = event_id
            for request in requests:
                sql = "SELECT seq, id FROM events WHERE request = ? AND request <> ''"
                found.update(db.execute(sql, (request,)).fetchall())
    finally:
        db.close()
    return Traces(tuple(found.values()), tuple(found), len(requests))


def key_events_of(log: Path, tenant: str, user: str) -> Traces:
    """Events of API keys whose salted commitment is to this user's name."""
    db = database.open_reader(log)
    found: dict[int, str] = {}
    try:
        with database.unavailable_on_error(log):
            kinds = (EventType.KEY_CREATED.value, EventType.KEY_REVOKED.value)
            for row in database.rows(db, "WHERE tenant = ? AND type IN (?, ?)", (tenant, *kinds)):
                salt = database.salt_of(db, row.id, "/user")
                if salt and verify_commitment(msgspec.json.decode(row.body), ("user",), user, salt.value):
                    found[row.seq] = row.id
    finally:
        db.close()
    return Traces(tuple(found.values()), tuple(found))


def older_traces(log: Path, app: str, before: str, *, tenants: frozenset[str], but: frozenset[str]) -> Traces:
    """Events of an app that were written before a time (in the form of the log) and still have a salt, without those
    of `tenants` and those whose id is in `but`."""
    db = database.open_reader(log)
    try:
        with database.unavailable_on_error(log):
            sql = (
                "SELECT DISTINCT e.seq, e.id, e.tenant FROM events e JOIN salts s ON s.event_id = e.id "
                "WHERE e.app = ? AND e.ts < ? AND s.salt <> ?"
            )
            rows = db.execute(sql, (app, before, database.DESTROYED_SALT)).fetchall()
    finally:
        db.close()
    kept = [(seq, event_id) for seq, event_id, tenant in rows if tenant not in tenants and event_id not in but]
    return Traces(tuple(event_id for _, event_id in kept), tuple(seq for seq, _ in kept))


def apps_of(log: Path) -> list[str]:
    """The apps that the log has events of. Reads the whole log."""
    db = database.open_reader(log)
    try:
        with database.unavailable_on_error(log):
            return [row[0] for row in db.execute("SELECT DISTINCT app FROM events WHERE app <> '' ORDER BY app")]
    finally:
        db.close()


def destroy_salts(log: Path, ids: Iterable[str], *, patience_s: float) -> tuple[int, bool]:
    """Overwrite all salts of these events; how many there were, and whether no old page is left on disk (else somebody
    read for longer than `patience_s`, and it is to be done again). Takes turns with a running gateway. Raises
    `AuditUnavailable`."""
    done = 0
    wanted = list(ids)
    with _writing(log) as (db, turn):
        for start in range(0, len(wanted), _AT_ONCE):
            with turn:
                begin(db, _LOCK_TIMEOUT_S)
                for event_id in wanted[start : start + _AT_ONCE]:
                    sql = "UPDATE salts SET salt = ? WHERE event_id = ? AND salt <> ?"
                    values = (database.DESTROYED_SALT, event_id, database.DESTROYED_SALT)
                    done += db.execute(sql, values).rowcount
                db.execute("COMMIT")
        return done, forget(db, timeout_s=patience_s)


@contextmanager
def _writing(log: Path) -> Iterator[tuple[sqlite3.Connection, Turn]]:
    with database.unavailable_on_error(log):
        db = database.open_writer(log)
        try:
            turn = Turn(log)
            try:
                yield db, turn
            finally:
                turn.close()
        finally:
            db.close()


def _by_principal(db: sqlite3.Connection, tenant: str, subject: str) -> Iterator[tuple[int, str, str, str]]:
    # The bytes are canonical, so that a member is written in one way only.
    member = b'"principal":' + msgspec.json.encode(subject)
    end = database.read_tip(db).seq
    for start in range(0, end, _CHUNK):
        yield from db.execute(
            "SELECT seq, id, type, request FROM events WHERE seq > ? AND seq <= ? AND tenant = ? "
            "AND instr(body, ?) > 0",
            (start, start + _CHUNK, tenant, member),
        ).fetchall()
