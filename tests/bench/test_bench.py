"""The benchmark runs, and what it says is possible. Bounds are very loose: machines are noisy."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.load import Arrival, Asking, Trace, _events
from tests.bench.measure import held
from tests.bench.servers import ROOT
from tests.bench.workload import UNIQUE, chunks, completion, request_body, unique_word, words


def test_unique_words_differ_and_fit_their_place():
    found = {unique_word(number) for number in range(5_000)}
    assert len(found) == 5_000
    assert {len(word) for word in found} == {len(UNIQUE)}
    assert all(word.isalpha() for word in found)


def test_the_stream_says_what_the_whole_answer_says():
    whole = json.loads(completion())["choices"][0]["message"]["content"]
    pieces = [json.loads(chunk[6:])["choices"][0]["delta"].get("content", "") for chunk in chunks()[:-1]]
    assert "".join(pieces) == whole


def test_requests_are_fresh_and_well_framed():
    asking = Asking(1, (request_body(), request_body(personal=True)), key="k")
    first, second = asking.next(), asking.next()
    for request in (first, second):
        head, _, body = request.partition(b"\r\n\r\n")
        assert int(head.split(b"content-length: ")[1]) == len(body)
        assert UNIQUE.encode() not in body
        assert json.loads(body)["messages"][1]["role"] == "user"
    assert b"4111" in first + second


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_events_are_read_from_any_frames(size):
    raw = b"HTTP/1.1 200 OK\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks()) + b"0\r\n\r\n"
    parts = [(float(at), raw[at : at + size]) for at in range(0, len(raw), size)]
    events = list(_events(parts))
    assert [event for _, event in events] == [chunk[6:-2] for chunk in chunks()]
    assert [at for at, _ in events] == sorted(at for at, _ in events)


def test_a_word_is_held_until_all_of_it_has_come():
    lengths = [*itertools.accumulate(map(len, words()))]
    prompt = [Arrival(0.1 * chunk, chars, chunk) for chunk, chars in enumerate(lengths, start=1)]
    assert set(held(Trace(arrivals=prompt))) == {0}
    behind = [Arrival(one.at, one.chars, one.chunk + 1) for one in prompt]
    assert set(held(Trace(arrivals=behind))) == {1}
    at_the_end = Trace(arrivals=[Arrival(9.0, lengths[-1], len(lengths))])
    assert held(at_the_end) == [*reversed(range(len(lengths)))]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_benchmark_runs_and_its_ratios_are_sane(tmp_path: Path):
    output = tmp_path / "bench.json"
    command = [sys.executable, "tests/bench/run.py", "--quick", "--output", str(output)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stderr[-3_000:]
    for goal in ("P1", "P4", "P5", "P6", "P7", "P8", "P9", "P11", "P12", "P13"):
        assert f"\n{goal} " in run.stdout
    report = json.loads(output.read_bytes())
    requests = report["requests"]
    for name, found in requests.items():
        assert found["failures"] == 0, name
        assert min(found["per_second"]) > 1, name
    ratio = max(requests["gateway-1000-rules"]["per_second"]) / max(requests["litestar"]["per_second"])
    assert 0.02 < ratio < 2
    stream = report["streams"]["gateway-1000-rules"]
    assert 0.7 < stream["delivered"] <= 1.1
    assert 0 < stream["first_ms"] <= stream["last_ms"] < 1_000
    assert report["cached"]["cpu_us"][-1] < report["uncached"]["cpu_us"][-1]
    assert report["micro"]["audit_per_s"] > report["micro"]["audit_alone_per_s"]
    assert report["micro"]["decide_quiet_p99_us"] < 10_000
