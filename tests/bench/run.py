"""`make bench`: the gateway beside bare proxies, in one run on one machine, as ratios.

Every figure is measured in the same run as its floor, in turn. The gateway runs in one process; where the machine has
two cores it has one for itself, and the load and the mock model share the other. Prints a table and writes
`reports/bench.json`. What it says of requests a second holds for a machine that does nothing else; processor time a
request is the steadier figure.

Run as `python tests/bench/run.py [--quick]`; takes two minutes on two cores, `--quick` about half of one.
"""

import argparse
import os
import platform
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a file, the project is not on the path

from tests.bench import micro
from tests.bench.measure import Conversation, Streaming, Target, Throughput, conversations, streaming, throughput
from tests.bench.servers import ROOT, cores, create_key, free_port, pin, server
from tests.bench.table import Report, render
from tests.bench.workload import write_profile

REPORT = ROOT / "reports" / "bench.json"
_CONNECTIONS = 32
_TURNS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the gateway beside bare proxies.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--output", type=Path, default=REPORT, help="where the figures go as JSON")
    options = parser.parse_args()
    report = run(quick=options.quick)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    print(render(report))
    print(f"written to {options.output}")


def run(*, quick: bool) -> Report:
    """All measurements."""
    measured, measuring = cores()
    busy = os.getloadavg()[0]
    pin(os.getpid(), measuring)
    (ROOT / "reports").mkdir(exist_ok=True)  # not the folder for temporary files: that may be in memory
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "reports") as name, ExitStack() as stack:
        folder = Path(name)
        parts = micro.measure(folder / "micro", quick=quick)
        bench = Bench(folder, stack, measured=measured, measuring=measuring)
        requests, streams = _pattern_profiles(bench, quick=quick)
        names, cached, uncached = _name_profiles(bench, quick=quick)
        return Report(
            machine=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            pinned=measured is not None,
            busy=busy,
            quick=quick,
            requests=requests | names,
            streams=streams,
            cached=cached,
            uncached=uncached,
            memory_mb={target.name: target.server.memory_mb() for target in bench.started},
            micro=parts,
        )


class Bench:
    """Starts what is measured and remembers it."""

    def __init__(self, folder: Path, stack: ExitStack, *, measured: int | None, measuring: int | None) -> None:
        self._folder = folder
        self._stack = stack
        self._measured = measured
        self._measuring = measuring
        self.started: list[Target] = []
        self.model = self._start("model", "-m", "tests.bench.model", core=measuring)
        self._model_url = f"http://127.0.0.1:{self.model.server.port}/v1"

    def floor(self, kind: str) -> Target:
        return self._start(kind, "-m", "tests.bench.proxies", kind, after=(self._model_url,), core=self._measured)

    def gateway(self, name: str, *, rules: int, detector: str = "pii_patterns", cache: bool = True) -> Target:
        folder = self._folder / name
        config = write_profile(folder, model_url=self._model_url, rules=rules, detector=detector, cache=cache)
        key = create_key(folder / "data")
        arguments = ("-m", "gateway", "--config", str(config), "serve", "--port")
        return self._start(name, *arguments, core=self._measured, key=key)

    def ready(self) -> None:
        """Wait for all that was started."""
        for target in self.started:
            target.server.ready()

    def _start(
        self, name: str, *arguments: str, core: int | None, after: tuple[str, ...] = (), key: str = ""
    ) -> Target:
        port = free_port()
        started = server((*arguments, str(port), *after), port=port, core=core, log=self._folder / f"{name}.log")
        target = Target(name=name, server=self._stack.enter_context(started), key=key)
        self.started.append(target)
        return target


def _pattern_profiles(bench: Bench, *, quick: bool) -> tuple[dict[str, Throughput], dict[str, Streaming]]:
    """P1, P3, P6, P7, P8."""
    floors = [bench.floor("litestar"), bench.floor("bare")]
    thousand, ten = bench.gateway("gateway-1000-rules", rules=1_000), bench.gateway("gateway-10-rules", rules=10)
    bench.ready()
    requests = throughput(
        [*floors, thousand, ten],
        rounds=3 if quick else 11,
        seconds=0.5 if quick else 1.5,
        warm_up_s=0.5 if quick else 1.5,
        connections=_CONNECTIONS,
    )
    streams = streaming(bench.model, [*floors, thousand], rounds=4 if quick else 16)
    return requests, streams


def _name_profiles(bench: Bench, *, quick: bool) -> tuple[dict[str, Throughput], Conversation, Conversation]:
    """P4, P5."""
    cached = bench.gateway("gateway-names", rules=10, detector="pii")
    uncached = bench.gateway("gateway-names-no-cache", rules=10, detector="pii", cache=False)
    bench.ready()
    requests = throughput([cached], rounds=1 if quick else 3, seconds=1.0, warm_up_s=0.5, connections=4)
    return (
        requests,
        conversations(cached, count=1 if quick else 6, turns=_TURNS, first=1_000_000_000),
        conversations(uncached, count=1, turns=8 if quick else _TURNS, first=2_000_000_000),
    )


if __name__ == "__main__":
    main()
