import asyncio
import sqlite3
from datetime import timedelta

import pytest

from gateway.audit.read import AuditReader, Filter
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType


@pytest.fixture
async def path(logs, exchange):
    log = logs.open()
    drafts = [
        EventDraft(type=EventType.INGEST, tenant="acme" if number % 2 else "other", app="a", body={"n": number})
        for number in range(700)
    ]
    await asyncio.gather(*map(log.append, drafts))
    for draft in exchange("r1"):
        await log.append(draft)
    log.close()
    return logs.path


def seqs(path, wanted: Filter, **options) -> list[int]:
    with AuditReader(path) as reader:
        return [event.seq for event in reader.search(wanted, **options)]


def test_search_filters_and_orders(path, logs) -> None:
    assert seqs(path, Filter()) == list(range(1, 704))
    assert seqs(path, Filter(), newest=True, limit=600) == list(range(703, 103, -1))
    assert seqs(path, Filter(first=10, last=12)) == [10, 11, 12]
    assert seqs(path, Filter(first=699, tenant="acme")) == [699, 701, 702, 703]
    assert seqs(path, Filter(tenant="acme", app="loans")) == [702, 703]
    assert seqs(path, Filter(types=frozenset({"log.boot", "outcome"}))) == [1, 703]
    assert seqs(path, Filter(request="r1")) == [702, 703]
    assert seqs(path, Filter(request="r1"), newest=True, limit=1) == [703]
    assert seqs(path, Filter(request="nobody")) == []
    assert seqs(path, Filter(tenant="' OR 1=1 --")) == []


async def test_time_is_found_by_bisection(logs) -> None:
    start = logs.clock.now + timedelta(milliseconds=1)
    log = logs.open(group_max_events=1)  # a group shares its time; here each event has its own
    await asyncio.gather(*(log.append(EventDraft(type=EventType.INGEST)) for _ in range(20)))
    for seq in (1, 2, 10, 21):
        moment = start + timedelta(milliseconds=seq - 1)
        assert seqs(logs.path, Filter(since=moment))[0] == seq
        assert seqs(logs.path, Filter(until=moment), newest=True, limit=1) == ([seq - 1] if seq > 1 else [])
    assert seqs(logs.path, Filter(since=start + timedelta(days=1))) == []


def test_timeline_and_last_exchange(path, logs) -> None:
    with AuditReader(path) as reader:
        assert reader.last_exchange() == "r1"
        assert [event.members["type"] for event in reader.timeline("r1")] == ["intent", "outcome"]
        assert reader.timeline("") == reader.timeline("r2") == []
        assert reader.salt("nobody", "/query") is None


def test_a_reader_never_writes(path) -> None:
    with AuditReader(path) as reader, pytest.raises(Exception, match="readonly"):
        reader._db.execute("DELETE FROM events")


def test_a_damaged_event_is_named(path, logs) -> None:
    db = sqlite3.connect(path)
    db.execute("UPDATE events SET body = x'00' WHERE seq = 5")
    db.commit()
    db.close()
    with AuditReader(path) as reader, pytest.raises(AuditUnavailable, match=r"event 5 .* is damaged"):
        list(reader.search())
