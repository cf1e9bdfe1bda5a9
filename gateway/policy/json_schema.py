"""JSON Schema of a policy file, for completion and hover texts in editors."""

from typing import Any

import msgspec

from gateway.policy.schema import PolicySet
from gateway.strict_yaml import Node, Scalar

SCHEMA_ID = "policy.schema.json"


def policy_schema() -> dict[str, Any]:
    """The schema (draft 2020-12). It says which keys and words are possible; what names and types mean across files
    is found by loading."""
    schema = msgspec.json.schema(PolicySet, schema_hook=_any_value)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Policy set",
        **schema,
    }


def _any_value(kind: type) -> dict[str, Any]:
    if issubclass(kind, Scalar):
        return {"type": ["string", "number", "boolean"]}
    if issubclass(kind, Node):
        return {"title": "A value of the type of its signal or field"}
    raise NotImplementedError(f"no json schema for `{kind.__name__}`")
