"""The inspector: one scan per distinct text, deadlines, failures as values, unions per provenance."""

import asyncio
import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import ConfigurationError
from gateway.domain.segment import Segment
from gateway.domain.signal import Finding, Inspection, Scan
from gateway.domain.vocabulary import Placement, Provenance, SignalStatus, SignalType
from gateway.inspection import Inspector
from gateway.inspection.lane import INLINE_CHARS

KEY = b"k" * 32
SIGNALS: Mapping[str, SignalType] = {
    "words.flag": SignalType.FLAG,
    "words.count": SignalType.COUNT,
    "words.score": SignalType.SCORE,
    "words.kinds": SignalType.KINDS,
}


class WordDetector:
    """Finds `secret`; fails on `poison`; counts what it was asked to scan."""

    def __init__(self, name: str = "words", placement: Placement = Placement.INLINE, **attributes: object) -> None:
        self.name = name
        self.version = "1"
        self.placement = placement
        self.signals = SIGNALS
        self.seen: Counter[str] = Counter()
        self.batches: list[int] = []
        for attribute, value in attributes.items():
            setattr(self, attribute, value)

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        self.batches.append(len(texts))
        self.seen.update(texts)
        return [self.one(text) for text in texts]

    def one(self, text: str) -> Scan:
        if "poison" in text:
            raise ValueError("the text was " + text)
        places = [index for index in range(len(text)) if text.startswith("secret", index)]
        if not places:
            return Scan()
        findings = tuple(
            Finding(start=at, end=at + 6, kind="word.secret", detector=self.name, score=0.5) for at in places
        )
        values = {
            "words.flag": True,
            "words.count": len(places),
            "words.score": min(1.0, len(places) / 10),
            "words.kinds": frozenset({f"k{len(places)}"}),
        }
        return Scan(findings, values)


class GatedDetector(WordDetector):
    """Waits for its gate before it answers."""

    def __init__(self, name: str = "gated", **attributes: object) -> None:
        super().__init__(name, Placement.THREAD, **attributes)
        self.gate = threading.Event()

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        assert self.gate.wait(20)
        return super().scan(texts)


class OddDetector(WordDetector):
    """Returns whatever it is told to."""

    def __init__(self, result: object) -> None:
        super().__init__("odd")
        self.result = result

    def scan(self, texts: Sequence[str]) -> list[Scan]:
        return self.result  # type: ignore[return-value]


def segments(*texts: str, provenance: Provenance = Provenance.USER) -> list[Segment]:
    return [Segment(index=index, text=text, provenance=provenance) for index, text in enumerate(texts)]


Build = Callable[..., Inspector]


@pytest.fixture
def build() -> Iterator[Build]:
    made: list[Inspector] = []

    def make(*detectors: object, cache_bytes: int = 1_000_000, threads: int = 2, **options: int) -> Inspector:
        inspector = Inspector(
            detectors,  # type: ignore[arg-type]
            threads=threads,
            cache_bytes=cache_bytes,
            cache_key=KEY,
            clock_us=lambda: time.monotonic_ns() // 1000,
            **options,
        )
        made.append(inspector)
        return inspector

    yield make
    for inspector in made:
        inspector.close()


async def look(
    inspector: Inspector, parts: Sequence[Segment], *names: str, timeout_s: float = 10.0, **timeouts: float
) -> Inspection:
    return await inspector.inspect(parts, detectors=frozenset(names), timeouts=timeouts, default_timeout_s=timeout_s)


@pytest.mark.parametrize("placement", list(Placement))
async def test_findings_carry_their_segment_and_values_unite(build: Build, placement: Placement) -> None:
    inspector = build(WordDetector(placement=placement))
    result = await look(inspector, segments("a secret", "none", "secret secret"), "words")
    assert [(f.segment, f.start, f.end) for f in result.findings] == [(0, 2, 8), (2, 0, 6), (2, 7, 13)]
    assert result.values == {
        Provenance.USER: {
            "words.flag": True,
            "words.count": 3,
            "words.score": 0.2,
            "words.kinds": frozenset({"k1", "k2"}),
        }
    }
    assert (result.runs["words"].status, result.runs["words"].reason) == (SignalStatus.OK, "")
    assert (result.runs["words"].scanned, result.runs["words"].cached) == (3, 0)


async def test_values_stay_apart_by_provenance(build: Build) -> None:
    parts = [
        Segment(index=0, text="secret", provenance=Provenance.SYSTEM),
        Segment(index=1, text="secret secret", provenance=Provenance.USER),
    ]
    result = await look(build(WordDetector()), parts, "words")
    assert result.values[Provenance.SYSTEM]["words.count"] == 1
    assert result.values[Provenance.USER]["words.count"] == 2


async def test_no_segments_and_no_detectors_are_ok(build: Build) -> None:
    inspector = build(WordDetector())
    assert (await look(inspector, [], "words")).runs["words"].status is SignalStatus.OK
    assert (await look(inspector, segments("secret"))).runs == {}


async def test_unknown_detector_is_not_run(build: Build) -> None:
    run = (await look(build(WordDetector()), segments("x"), "absent", "words")).runs["absent"]
    assert (run.status, run.reason, run.version) == (SignalStatus.NOT_RUN, "not_installed", "")


@pytest.mark.parametrize("placement", list(Placement))
async def test_exception_is_an_error_that_names_the_type_only(build: Build, placement: Placement) -> None:
    result = await look(build(WordDetector(placement=placement)), segments("poison 4711", "secret"), "words")
    run = result.runs["words"]
    assert (run.status, run.reason) == (SignalStatus.ERROR, "exception:ValueError")
    assert "4711" not in repr(result)
    assert [f.segment for f in result.findings] == [1], "the healthy text of the batch is still judged"


async def test_failures_are_not_cached(build: Build) -> None:
    detector = WordDetector()
    inspector = build(detector)
    for _ in range(2):
        assert (await look(inspector, segments("poison"), "words")).runs["words"].status is SignalStatus.ERROR
    assert detector.seen["poison"] == 2


async def test_unreachable_surroundings_are_not_asked_once_per_text(build: Build) -> None:
    class Remote(WordDetector):
        def one(self, text: str) -> Scan:
            raise ConnectionError("refused")

    detector = Remote()
    result = await look(build(detector), segments("a", "b", "c"), "words")
    assert result.runs["words"].reason == "exception:ConnectionError"
    assert detector.batches == [3]


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        [None],
        [Scan(), Scan()],
        [Scan((Finding(start=0, end=99, kind="k", detector="odd"),))],
        [Scan((Finding(start=3, end=3, kind="k", detector="odd"),))],
        [Scan((Finding(start=0, end=1, kind="k", detector="odd", score=float("nan")),))],
        [Scan((), {"words.unknown": True})],
        [Scan((), {"words.score": float("nan")})],
        [Scan((), {"words.score": 1.5})],
        [Scan((), {"words.score": True})],
        [Scan((), {"words.count": -1})],
        [Scan((), {"words.count": True})],
        [Scan((), {"words.flag": 1})],
        [Scan((), {"words.kinds": "PERSON"})],  # type: ignore[dict-item]
    ],
)
async def test_nonsense_from_a_detector_is_an_error(build: Build, result: object) -> None:
    run = (await look(build(OddDetector(result)), segments("text"), "odd")).runs["odd"]
    assert (run.status, run.reason) == (SignalStatus.ERROR, "malformed_result")


async def test_late_detector_is_a_timeout_and_its_result_is_cached_when_it_comes(build: Build) -> None:
    detector = GatedDetector()
    inspector = build(detector)
    late = await look(inspector, segments("secret"), "gated", timeout_s=10.0, gated=0.02)
    assert (late.runs["gated"].status, late.runs["gated"].reason) == (SignalStatus.TIMEOUT, "deadline")
    assert late.findings == ()
    detector.gate.set()
    found = await look(inspector, segments("secret"), "gated")
    again = await look(inspector, segments("secret"), "gated")
    assert found.runs["gated"].status is SignalStatus.OK
    assert (again.runs["gated"].cached, again.runs["gated"].scanned) == (1, 0)
    assert detector.seen["secret"] == 1


async def test_late_exception_is_silent(build: Build) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    detector = GatedDetector()
    inspector = build(detector)
    assert (await look(inspector, segments("poison"), "gated", timeout_s=0.01)).runs["gated"].status == "timeout"
    detector.gate.set()
    assert (await look(inspector, segments("other"), "gated")).runs["gated"].status is SignalStatus.OK
    await asyncio.sleep(0.02)
    gc.collect()
    assert complaints == []


async def test_hanging_detector_starves_no_other(build: Build) -> None:
    hanging, quick = GatedDetector("hanging"), WordDetector("quick", Placement.THREAD)
    inspector = build(hanging, quick, threads=1)
    result = await look(inspector, segments("secret"), "hanging", "quick", hanging=0.05)
    assert result.runs["hanging"].status is SignalStatus.TIMEOUT
    assert result.runs["quick"].status is SignalStatus.OK
    assert [f.detector for f in result.findings] == ["quick"]
    hanging.gate.set()


@pytest.mark.parametrize("placement", list(Placement))
async def test_identical_texts_of_a_call_are_scanned_once(build: Build, placement: Placement) -> None:
    detector = WordDetector(placement=placement)
    result = await look(build(detector), segments("secret", "secret"), "words")
    assert detector.seen == {"secret": 1}
    assert [f.segment for f in result.findings] == [0, 1]
    assert result.values[Provenance.USER]["words.count"] == 2


async def test_identical_texts_of_concurrent_calls_are_scanned_once(build: Build) -> None:
    detector = GatedDetector()
    inspector = build(detector, cache_bytes=0)
    calls = [asyncio.ensure_future(look(inspector, segments("secret", f"own {n}"), "gated")) for n in range(5)]
    await asyncio.sleep(0.02)
    detector.gate.set()
    results = await asyncio.gather(*calls)
    assert detector.seen["secret"] == 1
    assert all(len(result.findings) == 1 for result in results)


async def test_cancelled_caller_disturbs_no_other(build: Build) -> None:
    detector = GatedDetector()
    inspector = build(detector)
    first = asyncio.ensure_future(look(inspector, segments("secret"), "gated"))
    second = asyncio.ensure_future(look(inspector, segments("secret"), "gated"))
    await asyncio.sleep(0.01)
    first.cancel()
    detector.gate.set()
    assert len((await second).findings) == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_turn_costs_what_its_new_text_costs(build: Build) -> None:
    detector = WordDetector(placement=Placement.THREAD)
    inspector = build(detector)
    history = [f"turn {n}" for n in range(20)]
    for length in range(1, 21):
        run = (await look(inspector, segments(*history[:length]), "words")).runs["words"]
        assert (run.scanned, run.cached) == (1, length - 1)
    assert set(detector.seen.values()) == {1}


async def test_cached_and_inline_work_never_leaves_the_loop(build: Build) -> None:
    inspector = build(WordDetector(placement=Placement.THREAD), WordDetector("inline"))
    await look(inspector, segments("secret"), "words")
    call = look(inspector, segments("secret"), "words", "inline")
    with pytest.raises(StopIteration) as returned:
        call.send(None)
    assert len(returned.value.value.findings) == 2


@pytest.mark.parametrize(
    "text", ["x" * (INLINE_CHARS + 1), "\u0301" * (INLINE_CHARS // 4 + 1)], ids=["long", "accents"]
)
@pytest.mark.parametrize("keep", [True, False])
async def test_a_long_text_does_not_hold_the_loop(build: Build, text: str, *, keep: bool) -> None:
    places = []

    class Placed(WordDetector):
        def one(self, text: str) -> Scan:
            places.append(threading.current_thread() is threading.main_thread())
            return super().one(text)

    inspector = build(Placed())
    for body in ("secret", text + "secret"):
        seen = await inspector.inspect(
            segments(body), detectors=frozenset({"words"}), timeouts={}, default_timeout_s=5, keep=keep
        )
        assert [finding.kind for finding in seen.findings] == ["word.secret"]
    assert places == [True, False]


async def test_a_long_text_after_closing_fails_closed(build: Build) -> None:
    inspector = build(WordDetector())
    inspector.close()
    run = (await look(inspector, segments("x" * (INLINE_CHARS + 1)), "words")).runs["words"]
    assert (run.status, run.reason) == (SignalStatus.ERROR, "closed")


async def test_texts_that_will_not_come_again_leave_the_cache_alone(build: Build) -> None:
    detector = WordDetector()
    inspector = build(detector)
    for _ in range(2):
        seen = await inspector.inspect(
            segments("secret"), detectors=frozenset({"words"}), timeouts={}, default_timeout_s=1.0, keep=False
        )
        assert seen.values[Provenance.USER]["words.count"] == 1
        assert (seen.runs["words"].scanned, seen.runs["words"].cached) == (1, 0)
    assert detector.seen == {"secret": 2}
    assert (await look(inspector, segments("secret"), "words")).runs["words"].scanned == 1


async def test_versions_and_names_have_results_of_their_own(build: Build) -> None:
    inspector = build(WordDetector("words"), WordDetector("other"))
    await look(inspector, segments("secret"), "words")
    result = await look(inspector, segments("secret"), "words", "other")
    assert (result.runs["words"].cached, result.runs["other"].cached) == (1, 0)


async def test_full_lane_turns_calls_away(build: Build) -> None:
    detector = GatedDetector()
    inspector = build(detector, threads=1, waiting_limit=2)
    first = asyncio.ensure_future(look(inspector, segments("a", "b", "secret"), "gated"))
    await asyncio.sleep(0.01)
    run = (await look(inspector, segments("new"), "gated")).runs["gated"]
    assert (run.status, run.reason, run.scanned) == (SignalStatus.ERROR, "overloaded", 0)
    detector.gate.set()
    assert (await first).runs["gated"].status is SignalStatus.OK, "a single long call is never too long by itself"
    assert (await look(inspector, segments("new"), "gated")).runs["gated"].status is SignalStatus.OK


async def test_closed_inspector_fails_closed(build: Build) -> None:
    inspector = build(WordDetector(placement=Placement.THREAD))
    inspector.close()
    run = (await look(inspector, segments("secret"), "words")).runs["words"]
    assert (run.status, run.reason) == (SignalStatus.ERROR, "closed")


async def test_closing_ends_the_calls_that_wait(build: Build) -> None:
    detector = GatedDetector()
    inspector = build(detector, threads=1)
    running = asyncio.ensure_future(look(inspector, segments("a"), "gated"))
    await asyncio.sleep(0.01)
    waiting = asyncio.ensure_future(look(inspector, segments("b"), "gated"))
    await asyncio.sleep(0.01)
    inspector.close()
    assert (await waiting).runs["gated"].reason == "closed"
    detector.gate.set()
    assert (await running).runs["gated"].status is SignalStatus.OK


async def test_long_history_is_split_into_batches(build: Build) -> None:
    detector = WordDetector(placement=Placement.THREAD)
    result = await look(build(detector), segments(*[f"secret {n}" for n in range(40)], "x" * 50_000), "words")
    assert len(result.findings) == 40
    assert max(detector.batches) <= 16
    assert sum(detector.batches) == 41


async def test_text_split_over_user_turns_is_seen_joined(build: Build) -> None:
    class Split(WordDetector):
        def one(self, text: str) -> Scan:
            return super().one(text.replace("\n", ""))

    parts = [*segments("hello", "sec", "ret"), Segment(index=3, text="sec", provenance=Provenance.ASSISTANT)]
    result = await look(build(Split(joins_user_turns=2), Split("plain")), parts, "words", "plain")
    assert result.findings == ()
    assert result.values == {
        Provenance.USER: {
            "words.flag": True,
            "words.count": 1,
            "words.score": 0.1,
            "words.kinds": frozenset({"k1"}),
        }
    }
    short = await look(build(Split(joins_user_turns=1)), parts, "words")
    assert short.values == {}


async def test_joined_turns_do_not_count_twice_and_their_failure_counts(build: Build) -> None:
    detector = WordDetector(joins_user_turns=5)
    result = await look(build(detector), segments("secret", "secret"), "words")
    assert result.values[Provenance.USER]["words.count"] == 2

    class FailsOnLines(WordDetector):
        def one(self, text: str) -> Scan:
            if "\n" in text:
                raise RuntimeError
            return super().one(text)

    failed = await look(build(FailsOnLines(joins_user_turns=5)), segments("a", "b"), "words")
    assert failed.runs["words"].reason == "exception:RuntimeError"


def test_two_detectors_of_one_name_are_refused(build: Build) -> None:
    with pytest.raises(ConfigurationError, match="two detectors are named `words`: rename one"):
        build(WordDetector(), WordDetector())


_texts = st.lists(
    st.lists(st.sampled_from(["secret", "poison", "plain", "é", ""]), max_size=4).map(" ".join), max_size=6
)
_provenances = st.lists(st.sampled_from(list(Provenance)), min_size=6, max_size=6)


def run_once(
    parts: Sequence[Segment], detectors: Sequence[WordDetector], *, cache_bytes: int, times: int = 1
) -> Inspection:
    async def body() -> Inspection:
        inspector = Inspector(detectors, threads=2, cache_bytes=cache_bytes, cache_key=KEY, clock_us=lambda: 0)
        try:
            for _ in range(times):
                result = await look(inspector, parts, *[detector.name for detector in detectors])
            return result
        finally:
            inspector.close()

    return asyncio.run(body())


def judged(result: Inspection) -> object:
    runs = {name: (run.status, run.reason) for name, run in result.runs.items()}
    return result.findings, result.values, runs


def detectors() -> list[WordDetector]:
    return [WordDetector("words"), WordDetector("threaded", Placement.THREAD, joins_user_turns=3)]


@given(texts=_texts, provenances=_provenances, size=st.sampled_from([0, 900, 100_000]))
@settings(max_examples=40, deadline=None)
def test_cache_never_changes_a_result(texts: list[str], provenances: list[Provenance], size: int) -> None:
    parts = [Segment(index=i, text=t, provenance=p) for i, (t, p) in enumerate(zip(texts, provenances, strict=False))]
    fresh = judged(run_once(parts, detectors(), cache_bytes=0))
    assert judged(run_once(parts, detectors(), cache_bytes=size, times=2)) == fresh


@given(texts=_texts, provenances=_provenances, data=st.data())
@settings(max_examples=40, deadline=None)
def test_order_of_segments_only_changes_indexes(
    texts: list[str], provenances: list[Provenance], data: st.DataObject
) -> None:
    pairs = list(zip(texts, provenances, strict=False))
    order = data.draw(st.permutations(range(len(pairs))))
    plain = [WordDetector("words"), WordDetector("threaded", Placement.THREAD)]  # a joined view has an order
    one = run_once([Segment(index=i, text=t, provenance=p) for i, (t, p) in enumerate(pairs)], plain, cache_bytes=0)
    shuffled = [Segment(index=i, text=pairs[k][0], provenance=pairs[k][1]) for i, k in enumerate(order)]
    other = run_once(shuffled, plain, cache_bytes=0)
    assert judged(one)[1:] == judged(other)[1:]  # type: ignore[index]

    def places(result: Inspection, index_of: Sequence[int]) -> list[tuple[object, ...]]:
        return sorted((index_of[f.segment], f.start, f.end, f.kind, f.detector) for f in result.findings)

    assert places(one, range(len(pairs))) == places(other, order)


@given(texts=_texts, failing=st.sets(st.sampled_from(["words", "threaded"])))
@settings(max_examples=40, deadline=None)
def test_failing_detector_never_looks_like_one_that_saw_nothing(texts: list[str], failing: set[str]) -> None:
    class Broken(WordDetector):
        def one(self, text: str) -> Scan:
            raise KeyError(text)

    parts = segments(*texts)
    chosen = [
        (Broken if name in failing else WordDetector)(name, placement)
        for name, placement in (("words", Placement.INLINE), ("threaded", Placement.THREAD))
    ]
    result = run_once(parts, chosen, cache_bytes=0)
    for name, run in result.runs.items():
        expected = SignalStatus.ERROR if texts and (name in failing or "poison" in " ".join(texts)) else SignalStatus.OK
        assert run.status is expected
