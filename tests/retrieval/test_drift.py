"""Counts of searches without text, windows of them, and what a report calls an alarm."""

import datetime as dt
import sqlite3

import numpy as np
import pytest
from retrieval.store_contract import IDENTITY, document

from gateway.audit.schema.index import IndexDrifted
from gateway.domain.passage import RetrievalStatus
from gateway.retrieval.comparison import KnownItem
from gateway.retrieval.counting import SearchCounts, Window, read_window
from gateway.retrieval.drift import drift
from gateway.retrieval.store import Catalogue

DAY = dt.date(2026, 11, 24)
OK, ERROR = RetrievalStatus.OK, RetrievalStatus.ERROR


def unit(seed, dimensions=384):
    vector = np.random.default_rng(seed).standard_normal(dimensions, np.float32)
    return vector / np.linalg.norm(vector)


def counting(path, *, key=b"k" * 32, day=DAY):
    return SearchCounts(path / "counts.db", key=key, today=lambda: day)


def window(path, first=DAY, last=DAY, tenant="acme", embedder="e"):
    return read_window(path / "counts.db", tenant, first, last, embedder)


NONE = Window()


def report(before=NONE, now=NONE, documents=(), **more):
    catalogue = Catalogue(identity=IDENTITY, documents={one.record.doc: one.record for one in documents})
    return drift("acme", catalogue, before=before, now=now, since=DAY, today=DAY, **more)


def asked(queries, scores=None, empty=0):
    total = sum(queries.values())
    return Window(queries=queries, scores=scores or {9: total}, found=total - empty, empty=empty)


def test_searches_are_counted_by_how_they_ended_and_by_tenant(tmp_path):
    counts = counting(tmp_path)
    counts.note("acme", "e", unit(1), OK, 0.95)
    counts.note("acme", "e", unit(1), OK, None)
    counts.note("acme", "", None, ERROR, None)
    counts.note("other", "e", unit(1), OK, 1.0)
    counts.flush()
    found = window(tmp_path)
    assert (found.found, found.empty, found.failed, found.searches) == (1, 1, 1, 3)
    assert (sum(found.queries.values()), found.scores) == (2, {9: 1})
    assert window(tmp_path, tenant="nobody") == Window()


def test_processes_add_up_and_days_stay_apart(tmp_path):
    for day in (DAY - dt.timedelta(days=1), DAY, DAY):
        counts = counting(tmp_path, day=day)
        counts.note("acme", "e", unit(1), OK, 0.5)
        counts.flush()
        counts.flush()
    assert window(tmp_path).searches == 2
    assert window(tmp_path, DAY - dt.timedelta(days=1), DAY).searches == 3


def test_places_of_another_model_are_not_compared(tmp_path):
    counts = counting(tmp_path)
    counts.note("acme", "old", unit(1), OK, 0.5)
    counts.flush()
    assert (window(tmp_path).queries, window(tmp_path).searches) == ({}, 1)


def test_near_questions_share_a_place_and_the_key_decides_where_it_is(tmp_path):
    near = unit(1) + 0.001 * unit(2)
    places = {}
    for key in (b"a" * 32, b"b" * 32, b"c" * 32):
        counts = counting(tmp_path, key=key)
        places[key] = counts._bucket(unit(1))
        assert counts._bucket(near) == places[key]
        assert 0 <= places[key] < 64
    assert len(set(places.values())) > 1


def test_the_file_holds_numbers_only(tmp_path):
    counts = counting(tmp_path)
    counts.note("acme", "e", unit(1), OK, 0.5)
    counts.flush()
    with sqlite3.connect(tmp_path / "counts.db") as connection:
        rows = connection.execute("SELECT * FROM counted").fetchall()
    connection.close()
    assert {row[:3] for row in rows} == {("acme", DAY.isoformat(), "e")}
    assert all(isinstance(value, int) for row in rows for value in row[4:])
    assert (tmp_path / "counts.db").stat().st_mode & 0o077 == 0


def test_counts_that_cannot_be_written_are_kept(tmp_path):
    (tmp_path / "file").write_text("")
    counts = SearchCounts(tmp_path / "file" / "counts.db", key=b"k", today=lambda: DAY)
    counts.note("acme", "e", unit(1), OK, 0.5)
    for _ in range(2):
        with pytest.raises(OSError, match="file"):
            counts.flush()
    assert sum(counts._pending.values()) == 3


@pytest.mark.parametrize(
    ("before", "now", "alarms"),
    [
        ({1: 600}, {1: 600}, ()),
        ({1: 600}, {2: 600}, ("queries_shifted",)),
        ({1: 600}, {2: 400}, ()),  # too few to tell
        ({1: 300, 2: 300}, {1: 330, 2: 270}, ()),
    ],
)
def test_a_shift_of_questions_is_an_alarm_once_there_are_enough(before, now, alarms):
    found = report(asked(before), asked(now))
    assert found.alarms == alarms
    assert (found.query_shift is None) == (sum(now.values()) < 500)


def test_worse_scores_and_more_empty_results_are_alarms():
    before, now = asked({1: 1000}, {9: 1000}), asked({1: 1000}, {5: 900}, empty=100)
    assert report(before, now).alarms == ("scores_shifted", "more_empty")


def test_documents_past_their_time_are_named():
    documents = [
        document("old", "x", valid_to="2026-11-23"),
        document("ends-today", "x", valid_to="2026-11-24"),
        document("unreviewed", "x", review_by="2026-01-01"),
        document("fine", "x", review_by="2027-01-01"),
    ]
    found = report(documents=documents)
    assert (found.expired, found.review_due) == (("old",), ("unreviewed",))
    assert found.alarms == ("documents_expired", "reviews_overdue")


def test_a_missed_canary_is_an_alarm_and_stays_out_of_the_audit():
    item = KnownItem(tenant="acme", ask="what is the fee", groups=frozenset(), documents=frozenset(["d"]))
    found = report(canaries=[item, item], missed=[item])
    assert (found.canaries, found.missed, found.alarms) == (2, ("what is the fee",), ("canaries_missed",))
    body = found.event().body
    assert "fee" not in repr(body)
    assert set(body) <= set(IndexDrifted.__struct_fields__)
    assert body["canaries_missed"] == 1
