"""Detectors that judge by grounds: bound for one exchange, on the same threads, never mixed up in the cache."""

import threading
from collections.abc import Sequence

import pytest

from gateway.domain.grounds import NO_GROUNDS, Grounds
from gateway.domain.passage import Passage
from gateway.domain.segment import Segment
from gateway.domain.signal import EMPTY_SCAN, Scan
from gateway.domain.vocabulary import Placement, Provenance, SignalStatus, SignalType
from gateway.inspection import Inspector

ASSISTANT = Provenance.ASSISTANT


class Grounded:
    """Flags a text that is in no passage. Bound to a passage `broken`, it raises."""

    name = "held"
    version = "1"
    signals = {"held.unsaid": SignalType.FLAG}

    def __init__(self, placement: Placement, grounds: Grounds = NO_GROUNDS, threads: set[str] | None = None) -> None:
        self.placement = placement
        self.grounds = grounds
        self.threads = set() if threads is None else threads

    def on(self, grounds: Grounds) -> "Grounded":
        return Grounded(self.placement, grounds, self.threads)

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        self.threads.add(threading.current_thread().name)
        said = [passage.text for passage in self.grounds.passages]
        if "broken" in said:
            raise ValueError("broken")
        return [EMPTY_SCAN if text in said else Scan((), {"held.unsaid": True}) for text in texts]


def grounds(*texts: str) -> Grounds:
    passages = [
        Passage(doc="d", number=i, revision="r", title="", text=text, access=frozenset())
        for i, text in enumerate(texts)
    ]
    return Grounds(passages=tuple(passages))


def inspector(*detectors) -> Inspector:
    return Inspector(detectors, threads=1, cache_bytes=100_000, cache_key=b"k" * 32, clock_us=lambda: 0)


async def unsaid(one: Inspector, text: str) -> bool:
    seen = await one.inspect(
        [Segment(index=0, text=text, provenance=ASSISTANT)],
        detectors=frozenset({"held"}),
        timeouts={},
        default_timeout_s=5,
    )
    assert seen.runs["held"].status is SignalStatus.OK
    assert seen.runs["held"].version == "1"
    return bool(seen.values.get(ASSISTANT, {}).get("held.unsaid", False))


@pytest.mark.parametrize("placement", list(Placement))
async def test_results_of_one_exchange_are_not_those_of_another(placement):
    one = inspector(Grounded(placement))
    for _ in range(2):  # the second time from the cache
        assert await unsaid(one, "fees are low")
        assert not await unsaid(one.on(grounds("fees are low")), "fees are low")
        assert await unsaid(one.on(grounds("fees are high")), "fees are low")


async def test_the_same_grounds_share_what_is_cached():
    one = inspector(Grounded(Placement.INLINE))
    segment = Segment(index=0, text="a", provenance=ASSISTANT)
    runs = [
        (
            await one.on(grounds("a")).inspect(
                [segment], detectors=frozenset({"held"}), timeouts={}, default_timeout_s=5
            )
        ).runs["held"]
        for _ in range(2)
    ]
    assert [(run.cached, run.scanned) for run in runs] == [(0, 1), (1, 0)]


async def test_bound_detectors_work_on_the_threads_of_the_detector():
    detector = Grounded(Placement.THREAD)
    one = inspector(detector)
    for text in ("a", "b", "c"):
        await unsaid(one.on(grounds(text)), text)
    assert detector.threads == {"detector-held_0"}
    one.close()
    seen = await one.on(grounds("x")).inspect(
        [Segment(index=0, text="later", provenance=ASSISTANT)],
        detectors=frozenset({"held"}),
        timeouts={},
        default_timeout_s=5,
    )
    assert (seen.runs["held"].status, seen.runs["held"].reason) == (SignalStatus.ERROR, "closed")


async def test_a_failure_of_a_bound_detector_is_a_status():
    seen = (
        await inspector(Grounded(Placement.INLINE))
        .on(grounds("broken"))
        .inspect(
            [Segment(index=0, text="a", provenance=ASSISTANT)],
            detectors=frozenset({"held"}),
            timeouts={},
            default_timeout_s=5,
        )
    )
    assert (seen.runs["held"].status, seen.runs["held"].reason) == (SignalStatus.ERROR, "exception:ValueError")


def test_grounds_have_one_digest_for_what_can_be_seen_of_them():
    assert grounds("a", "b").digest == grounds("a", "b").digest
    assert len({grounds("a", "b").digest, grounds("ab").digest, grounds("b", "a").digest, NO_GROUNDS.digest}) == 4
    assert Grounds(question="q").digest != NO_GROUNDS.digest
