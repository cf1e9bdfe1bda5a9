"""Measurements over running servers, the floors and the gateway in turn (A B A B), so that a noisy machine hits all."""

import itertools
import json
import statistics
import time
from collections.abc import Sequence

import uvloop
from msgspec import Struct, field

from tests.bench.load import Asking, Trace, run_load, run_streams
from tests.bench.servers import Server
from tests.bench.workload import ANSWER, FAST, PACED, QUESTION, SYSTEM, UNIQUE, request_body, unique_word, words

_PERSONAL_SHARE = 10  # one request of so many brings personal data


class Target(Struct, frozen=True, kw_only=True):
    """A server under load; `key` is empty for one that asks for none."""

    name: str
    server: Server
    key: str = ""

    def asking(self, *bodies: bytes, first: int = 0) -> Asking:
        return Asking(self.server.port, bodies, key=self.key, first=first)


class Throughput(Struct, kw_only=True):
    """Rounds of one target."""

    per_second: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    failures: int = 0

    def median(self, name: str) -> float:
        return statistics.median(getattr(self, name))


def throughput(
    targets: Sequence[Target], *, rounds: int, seconds: float, warm_up_s: float, connections: int
) -> dict[str, Throughput]:
    """Requests a second, processor time and latency of each target, a round each in turn. The warm-up is long enough
    for what the first request compiles, and for the automata of the patterns to grow."""
    plain, personal = request_body(), request_body(personal=True)
    askings = {
        target.name: target.asking(*[plain] * (_PERSONAL_SHARE - 1), personal, first=index * 100_000_000)
        for index, target in enumerate(targets)
    }
    found = {target.name: Throughput() for target in targets}
    for target in targets:
        uvloop.run(run_load(askings[target.name], connections=connections, seconds=warm_up_s))
    for number in range(rounds):
        for target in targets if number % 2 == 0 else reversed(targets):
            before = target.server.cpu_us()
            load = uvloop.run(run_load(askings[target.name], connections=connections, seconds=seconds))
            result = found[target.name]
            if not load.answers:
                raise RuntimeError(f"`{target.name}` answered none of {load.failures} requests")
            result.failures += load.failures
            result.per_second.append(load.per_second)
            result.cpu_us.append((target.server.cpu_us() - before) / load.answers)
            result.p50_ms.append(load.latency_ms(0.5))
            result.p99_ms.append(load.latency_ms(0.99))
    return found


class Streaming(Struct, kw_only=True):
    """Streams of one target. `first_ms` and `last_ms`: from the request to the first and the last content, the
    model answering at once. `delivered`: events that leave for each event of the model. `held`: how many more
    chunks it takes to let a word go."""

    first_ms: float
    last_ms: float
    delivered: float
    held_p50: int
    held_p95: int


def streaming(direct: Target, targets: Sequence[Target], *, rounds: int) -> dict[str, Streaming]:
    """Streams one at a time; `direct` is the model itself."""
    everyone = [direct, *targets]
    fast = {
        t.name: t.asking(request_body(model=FAST, stream=True), first=i * 10_000_000) for i, t in _enumerated(everyone)
    }
    paced = {
        t.name: t.asking(request_body(model=PACED, stream=True), first=i * 10_000_000 + 5_000_000)
        for i, t in _enumerated(everyone)
    }
    traces: dict[str, list[Trace]] = {target.name: [] for target in everyone}
    slow: dict[str, list[Trace]] = {target.name: [] for target in everyone}
    for target in everyone:
        run_streams(fast[target.name], count=3)
    for number in range(rounds):
        for target in everyone if number % 2 == 0 else reversed(everyone):
            traces[target.name] += run_streams(fast[target.name], count=5)
            if number % 4 == 0:
                slow[target.name] += run_streams(paced[target.name], count=1)
    upstream = slow[direct.name][0].events
    return {target.name: _streaming(traces[target.name], slow[target.name], upstream) for target in everyone}


def _enumerated(targets: Sequence[Target]) -> list[tuple[int, Target]]:
    return list(enumerate(targets))


def _streaming(fast: list[Trace], slow: list[Trace], upstream_events: int) -> Streaming:
    late = sorted(chunks for trace in slow for chunks in held(trace))
    return Streaming(
        first_ms=statistics.median(trace.first_ms for trace in fast),
        last_ms=statistics.median(trace.last_ms for trace in fast),
        delivered=statistics.median(trace.events for trace in slow) / upstream_events,
        held_p50=late[len(late) // 2],
        held_p95=late[len(late) * 95 // 100],
    )


def held(trace: Trace) -> list[int]:
    """For each word of the model, how many more chunks it took to let the whole word go."""
    late = []
    arrivals = iter(trace.arrivals)
    arrival = next(arrivals)
    for chunk, chars in enumerate(itertools.accumulate(map(len, words())), start=1):
        while arrival.chars < chars:
            arrival = next(arrivals)
        late.append(arrival.chunk - chunk)
    return late


class Conversation(Struct, kw_only=True):
    """Cost of the turns of conversations, per turn: processor time and time until the answer."""

    cpu_us: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """Processor time of the last turns for one of the first ones; three turns each, since ticks are coarse."""
        return statistics.mean(self.cpu_us[-3:]) / statistics.mean(self.cpu_us[:3])


def conversations(target: Target, *, count: int, turns: int, first: int) -> Conversation:
    """`count` conversations in step, each resending its whole history in every turn as chat clients do."""
    histories = [[{"role": "system", "content": SYSTEM}] for _ in range(count)]
    result = Conversation()
    number = first
    for _ in range(turns):
        before, began = target.server.cpu_us(), time.perf_counter()
        for history in histories:
            number += 1
            history.append({"role": "user", "content": QUESTION.replace(UNIQUE, unique_word(number))})
            body = json.dumps({"model": FAST, "messages": history}).encode()
            load = uvloop.run(run_load(target.asking(body), connections=1, seconds=60.0, at_most=1))
            if load.failures:
                raise RuntimeError(f"`{target.name}` failed in a conversation")
            history.append({"role": "assistant", "content": ANSWER.replace(UNIQUE, unique_word(number + 50_000_000))})
        result.cpu_us.append((target.server.cpu_us() - before) / count)
        result.ms.append((time.perf_counter() - began) * 1e3 / count)
    return result
