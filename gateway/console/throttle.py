"""Slows down guessing: after some failed sign-ins each further one has to wait, twice as long every time."""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from gateway.console.database import ConsoleDatabase

_LONGEST: Final = timedelta(minutes=15)
_FORGOTTEN: Final = timedelta(hours=1)
_FREE: Final = {"pair": 5, "name": 20, "address": 50}
"""How many failures are free: of a name from one address, of a name from anywhere, from one address."""


class _Failures(Struct, frozen=True):
    count: int
    last: str


class Throttle:
    """Counts failures by name, by address and by both, so that neither one address tries many names nor many
    addresses try one name, and so that a stranger cannot easily keep a person out. All methods block."""

    def __init__(self, db: ConsoleDatabase) -> None:
        self._db = db

    def admitted(self, name: str, address: str, *, now: datetime) -> int:
        """Seconds until this sign-in may be tried. 0 counts it, before its password is looked at: of many at once, in
        all workers, no more are let in than would be one after the other."""
        self._db.write("DELETE FROM failures WHERE last < ?", (now - _FORGOTTEN).isoformat())
        while True:
            seen = [(kind, who, self._failures(who)) for kind, who in _keys(name, address)]
            wait_s = max(_wait_s(kind, failures, now) for kind, _, failures in seen)
            if wait_s or all(self._count(who, failures, now) for _, who, failures in seen):
                return wait_s

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of the name; those of the address stay, without this one."""
        for kind, who in _keys(name, address):
            if kind == "address":
                self._db.write("UPDATE failures SET count = count - 1 WHERE who = ? AND count > 0", who)
            else:
                self._db.write("DELETE FROM failures WHERE who = ?", who)

    def _failures(self, who: str) -> _Failures | None:
        row = self._db.one("SELECT count, last FROM failures WHERE who = ?", who)
        return _Failures(*row) if row else None

    def _count(self, who: str, seen: _Failures | None, now: datetime) -> bool:
        """Whether nobody else has counted since `seen`: a comparison and its write are one statement."""
        if seen is None:
            return self._db.write("INSERT OR IGNORE INTO failures VALUES (?, 1, ?)", who, now.isoformat()) == 1
        sql = "UPDATE failures SET count = count + 1, last = ? WHERE who = ? AND count = ? AND last = ?"
        return self._db.write(sql, now.isoformat(), who, seen.count, seen.last) == 1


def _wait_s(kind: str, failures: _Failures | None, now: datetime) -> int:
    if failures is None or failures.count < _FREE[kind]:
        return 0
    pause = min(_LONGEST, timedelta(seconds=2 ** min(failures.count - _FREE[kind] + 1, 20)))
    left = datetime.fromisoformat(failures.last) + pause - now
    return max(0, -(-left // timedelta(seconds=1)))


def _keys(name: str, address: str) -> tuple[tuple[str, str], ...]:
    """What failures are counted by; hashed, since people type passwords into the wrong field."""
    # The one that most others count too comes first: a race that is lost there has counted nothing yet.
    parts = {"address": address, "name": name, "pair": f"{address} {name}"}
    return tuple(
        (kind, hashlib.sha256(f"{kind}:{part}".encode("utf-8", "surrogatepass")).hexdigest())
        for kind, part in parts.items()
    )
