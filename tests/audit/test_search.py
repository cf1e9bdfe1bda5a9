"""What the index finds is what reading the whole log finds; and a wrong index is never believed."""

import asyncio
import shutil
import sqlite3
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit.read import EVERYTHING, AuditReader, Event, Filter
from gateway.audit.read_timeline import timeline_of
from gateway.audit.search import AuditSearch
from gateway.audit.search_index import BLOCK, IndexReader, SearchIndex, index_of
from gateway.audit.search_tally import ModelTokens, counted, step_of, tallies_of, upper_bound
from gateway.audit.search_terms import Facet, facets_of, term
from gateway.audit.text_tag import TextTags
from gateway.domain.errors import AuditUnavailable, RequestError
from gateway.domain.event import Commitment, EventDraft, EventType
from tests.bench.audit_workload import LOG_NAME, RULES, START, TAGS, answer, question, write_log

NAMES = [
    *(
        "ts",
        "type",
        "tenant",
        "app",
        "effect",
        "phase",
        "rules",
        "answer",
        "retrieval",
        "passages",
        "signals",
        "reasons",
    ),
    *(
        "detectors",
        "name",
        "status",
        "id",
        "c",
        "len_bucket",
        "release",
        "took_us",
        "model",
        "tokens_in",
        "values",
        "why",
    ),
    *("coverage", "not_ok", "unscanned", "redacted", "votes", "code", "error", "chars", "mode", "query", "case", "us"),
]
EVENTS = 2 * BLOCK + 700  # three blocks, the last of them begun
DAYS = 9


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with an index of all but its newest 300 events. Nobody writes to it."""
    path = tmp_path_factory.mktemp("busy") / "audit.db"
    write_log(path, EVENTS, days=DAYS)
    with SearchIndex(path) as index:
        assert index.take_in(EVENTS - 300) == 300
    return path


@pytest.fixture
def own(busy: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    for end in ("", ".index"):
        shutil.copy(busy.with_name(busy.name + end), tmp_path / f"audit.db{end}")
    return tmp_path / "audit.db"


def read_through(path: Path, wanted: Filter) -> list[int]:
    with AuditReader(path) as reader:
        return [event.seq for event in reader.search(wanted, newest=True)]


def found(path: Path, wanted: Filter) -> list[int]:
    with AuditSearch(path) as search:
        return [event.seq for event in search.events(wanted)]


def some(path: Path, **wanted: str) -> list[int]:
    seqs = found(path, Filter(**wanted))
    assert seqs, wanted
    return seqs


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(tenant="tenant-01"),
        Filter(tenant="tenant-19", app="loans"),
        Filter(principal="p:tenant-01-0000"),
        Filter(effect="refuse"),
        Filter(effect="allow", types=frozenset({"stream.close"})),
        Filter(types=frozenset({"log.boot", "rejected", "case.opened"})),
        Filter(rule=RULES[0]),
        Filter(rule=RULES[3], effect="redact", tenant="tenant-01"),
        Filter(rule=RULES[0], since=START + timedelta(days=2), until=START + timedelta(days=3)),
        Filter(effect="flag", first=BLOCK - 5, last=BLOCK + 900),
        Filter(effect="flag", first=BLOCK, last=BLOCK),
        Filter(tenants=frozenset({"tenant-03", "tenant-04"}), effect="refuse"),
        Filter(tenants=frozenset({"tenant-03"}), request="0" * 32),
        Filter(tenants=frozenset()),
        Filter(request=f"{100:032x}"),
        Filter(tenant="' OR 1=1 --"),
        Filter(effect="allow", rule=RULES[0]),
    ],
)
def test_a_search_finds_what_reading_the_log_finds(busy: Path, wanted: Filter) -> None:
    assert found(busy, wanted) == read_through(busy, wanted)


def test_each_filter_finds_something_and_not_all(busy: Path) -> None:
    for wanted in (
        {"tenant": "tenant-01"},
        {"app": "loans"},
        {"principal": "p:tenant-01-0000"},
        {"effect": "refuse"},
        {"rule": RULES[0]},
    ):
        assert 0 < len(some(busy, **wanted)) < EVENTS


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    wanted=st.builds(
        Filter,
        tenant=st.sampled_from(["", "tenant-01", "tenant-02", "tenant-12", "nobody"]),
        app=st.sampled_from(["", "desk", "loans"]),
        effect=st.sampled_from(["", "allow", "flag", "refuse"]),
        rule=st.sampled_from(["", "", RULES[0], RULES[9]]),
        types=st.sets(st.sampled_from(["intent", "outcome", "stream.close", "rejected"]), max_size=2).map(frozenset),
        first=st.integers(1, EVENTS),
        last=st.none() | st.integers(1, EVENTS + 10),
    ),
    limit=st.integers(1, 400),
)
def test_pages_put_together_are_the_whole(busy: Path, wanted: Filter, limit: int) -> None:
    seqs: list[int] = []
    cursor, pages = "", 0
    with AuditSearch(busy) as search:
        while pages == 0 or cursor:
            page = search.page(wanted, limit=limit, cursor=cursor)
            assert len(page.events) <= limit
            assert not page.next or len(page.events) == limit
            seqs += [event.seq for event in page.events]
            cursor, pages = page.next, pages + 1
            if pages > 40:
                break
    expected = read_through(busy, wanted)
    assert seqs == expected[: len(seqs)]
    assert cursor or seqs == expected


@pytest.mark.parametrize("cursor", ["0", "-1", "x", "1.5", "9" * 40, "１"])
def test_a_cursor_that_is_none_is_refused(busy: Path, cursor: str) -> None:
    with AuditSearch(busy) as search, pytest.raises(RequestError, match="cursor"):
        search.page(Filter(), limit=1, cursor=cursor)


async def test_new_events_do_not_move_a_cursor_and_are_seen_at_once(logs) -> None:
    log = logs.open()
    drafts = [EventDraft(type=EventType.INGEST, tenant="acme", body={"n": number}) for number in range(20)]
    await asyncio.gather(*map(log.append, drafts))
    with SearchIndex(logs.path) as index:
        index.take_in(1_000)
    wanted = Filter(tenant="acme")
    with AuditSearch(logs.path) as search:
        first = search.page(wanted, limit=5)
    receipt = await log.append(drafts[0])
    with AuditSearch(logs.path) as search:
        assert search.indexed == receipt.seq - 1
        second = search.page(wanted, limit=5, cursor=first.next)
        assert [event.seq for event in second.events] == [16, 15, 14, 13, 12]
        assert search.page(wanted, limit=1).events[0].seq == receipt.seq


def test_the_index_is_the_same_however_it_is_cut_into_steps(busy: Path, tmp_path: Path) -> None:
    def content(path: Path) -> list[tuple]:
        db = sqlite3.connect(index_of(path))
        rows = [
            row for table in ("postings", "places", "texts", "tallies") for row in db.execute(f"SELECT * FROM {table}")
        ]
        db.close()
        return rows

    made = []
    for step in (113, 10 * EVENTS):
        path = tmp_path / f"{step}.db"
        path.symlink_to(busy)
        with SearchIndex(path) as index:
            while index.take_in(step):
                pass
        made.append(content(path))
    assert made[0] == made[1]


def test_without_an_index_the_log_is_read(own: Path) -> None:
    wanted = Filter(rule=RULES[0])
    expected = read_through(own, wanted)
    index_of(own).unlink()
    assert found(own, wanted) == expected


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00" + b"\xff" * 5_000])
def test_a_file_that_is_no_index_changes_nothing_and_is_replaced(own: Path, content: bytes) -> None:
    wanted = Filter(effect="refuse")
    expected = read_through(own, wanted)
    index_of(own).write_bytes(content)
    assert found(own, wanted) == expected
    with SearchIndex(own) as index:
        index.take_in(EVENTS)
    with AuditSearch(own) as search:
        assert search.indexed == EVENTS
    assert found(own, wanted) == expected


def test_a_damaged_index_changes_nothing(own: Path) -> None:
    wanted = Filter(effect="refuse")
    expected = read_through(own, wanted)
    content = bytearray(index_of(own).read_bytes())
    page = 4_096
    for start in range(page, len(content), page):
        content[start : start + 64] = b"\xa5" * 64
    index_of(own).write_bytes(content)
    assert found(own, wanted) == expected


def test_an_index_of_another_history_is_not_used_and_begins_anew(own: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    write_log(other, EVENTS, seed=2)
    shutil.copy(index_of(own), index_of(other))
    wanted = Filter(effect="refuse")
    with AuditSearch(other) as search:
        assert search.indexed == 0
    assert found(other, wanted) == read_through(other, wanted)
    with SearchIndex(other) as index:
        assert index.take_in(100) == EVENTS - 100
    with AuditSearch(other) as search:
        assert search.indexed == 100


def test_what_a_false_index_points_at_is_not_returned(own: Path) -> None:
    wanted = Filter(effect="refuse")
    expected = read_through(own, wanted)
    db = sqlite3.connect(index_of(own))
    every = b"".join(number.to_bytes(2, "little") for number in range(1, BLOCK))
    db.execute("UPDATE postings SET places = ? WHERE term = ? AND block = 0", (every, term(Facet.EFFECT, "refuse")))
    db.execute("INSERT INTO places VALUES (?, 5)", (term(Facet.CASE, "case_1"),))
    db.execute("INSERT INTO texts VALUES (?, 7)", (TAGS.number("a text"),))
    db.commit()
    db.close()
    assert found(own, wanted) == expected
    assert found(own, Filter(case="case_1")) == []
    with AuditSearch(own) as search:
        assert search.texts("a text", TAGS, Filter(), limit=5) == []


def test_an_edited_event_is_named_not_returned(own: Path) -> None:
    wanted = Filter(effect="refuse")
    seq = found(own, wanted)[-1]
    db = sqlite3.connect(own)
    db.execute(
        "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'tenant-0', 'tenant-1') AS BLOB) WHERE seq = ?",
        (seq,),
    )
    db.commit()
    db.close()
    with pytest.raises(AuditUnavailable, match=f"event {seq} .* is damaged"):
        found(own, wanted)


def test_a_damaged_event_does_not_stop_the_index(own: Path) -> None:
    db = sqlite3.connect(own)
    db.execute("UPDATE events SET body = x'00' WHERE seq = 9")
    db.execute("UPDATE events SET body = CAST('[1]' AS BLOB) WHERE seq = 10")
    db.commit()
    db.close()
    with SearchIndex(own) as index:
        index.begin_anew()
        assert index.take_in(EVENTS) == 0


def test_commitments_and_cases_are_found(busy: Path) -> None:
    with AuditReader(busy) as reader:
        outcome = next(event for event in reader.search(Filter(types=frozenset({"case.opened"}))))
        intent = next(iter(reader.search(Filter(types=frozenset({"intent"})))))
    case = outcome.members["case"]
    kinds = Counter(event.members["type"] for event in AuditSearch(busy).events(Filter(case=case)))
    assert kinds == {"case.opened": 1, "case.claimed": 1, "case.approved": 1, "outcome": 1}
    commitment = intent.members["query"]["c"]
    assert found(busy, Filter(commitment=commitment)) == [intent.seq]
    assert found(busy, Filter(commitment=commitment, tenants=frozenset({"nobody"}))) == []
    assert found(busy, Filter(case=case, effect="escalate", types=frozenset({"outcome"}))) != []


class TestTexts:
    def places(self, path: Path, text: str, wanted: Filter = EVERYTHING) -> list[tuple[int, str]]:
        with AuditSearch(path) as search:
            return [(place.event.seq, place.path) for place in search.texts(text, TAGS, wanted, limit=10)]

    def test_exactly_this_text_is_found_where_it_stands(self, busy: Path) -> None:
        ((asked, path),) = self.places(busy, question(500))
        assert path == "/query"
        ((answered, path),) = self.places(busy, answer(500))
        assert path == "/release/content"
        assert asked < answered
        assert self.places(busy, answer(500) + " ") == []
        assert self.places(busy, answer(500), Filter(last=answered - 1)) == []
        assert self.places(busy, answer(500), Filter(tenants=frozenset({"nobody"}))) == []

    def test_a_text_that_is_not_indexed_yet_is_found_as_well(self, busy: Path) -> None:
        with AuditReader(busy) as reader:
            event = next(reader.search(Filter(types=frozenset({"intent"})), newest=True))
        assert event.seq > EVENTS - 300
        assert self.places(busy, question(int(event.members["request"], 16))) == [(event.seq, "/query")]

    def test_a_destroyed_salt_hides_the_text_and_forgetting_removes_its_tag(self, own: Path) -> None:
        ((seq, _),) = self.places(own, answer(500))
        with AuditReader(own) as reader:
            event = reader.checked(seq)
        db = sqlite3.connect(own)
        db.execute("DELETE FROM salts WHERE event_id = ? AND path = '/release/content'", (event.members["id"],))
        db.commit()
        db.close()
        assert self.places(own, answer(500)) == []
        tag = TAGS.of(answer(500))
        with SearchIndex(own) as index:
            index.forget_texts([seq])
        index = IndexReader(own)
        assert index.texts(int.from_bytes(tag, "big", signed=True)) == []
        index.close()
        for end in ("", "-wal"):
            file = own.with_name(index_of(own).name + end)
            assert not file.exists() or tag not in file.read_bytes()

    def test_another_key_finds_nothing(self, busy: Path) -> None:
        with AuditSearch(busy) as search:
            assert search.texts(answer(500), TextTags(b"\1" * 32), Filter(first=1, last=EVENTS - 400), limit=5) == []

    async def test_a_running_log_tags_its_salts(self, logs) -> None:
        log = logs.open(tags=TAGS)
        text = Commitment(text="Hello \ud800 there")
        receipt = await log.append(EventDraft(type=EventType.INTENT, request="r", body={"query": text}))
        assert self.places(logs.path, text.text) == [(receipt.seq, "/query")]


class TestStats:
    def test_counts_of_index_and_log_are_those_of_reading(self, busy: Path) -> None:
        counts: Counter = Counter()
        with AuditReader(busy) as reader:
            for event in reader.search():
                counts.update(dict(self.summed(tallies_of(event.members))))
        with AuditSearch(busy) as search:
            assert search.stats(Filter()) == counted(counts)
            assert len({one.day for one in search.stats(Filter())}) == DAYS

    def summed(self, pairs) -> Counter:
        total: Counter = Counter()
        for tally, count in pairs:
            total[tally] += count
        return total

    def test_groups_are_thrown_together_and_bounded(self, busy: Path) -> None:
        with AuditSearch(busy) as search:
            whole = search.stats(Filter(tenant="tenant-01"), by_day=False, by_app=False)
            assert [(one.day, one.tenant, one.app) for one in whole] == [("", "tenant-01", "")]
            one = whole[0]
            assert (
                sum(one.effects.values())
                == one.latency.exchanges
                == len(read_through(busy, Filter(tenant="tenant-01", types=frozenset({"outcome", "stream.close"}))))
            )
            assert one.latency.p50_us < one.latency.p95_us < one.latency.p99_us
            assert {rule.status for rule in one.rules} == {"matched"}
            assert {(run.name, run.status) for run in one.detectors} >= {("pii", "ok"), ("topics", "ok")}
            assert one.tokens_out == 164 * one.latency.exchanges
            apps = search.stats(Filter(tenant="tenant-01"), by_day=False)
            assert sum(app.latency.exchanges for app in apps) == one.latency.exchanges
            day = search.stats(Filter(since=START + timedelta(days=2), until=START + timedelta(days=3)), by_app=False)
            assert {one.day for one in day} == {"2026-03-03"}
            assert search.stats(Filter(tenant="tenant-01", tenants=frozenset({"tenant-02"}))) == ()
            assert search.stats(Filter(tenants=frozenset())) == ()

    def test_tenants_are_thrown_together_where_asked(self, busy: Path) -> None:
        with AuditSearch(busy) as search:
            apart = search.stats(Filter(tenants=frozenset({"tenant-01", "tenant-02"})), by_day=False, by_app=False)
            (both,) = search.stats(
                Filter(tenants=frozenset({"tenant-01", "tenant-02"})), by_day=False, by_app=False, by_tenant=False
            )
        assert (both.day, both.tenant, both.app) == ("", "", "")
        assert both.latency.exchanges == sum(one.latency.exchanges for one in apart)
        assert both.models == (ModelTokens("fast", 812 * both.latency.exchanges, 164 * both.latency.exchanges),)

    @pytest.mark.parametrize("indexed", [True, False])
    def test_feedback_is_counted_by_rating(self, logs, indexed: bool) -> None:
        log = logs.open()
        for rating in ("good", "bad", "good"):
            draft = EventDraft(type=EventType.FEEDBACK, request="r", tenant="acme", app="desk", body={"rating": rating})
            log.append_blocking(draft)
        if indexed:
            with SearchIndex(logs.path) as index:
                index.take_in(10)
        with AuditSearch(logs.path) as search:
            (own,) = search.stats(Filter(tenant="acme"))
        assert own.feedback == {"good": 2, "bad": 1}

    @given(st.integers(0, 2**50), st.integers(0, 2**50))
    def test_steps_of_the_histogram_are_ordered_and_an_eighth_wide(self, one: int, other: int) -> None:
        assert one <= upper_bound(step_of(one)) <= one + one // 8 + 1
        assert step_of(min(one, other)) <= step_of(max(one, other))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8))
def test_no_object_stops_the_index_or_a_timeline(event: dict) -> None:
    assert all(value for _, value in facets_of(event))
    assert all(count > 0 for _, count in tallies_of(event))
    assert len(counted(dict(tallies_of(event)))) == 1
    ts = "2026-11-24T10:00:00.000000Z"
    whole = event | {"ts": ts, "id": "1", "type": "outcome", "tenant": "", "app": "", "principal": ""}
    told = timeline_of("x", [Event(seq=1, hash="", members=whole, body=b"")])
    assert all(isinstance(fact.name, str) for fact in told.moments[0].facts)


def test_facets_of_odd_objects_are_what_is_readable() -> None:
    for event in (
        {},
        {"type": 1, "phase": [], "answer": {}, "retrieval": [], "reasons": "PII-1", "rules": {"PII-1": 1}},
        {"phase": {"rules": [1, {"id": 1, "status": "matched"}, {"id": "A"}]}, "reasons": [1, None]},
        {"retrieval": {"passages": [{"content": {"c": "c:1", "len_bucket": 64}}]}},
    ):
        assert facets_of(event) == set()
    rules = [{"id": "A", "status": "matched"}, {"id": "B", "status": "error"}, {"id": "C", "status": "not_run"}]
    event = {"effect": "allow", "answer": [{"rules": rules}], "texts": [{"content": {"c": "c:1", "len_bucket": 64}}]}
    assert facets_of(event) == {
        (Facet.EFFECT, "allow"),
        (Facet.RULE, "A"),
        (Facet.RULE, "B"),
        (Facet.COMMITMENT, "c:1"),
    }


def test_the_log_is_named_as_the_node_was(busy: Path) -> None:
    with AuditSearch(busy) as search:
        assert search.page(Filter(), limit=1).events[0].members["log"] == LOG_NAME
