"""I9: a running gateway contacts what it is configured to contact, and nothing else."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.served import ROOT, environment

pytestmark = pytest.mark.slow

LOOPBACK = {"127.0.0.1", "::1"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a full gateway with all detectors did, from its start to its stop."""
    folder = tmp_path_factory.mktemp("egress")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "egress_driver.py"), str(folder)],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_everything_was_driven(report: dict[str, Any]) -> None:
    assert report["ready"] == 200
    assert set(report["statuses"]) == {200}
    assert report["asked"] >= 2, "whole and streamed"
    assert "Traceback" not in report["output"]


def test_python_code_contacted_only_the_configured_model(report: dict[str, Any]) -> None:
    for contact in report["contacts"]:
        match contact["event"]:
            case "socket.connect":
                host, port = ast.literal_eval(contact["what"])[:2]
                assert (host in LOOPBACK, port) == (True, report["model_port"]), contact
            case "socket.getaddrinfo":
                assert contact["what"] in LOOPBACK, contact
            case _:
                raise AssertionError(contact)


def test_no_library_tried_to_reach_beyond_the_machine(report: dict[str, Any]) -> None:
    if not report["isolated"]:
        pytest.skip("an empty network of its own needs root and Linux")
    assert report["control_counted"], "the kernel counts an attempt to leave"
    assert report["counts"] == {"unroutable": 0, "datagrams": 0, "refused": 0}


def test_no_library_left_an_identifier_of_the_machine(report: dict[str, Any]) -> None:
    assert report["left_in_home"] == []
