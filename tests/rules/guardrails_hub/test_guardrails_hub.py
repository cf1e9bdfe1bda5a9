"""Validators of guardrails-ai as detectors: results, failures, loading, and silence on the network."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import EMPTY_SCAN
from gateway.domain.vocabulary import Placement, SignalType
from rules.guardrails_hub import GuardrailsDetector, load_validator

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]


class Scripted:
    """A validator that gives the results it was made with; an exception among them is raised."""

    required_metadata_keys: list[str] = []

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def validate(self, value: Any, metadata: dict[str, Any]) -> Any:
        self.calls.append((value, metadata))
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def get_args(self) -> dict[str, Any]:
        return {"threshold": 3, "model": self}


def failed(*spans: tuple[int, int], chunk: str | None = None) -> SimpleNamespace:
    error_spans = [SimpleNamespace(start=start, end=end) for start, end in spans] or None
    return SimpleNamespace(outcome="fail", error_spans=error_spans, validated_chunk=chunk)


PASSED = SimpleNamespace(outcome="pass")


def scan(text: str, result: Any) -> Any:
    return GuardrailsDetector("tone", Scripted(result)).scan([text])[0]


def test_declares_its_signals_under_its_name() -> None:
    detector = GuardrailsDetector("tone", Scripted())
    assert (detector.name, detector.placement) == ("tone", Placement.THREAD)
    assert detector.signals == {"tone.failed": SignalType.FLAG, "tone.count": SignalType.COUNT}


def test_a_pass_is_an_empty_scan() -> None:
    assert scan("fine", PASSED) == EMPTY_SCAN


@pytest.mark.parametrize(
    ("result", "spans", "evidence"),
    [
        (failed((0, 3), (5, 8)), [(0, 3), (5, 8)], "span"),
        (failed((5, 99)), [(5, 10)], "span"),
        (failed((5, 8), (5, 8)), [(5, 8)], "span"),
        (failed(), [(0, 10)], "text"),
        (failed((4, 4)), [(0, 10)], "text"),
        (failed((0, 2), chunk="def"), [(4, 6)], "span"),
        (failed((0, 2), chunk="elsewhere"), [(0, 10)], "text"),
    ],
)
def test_a_failure_sets_the_flag_and_covers_its_spans_or_all(
    result: Any, spans: list[tuple[int, int]], evidence: str
) -> None:
    found = scan("abc def gh", result)
    assert [(finding.start, finding.end) for finding in found.findings] == spans
    assert {(finding.kind, finding.evidence) for finding in found.findings} == {("tone.failed", evidence)}
    assert found.values == {"tone.failed": True, "tone.count": len(spans)}


def test_a_failure_of_an_empty_text_is_a_failure() -> None:
    assert scan("", failed()).values == {"tone.failed": True, "tone.count": 1}


@pytest.mark.parametrize("result", [None, True, SimpleNamespace(outcome="maybe"), SimpleNamespace(outcome=None)])
def test_a_result_that_says_nothing_is_no_pass(result: Any) -> None:
    with pytest.raises(TypeError, match="neither pass nor fail"):
        scan("text", result)


def test_an_exception_of_the_validator_is_passed_on() -> None:
    with pytest.raises(RuntimeError, match="broken"):
        scan("text", RuntimeError("broken"))


def test_metadata_goes_to_every_call_as_a_copy() -> None:
    validator = Scripted(PASSED, PASSED)
    metadata = {"limit": 3}
    GuardrailsDetector("tone", validator, metadata).scan(["a", "b"])
    assert validator.calls == [("a", {"limit": 3}), ("b", {"limit": 3})]
    assert all(given is not metadata for _, given in validator.calls)


@pytest.mark.parametrize("name", ["", "Tone", "1tone", "to.ne", "to ne"])
def test_a_name_that_policies_cannot_use_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not usable"):
        GuardrailsDetector(name, Scripted())


def test_version_moves_with_arguments_and_metadata() -> None:
    version = GuardrailsDetector("tone", Scripted()).version
    assert GuardrailsDetector("tone", Scripted()).version == version
    assert GuardrailsDetector("tone", Scripted(), {"limit": 3}).version != version


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(HERE))
    return "sample_validators"


@pytest.mark.slow  # importing guardrails-ai takes seconds
def test_a_real_validator_is_loaded_and_called(samples: str) -> None:
    detector = GuardrailsDetector("shouting", load_validator(f"{samples}:NoShouting", {"longest": 4}))
    text = "\U0001f642 please STOP SHOUTING"
    (result,) = detector.scan([text])
    assert [text[finding.start : finding.end] for finding in result.findings] == ["SHOUTING"]
    assert result.values == {"shouting.failed": True, "shouting.count": 1}
    assert detector.scan(["please stop"]) == [EMPTY_SCAN]


@pytest.mark.slow
def test_required_metadata_is_asked_for(samples: str) -> None:
    validator = load_validator(f"{samples}:Inferring")
    with pytest.raises(ConfigurationError, match="needs metadata `limit`"):
        GuardrailsDetector("length", validator)
    detector = GuardrailsDetector("length", validator, {"limit": 3})
    assert [bool(result.values) for result in detector.scan(["abc", "abcd"])] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("NoShouting", "not of the form `module:Class`"),
        ("sample_validators:", "not of the form"),
        ("os;x:y", "not of the form"),
        ("no_such_module:Thing", "cannot be imported: install `no_such_module`"),
        ("sample_validators:Missing", "is not a class derived from"),
        ("sample_validators:NoValidator", "is not a class derived from"),
        ("sample_validators:Unmakeable", "cannot be made: KeyError"),
    ],
)
def test_what_is_no_validator_is_refused_with_a_remedy(samples: str, spec: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_validator(spec)
    assert "secret-value" not in caught.value.message


SILENT_RUN = """
import socket, sys, threading
def denied(*_args, **_kwargs):
    print("socket", flush=True)
    raise OSError("no network")
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = socket.getaddrinfo = denied
from rules.guardrails_hub import GuardrailsDetector, load_validator
assert "guardrails" not in sys.modules, "imported before it is used"
detector = GuardrailsDetector("length", load_validator("sample_validators:Inferring"), {"limit": 3})
assert [bool(result.values) for result in detector.scan(["abc", "abcd"])] == [False, True]
import guardrails
assert guardrails.settings.rc.enable_metrics is False and guardrails.settings.disable_tracing is True
from guardrails.utils.hub_telemetry_utils import HubTelemetry
assert HubTelemetry()._enabled is False
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("home_file", [None, "enable_metrics=true\ntoken=abc\nuse_remote_inferencing=true\n"])
def test_a_fresh_process_sends_nothing_and_writes_nothing_at_home(tmp_path: Path, home_file: str | None) -> None:
    if home_file is not None:
        (tmp_path / ".guardrailsrc").write_text(home_file, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "GUARDRAILS_"))}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(PROJECT), str(HERE)])}
    run = subprocess.run(
        [sys.executable, "-c", SILENT_RUN], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert (run.returncode, run.stdout.split()) == (0, ["done"]), run.stderr
    left = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir() if path.is_file()}
    assert left == ({} if home_file is None else {".guardrailsrc": home_file})
