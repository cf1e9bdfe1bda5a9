"""Policy files for tests of the roll-out: small, fast to judge, and without a model."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def rule(name: str = "R-1", *, word: str = "words", effect: str = "refuse", **more: Any) -> dict[str, Any]:
    """A rule on the list of that name."""
    return {
        "id": name,
        "title": f"Rule {name} of the tests",
        "severity": "high",
        "phase": "query",
        "when": {"all": [{"signal": f"list.{word}", "is": True}]},
        "then": {"effect": effect},
        "message": {"client": f"Stopped by {name}."},
        **more,
    }


def policy(*rules: dict[str, Any], name: str = "main", **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gateway/v1",
        "kind": "PolicySet",
        "metadata": {"id": name, "version": "1", "owner": "team:tests", "purpose": "Tests of the roll-out"},
        "rules": list(rules),
        **more,
    }


def words(*values: str, name: str = "words") -> dict[str, Any]:
    return {name: {"values": list(values), "match": "word", "fold_case": True}}


def write(folder: Path, content: dict[str, Any], *, name: str = "main") -> Path:
    """Write a policy file in one step, as careful editors do."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.yaml"
    fresh = folder / f".{name}.new"
    fresh.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    fresh.replace(file)
    return file


def write_set(folder: Path, *, when: dict[str, Any]) -> Path:
    return write(folder, policy({**rule(), "when": when}))
