"""Whether stored rows form a chain: pure checks shared by the boot and the verifier."""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.audit.canonical import canonical
from gateway.audit.entry import BEHIND, ENVELOPE, VERSION, check_body, parse_timestamp
from gateway.audit.row import Row

_ZEROS: Final = "sha256:" + bytes(32).hex()
_COLUMNS: Final = ("seq", "id", "type", "ts", "request", "tenant", "app")
_TEXTS: Final = ENVELOPE - {"v", "seq"}


class BadEvent(Struct, frozen=True, kw_only=True):
    """The first event that is not what the log wrote. `seq` 0 stands for the log as a whole."""

    seq: int
    id: str
    what: str

    def __str__(self) -> str:
        return f"event {self.seq} (id `{self.id}`): {self.what}"


class Links:
    """Checks events one after the other against the event before: `check` each, then `accept` it. `log` is the
    expected name, "" for the name that the first event has. Not thread-safe."""

    __slots__ = ("log", "prev", "seq", "ts")

    def __init__(self, log: str = "") -> None:
        self.log = log
        self.seq: int | None = None
        self.prev = _ZEROS
        self.ts = ""

    def check(self, row: Row) -> str | dict[str, Any]:
        """The decoded event, or what is wrong with it. Steps: 1 bytes and hash, 2 form, 3 place, 4 time."""
        # 1 bytes and hash
        if type(row.body) is not bytes or type(row.hash) is not bytes:
            return "its bytes are not stored as bytes"
        if hashlib.sha256(row.body).digest() != row.hash:
            return "its bytes do not have the stored hash"
        # 2 form
        event = _decode(row)
        if isinstance(event, str):
            return event
        # 3 place
        return self._place_fault(event) or self._time_fault(event) or event

    def accept(self, row: Row, event: dict[str, Any]) -> None:
        """Take a checked event as the one before the next."""
        self.log, self.seq, self.ts = event["log"], event["seq"], event["ts"]
        self.prev = f"sha256:{row.hash.hex()}"

    def start_within(self, row: Row) -> None:
        """Take the first row as given: what was before it is not looked at."""
        self.seq = row.seq - 1
        try:
            self.prev = msgspec.json.decode(row.body)["prev"]
        except (msgspec.DecodeError, KeyError, TypeError, UnicodeDecodeError):
            self.prev = ""  # `check` says what is wrong with the row

    def _place_fault(self, event: dict[str, Any]) -> str:
        expected = (self.seq or 0) + 1
        if event["seq"] != expected:
            return f"it stands where event {expected} belongs"
        if event["prev"] != self.prev:
            return "its `prev` is not the hash of the event before it"
        if self.log and event["log"] != self.log:
            return f"it belongs to the log `{event['log'][:80]}`, not to `{self.log}`"
        return ""

    # 4 time
    def _time_fault(self, event: dict[str, Any]) -> str:
        try:
            parse_timestamp(event["ts"])
        except ValueError:
            return "its `ts` is not a time"
        if event["ts"] < self.ts:
            return "its `ts` is before that of the event before it"
        behind = event.get(BEHIND, 1)
        if type(behind) is not int or behind <= 0:
            return f"its `{BEHIND}` is not a positive number"
        return ""


def check_links(rows: Iterable[Row], log: str) -> BadEvent | None:
    """The first bad event among rows that follow each other; the first of them may stand anywhere in the log."""
    links = Links(log)
    for row in rows:
        if links.seq is None and row.seq > 1:
            links.start_within(row)
        result = links.check(row)
        if isinstance(result, str):
            return BadEvent(seq=row.seq, id=row.id, what=result)
        links.accept(row, result)
    return None


def _decode(row: Row) -> dict[str, Any] | str:
    """The event if its bytes are canonical, it has the envelope, and it agrees with the columns of its row."""
    try:
        event = msgspec.json.decode(row.body)
        if not isinstance(event, dict) or canonical(event) != row.body:
            return "its bytes are not canonical JSON"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, ValueError):
        return "its bytes are not canonical JSON"
    if event.get("v") != VERSION:
        return f"its version is not {VERSION}: use a newer verifier"
    if (
        not event.keys() >= ENVELOPE
        or not all(type(event[key]) is str for key in _TEXTS)
        or type(event["seq"]) is not int
    ):
        return "it lacks a member that every event has"
    for column in _COLUMNS:
        if event[column] != getattr(row, column):
            return f"its column `{column}` differs from its bytes"
    try:
        check_body(event["type"], event["request"], event)
    except ValueError as error:
        return str(error)
    return event
