"""Checks a whole log from outside: nothing that the gateway says of it is believed.

Steps for each event: 1 its bytes, form, place and time (`integrity.Links`); 2 its boot began before; 3 its exchange
is in a state that allows it. At the end: 4 no exchange of a boot that is over lacks its end.

What a chain alone cannot show: events cut off at the end, and a chain that was written anew from some event on.
Both need a copy of a later hash outside the log; the outcome is therefore `verified-unanchored`.
"""

import sqlite3
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from gateway.audit import database
from gateway.audit.boot import CRASHED
from gateway.audit.entry import BEHIND
from gateway.audit.integrity import BadEvent, Links
from gateway.audit.liveness import live_boots
from gateway.audit.row import Row
from gateway.domain.event import EventType

_CHUNK: Final = 1_000  # short reads, so that a running gateway can trim its write-ahead log
_BEFORE_ALL: Final = -(2**63)


class Outcome(StrEnum):
    VERIFIED_UNANCHORED = "verified-unanchored"
    INCOMPLETE = "incomplete"  # the chain holds; exchanges of a boot that is over have no end
    INVALID = "invalid"

    @property
    def exit_code(self) -> int:
        """0, 3 or 4. A log that cannot be read at all is 2."""
        return _EXIT_CODES[self]


_EXIT_CODES: Final = {Outcome.VERIFIED_UNANCHORED: 0, Outcome.INCOMPLETE: 3, Outcome.INVALID: 4}
COULD_NOT_RUN: Final = 2


class Unfinished(Struct, frozen=True):
    """An exchange without its end: the place and the boot of its intent."""

    request: str
    seq: int
    boot: str


class Verification(Struct, frozen=True, kw_only=True):
    """What was found. `events` counts the valid ones before `bad`, or all; `hash` is that of the last of them."""

    outcome: Outcome
    log: str
    events: int
    hash: str
    last_ts: str
    bad: BadEvent | None = None
    unfinished: tuple[Unfinished, ...] = ()
    in_flight: int = 0  # exchanges of boots that still run
    crashed: int = 0  # exchanges settled as `unknown_after_crash`
    clock_steps: int = 0  # events written while the clock stood behind the log


def verify_log(path: Path) -> Verification:
    """Read the whole log, also while it is written. Raises `AuditUnavailable` for a file that is no log."""
    alive = live_boots(path)  # before the end is read: what ends meanwhile is then in flight, not lost
    db = database.open_reader(path)
    try:
        return _verify(db, alive)
    finally:
        db.close()


def _verify(db: sqlite3.Connection, alive: frozenset[str]) -> Verification:
    links, exchanges = Links(), Exchanges()
    bad = None
    try:
        if not database.has_our_table(db):
            bad = BadEvent(seq=0, id="", what="the table of events was altered")
        else:
            bad = _first_bad(db, links, exchanges)
    except (sqlite3.Error, OSError) as error:
        after = (links.seq or 0) + 1
        bad = BadEvent(seq=after, id="", what=f"the file cannot be read here: {database.reason_of(error)}")
    unfinished = tuple(one for one in exchanges.open.values() if one.boot not in alive)
    sound = Outcome.INCOMPLETE if unfinished else Outcome.VERIFIED_UNANCHORED
    return Verification(
        outcome=Outcome.INVALID if bad else sound,
        log=links.log,
        events=links.seq or 0,
        hash=links.prev,
        last_ts=links.ts,
        bad=bad,
        unfinished=unfinished,
        in_flight=len(exchanges.open) - len(unfinished),
        crashed=exchanges.crashed,
        clock_steps=exchanges.clock_steps,
    )


def _first_bad(db: sqlite3.Connection, links: Links, exchanges: "Exchanges") -> BadEvent | None:
    for row in _all_rows(db):
        event = links.check(row)
        fault = event if isinstance(event, str) else exchanges.follow(event)
        if isinstance(event, str) or fault:
            return BadEvent(seq=row.seq, id=row.id, what=fault)
        links.accept(row, event)
    return None


def _all_rows(db: sqlite3.Connection) -> Iterator[Row]:
    """The events up to the one that is the last now."""
    end = database.read_tip(db).seq
    after = _BEFORE_ALL
    more = True
    while more:
        more = False
        for row in database.rows(db, "WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?", (after, end, _CHUNK)):
            yield row
            after, more = row.seq, True


class Exchanges:
    """The state of each exchange while the log is read in order. Holds every request id of the log: some 100
    bytes an exchange. Not thread-safe."""

    def __init__(self) -> None:
        self.open: dict[str, Unfinished] = {}
        self.crashed = 0
        self.clock_steps = 0
        self._streaming: set[str] = set()
        self._ended: set[str] = set()
        self._boots: set[str] = set()

    def follow(self, event: dict[str, Any]) -> str:
        """What is wrong with the next event, given those before; "" if nothing is."""
        self.clock_steps += BEHIND in event
        fault = self._boot_fault(event)
        if fault:
            return fault
        request = event["request"]
        match event["type"]:
            case EventType.INTENT:
                if request in self.open or request in self._ended:
                    return "it is the second `intent` of its request"
                self.open[request] = Unfinished(request, event["seq"], event["boot"])
            case EventType.STREAM_OPEN:
                if request in self._streaming:
                    return "it is the second `stream.open` of its request"
                if request not in self.open:
                    return self._without_intent(event)
                self._streaming.add(request)
            case EventType.OUTCOME | EventType.STREAM_CLOSE:
                return self._end(event)
            case _:
                pass  # no part of an exchange's states
        return ""

    def _boot_fault(self, event: dict[str, Any]) -> str:
        boot = event["boot"]
        if event["type"] == EventType.LOG_BOOT:
            if boot in self._boots:
                return "it is the second `log.boot` of its boot"
            self._boots.add(boot)
        return "" if boot in self._boots else "its boot has no `log.boot`"

    def _end(self, event: dict[str, Any]) -> str:
        request = event["request"]
        if request not in self.open:
            return self._without_intent(event)
        if event["type"] == EventType.STREAM_CLOSE and request not in self._streaming:
            return "it is a `stream.close` without `stream.open`"
        del self.open[request]
        self._streaming.discard(request)
        self._ended.add(request)
        self.crashed += event.get("reason") == CRASHED["reason"]
        return ""

    def _without_intent(self, event: dict[str, Any]) -> str:
        if event["request"] in self._ended:
            return f"it is a `{event['type']}` of a request that had ended"
        return f"it is a `{event['type']}` without `intent`"
