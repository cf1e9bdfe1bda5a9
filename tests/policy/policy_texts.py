"""Policy files of the tests, from dictionaries or texts, compiled without touching a disk."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from gateway.domain.errors import Fault, FaultsFound
from gateway.domain.signal import DetectorRun, SignalValue
from gateway.domain.verdict import Evidence, FieldValue
from gateway.domain.vocabulary import Phase, Provenance, SignalStatus, SignalType
from gateway.policy import FIELDS, Bundle, FieldType, Levels
from gateway.policy.compile import compile_bundle
from gateway.policy.schema import PolicySet
from gateway.policy.source import Source
from gateway.strict_yaml import load_document

NOW = dt.datetime(2026, 11, 24, 10, 0, tzinfo=dt.UTC)
SIGNALS: Mapping[str, SignalType] = {
    "pii.entities": SignalType.KINDS,
    "pii.count": SignalType.COUNT,
    "pii_patterns.entities": SignalType.KINDS,
    "pii_patterns.count": SignalType.COUNT,
    "secrets.kinds": SignalType.KINDS,
    "secrets.count": SignalType.COUNT,
    "injection.score": SignalType.SCORE,
    "injection.kinds": SignalType.KINDS,
    "exfiltration.kinds": SignalType.KINDS,
    "disclosure.kinds": SignalType.KINDS,
    "grounding.unsupported": SignalType.SCORE,
    "grounding.contradicted": SignalType.FLAG,
    "grounding.unknown": SignalType.FLAG,
    "citation.invalid": SignalType.FLAG,
    "citation.missing": SignalType.FLAG,
    "tone.angry": SignalType.FLAG,
}
DETECTORS = (
    "pii",
    "pii_patterns",
    "secrets",
    "injection",
    "exfiltration",
    "disclosure",
    "grounding",
    "citation",
    "tone",
    "topics",
    "patterns",
    "lists",
)
EMPTY: Mapping[FieldType, FieldValue] = {
    FieldType.TEXT: "",
    FieldType.KINDS: frozenset(),
    FieldType.COUNT: 0,
    FieldType.FLAG: False,
}


def rule(id_: str = "R-1", **keys: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "title": "a rule",
        "phase": "query",
        "when": {"all": [{"signal": "injection.score", "gte": 0.5}]},
        "then": {"effect": "refuse"},
        **keys,
    }


def policy_set(*rules: dict[str, Any], id_: str = "base/one", **keys: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gateway/v1",
        "kind": "PolicySet",
        "metadata": {"id": id_, "version": "1", "owner": "team:tests", "purpose": "a test"},
        "rules": list(rules),
        **keys,
    }


def bundle_of(*sets: dict[str, Any] | str, **options: Any) -> Bundle:
    """A bundle of sets named `f0`, `f1`, … or by their id; raises `FaultsFound` like the loader."""
    faults: list[Fault] = []
    sources = []
    for index, one in enumerate(sets):
        text = one if isinstance(one, str) else json.dumps(one, indent=1)
        name = f"f{index}" if isinstance(one, str) else one["metadata"]["id"]
        document = load_document(text, f"{name}.yaml", PolicySet, faults)
        if document is not None:
            sources.append(Source(name, f"{name}.yaml", document))
    options = {"signals": SIGNALS, "now": NOW, "levels": dict[str, Levels](), "kinds": {}, **options}
    return compile_bundle(sources, faults, **options)


def faults_of(*sets: dict[str, Any] | str, **options: Any) -> list[str]:
    try:
        bundle_of(*sets, **options)
    except FaultsFound as found:
        return [str(fault) for fault in found.faults]
    return []


def fields_of(phase: Phase, **given: FieldValue) -> dict[str, FieldValue]:
    """All fields of a phase; `principal__groups=…` sets one."""
    named = {name.replace("__", "."): value for name, value in given.items()}
    fields = {name: EMPTY[field.type] for name, field in FIELDS.items() if phase in field.phases}
    return {**fields, "principal.tenant": "acme", "principal.app": "chat", "principal.user": "u", **named}


def evidence_of(
    values: Mapping[str, SignalValue] | None = None,
    *,
    phase: Phase = Phase.QUERY,
    provenance: Provenance = Provenance.USER,
    failed: Mapping[str, SignalStatus] | None = None,
    missing: frozenset[str] = frozenset(),
    version: str = "9.0",
    **fields: FieldValue,
) -> Evidence:
    """Evidence in which every detector ended in `ok` but those in `failed` and those in `missing`."""
    statuses = failed or {}
    runs = {
        name: DetectorRun(
            detector=name,
            version=version,
            status=statuses.get(name, SignalStatus.OK),
            reason="deadline" if name in statuses else "",
        )
        for name in DETECTORS
        if name not in missing
    }
    return Evidence(phase=phase, fields=fields_of(phase, **fields), values={provenance: values or {}}, runs=runs)
