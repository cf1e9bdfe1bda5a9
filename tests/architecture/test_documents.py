"""Everything that can be set or called is documented, and what is generated is current."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gateway.__main__ import cli
from gateway.settings import CONFIG_VARIABLE, ENVIRONMENT, settings_reference

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
REFERENCE = (ROOT / "gateway" / "settings" / "REFERENCE.md").read_text("utf-8")


def commands(command: click.Command, path: str, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, f"{path} {name}", click.Context(child, parent=context, info_name=name))
    else:
        yield path, command


COMMANDS = dict(commands(cli, "gateway", click.Context(cli, info_name="gateway")))


def test_every_command_stands_in_the_readme_and_explains_itself() -> None:
    assert len(COMMANDS) > 10
    assert [path for path in COMMANDS if f"`{path}`" not in README] == []
    assert [path for path, command in COMMANDS.items() if not command.help] == []


def test_options_that_name_nothing_obvious_explain_themselves() -> None:
    obvious = {"tenant", "app", "types", "form", "limit", "from_seq", "to_seq", "queue", "host", "port"}
    silent = [
        f"{path} --{option.name}"
        for path, command in COMMANDS.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.help and option.name not in obvious
    ]
    assert silent == []


def test_every_setting_has_a_meaning_in_the_reference() -> None:
    rows = [line for line in settings_reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    for row in rows:
        assert row in REFERENCE, "run `make docs`"
        assert row.rstrip("| ").split("|")[-1].strip(), f"a setting without a meaning: {row}"
    for variable in (*ENVIRONMENT, CONFIG_VARIABLE):
        assert f"`{variable}`" in REFERENCE


def test_the_readme_points_to_the_reference_and_to_files_that_exist() -> None:
    targets = re.findall(r"\]\(([^)#:\s]+)\)", README)
    assert "gateway/settings/REFERENCE.md" in targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_commands_that_documents_tell_to_run_exist() -> None:
    """`gateway NAME …` in a document or an error text is a command of ours."""
    known = {path.split()[1] for path in COMMANDS}
    documents = [*ROOT.glob("*.md"), *(ROOT / "docker").glob("*.md"), *(ROOT / "gateway").rglob("*.py")]
    called = {
        (path.name, match)
        for path in documents
        for match in re.findall(r"`gateway ([a-z-]+)[ `]", path.read_text("utf-8"))
    }
    assert {call for call in called if call[1] not in known} == set()


def test_make_targets_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    told = {target for path in ROOT.glob("*.md") for target in re.findall(r"`make ([a-z-]+)`", path.read_text("utf-8"))}
    assert told - targets == set()


@pytest.mark.slow
def test_generated_parts_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.documents", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
