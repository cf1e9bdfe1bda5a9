"""What keeping texts costs: the same gateway at each capture level, in turn, in one run.

Run as `python tests/bench/keeping.py [--quick]`; half a minute on two cores. Prints medians and ratios to `signals`.
"""

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a file, the project is not on the path

from gateway.settings import CaptureLevel
from tests.bench.measure import Target, throughput
from tests.bench.servers import ROOT, cores, create_key, free_port, pin, server
from tests.bench.workload import write_profile

_CONNECTIONS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what keeping texts costs.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    quick = parser.parse_args().quick
    measured, measuring = cores()
    pin(os.getpid(), measuring)
    (ROOT / "reports").mkdir(exist_ok=True)  # on a disk: the folder for temporary files may be in memory
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "reports") as name, ExitStack() as stack:
        folder = Path(name)
        port = free_port()
        model = server(("-m", "tests.bench.model", str(port)), port=port, core=measuring, log=folder / "model.log")
        stack.enter_context(model).ready()
        targets = [_gateway(folder, level, f"http://127.0.0.1:{port}/v1", measured, stack) for level in CaptureLevel]
        for target in targets:
            target.server.ready()
        found = throughput(
            targets,
            rounds=3 if quick else 9,
            seconds=0.5 if quick else 1.5,
            warm_up_s=0.5 if quick else 1.5,
            connections=_CONNECTIONS,
        )
    base = found[CaptureLevel.SIGNALS.value]
    print(f"{'level':<16}{'requests/s':>12}{'ratio':>8}{'cpu us':>8}{'p50 ms':>8}{'p99 ms':>8}{'failed':>8}")
    for level, one in found.items():
        rate = one.median("per_second")
        ratio = rate / base.median("per_second")
        times = "".join(f"{one.median(name):>8.1f}" for name in ("p50_ms", "p99_ms"))
        print(f"{level:<16}{rate:>12.0f}{ratio:>8.2f}{one.median('cpu_us'):>8.0f}{times}{one.failures:>8}")


def _gateway(folder: Path, level: CaptureLevel, model_url: str, core: int | None, stack: ExitStack) -> Target:
    own = folder / level.value
    config = write_profile(own, model_url=model_url, rules=10, detector="pii_patterns")
    settings = yaml.safe_load(config.read_text("utf-8"))
    config.write_text(yaml.safe_dump({**settings, "apps": {"bench": {"capture": level.value}}}), "utf-8")
    key = create_key(own / "data")
    port = free_port()
    arguments = ("-m", "gateway", "--config", str(config), "serve", "--port", str(port))
    started = server(arguments, port=port, core=core, log=folder / f"{level.value}.log")
    return Target(name=level.value, server=stack.enter_context(started), key=key)


if __name__ == "__main__":
    main()
