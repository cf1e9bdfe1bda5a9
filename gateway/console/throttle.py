"""Slows down guessing: after some failed sign-ins each further one has to wait, twice as long every time."""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from gateway.console.database import ConsoleDatabase

_LONGEST: Final = timedelta(minutes=15)
_FORGOTTEN: Final = timedelta(hours=1)
_FREE: Final = {"pair": 5, "name": 20, "address": 50}
"""How many failures are free: of a name from one address, of a name from anywhere, from one address."""


class Throttle:
    """Counts failures by name, by address and by both, so that neither one address tries many names nor many
    addresses try one name, and so that a stranger cannot easily keep a person out. All methods block."""

    def __init__(self, db: ConsoleDatabase) -> None:
        self._db = db

    def wait_s(self, name: str, address: str, *, now: datetime) -> int:
        """Seconds until this sign-in may be tried, 0 for now."""
        return max(self._wait_s(kind, who, now) for kind, who in _keys(name, address))

    def tried(self, name: str, address: str, *, now: datetime) -> None:
        """Count a sign-in before its password is looked at, so that many at once are no way around."""
        self._db.write("DELETE FROM failures WHERE last < ?", (now - _FORGOTTEN).isoformat())
        for _, who in _keys(name, address):
            self._db.write(
                "INSERT INTO failures VALUES (?, 1, ?) ON CONFLICT (who) DO UPDATE SET count = count + 1, last = ?",
                who,
                now.isoformat(),
                now.isoformat(),
            )

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of the name; those of the address stay, without this one."""
        for kind, who in _keys(name, address):
            if kind == "address":
                self._db.write("UPDATE failures SET count = count - 1 WHERE who = ? AND count > 0", who)
            else:
                self._db.write("DELETE FROM failures WHERE who = ?", who)

    def _wait_s(self, kind: str, who: str, now: datetime) -> int:
        row = self._db.one("SELECT count, last FROM failures WHERE who = ?", who)
        if row is None or row[0] < _FREE[kind]:
            return 0
        pause = min(_LONGEST, timedelta(seconds=2 ** min(row[0] - _FREE[kind] + 1, 20)))
        left = datetime.fromisoformat(row[1]) + pause - now
        return max(0, -(-left // timedelta(seconds=1)))


def _keys(name: str, address: str) -> tuple[tuple[str, str], ...]:
    """What failures are counted by; hashed, since people type passwords into the wrong field."""
    parts = {"pair": f"{address} {name}", "name": name, "address": address}
    return tuple(
        (kind, hashlib.sha256(f"{kind}:{part}".encode("utf-8", "surrogatepass")).hexdigest())
        for kind, part in parts.items()
    )
