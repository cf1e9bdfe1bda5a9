"""What holds of every source file, whoever wrote it."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READS_ENVIRONMENT = {
    "gateway/__init__.py",  # switches off what a dependency would send, before anything imports it
    "gateway/__main__.py",  # hands it to the settings
    "gateway/app.py",  # a worker process makes its application from the environment alone
    "gateway/commands/serve.py",  # tells worker processes which file to read
}
PRODUCT = ("gateway", "rules")
CODE = (*PRODUCT, "tests")

INDEX_HOSTS = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs|npmjs\.org|proxy\.golang\.org|ghcr\.io|/simple/|index-url",
    re.IGNORECASE,
)
INDEX_WORDS = re.compile(r"--(no-)?emit-index-url|--no-index")  # options of tools, no address
MACHINE_PATHS = re.compile(r"(?<![\w./-])/(work|root|home|Users)/[\w.-]")
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".lock", ".in", ".txt", ".json", ".sh", ".cfg", ""}


def tracked() -> list[Path]:
    """Files of the project; in a folder without git, all that is neither hidden nor made."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        names = [name for name in listed.stdout.decode().split("\0") if name]
        return [ROOT / name for name in names if (ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not set(path.relative_to(ROOT).parts) & MADE]


MADE = {".git", ".venv", ".venv-clients", "__pycache__", "var", "reports", "build", "dist", ".hypothesis"}
FILES = tracked()
MODULES = [path for path in FILES if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in CODE]
PRODUCT_MODULES = [path for path in MODULES if path.relative_to(ROOT).parts[0] in PRODUCT]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def texts() -> Iterator[tuple[str, str]]:
    for path in FILES:
        if path.suffix in TEXT and path != Path(__file__):
            yield name(path), path.read_text("utf-8")


def test_there_is_something_to_look_at() -> None:
    assert len(PRODUCT_MODULES) > 100
    assert {"Makefile", "pyproject.toml", "requirements.lock"} <= {name(path) for path in FILES}


def test_modules_say_what_they_are() -> None:
    silent = [
        name(path)
        for path in PRODUCT_MODULES
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert silent == []


def test_package_files_hold_exports_only() -> None:
    def is_export(node: ast.stmt) -> bool:
        if isinstance(node, ast.Import | ast.ImportFrom):
            return True
        if isinstance(node, ast.Assign | ast.AnnAssign):  # versions, `__all__`, names put together from others
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            parts = {type(part) for part in ast.walk(node.value)} if node.value else set()
            together = parts <= {ast.Tuple, ast.Starred, ast.Name, ast.Load}
            return isinstance(target, ast.Name) and (target.id.startswith("__") or together)
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

    wrong = {
        name(path): [ast.unparse(node)[:60] for node in ast.parse(path.read_text("utf-8")).body if not is_export(node)]
        for path in PRODUCT_MODULES
        if path.name == "__init__.py" and name(path) not in READS_ENVIRONMENT
    }
    assert {file: found for file, found in wrong.items() if found} == {}


def test_the_environment_is_read_in_few_named_places() -> None:
    def reads(path: Path) -> bool:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb", "putenv"}:
                return True
            if isinstance(node, ast.ImportFrom) and any(alias.name in {"environ", "getenv"} for alias in node.names):
                return True
        return False

    found = {name(path) for path in PRODUCT_MODULES if reads(path)}
    assert {file for file in found if not file.startswith("gateway/settings/")} == READS_ENVIRONMENT


def test_imports_are_absolute() -> None:
    relative = [
        name(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_no_file_names_a_package_index_or_a_path_of_a_machine() -> None:
    found = []
    for file, text in texts():
        for number, line in enumerate(text.splitlines(), start=1):
            if INDEX_HOSTS.search(INDEX_WORDS.sub("", line)) or MACHINE_PATHS.search(line):
                found.append(f"{file}:{number}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("--index-url https://mirror.example/simple/", True),
        ("see https://pypi.org/project/x", True),
        ("read /home/zoe/notes", True),
        ("/work/main/gateway", True),
        ("uv pip compile --no-emit-index-url", False),
        ("/run/secrets/model-key and /home and src/work/main", False),
        ("https://host.example/work/places", False),
    ],
)
def test_the_search_for_hosts_and_paths_tells_them_apart(line: str, wrong: bool) -> None:
    assert bool(INDEX_HOSTS.search(INDEX_WORDS.sub("", line)) or MACHINE_PATHS.search(line)) is wrong


def test_nothing_is_left_to_be_done_later() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{file}:{number}"
        for file, text in texts()
        if file.endswith(".py") and file.startswith(PRODUCT)
        for number, line in enumerate(text.splitlines(), start=1)
        if marks.search(line)
    ]
    assert found == []


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports them by name alone."""
    names = [path.name for path in MODULES if name(path).startswith("tests/") and path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_locks_name_no_host_and_every_hash() -> None:
    locks = [path for path in FILES if path.suffix == ".lock"]
    assert locks
    for path in locks:
        text = path.read_text("utf-8")
        assert "://" not in text, name(path)
        pins = re.split(r"\n(?=\S)", text.strip())
        unhashed = [pin.splitlines()[0] for pin in pins if not pin.startswith("#") and "--hash=sha256:" not in pin]
        assert unhashed == [], name(path)
