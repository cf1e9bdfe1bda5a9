import hashlib
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.canonical import canonical
from gateway.audit.entry import EMPTY, ENVELOPE, Entry, Tip, chain, leaf_hash, parse_timestamp, prepare, timestamp
from gateway.domain.event import Commitment, EventDraft, EventType
from gateway.domain.vocabulary import Effect

NOW = datetime(2026, 11, 24, 10, 0, 0, 123456, tzinfo=UTC)


def entry(draft: EventDraft) -> Entry:
    counter = itertools.count()
    return prepare(draft, log_name="node", boot="b", ids=lambda: "id", salts=lambda: next(counter).to_bytes(32, "big"))


def outcome(**body: object) -> EventDraft:
    return EventDraft(
        type=EventType.OUTCOME, request="r", tenant="t", app="a", principal="p:1", body={"effect": Effect.ALLOW, **body}
    )


times = st.timedeltas(timedelta(0), timedelta(days=300_000)).map(lambda since: datetime(1970, 1, 1, tzinfo=UTC) + since)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
    lambda key: not key.startswith("ts") and key not in ENVELOPE | {"effect"}
)


@given(st.dictionaries(keys, st.integers(0, 9) | st.text("aé\n", max_size=3), max_size=6))
def test_events_are_canonical_whatever_the_names_in_the_body(body: dict[str, object]) -> None:
    (event,) = chain([entry(outcome(**body))], EMPTY, NOW)
    decoded = json.loads(event.body)
    assert canonical(decoded) == event.body
    own = {"v": 1, "log": "node", "seq": 1, "id": "id", "type": "outcome", "ts": "2026-11-24T10:00:00.123456Z"}
    callers = {"boot": "b", "request": "r", "tenant": "t", "app": "a", "principal": "p:1", "effect": "allow"}
    assert decoded == {**body, **own, **callers, "prev": "sha256:" + "0" * 64}


def test_each_event_holds_the_hash_of_the_one_before() -> None:
    events = chain([entry(outcome(n=n)) for n in range(3)], Tip(7, b"\x11" * 32, ""), NOW)
    assert [event.seq for event in events] == [8, 9, 10]
    prevs = [json.loads(event.body)["prev"] for event in events]
    hashes = [hashlib.sha256(event.body).hexdigest() for event in events]
    assert [event.hash.hex() for event in events] == hashes
    assert prevs == ["sha256:" + "11" * 32, f"sha256:{hashes[0]}", f"sha256:{hashes[1]}"]
    assert leaf_hash(events[0].body) == hashlib.sha256(b"\x00" + events[0].body).digest()


def test_a_clock_that_went_back_is_recorded_and_time_does_not_go_back() -> None:
    tip = Tip(1, bytes(32), timestamp(NOW))
    (same,) = chain([entry(outcome())], tip, NOW)
    assert "ts_behind_us" not in json.loads(same.body)
    (late,) = chain([entry(outcome())], tip, NOW - timedelta(hours=1, microseconds=5))
    decoded = json.loads(late.body)
    assert (decoded["ts"], decoded["ts_behind_us"]) == (timestamp(NOW), 3_600_000_005)
    assert canonical(decoded) == late.body
    assert late.ts == timestamp(NOW)


def test_commitments_at_any_depth_replace_their_texts_and_keep_their_salts() -> None:
    made = entry(outcome(query=Commitment(text="secret-1"), passages=[{"content": Commitment(text="secret-2")}]))
    (event,) = chain([made], EMPTY, NOW)
    assert [salt.path for salt in made.salts] == ["/query", "/passages/0/content"]
    assert len({salt.value for salt in made.salts}) == 2
    assert b"secret" not in event.body
    assert set(json.loads(event.body)["passages"][0]["content"]) == {"c", "len_bucket"}


@pytest.mark.parametrize(
    ("draft", "text"),
    [
        (outcome(seq=1), "may not set `seq`"),
        (outcome(ts_other=1), "may not set `ts_other`"),
        (EventDraft(type=EventType.OUTCOME, request="r"), "holds no effect"),
        (EventDraft(type=EventType.OUTCOME, request="r", body={"effect": ""}), "holds no effect"),
        (EventDraft(type=EventType.INTENT), "names no request"),
        (EventDraft(type=EventType.STREAM_CLOSE), "names no request"),
    ],
)
def test_a_draft_that_is_no_event_is_refused(draft: EventDraft, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        entry(draft)


def test_a_salt_of_the_wrong_length_is_refused() -> None:
    draft = outcome(query=Commitment(text="x"))
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        prepare(draft, log_name="l", boot="b", ids=lambda: "id", salts=lambda: b"abc")


@given(times, times)
def test_timestamps_sort_like_time_and_read_back(one: datetime, other: datetime) -> None:
    assert parse_timestamp(timestamp(one)) == one
    assert (timestamp(one) < timestamp(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-24",
        "2026-11-24T10:00:00Z",
        "2026-11-24T10:00:00.000000",
        "2026-11-24T10:00:00.000000+00:00",
    ],
)
def test_only_the_one_form_of_a_timestamp_is_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|timestamp of the log"):
        parse_timestamp(text)
