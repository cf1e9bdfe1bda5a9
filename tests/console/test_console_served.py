"""The console inside a running gateway: off by default, mounted by a setting, with the real detectors."""

import http.client
import subprocess
import sys
from pathlib import Path

import pytest
from support.server import ModelServer, running_gateway
from support.wire import wire_settings

from gateway.settings import ConsoleSettings, RetrievalSettings

POLICIES = Path(__file__).parent.parent / "support" / "case_policies"


def get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_console_is_there_when_the_settings_say_so(tmp_path: Path, enabled: bool) -> None:
    settings = wire_settings(
        tmp_path,
        ModelServer(),
        policies=(POLICIES,),
        retrieval=RetrievalSettings(store="off", models=()),
        console=ConsoleSettings(enabled=enabled),
    )
    with running_gateway(settings) as gateway:
        answers = {path: get(gateway.port, path) for path in ("/console", "/console/cases", "/console/sign-in")}
        live = get(gateway.port, "/health/live")[0]
    statuses = {path: status for path, (status, _, _) in answers.items()}
    assert live == 200
    if enabled:
        assert statuses == {"/console": 303, "/console/cases": 303, "/console/sign-in": 200}
        assert answers["/console/cases"][1]["location"] == "/console/sign-in?back=%2Fconsole%2Fcases"
    else:
        assert set(statuses.values()) == {404}
        assert (tmp_path / "console.db").exists() is False


@pytest.mark.slow
def test_workers_without_it_import_nothing_of_it() -> None:
    names = ("gateway.console.", "jinja2", "argon2", "joserfc")
    program = f"import sys, gateway.app; print([name for name in sys.modules if name.startswith({names})])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=90)
    assert done.stdout.strip() == "[]"
