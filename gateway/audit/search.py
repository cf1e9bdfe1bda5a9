"""Searches a log by what its events say, a page at a time, with the help of its index.

The index says where to look. Every event that is returned was read from the log, has the hash that the log keeps, and
holds what was asked for; events that the index has not taken in yet are read one by one, so that a search always sees
the whole log. Without an index, or with one of another history, the log is read instead: slower, and as right.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, timedelta
from pathlib import Path
from typing import Final, Self

from msgspec import Struct, structs

from gateway.audit.commitment import verify_commitment
from gateway.audit.progress import NOTHING
from gateway.audit.read import AuditReader, Event, Filter
from gateway.audit.search_index import IndexReader
from gateway.audit.search_tally import Counts, Grouping, Tally, counted, merged, tallies_of
from gateway.audit.search_terms import RARE, term
from gateway.audit.text_tag import TextTags
from gateway.domain.errors import RequestError

MOST: Final = 1_000
_CURSOR: Final = re.compile(r"[1-9][0-9]{0,17}")
_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST_DAY: Final = "0000"
_LAST_DAY: Final = "9999"


class Page(Struct, frozen=True):
    """Events, the newest first. `next` is the cursor of the page after this one, "" after the last."""

    events: tuple[Event, ...]
    next: str


class Place(Struct, frozen=True):
    """Where a text stands: an event, and the JSON pointer to the commitment in it."""

    event: Event
    path: str


class AuditSearch:
    """A read-only view of a log and its index. Used by one thread at a time; close it after use."""

    def __init__(self, log: Path) -> None:
        """Raises `AuditUnavailable` for a file that is no log."""
        self.reader = AuditReader(log)
        self._index: IndexReader | None = None
        with suppress(sqlite3.Error, FileNotFoundError):
            index = IndexReader(log)
            if self.reader.fits(index.progress):
                self._index = index
            else:
                index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._index is not None:
            self._index.close()
        self.reader.__exit__()

    @property
    def indexed(self) -> int:
        """How many events the index has taken in."""
        return (self._index.progress if self._index is not None else NOTHING).seq

    def page(self, wanted: Filter, *, limit: int, cursor: str = "") -> Page:
        """At most `limit` (1 to 1,000) events from the cursor on. New events never move what a cursor stands for.
        Raises `RequestError` for a cursor that is none, `AuditUnavailable` for a damaged event."""
        if cursor and not _CURSOR.fullmatch(cursor):
            raise RequestError("`cursor` is not one of ours: begin without it", code="invalid_cursor", param="cursor")
        found: list[Event] = []
        for event in self.events(wanted, before=int(cursor) if cursor else None):
            if len(found) == limit:
                return Page(tuple(found), str(found[-1].seq))
            found.append(event)
        return Page(tuple(found), "")

    def events(self, wanted: Filter, *, before: int | None = None) -> Iterator[Event]:
        """All matching events, the newest first, from the place below `before` on; read as they are asked for."""
        first, end = self.reader.bounds(wanted)
        end = end if before is None else min(end, before)
        known = self._known(wanted)
        yield from self._read(wanted, max(first, known), end)
        end = min(end, known)
        try:
            for event in self._indexed(wanted, first, end, newest=True):
                yield event
                end = event.seq
        except sqlite3.Error:  # a damaged index: the rest is read from the log
            yield from self._read(wanted, first, end)

    def in_order(self, wanted: Filter) -> Iterator[Event]:
        """All matching events in the order of the log, up to the last that stands in it now."""
        first, end = self.reader.bounds(wanted)
        known = min(end, self._known(wanted))
        try:
            for event in self._indexed(wanted, first, known, newest=False):
                yield event
                first = event.seq + 1
            first = max(first, known)
        except sqlite3.Error:
            pass  # as above
        yield from self._read(wanted, first, end, newest=False)

    def texts(self, text: str, tags: TextTags, wanted: Filter, *, limit: int) -> list[Place]:
        """Where exactly this text was asked, answered or written, the newest first. A text whose salt was destroyed is
        not found any more, and nor is one that the log took while it had no index key."""
        first, end = self.reader.bounds(wanted)
        known = self.indexed
        places = [] if self._index is None else self._index.texts(tags.number(text))
        newer = range(end - 1, known, -1)
        found: list[Place] = []
        for seq in (*newer, *places):
            if first <= seq < end and len(found) < limit:
                event = self.reader.checked(seq)
                if wanted.holds(event.members):
                    found += self._matches(event, text)
        return found[:limit]

    def stats(
        self, wanted: Filter, *, by_day: bool = True, by_app: bool = True, by_tenant: bool = True
    ) -> tuple[Counts, ...]:
        """Counts of whole days (UTC): conditions on tenants, application and time are kept, others are not."""
        return counted(self.tallies(wanted, Grouping(day=by_day, tenant=by_tenant, app=by_app)))

    def tallies(self, wanted: Filter, by: Grouping) -> dict[Tally, int]:
        """What `stats` counts, to be grouped further (`merged`, `counted`)."""
        first = f"{wanted.since.astimezone(UTC):%Y-%m-%d}" if wanted.since else _FIRST_DAY
        last = f"{wanted.until.astimezone(UTC) - _MICROSECOND:%Y-%m-%d}" if wanted.until else _LAST_DAY
        tenants = wanted.tenants
        if wanted.tenant:
            tenants = frozenset({wanted.tenant}) if tenants is None else tenants & {wanted.tenant}
        newer = self.reader.search(Filter(tenants=tenants, app=wanted.app, first=self.indexed + 1))
        added = (pair for event in newer for pair in tallies_of(event.members))
        counts = merged((pair for pair in added if first <= pair[0].group.day <= last), by)
        if self._index is not None:
            chosen = None if tenants is None else tuple(sorted(tenants))
            counts.update(self._index.tallies(by, tenants=chosen, app=wanted.app, first=first, last=last))
        return counts

    def exchange(self, what: str, tenants: frozenset[str] | None = None) -> list[Event]:
        """All events of the exchange with this id, and those of its case, in the order of the log; empty if there is
        none that these tenants may see."""
        own = list(self.events(Filter(request=what, tenants=tenants))) if what else []
        cases = {event.members.get("case") for event in own if isinstance(event.members.get("case"), str)}
        for case in cases - {""}:
            own += self.events(Filter(case=str(case), tenants=tenants))
        return sorted({event.seq: event for event in own}.values(), key=lambda event: event.seq)

    def _known(self, wanted: Filter) -> int:
        """The place behind the last one that the index can find such events at."""
        useful = self._index is not None and not wanted.request and wanted.wanted
        return self.indexed + 1 if useful else 1

    def _indexed(self, wanted: Filter, first: int, end: int, *, newest: bool) -> Iterator[Event]:
        if self._index is None or first >= end:
            return
        groups = wanted.wanted
        rare = [[term(*one) for one in group] for group in groups if any(facet in RARE for facet, _ in group)]
        dense = [[term(*one) for one in group] for group in groups if not any(facet in RARE for facet, _ in group)]
        for seq in self._index.places(dense, rare, first, end, newest=newest):
            event = self.reader.checked(seq)
            if wanted.holds(event.members):
                yield event

    def _read(self, wanted: Filter, first: int, end: int, *, newest: bool = True) -> Iterator[Event]:
        if first < end:
            yield from self.reader.search(structs.replace(wanted, first=first, last=end - 1), newest=newest)

    def _matches(self, event: Event, text: str) -> Iterator[Place]:
        for path, salt in self.reader.salts(str(event.members.get("id"))):
            if verify_commitment(event.members, _steps(path), text, salt):
                yield Place(event, path)


def _steps(pointer: str) -> tuple[str | int, ...]:
    """The keys and indexes of a JSON pointer into an event. Keys of digits alone do not occur there."""
    parts = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    return tuple(int(part) if part.isdecimal() else part for part in parts)
