"""One decision in full: every rule of the phase and every atom with its value, without short-circuit."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.domain.signal import DetectorRun, SignalValue
from gateway.domain.verdict import Evidence, FieldValue, Verdict
from gateway.domain.vocabulary import Effect, Phase, Provenance, RuleMode, RuleStatus, SignalStatus, SignalType
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledRule
from gateway.policy.condition import FALSE, TRUE, Atom, Sight, atoms, compile_test
from gateway.policy.decide import failed_detectors, merger
from gateway.policy.fields import FIELDS, FieldType
from gateway.policy.signals import DEFAULTS
from gateway.strict_yaml import quoted, suggestion

_TRUTHS: Final = {TRUE: "true", FALSE: "false"}


class AtomExplanation(Struct, frozen=True, kw_only=True):
    """`truth` is `true`, `false` or `unknown`; `value` is what was compared, as JSON."""

    atom: str
    truth: str
    value: Any


class RuleExplanation(Struct, frozen=True, kw_only=True):
    """`applies` is false where the scope or the level of the app leaves the rule out; such a rule has no status."""

    rule: str
    title: str
    applies: bool
    status: RuleStatus | None = None
    effect: Effect = Effect.ALLOW
    mode: RuleMode = RuleMode.ENFORCE
    exception: str = ""
    why: tuple[str, ...] = ()
    atoms: tuple[AtomExplanation, ...] = ()


class Explanation(Struct, frozen=True, kw_only=True):
    verdict: Verdict
    rules: tuple[RuleExplanation, ...]


def explain(bundle: Bundle, evidence: Evidence, *, now: dt.datetime) -> Explanation:
    """The verdict of `Bundle.decide` on the same evidence, and how each rule of the phase came to its part in it."""
    verdict = bundle.decide(evidence, now=now)
    outcomes = {outcome.rule: outcome for outcome in verdict.outcomes}
    view = bundle.view(evidence.phase, evidence.fields)
    applying = {rule.id for rule in view.rules}
    failed = failed_detectors(evidence.runs, view)
    merge = merger(evidence.values)
    explained = []
    for rule in bundle.rules:
        if evidence.phase not in rule.phases:
            continue
        if rule.id not in applying:
            explained.append(RuleExplanation(rule=rule.id, title=rule.title, applies=False))
            continue
        sight = Sight(merge(rule.provenances), evidence.fields, failed)
        outcome = outcomes.get(rule.id)
        parts = tuple(_explain_atom(atom, sight) for atom in atoms(rule.condition))
        if outcome is None:
            explained.append(_unmatched(rule, parts))
            continue
        explained.append(
            RuleExplanation(
                rule=rule.id,
                title=rule.title,
                applies=True,
                status=outcome.status,
                effect=outcome.effect,
                mode=outcome.mode,
                exception=outcome.exception,
                why=outcome.why,
                atoms=parts,
            )
        )
    return Explanation(verdict=verdict, rules=tuple(explained))


def _unmatched(rule: CompiledRule, parts: tuple[AtomExplanation, ...]) -> RuleExplanation:
    return RuleExplanation(
        rule=rule.id, title=rule.title, applies=True, status=RuleStatus.NOT_MATCHED, mode=rule.mode, atoms=parts
    )


def _explain_atom(atom: Atom, sight: Sight) -> AtomExplanation:
    value: Any = sight.fields.get(atom.name)
    if isinstance(atom.type, SignalType):
        value = sight.values.get(atom.name, DEFAULTS[atom.type])
    shown = sorted(value) if isinstance(value, frozenset) else value
    return AtomExplanation(atom=atom.text, truth=_TRUTHS.get(compile_test(atom)(sight), "unknown"), value=shown)


def evidence_from_json(bundle: Bundle, written: Any) -> Evidence:
    """Evidence as JSON: `{"phase": "query", "fields": {…}, "values": {"user": {"pii.entities": ["PERSON"]}},
    "runs": {"pii": "timeout"}}`. A detector that `runs` does not name ended in `ok`; lists stand for sets.
    Raises `ConfigurationError` for a name or value that is none."""
    if not isinstance(written, Mapping):
        raise ConfigurationError('evidence is not a json object: write {"phase": …, "fields": …, "values": …}')
    unknown = sorted(written.keys() - {"phase", "fields", "values", "runs"})
    if unknown:
        raise ConfigurationError(f"unknown key {quoted(unknown[0])}: use `phase`, `fields`, `values`, `runs`")
    phase = Phase(_word(written.get("phase"), [one.value for one in Phase], "phase"))
    fields: dict[str, FieldValue] = {}
    for name, value in _object(written, "fields").items():
        _word(name, list(FIELDS), "field")
        fields[name] = _as_set(value) if FIELDS[name].type is FieldType.KINDS else value
    values: dict[Provenance, dict[str, SignalValue]] = {}
    for speaker, signals in _object(written, "values").items():
        provenance = Provenance(_word(speaker, [one.value for one in Provenance], "provenance"))
        for name, value in _object({"values": signals}, "values").items():
            _word(name, list(bundle.signals), "signal")
            kinds = bundle.signals[name] is SignalType.KINDS
            values.setdefault(provenance, {})[name] = _as_set(value) if kinds else value
    runs = {
        detector: DetectorRun(detector=detector, version="999999", status=SignalStatus.OK)
        for detector in bundle.required(phase, fields)
    }
    for detector, status in _object(written, "runs").items():
        word = _word(status, [one.value for one in SignalStatus], "status")
        runs[detector] = DetectorRun(detector=detector, version="999999", status=SignalStatus(word), reason="given")
    return Evidence(phase=phase, fields=fields, values=values, runs=runs)


def _object(written: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = written.get(key, {})
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{quoted(key)} is not a json object: write names with values")
    return value


def _word(word: Any, known: list[str], what: str) -> str:
    if not isinstance(word, str) or word not in known:
        raise ConfigurationError(f"unknown {what} {quoted(str(word))}: {suggestion(str(word), known)}")
    return word


def _as_set(value: Any) -> Any:
    return frozenset(map(str, value)) if isinstance(value, list) else value
