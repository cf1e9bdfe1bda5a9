import hashlib
import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.canonical import canonical
from gateway.audit.verify import Outcome, Verification, verify_log
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType

Row = dict[str, Any]
EXCHANGES = 6
COLUMNS = ("seq", "id", "type", "ts", "request", "tenant", "app", "hash", "body")


@pytest.fixture
async def path(logs, exchange) -> Path:
    """A log of 13 events: the boot, then intent and outcome of six exchanges."""
    log = logs.open()
    for number in range(EXCHANGES):
        for draft in exchange(f"r{number}"):
            await log.append(draft)
    log.close()
    return logs.path


def change(path: Path, edit: Callable[[list[Row]], None]) -> Verification:
    """Verify the log as somebody with write access to the file left it."""
    db = sqlite3.connect(path)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in db.execute(f"SELECT {','.join(COLUMNS)} FROM events")]
    edit(rows)
    db.execute("DELETE FROM events")
    db.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?)", [tuple(row[c] for c in COLUMNS) for row in rows])
    db.commit()
    db.close()
    return verify_log(path)


def rows_before(seq: int, path: Path) -> list[tuple[int]]:
    db = sqlite3.connect(path)
    found = db.execute("SELECT seq FROM events WHERE seq < ?", (seq,)).fetchall()
    db.close()
    return found


def event(row: Row) -> dict[str, Any]:
    return json.loads(row["body"])


def put(row: Row, content: dict[str, Any]) -> None:
    """Store an event as if the log had written it: canonical, with its hash and columns."""
    row["body"] = canonical(content)
    row["hash"] = hashlib.sha256(row["body"]).digest()
    row.update({column: content[column] for column in COLUMNS[:-2]})


def rechain(rows: list[Row], start: int) -> None:
    """Compute the chain anew from an index on."""
    for index in range(start, len(rows)):
        prev = rows[index - 1]["hash"] if index else bytes(32)
        put(rows[index], {**event(rows[index]), "seq": index + 1, "prev": "sha256:" + prev.hex()})


def edit_bytes(rows: list[Row]) -> None:
    rows[4]["body"] = rows[4]["body"].replace(b"700000", b"900000")


def edit_and_rehash(rows: list[Row]) -> None:
    put(rows[4], {**event(rows[4]), "effect": "refuse"})


def edit_not_canonical(rows: list[Row]) -> None:
    rows[4]["body"] = rows[4]["body"] + b" "
    rows[4]["hash"] = hashlib.sha256(rows[4]["body"]).digest()


def swap(rows: list[Row]) -> None:
    for column in COLUMNS[1:]:
        rows[4][column], rows[6][column] = rows[6][column], rows[4][column]


def swap_with_seq(rows: list[Row]) -> None:
    one, other = event(rows[4]), event(rows[6])
    put(rows[4], {**other, "seq": 5})
    put(rows[6], {**one, "seq": 7})


def insert(rows: list[Row]) -> None:
    rows.insert(4, dict(rows[4]))
    for index in range(5, len(rows)):
        put(rows[index], {**event(rows[index]), "seq": index + 1})


def column(name: str, value: object) -> Callable[[list[Row]], None]:
    def edit(rows: list[Row]) -> None:
        rows[4][name] = value

    return edit


def rechained(**changes: object) -> Callable[[list[Row]], None]:
    """A skilled forger: an event changed and the chain computed anew behind it."""

    def edit(rows: list[Row]) -> None:
        put(rows[4], {**event(rows[4]), **changes})
        rechain(rows, 5)

    return edit


def without(index: int) -> Callable[[list[Row]], None]:
    def edit(rows: list[Row]) -> None:
        del rows[index]
        rechain(rows, index)

    return edit


def copied(index: int, at: int) -> Callable[[list[Row]], None]:
    def edit(rows: list[Row]) -> None:
        rows.insert(at, dict(rows[index]))
        rechain(rows, at)

    return edit


@pytest.mark.parametrize(
    ("edit", "seq", "what"),
    [
        (edit_bytes, 5, "do not have the stored hash"),
        (edit_and_rehash, 6, "`prev` is not the hash"),
        (edit_not_canonical, 5, "not canonical JSON"),
        (lambda rows: rows.pop(4), 6, "stands where event 5 belongs"),
        (lambda rows: rows.pop(0), 2, "stands where event 1 belongs"),
        (swap, 5, "column `seq` differs"),
        (swap_with_seq, 5, "`prev` is not the hash"),
        (insert, 6, "`prev` is not the hash"),
        (column("tenant", "other"), 5, "column `tenant` differs"),
        (column("ts", "2026-11-24T10:00:00.000000Z"), 5, "column `ts` differs"),
        (column("hash", bytes(32)), 5, "do not have the stored hash"),
        (rechained(log="other"), 5, "belongs to the log `other`"),
        (rechained(ts="2020-01-01T00:00:00.000000Z"), 5, "before that of the event before it"),
        (rechained(ts="yesterday"), 5, "not a time"),
        (rechained(ts_behind_us=-1), 5, "not a positive number"),
        (rechained(v=2), 5, "version is not 1: use a newer verifier"),
        (rechained(boot="unknown"), 5, "has no `log.boot`"),
        (rechained(request="r9"), 5, "`outcome` without `intent`"),
        (rechained(request="r0"), 5, "`outcome` of a request that had ended"),
        (rechained(effect=""), 5, "holds no effect"),
        (rechained(type="stream.open"), 5, ""),
        (rechained(type="stream.close"), 5, "`stream.close` without `stream.open`"),
        (rechained(type="log.boot"), 5, "second `log.boot` of its boot"),
        (without(3), 4, "`outcome` without `intent`"),
        (copied(2, 3), 4, "`outcome` of a request that had ended"),
        (copied(1, 2), 3, "second `intent` of its request"),
    ],
)
def test_tampering_is_found_and_the_first_bad_event_named(
    path: Path, edit: Callable[[list[Row]], None], seq: int, what: str
) -> None:
    result = change(path, edit)
    if not what:  # the exchange is then without an end, which is all that is wrong
        assert (result.outcome, result.bad) == (Outcome.INCOMPLETE, None)
        return
    assert result.outcome is Outcome.INVALID
    assert result.outcome.exit_code == 4
    assert result.bad is not None
    assert (result.bad.seq, what in result.bad.what) == (seq, True), str(result.bad)
    assert result.events == len(rows_before(result.bad.seq, path))


def test_an_untouched_log_is_verified(path: Path) -> None:
    result = change(path, lambda rows: None)
    assert (result.outcome, result.events, result.bad) == (Outcome.VERIFIED_UNANCHORED, 13, None)
    assert result.outcome.exit_code == 0
    assert (result.log, result.unfinished, result.in_flight) == ("gateway.test/node-1", (), 0)


@pytest.mark.parametrize("keep", [0, 1, 7, 11])
def test_a_chain_alone_does_not_show_that_whole_exchanges_were_cut_off_at_the_end(path: Path, keep: int) -> None:
    """An honest zero: only a hash kept outside the log would show it."""
    result = change(path, lambda rows: rows.__delitem__(slice(keep, None)))
    assert (result.outcome, result.events) == (Outcome.VERIFIED_UNANCHORED, keep)


def test_a_chain_alone_does_not_show_that_it_was_written_anew(path: Path) -> None:
    """The other honest zero: the last hash differs from the one that a witness would have kept."""
    before = verify_log(path)
    result = change(path, rechained(effect="refuse"))
    assert (result.outcome, result.events) == (Outcome.VERIFIED_UNANCHORED, 13)
    assert result.hash != before.hash


def test_cutting_an_exchange_in_two_shows_as_incomplete(path: Path) -> None:
    result = change(path, lambda rows: rows.__delitem__(slice(6, None)))
    assert result.outcome is Outcome.INCOMPLETE
    assert result.outcome.exit_code == 3
    assert [(one.request, one.seq) for one in result.unfinished] == [("r2", 6)]


def test_a_flipped_bit_anywhere_in_an_event_is_found(path: Path) -> None:
    generator = random.Random(7)
    for _ in range(25):
        place = generator.randrange(13)

        def flip(rows: list[Row], place: int = place) -> None:
            body = bytearray(rows[place]["body"])
            body[generator.randrange(len(body))] ^= 1 << generator.randrange(8)
            rows[place]["body"] = bytes(body)

        db = sqlite3.connect(path)
        saved = db.execute("SELECT * FROM events").fetchall()
        db.close()
        result = change(path, flip)
        assert result.bad is not None
        assert result.bad.seq == place + 1
        db = sqlite3.connect(path)
        db.execute("DELETE FROM events")
        db.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?)", saved)
        db.commit()
        db.close()


def test_a_table_without_its_key_is_found(path: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE copy AS SELECT * FROM events; DROP TABLE events; ALTER TABLE copy RENAME TO events")
    db.execute("INSERT INTO events SELECT * FROM events WHERE seq = 5")
    db.commit()
    db.close()
    result = verify_log(path)
    assert result.bad is not None
    assert (result.outcome, result.bad.seq, result.bad.what) == (Outcome.INVALID, 0, "the table of events was altered")


def test_a_damaged_page_of_the_file_is_a_verdict_that_names_the_place(path: Path, logs) -> None:
    log = logs.open()
    for _ in range(30):
        log.append_blocking(EventDraft(type=EventType.INGEST))
    log.close()
    content = bytearray(path.read_bytes())
    page = content.index(b'"request":"r4"') // 4096 * 4096
    content[page : page + 8] = bytes(8)
    path.write_bytes(content)
    result = verify_log(path)
    assert result.outcome is Outcome.INVALID
    assert result.bad is not None
    assert result.bad.what == "the file cannot be read here: corrupt"
    assert 1 < result.bad.seq <= 11
    assert result.events == result.bad.seq - 1


def test_a_missing_log_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(AuditUnavailable, match="does not exist"):
        verify_log(tmp_path / "audit.db")


async def test_streams_and_clock_steps_verify(logs, exchange) -> None:
    log = logs.open()
    await log.append(exchange("s")[0])
    logs.clock.now = logs.clock.now.replace(hour=9)
    await log.append(EventDraft(type=EventType.STREAM_OPEN, request="s"))
    await log.append(EventDraft(type=EventType.STREAM_CLOSE, request="s", body={"effect": "allow"}))
    result = verify_log(logs.path)
    assert (result.outcome, result.clock_steps, result.in_flight) == (Outcome.VERIFIED_UNANCHORED, 2, 0)
    await log.append(EventDraft(type=EventType.STREAM_OPEN, request="s"))
    bad = verify_log(logs.path).bad
    assert bad is not None
    assert bad.what == "it is a `stream.open` of a request that had ended"
