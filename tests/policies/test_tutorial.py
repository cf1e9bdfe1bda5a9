"""The tutorial does what it says: every command in it is run, in order, in one folder."""

import asyncio
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.server import completion, model_server, running_gateway
from support.wire import Caller, wire_settings

from gateway.__main__ import cli
from gateway.settings import load_settings
from tests.policies.tutorial_steps import Called, Command, Edited, Step, Written, shows, steps

TUTORIAL = (Path(__file__).parents[2] / "policies/TUTORIAL.md").read_text("utf-8")


def test_every_command_of_policies_is_in_the_tutorial() -> None:
    runner = CliRunner().invoke(cli, ["policy", "--help"])
    names = re.findall(r"^  ([a-z]+) ", runner.output.partition("Commands:")[2], re.MULTILINE)
    assert len(names) >= 10
    assert [name for name in names if f"gateway policy {name}" not in TUTORIAL] == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the keys of the approvers")
def test_the_tutorial_works_from_the_empty_folder_to_the_signed_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = [follow(step, tmp_path) for step in steps(TUTORIAL)]
    assert done.count("Command") >= 25
    assert load_settings(tmp_path / "gateway.yaml", {}).policy.require_signatures is not None


def follow(step: Step, folder: Path) -> str:
    match step:
        case Command():
            run(step, folder)
        case Written(file, key, text):
            path = folder / file
            before = path.read_text("utf-8").partition(f"\n{key}:")[0] + "\n" if key else ""
            path.write_text(before + text, "utf-8")
        case Edited(file, changes):
            path = folder / file
            found = path.read_text("utf-8")
            for old, new in changes:
                assert found.count(old) == 1, old
                found = found.replace(old, new)
            path.write_text(found, "utf-8")
        case Called(name):
            assert name == "traffic"
            traffic(folder)
    return type(step).__name__


def run(command: Command, folder: Path) -> None:
    if command.words.startswith("gateway "):
        words = shlex.split(command.words.removeprefix("gateway "))
        result = CliRunner().invoke(cli, words)
        output, code = result.output, result.exit_code
    else:
        done = subprocess.run(shlex.split(command.words), cwd=folder, capture_output=True, text=True, check=False)
        output, code = done.stdout, done.returncode
    assert code == command.exit, f"{command.words}\n{output}"
    assert [line for line in command.output if not shows(output, line)] == [], f"{command.words}\n{output}"


def traffic(folder: Path) -> None:
    """An exchange whose answer has a project number, and one whose answer has none."""
    with model_server() as model:
        settings = wire_settings(folder / "var", model, policies=(folder / "policies",))
        with running_gateway(settings) as gateway:
            caller = Caller(gateway)
            for answer in ("The budget of PRJ-2048 was raised.", "We open at nine."):
                model.answer = lambda _, answer=answer: completion(answer)
                answered = asyncio.run(caller.chat("Tell me more."))
                assert answered.status == 200
                assert "PRJ-2048" not in answered.raw.decode()
