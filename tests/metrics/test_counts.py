"""Counters, histograms, their sums, and the files by which the workers of a node share them."""

import asyncio
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.fakes import FakeAudit

from gateway.domain.errors import AuditUnavailable, ConfigurationError, UpstreamError
from gateway.domain.event import EventDraft, EventType
from gateway.domain.model import ModelReply, ModelRequest
from gateway.metrics.audited import CountingAuditLog
from gateway.metrics.counts import OTHER, Counts, Family, Gauge, summed
from gateway.metrics.exposition import exposition
from gateway.metrics.families import AUDIT_EVENTS, AUDIT_FAILURES, FAMILIES, UPSTREAM_SECONDS
from gateway.metrics.node import NodeCounts
from gateway.metrics.upstream import TimedUpstream

HITS = Family(name="hits", about="Hits", labels=("who",), most=3)
WAITS = Family(name="waits", about="Waits", labels=("who",), most=3, buckets=(0.1, 1.0))
updates = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 5), st.integers(0, 3_000_000)), max_size=30)


def counts_of(found) -> Counts:
    counts = Counts([HITS, WAITS])
    for who, amount, microseconds in found:
        counts.counter("hits").add((who,), amount)
        counts.histogram("waits").observe((who,), microseconds)
    return counts


@given(found=updates)
def test_nothing_is_lost_and_labels_are_bounded(found) -> None:
    snapshot = counts_of(found).snapshot()
    hits = dict(snapshot.counters.get("hits", []))
    assert sum(hits.values()) == sum(amount for _, amount, _ in found)
    assert len(hits) <= HITS.most + 1
    rows = snapshot.histograms.get("waits", [])
    assert sum(sum(counts) for _, counts, _ in rows) == len(found)
    assert sum(total for _, _, total in rows) == sum(microseconds for _, _, microseconds in found)
    assert len(rows) <= WAITS.most + 1


@given(one=updates, other=updates)
def test_sums_are_those_of_the_parts_in_any_order(one, other) -> None:
    parts = [counts_of(one).snapshot(), counts_of(other).snapshot()]
    total = summed(parts)
    assert total.counters == summed(parts[::-1]).counters
    assert sum(value for _, value in total.counters.get("hits", [])) == sum(n for _, n, _ in [*one, *other])
    rows = total.histograms.get("waits", [])
    assert sum(sum(counts) for _, counts, _ in rows) == len(one) + len(other)


def test_what_comes_after_the_bound_counts_as_other() -> None:
    counts = counts_of([(who, 1, 50_000) for who in "abcde"])
    assert dict(counts.snapshot().counters["hits"]) == {("a",): 1, ("b",): 1, ("c",): 1, (OTHER,): 2}


def test_the_text_is_what_prometheus_reads() -> None:
    counts = counts_of([("a", 2, 50_000), ("a", 1, 500_000), ('b\n"', 1, 7_000_000)])
    gauge = Gauge(name="up", about="Up", labels={"role": "x"}, value=1.0)
    text = exposition([HITS, WAITS], counts.snapshot(), [gauge]).decode()
    found = {
        (one.name, *sorted(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }
    assert found["hits_total", ("who", "a")] == 3
    assert found["hits_total", ("who", 'b\n"')] == 1
    assert found["waits_bucket", ("le", "0.1"), ("who", "a")] == 1
    assert found["waits_bucket", ("le", "1.0"), ("who", "a")] == 2
    assert found["waits_bucket", ("le", "+Inf"), ("who", 'b\n"')] == 1
    assert found["waits_sum", ("who", "a")] == pytest.approx(0.55)
    assert found["up", ("role", "x")] == 1


async def test_a_log_counts_what_is_durable_and_what_is_not() -> None:
    counts, clock = Counts(FAMILIES), iter(range(0, 1_000_000, 500))
    log = CountingAuditLog(FakeAudit(fail_on=EventType.LOG_BOOT), counts, lambda: next(clock))
    draft = EventDraft(type=EventType.REJECTED, app="desk", body={"route": "/v1", "code": "bad", "status": 400})
    await log.append(draft)
    with pytest.raises(AuditUnavailable):
        await log.append(EventDraft(type=EventType.LOG_BOOT, body={}))
    snapshot = counts.snapshot()
    assert dict(snapshot.counters[AUDIT_EVENTS.name]) == {("rejected",): 1}
    assert dict(snapshot.counters[AUDIT_FAILURES.name]) == {(): 1}
    assert dict(snapshot.counters["gateway_rejected_requests"]) == {("desk", "bad", "400"): 1}


class Stream:
    provider = model = ""

    def __init__(self, chunks) -> None:
        self.chunks = chunks
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.chunks:
            raise StopAsyncIteration
        chunk = self.chunks.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        self.provider, self.model = "p", "m"
        return chunk

    async def aclose(self) -> None:
        self.closed = True


class Upstream:
    def __init__(self, answer) -> None:
        self.answer = answer

    async def complete(self, request):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def stream(self, request):
        return self.answer


REQUEST = ModelRequest(model="small", body={}, exchange="e")


def timed(answer) -> tuple[TimedUpstream, Counts]:
    counts, clock = Counts(FAMILIES), iter(range(0, 1_000_000, 20_000))
    return TimedUpstream(Upstream(answer), counts.histogram(UPSTREAM_SECONDS.name), lambda: next(clock)), counts


def waits(counts: Counts) -> dict[tuple[str, ...], float]:
    return {labels: total for labels, _, total in counts.snapshot().histograms.get(UPSTREAM_SECONDS.name, [])}


async def test_models_are_timed_whether_they_answer_or_fail() -> None:
    reply = ModelReply(body={}, provider="p", model="m")
    upstream, counts = timed(reply)
    assert await upstream.complete(REQUEST) is reply
    assert waits(counts) == {("small", "whole", "ok"): 20_000}
    upstream, counts = timed(UpstreamError("down"))
    with pytest.raises(UpstreamError):
        await upstream.complete(REQUEST)
    assert waits(counts) == {("small", "whole", "error"): 20_000}


async def test_streams_are_timed_to_their_first_chunk() -> None:
    source = Stream([{"a": 1}, {"a": 2}])
    upstream, counts = timed(source)
    stream = upstream.stream(REQUEST)
    assert [chunk async for chunk in stream] == [{"a": 1}, {"a": 2}]
    assert (stream.provider, stream.model) == ("p", "m")
    await stream.aclose()
    assert source.closed
    assert waits(counts) == {("small", "first_chunk", "ok"): 20_000}
    upstream, counts = timed(Stream([UpstreamError("down")]))
    with pytest.raises(UpstreamError):
        await anext(upstream.stream(REQUEST))
    assert waits(counts) == {("small", "first_chunk", "error"): 20_000}


def node(folder: Path, counts: Counts, name: str, *, value: float = 1.0) -> NodeCounts:
    gauge = Gauge(name="healthy", about="Healthy", value=value, least=True)
    return NodeCounts(folder, counts, lambda: [gauge], name=name)


async def total(one: NodeCounts) -> tuple[int, float]:
    counts, (gauge,) = await one.total()
    return sum(value for _, value in counts.counters.get("hits", [])), gauge.value


async def test_whichever_worker_is_asked_sums_never_go_down(tmp_path) -> None:
    own = [Counts([HITS, WAITS]) for _ in range(3)]
    workers = [node(tmp_path, counts, f"w{number}", value=number) for number, counts in enumerate(own)]
    for one in workers:
        one.start()
    last = 0
    for step in range(60):
        own[step % 3].counter("hits").add(("a",), 1 + step % 4)
        seen, healthy = await total(workers[(step * 7 + 1) % 3])
        assert seen >= last
        last = seen
        assert healthy in (0.0, 1.0, 2.0)
    for one in workers:
        await total(one)
    expected = sum(value for counts in own for _, value in counts.snapshot().counters["hits"])
    assert await total(workers[0]) == (expected, 0.0)
    for one in workers:
        await one.stop()
    fresh = node(tmp_path, Counts([HITS, WAITS]), "w9")
    assert await total(fresh) == (expected, 1.0), "what ended still counts, its gauges do not"
    await fresh.stop()


def _die(folder: Path, ready) -> None:
    async def run() -> None:
        counts = Counts([HITS, WAITS])
        one = node(folder, counts, "victim", value=0.0)
        counts.counter("hits").add(("a",), 5)
        await one.total()
        ready.set()
        await asyncio.sleep(60)

    asyncio.run(run())


@pytest.mark.slow
async def test_the_counts_of_a_killed_worker_stay(tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    victim = context.Process(target=_die, args=(tmp_path, ready))
    victim.start()
    assert await asyncio.to_thread(ready.wait, 60)
    first = node(tmp_path, Counts([HITS, WAITS]), "w1")
    assert await total(first) == (5, 0.0)
    assert victim.pid is not None
    os.kill(victim.pid, 9)
    await asyncio.to_thread(victim.join)
    assert await total(first) == (5, 1.0)
    second = node(tmp_path, Counts([HITS, WAITS]), "w2")
    assert await total(second) == (5, 1.0)
    assert await total(first) == (5, 1.0)
    assert not list(tmp_path.glob("worker-victim*"))
    await first.stop()
    await second.stop()


async def test_a_disk_that_is_full_leaves_the_own_counts(tmp_path) -> None:
    counts = Counts([HITS, WAITS])
    one = node(tmp_path, counts, "w1")
    counts.counter("hits").add(("a",))
    (tmp_path / ".worker-w1.json.new").mkdir()  # where it would write
    assert await total(one) == (1, 1.0)


def test_a_folder_that_cannot_be_used_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        node(tmp_path / "file" / "metrics", Counts([HITS]), "w1")
