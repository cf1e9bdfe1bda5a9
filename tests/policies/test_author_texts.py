"""What authors read beside the packs: hover texts of editors, and the reference."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.detectors import installed_signals
from gateway.policy.codes import CODES
from gateway.policy.fields import FIELDS
from gateway.policy.json_schema import policy_schema
from gateway.settings import InspectionSettings
from tests.support.policy_reference import policy_reference

PACKS = Path(__file__).parents[2] / "policies"
SCHEMA = policy_schema()


def properties() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, shape in SCHEMA["$defs"].items():
        for key, value in shape.get("properties", {}).items():
            yield f"{name}.{key}", value


@pytest.mark.parametrize(("name", "value"), [pytest.param(*one, id=one[0]) for one in properties()])
def test_every_key_has_a_hover_text(name: str, value: dict[str, Any]) -> None:
    text = value["description"]
    assert text[0].isupper() or text[0] == "`"
    assert text.endswith(".")
    assert name.rpartition(".")[2] != text.lower().rstrip(".")


def test_every_shape_says_what_it_is() -> None:
    assert [name for name, one in SCHEMA["$defs"].items() if "properties" in one and "description" not in one] == []


def test_editors_get_this_schema() -> None:
    assert json.loads((PACKS / "policy.schema.json").read_text("utf-8")) == json.loads(json.dumps(SCHEMA))


def test_the_reference_names_every_key_signal_field_and_code() -> None:
    text = policy_reference()
    names = {name.rpartition(".")[2] for name, _ in properties()}
    names |= set(installed_signals(InspectionSettings())) | set(FIELDS) | set(CODES)
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_the_reference_is_current() -> None:
    assert (PACKS / "REFERENCE.md").read_text("utf-8") == policy_reference()
