"""The cache of scans: bounded in bytes, keyed, without text."""

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import Finding, Scan
from gateway.inspection.cache import ScanCache

KEY = bytes(range(32))


def scan(findings: int) -> Scan:
    return Scan(
        tuple(Finding(start=n, end=n + 1, kind="K", detector="d") for n in range(findings)),
        {"d.kinds": frozenset({"K"}), "d.count": findings},
    )


def test_least_recently_used_goes_first() -> None:
    cache = ScanCache(3_600, KEY)
    for name in (b"a", b"b"):
        cache.put(name, scan(1))
    assert cache.get(b"a") is not None
    cache.put(b"c", scan(1))
    cache.put(b"d", scan(1))
    assert cache.get(b"b") is None
    assert cache.get(b"d") is not None


def test_scan_larger_than_the_cache_is_not_kept() -> None:
    cache = ScanCache(5_000, KEY)
    cache.put(b"small", scan(1))
    cache.put(b"large", scan(1_000))
    assert cache.get(b"large") is None
    assert cache.get(b"small") is not None


def test_zero_bytes_is_off() -> None:
    cache = ScanCache(0, KEY)
    cache.put(b"a", Scan())
    assert len(cache) == 0


@given(st.lists(st.tuples(st.sampled_from(b"abcdefgh"), st.integers(0, 20)), max_size=60))
def test_size_is_kept_exactly_and_within_the_bound(puts: list[tuple[int, int]]) -> None:
    cache = ScanCache(12_000, KEY)
    for name, findings in puts:
        cache.put(bytes([name]), scan(findings))
        assert 0 <= cache.size_bytes <= 12_000
    while len(cache):
        cache._scans.popitem()
    alone = ScanCache(12_000, KEY)
    for name, findings in puts:
        alone.put(bytes([name]), scan(findings))
    known = [alone.get(bytes([name])) for name in set(dict(puts))]
    refilled = ScanCache(100_000, KEY)
    for index, kept in enumerate(each for each in known if each is not None):
        refilled.put(bytes([index]), kept)
    assert refilled.size_bytes == alone.size_bytes


@pytest.mark.parametrize("findings", [0, 1, 10])
def test_memory_stays_within_the_bound(findings: int) -> None:
    bound = 1_000_000
    gc.collect()
    tracemalloc.start()
    try:
        cache = ScanCache(bound, KEY)
        for number in range(6_000):
            cache.put(cache.digest(f"text {number}"), scan(findings))
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert bound * 0.3 < used < bound * 1.05
    assert len(cache) > 100


def test_digests_depend_on_text_and_key_and_hold_neither() -> None:
    one, other = ScanCache(1, KEY), ScanCache(1, b"x" * 16)
    assert one.digest("text") == one.digest("text")
    assert one.digest("text") != one.digest("texu")
    assert one.digest("text") != other.digest("text")
    assert len(one.digest("a" * 100_000)) == 16
    assert one.digest("\ud800") != one.digest("\ud801"), "lone surrogates are texts too"


@pytest.mark.parametrize("length", [0, 15, 65])
def test_weak_key_is_refused(length: int) -> None:
    with pytest.raises(ConfigurationError, match=f"has `{length}` bytes: give 16 to 64"):
        ScanCache(1, b"k" * length)
