"""Scans kept in a file: they come back equal, only with the key that made them, and failures cost nothing."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ConfigurationError, StoreUnavailable
from gateway.domain.segment import Segment
from gateway.domain.signal import Finding, Scan
from gateway.domain.vocabulary import Placement, Provenance, SignalType
from gateway.inspection import Inspector
from gateway.inspection.kept_scans import KeptScans

KEY, OTHER = b"k" * 32, b"o" * 32
SCAN = Scan(
    (Finding(start=1, end=3, kind="PERSON", detector="pii", score=0.5, evidence="model"),),
    {"pii.count": 2, "pii.flag": True, "pii.score": 1.0, "pii.kinds": frozenset({"A", "B"})},
)


class Counting:
    name, version, placement = "words", "1", Placement.INLINE
    signals = {"words.flag": SignalType.FLAG}

    def __init__(self, version="1"):
        self.version = version
        self.seen = []

    def scan(self, texts):
        self.seen += texts
        return [Scan(values={"words.flag": True}) if "bad" in text else Scan() for text in texts]


def test_scans_come_back_equal(tmp_path):
    kept = KeptScans(tmp_path / "scans.db", KEY)
    assert kept.find([b"a" * 24]) == {}
    kept.keep({b"a" * 24: SCAN, b"b" * 24: Scan()})
    assert kept.find([b"a" * 24, b"b" * 24, b"c" * 24]) == {b"a" * 24: SCAN, b"b" * 24: Scan()}
    back = kept.find([b"a" * 24])[b"a" * 24]
    assert {name: type(value) for name, value in back.values.items()} == {
        "pii.count": int,
        "pii.flag": bool,
        "pii.score": float,
        "pii.kinds": frozenset,
    }
    again = KeptScans(tmp_path / "scans.db", KEY)
    assert again.find([b"a" * 24]) == {b"a" * 24: SCAN}
    assert (tmp_path / "scans.db").stat().st_mode & 0o077 == 0
    kept.close()
    again.close()


def test_what_another_program_wrote_is_not_believed(tmp_path):
    kept = KeptScans(tmp_path / "scans.db", KEY)
    kept.keep({b"a" * 24: SCAN, b"b" * 24: Scan()})
    with sqlite3.connect(tmp_path / "scans.db") as db:
        row = db.execute("SELECT scan FROM scans WHERE key = ?", (b"b" * 24,)).fetchone()[0]
        db.execute("UPDATE scans SET scan = ? WHERE key = ?", (row, b"a" * 24))  # moved to another text
        db.execute("UPDATE scans SET scan = ? WHERE key = ?", (row[:-1] + b"\x00", b"b" * 24))
    db.close()
    assert kept.find([b"a" * 24, b"b" * 24]) == {}
    kept.close()
    other = KeptScans(tmp_path / "scans.db", OTHER)
    assert other.find([b"a" * 24, b"b" * 24]) == {}
    other.close()


def test_all_scans_of_a_text_are_forgotten_together(tmp_path):
    kept = KeptScans(tmp_path / "scans.db", KEY)
    kept.forget([b"d" * 16])
    kept.keep({b"d" * 16 + b"1" * 8: SCAN, b"d" * 16 + b"\xff" * 8: SCAN, b"e" * 24: SCAN})
    kept.forget([b"d" * 16])
    assert kept.find([b"d" * 16 + b"1" * 8, b"d" * 16 + b"\xff" * 8, b"e" * 24]) == {b"e" * 24: SCAN}
    kept.close()


def test_a_damaged_file_is_found_empty_and_refuses_to_keep(tmp_path):
    (tmp_path / "scans.db").write_bytes(b"nonsense " * 200)
    kept = KeptScans(tmp_path / "scans.db", KEY)
    assert kept.find([b"a" * 24]) == {}
    for change in (lambda: kept.keep({b"a" * 24: SCAN}), lambda: kept.forget([b"a" * 16])):
        with pytest.raises(StoreUnavailable, match="check the data folder") as raised:
            change()
        assert raised.value.code == "scans_failed"


def test_a_short_key_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="give 16 to 64"):
        KeptScans(tmp_path / "scans.db", b"short")


@given(st.dictionaries(st.binary(min_size=24, max_size=24), st.booleans(), max_size=30))
def test_any_number_of_keys_is_found(tmp_path_factory, wanted):
    kept = KeptScans(tmp_path_factory.mktemp("kept") / "scans.db", KEY)
    scans = {key: SCAN if flag else Scan() for key, flag in wanted.items()}
    kept.keep(scans)
    assert kept.find(list(scans)) == scans
    kept.close()


def inspector(kept, detector):
    return Inspector([detector], threads=1, cache_bytes=1_000_000, cache_key=KEY, clock_us=lambda: 0, kept=kept)


async def look(inspector, *texts, provenance=Provenance.PASSAGE):
    segments = [Segment(index=n, text=text, provenance=provenance) for n, text in enumerate(texts)]
    return await inspector.inspect(segments, detectors=frozenset({"words"}), timeouts={}, default_timeout_s=1)


async def test_serving_does_not_inspect_what_the_ingest_has(tmp_path):
    kept = KeptScans(tmp_path / "scans.db", KEY)
    first = Counting()
    ingesting = inspector(kept, first)
    before = await look(ingesting, "bad", "good")
    kept.keep(ingesting.cached(["bad", "good"], frozenset({"words"})))
    second = Counting()
    serving = inspector(kept, second)
    after = await look(serving, "bad", "good", "new")
    assert second.seen == ["new"]
    assert after.values == before.values
    assert after.runs["words"].cached == 2
    newer = Counting("2")
    await look(inspector(kept, newer), "bad", "good")
    assert newer.seen == ["bad", "good"]
    kept.close()


async def test_only_passages_are_looked_up(tmp_path):
    kept = KeptScans(tmp_path / "scans.db", KEY)
    ingesting = inspector(kept, Counting())
    await look(ingesting, "bad")
    kept.keep(ingesting.cached(["bad"], frozenset({"words"})))
    detector = Counting()
    await look(inspector(kept, detector), "bad", provenance=Provenance.USER)
    assert detector.seen == ["bad"]
    kept.close()
