"""Policies: YAML files -> bundle -> verdicts."""

from gateway.policy.bundle import Bundle
from gateway.policy.compiled import Levels
from gateway.policy.fields import FIELDS, Field, FieldType
from gateway.policy.load import load_bundle

__all__ = ["FIELDS", "Bundle", "Field", "FieldType", "Levels", "load_bundle"]
