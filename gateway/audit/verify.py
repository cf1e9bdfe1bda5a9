"""Checks a whole log from outside: nothing that the gateway says of it is believed.

Steps for each event: 1 its bytes, form, place and time (`integrity.Links`); 2 its boot began before; 3 its exchange
is in a state that allows it; 4 where a checkpoint was signed, the root is the one that was signed. At the end: 5 no
checkpoint covers more than there is; 6 no exchange of a boot that is over lacks its end.

What a chain alone cannot show: events cut off at the end, and a chain that was written anew from some event on.
Without a checkpoint of a key that the caller trusts, the outcome is therefore `verified-unanchored` at best.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from gateway.audit import database
from gateway.audit.anchoring import NOBODY, Anchor, Anchoring, Trust
from gateway.audit.boot import CRASHED
from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.entry import BEHIND, parse_timestamp
from gateway.audit.integrity import BadEvent, Links
from gateway.audit.liveness import live_boots
from gateway.audit.row import Row
from gateway.domain.event import EventType

_CHUNK: Final = 1_000  # short reads, so that a running gateway can trim its write-ahead log
_BEFORE_ALL: Final = -(2**63)


class Outcome(StrEnum):
    """From best to worst; of several that apply, the worst is the outcome."""

    VERIFIED_ANCHORED = "verified-anchored"  # and a trusted checkpoint covers all but the newest events
    VERIFIED_UNANCHORED = "verified-unanchored"
    INCOMPLETE = "incomplete"  # the chain holds; exchanges of a boot that is over have no end
    DIVERGED = "diverged"  # the chain holds, but a checkpoint was signed over other events, or over more
    INVALID = "invalid"

    @property
    def exit_code(self) -> int:
        """0, 0, 3, 5, 4: what was asked for held, or why not. A log that cannot be read at all is 2."""
        return _EXIT_CODES[self]


_EXIT_CODES: Final = {
    Outcome.VERIFIED_ANCHORED: 0,
    Outcome.VERIFIED_UNANCHORED: 0,
    Outcome.INCOMPLETE: 3,
    Outcome.INVALID: 4,
    Outcome.DIVERGED: 5,
}
COULD_NOT_RUN: Final = 2
NOT_ANCHORED: Final = 6
"""The exit code of `verified-unanchored` where an anchor was asked for."""

_AHEAD_S: Final = 300  # clocks of two organisations differ by less


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
    checkpoints: int = 0
    anchor: Anchor | None = None
    diverged: tuple[str, ...] = ()  # checkpoints that the log does not fit
    accepted: tuple[str, ...] = ()  # such checkpoints that two people accepted as lost
    unfinished: tuple[Unfinished, ...] = ()
    in_flight: int = 0  # exchanges of boots that still run
    crashed: int = 0  # exchanges settled as `unknown_after_crash`
    clock_steps: int = 0  # events written while the clock stood behind the log
    clock_ahead_s: int = 0  # by how much the last anchored event is later than its cosignature


def verify_log(path: Path, trust: Trust = NOBODY, copies: Sequence[SignedCheckpoint] = ()) -> Verification:
    """Read the whole log, also while it is written, and compare it with the checkpoints beside it and with `copies`
    that were kept elsewhere. Raises `AuditUnavailable` for a file that is no log."""
    alive = live_boots(path)  # before the end is read: what ends meanwhile is then in flight, not lost
    checkpoints = [*folder_of(path).read(), *copies]  # before the end is read, too: events are durable before signed
    db = database.open_reader(path)
    try:
        return _verify(db, alive, Anchoring(checkpoints, trust))
    finally:
        db.close()


def _verify(db: sqlite3.Connection, alive: frozenset[str], anchoring: Anchoring) -> Verification:
    links, exchanges = Links(), Exchanges()
    bad = None
    try:
        if not database.has_our_table(db):
            bad = BadEvent(seq=0, id="", what="the table of events was altered")
        else:
            bad = _first_bad(db, links, exchanges, anchoring)
    except (sqlite3.Error, OSError) as error:
        after = (links.seq or 0) + 1
        bad = BadEvent(seq=after, id="", what=f"the file cannot be read here: {database.reason_of(error)}")
    unfinished = tuple(one for one in exchanges.open.values() if one.boot not in alive)
    diverged, accepted = ([], []) if bad else anchoring.differences()
    return Verification(
        outcome=_outcome(bad, diverged, unfinished, anchoring.anchor),
        log=links.log,
        events=links.seq or 0,
        hash=links.prev,
        last_ts=links.ts,
        bad=bad,
        checkpoints=anchoring.count,
        anchor=anchoring.anchor,
        diverged=tuple(diverged),
        accepted=tuple(accepted),
        unfinished=unfinished,
        in_flight=len(exchanges.open) - len(unfinished),
        crashed=exchanges.crashed,
        clock_steps=exchanges.clock_steps,
        clock_ahead_s=_ahead(db, anchoring.anchor),
    )


def _outcome(
    bad: BadEvent | None, diverged: Sequence[str], unfinished: Sequence[Unfinished], anchor: Anchor | None
) -> Outcome:
    if bad:
        return Outcome.INVALID
    if diverged:
        return Outcome.DIVERGED
    if unfinished:
        return Outcome.INCOMPLETE
    return Outcome.VERIFIED_ANCHORED if anchor else Outcome.VERIFIED_UNANCHORED


def _ahead(db: sqlite3.Connection, anchor: Anchor | None) -> int:
    """How far the clock of the log was ahead of the witness's, in seconds, if that is more than clocks differ."""
    if anchor is None or not anchor.cosigned_at:
        return 0
    row = db.execute("SELECT ts FROM events WHERE seq = ?", (anchor.size,)).fetchone()
    ahead = int(parse_timestamp(row[0]).timestamp()) - anchor.cosigned_at
    return ahead if ahead > _AHEAD_S else 0


def _first_bad(db: sqlite3.Connection, links: Links, exchanges: "Exchanges", anchoring: Anchoring) -> BadEvent | None:
    for row in _all_rows(db):
        event = links.check(row)
        fault = event if isinstance(event, str) else exchanges.follow(event)
        if isinstance(event, str) or fault:
            return BadEvent(seq=row.seq, id=row.id, what=fault)
        links.accept(row, event)
        anchoring.follow(event, row.body)
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
