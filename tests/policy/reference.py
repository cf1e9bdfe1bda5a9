"""A naive interpreter of policy files: the oracle of the compiled evaluator.

It works on the decoded YAML (dictionaries), visits every rule and every atom, knows no index, cache or normal form,
and was written from the description of the language, not from the code under test.
"""

from collections.abc import Iterable
from typing import Any

from gateway.domain.verdict import Evidence
from gateway.domain.vocabulary import SignalStatus, SignalType

ORDER = ["allow", "flag", "redact", "escalate", "refuse"]
BY_SEVERITY = {"critical": "refuse", "high": "escalate", "medium": "flag", "low": "flag"}
POINTS = {"critical": 5, "high": 4, "medium": 3, "low": 2}
FAMILIES = {"topic": "topics", "list": "lists", "pattern": "patterns"}
DEFAULTS: dict[str, Any] = {"flag": False, "count": 0, "score": 0.0, "kinds": frozenset()}

Truth = str  # "true", "false", "unknown"


def worst(effects: Iterable[str]) -> str:
    return max(effects, key=ORDER.index, default="allow")


def decide(sets: list[dict[str, Any]], evidence: Evidence, signals: dict[str, SignalType]) -> dict[str, Any]:
    """The effect, and per rule its status and effect; rules that did not match are left out."""
    outcomes: dict[str, tuple[str, str]] = {}
    redactions: dict[str, set[str]] = {}
    escalations: set[str] = set()
    enforced = []
    points = 0
    for one in sets:
        for rule in one["rules"]:
            phases = rule["phase"] if isinstance(rule["phase"], list) else [rule["phase"]]
            if evidence.phase.value not in phases or not _applies(one, evidence):
                continue
            truth = _when(rule["when"], rule, evidence, signals, partial=False)
            if truth == "false":
                continue
            then = rule["then"]["effect"]
            seen = truth == "true" or _when(rule["when"], rule, evidence, signals, partial=True) == "true"
            if truth == "true":
                status, effect = "matched", then
            else:
                status, effect = _status(rule, evidence, signals), _on_error(rule)
                if seen:
                    effect = worst([effect, then])
            outcomes[rule["id"]] = status, effect
            if rule.get("mode", "enforce") != "enforce":
                continue
            enforced.append(effect)
            if effect != "allow":
                points += POINTS[rule.get("severity", "medium")]
            if effect == "escalate" or (seen and then == "escalate"):
                escalations.add(rule["id"])
            if seen and then == "redact":
                redactions[rule["id"]] = set(rule["then"]["entities"])
    for one in sets:
        scoring = one.get("scoring")
        threshold = scoring and scoring.get(evidence.phase.value)
        if threshold and _applies(one, evidence) and points >= threshold:
            name = f"scoring:{one['metadata']['id']}"
            outcomes[name] = "matched", scoring["over"]["effect"]
            enforced.append(scoring["over"]["effect"])
            if scoring["over"]["effect"] == "escalate":
                escalations.add(name)
    return {"effect": worst(enforced), "outcomes": outcomes, "redactions": redactions, "escalations": escalations}


def _applies(one: dict[str, Any], evidence: Evidence) -> bool:
    where = one.get("applies_to", {})
    for key, field in (("tenants", "principal.tenant"), ("apps", "principal.app"), ("models", "request.model")):
        names = where.get(key, ["*"])
        if "*" not in names and field in evidence.fields and evidence.fields[field] not in names:
            return False
    groups = where.get("groups", ["*"])
    if "*" in groups or "principal.groups" not in evidence.fields:
        return True
    return bool(set(groups) & set(evidence.fields["principal.groups"]))


def _on_error(rule: dict[str, Any]) -> str:
    if rule.get("on_error"):
        return str(rule["on_error"])
    own = rule["then"]["effect"]
    return worst([BY_SEVERITY[rule.get("severity", "medium")], "refuse" if own == "redact" else own])


def detector_of(signal: str) -> str:
    prefix = signal.partition(".")[0]
    return FAMILIES.get(prefix, prefix)


def _failed(detector: str, evidence: Evidence) -> str:
    run = evidence.runs.get(detector)
    if run is None or run.status is SignalStatus.NOT_RUN:
        return "not_run"
    return "" if run.status is SignalStatus.OK else "error"


def _status(rule: dict[str, Any], evidence: Evidence, signals: dict[str, SignalType]) -> str:
    found = {_failed(detector_of(atom["signal"]), evidence) for atom in _atoms(rule["when"]) if "signal" in atom}
    lost = any(atom["field"] not in evidence.fields for atom in _atoms(rule["when"]) if "field" in atom)
    return "error" if "error" in found or lost else "not_run"


def _atoms(group: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for key in ("all", "any", "none"):
        for clause in group.get(key, []):
            found += [clause] if "signal" in clause or "field" in clause else _atoms(clause)
    return found


def _when(group: dict[str, Any], rule: Any, evidence: Evidence, signals: Any, *, partial: bool) -> Truth:
    parts = []
    for key in ("all", "any", "none"):
        if key not in group:
            continue
        truths = [
            _atom(clause, rule, evidence, signals, partial=partial)
            if "signal" in clause or "field" in clause
            else _when(clause, rule, evidence, signals, partial=partial)
            for clause in group[key]
        ]
        if key == "all":
            parts.append(_all(truths))
        else:
            some = _not(_all([_not(truth) for truth in truths]))
            parts.append(some if key == "any" else _not(some))
    return _all(parts)


def _all(truths: list[Truth]) -> Truth:
    if "false" in truths:
        return "false"
    return "unknown" if "unknown" in truths else "true"


def _not(truth: Truth) -> Truth:
    return {"true": "false", "false": "true", "unknown": "unknown"}[truth]


def _atom(clause: dict[str, Any], rule: Any, evidence: Evidence, signals: Any, *, partial: bool) -> Truth:
    operator, operand = next((key, value) for key, value in clause.items() if key not in {"signal", "field"})
    if "field" in clause:
        if clause["field"] not in evidence.fields:
            return "unknown"
        return "true" if _holds(operator, operand, evidence.fields[clause["field"]]) else "false"
    signal = clause["signal"]
    value = _merged(signal, rule, evidence, signals)
    holds = _holds(operator, operand, value)
    if not _failed(detector_of(signal), evidence):
        return "true" if holds else "false"
    if not partial:
        return "unknown"
    # More text can only add: what already holds of "at least" stays true, what already breaks "at most" stays false.
    more = operator in {"gt", "gte", "any_of", "all_of"} or (operator, operand) in [("is", True), ("empty", False)]
    less = operator in {"lt", "lte", "none_of"} or (operator, operand) in [("is", False), ("empty", True)]
    if more and holds:
        return "true"
    return "false" if less and not holds else "unknown"


def _merged(signal: str, rule: Any, evidence: Evidence, signals: Any) -> Any:
    wanted = rule.get("provenance")
    seen = [
        values[signal]
        for provenance, values in evidence.values.items()
        if signal in values and (not wanted or provenance.value in wanted)
    ]
    kind = signals[signal].value
    if not seen:
        return DEFAULTS[kind]
    if kind == "flag":
        return any(seen)
    if kind == "count":
        return sum(seen)
    return max(seen) if kind == "score" else frozenset().union(*seen)


def _holds(operator: str, operand: Any, value: Any) -> bool:
    if operator in {"is", "eq"}:
        return bool(value == operand)
    if operator == "empty":
        return (len(value) == 0) == operand
    if operator in {"gt", "gte", "lt", "lte"}:
        return {"gt": value > operand, "gte": value >= operand, "lt": value < operand, "lte": value <= operand}[
            operator
        ]
    present = [word for word in operand if (word == value if isinstance(value, str) else word in value)]
    return {
        "any_of": bool(present),
        "one_of": bool(present),
        "all_of": len(set(present)) == len(set(operand)),
        "none_of": not present,
        "not_one_of": not present,
    }[operator]
