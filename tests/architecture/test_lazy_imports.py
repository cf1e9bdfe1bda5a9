"""What costs memory or time to import is imported by whoever uses it, and by nobody else."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONSOLE = {"argon2", "jinja2", "joserfc"}
DOCUMENTS = {"docx", "pypdf", "selectolax"}
MODELS = {"guardrails", "onnxruntime", "presidio_analyzer", "spacy", "tokenizers"}
STORES = {"psycopg", "pyarrow", "redis", "weaviate"}


def imported_by(module: str) -> set[str]:
    """The packages that a fresh process has after importing a module."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "left_out"),
    [
        # a worker without console, PostgreSQL and Weaviate; models come with the policies that ask for them
        ("gateway.app", CONSOLE | DOCUMENTS | MODELS | STORES - {"redis"}),
        ("gateway.commands.keys", CONSOLE | DOCUMENTS | MODELS | STORES | {"aiohttp", "litestar", "numpy"}),
        ("gateway.commands.audit", CONSOLE | DOCUMENTS | MODELS | STORES | {"aiohttp", "litestar"}),
        ("gateway.commands.policy", CONSOLE | DOCUMENTS | MODELS | STORES | {"aiohttp", "litestar"}),
        ("gateway.commands.cases", CONSOLE | DOCUMENTS | MODELS | STORES | {"litestar"}),
        ("gateway.commands.index", CONSOLE | MODELS | STORES | {"litestar"}),
        ("gateway.commands.sources", CONSOLE | MODELS | STORES | {"litestar"}),
    ],
)
def test_a_module_leaves_out_what_it_may_never_need(module: str, left_out: set[str]) -> None:
    found = imported_by(module)
    assert module.partition(".")[0] in found
    assert found & left_out == set()
