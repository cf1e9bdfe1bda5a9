"""What a store of cases asks of a database: statements with `?` for values, transactions that are all or nothing.

The statements are the same for SQLite and PostgreSQL; what differs is here by name. Times go in as aware UTC
`datetime`s, and come out as such or as their ISO form.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

Value = str | int | bytes | datetime | None
Row = tuple[Any, ...]


class AlreadyThere(Exception):
    """A unique index has the row already. The transaction it came up in has been undone."""


class Session(Protocol):
    """One transaction, or one reading; for the thread that runs it."""

    skip_locked: str
    """Behind a `SELECT`: take the rows for this transaction and pass over those that another one has taken. Empty
    where only one transaction writes at a time."""

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]: ...

    def change(self, sql: str, values: Sequence[Value] = ()) -> int:
        """The number of rows changed. Raises `AlreadyThere`."""
        ...


class Database(Protocol):
    """Runs work off the event loop. Raises `GuardUnavailable` for a database that does not work."""

    async def read(self, work: Callable[[Session], T]) -> T: ...

    async def write(self, work: Callable[[Session], T]) -> T:
        """In one transaction, durable once this returns; undone if `work` raises."""
        ...

    async def scrub(self) -> bool:
        """Write the tables anew, so that nothing of what was deleted is left in them. False if somebody who reads
        prevented that: to be tried again."""
        ...

    def close(self) -> None:
        """Finish what runs and close."""
        ...


def moment(value: datetime | str) -> datetime:
    """A time as it came out of a database."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
