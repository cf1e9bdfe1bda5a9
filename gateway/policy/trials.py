"""Unit tests of rules: evidence as the author gives it, through the one evaluator."""

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any, Final

from msgspec import Struct

from gateway.domain.errors import Fault
from gateway.domain.signal import DetectorRun, SignalValue
from gateway.domain.verdict import Evidence, FieldValue, RuleOutcome, Verdict
from gateway.domain.vocabulary import Effect, Phase, Provenance, RuleStatus, SignalStatus, SignalType
from gateway.policy.bundle import Bundle
from gateway.policy.compiled import CompiledRule, Dialogue, Trial
from gateway.policy.condition import atoms
from gateway.policy.fields import FIELDS, FieldType, ValueType
from gateway.policy.schema import AppliesTo, Conversation, Expected, Rule, RuleTest
from gateway.policy.signals import detector_of
from gateway.policy.source import Source
from gateway.policy.values import Vocabulary, read_value
from gateway.strict_yaml import Mapping as MappingNode
from gateway.strict_yaml import Node, Scalar, quoted, suggestion

_FAILURES: Final = {status.value: status for status in SignalStatus if status is not SignalStatus.OK}
_SPEAKERS: Final[Mapping[Phase, Provenance]] = {
    Phase.QUERY: Provenance.USER,
    Phase.PASSAGE: Provenance.PASSAGE,
    Phase.ANSWER: Provenance.ASSISTANT,
    Phase.TOOL_CALL: Provenance.ASSISTANT,
}
EMPTY_FIELDS: Final[Mapping[FieldType, FieldValue]] = {
    FieldType.TEXT: "",
    FieldType.KINDS: frozenset(),
    FieldType.COUNT: 0,
    FieldType.FLAG: False,
}


class TrialResult(Struct, frozen=True, kw_only=True):
    """`message` says what came out instead, "" for a test that passed."""

    trial: Trial
    phase: Phase
    message: str

    @property
    def passed(self) -> bool:
        return not self.message


def run_trials(bundle: Bundle, *, now: dt.datetime) -> tuple[TrialResult, ...]:
    """Every test of the bundle in every phase of its rule, in order of file and place. Pure."""
    detectors = {detector_of(signal) for signal in bundle.signals}
    for rule in bundle.rules:
        detectors |= rule.detectors
    results = []
    for trial in bundle.trials:
        for phase in trial.phases:
            evidence = trial_evidence(trial, phase, detectors)
            message = _difference(trial, bundle.decide(evidence, now=now))
            results.append(TrialResult(trial=trial, phase=phase, message=message))
    return tuple(results)


def trial_passes(bundle: Bundle, trial: Trial, phase: Phase, *, now: dt.datetime) -> bool:
    """Whether a test holds for a bundle that may be another than its own. Pure."""
    detectors = {detector_of(signal) for signal in bundle.signals}.union(*(rule.detectors for rule in bundle.rules))
    return not _difference(trial, bundle.decide(trial_evidence(trial, phase, detectors), now=now))


def trial_evidence(trial: Trial, phase: Phase, detectors: set[str]) -> Evidence:
    """What the evaluator gets: every detector ran but those that the test fails, every field is there."""
    speaker = trial.provenance or _SPEAKERS[phase]
    return _evidence(phase, detectors, trial.fields, {speaker: trial.values}, trial.failures)


def quiet_evidence(phase: Phase, detectors: set[str]) -> Evidence:
    """A text in which nothing was found, of nobody in particular."""
    return _evidence(phase, detectors, {}, {}, {})


def _evidence(
    phase: Phase,
    detectors: set[str],
    given: Mapping[str, FieldValue],
    values: Mapping[Provenance, Mapping[str, SignalValue]],
    failures: Mapping[str, SignalStatus],
) -> Evidence:
    runs = {
        detector: DetectorRun(
            detector=detector,
            version="999999",  # newer than any minimum: a test is about the rule, not the installation
            status=failures.get(detector, SignalStatus.OK),
            reason="" if detector not in failures else "test",
        )
        for detector in detectors
    }
    fields = {
        name: given.get(name, EMPTY_FIELDS[field.type]) for name, field in FIELDS.items() if phase in field.phases
    }
    return Evidence(phase=phase, fields=fields, values=values, runs=runs)


def _difference(trial: Trial, verdict: Verdict) -> str:
    found = next((outcome for outcome in verdict.outcomes if outcome.rule == trial.rule), None)
    status = found.status if found else RuleStatus.NOT_MATCHED
    if status is not trial.status:
        return f"expected {trial.status.value}, the rule ended in {status.value}{_because(found)}"
    effect = found.effect if found else Effect.ALLOW
    if trial.effect is not None and effect is not trial.effect:
        return f"expected effect {trial.effect.value}, it is {effect.value}{_because(found)}"
    exception = found.exception if found else ""
    if exception != trial.exception:
        wanted = f"by {trial.exception}" if trial.exception else "by no exception"
        return f"expected to be lifted {wanted}, it is by {exception or 'none'}"
    return ""


def _because(found: RuleOutcome | None) -> str:
    return f": {', '.join(found.why)}" if found and found.why else ""


class TrialReader:
    """Reads the unit tests and conversations of one file; those with a fault are read as far as they go. `rules` are
    the ids of all rules of the bundle."""

    def __init__(self, source: Source, vocabulary: Vocabulary, rules: Collection[str], faults: list[Fault]) -> None:
        self._source = source
        self._vocabulary = vocabulary
        self._rules = rules
        self._faults = faults

    def read(self, rule: Rule, compiled: CompiledRule) -> list[Trial]:
        """The tests of a rule. Faults are appended."""
        names: set[str] = set()
        trials = []
        for test in rule.tests:
            if test.name in names:
                self._fault(self._source.document.node(test, "name"), f"test {quoted(test.name)} is there twice")
            names.add(test.name)
            trials.append(self._trial(test, compiled))
        return trials

    def dialogue(self, conversation: Conversation) -> Dialogue:
        """A conversation ready to run. Faults are appended."""
        node = self._source.document.node(conversation)
        fields: dict[str, FieldValue] = {}
        for name in conversation.given:
            written = node.find("given", name)
            field = FIELDS.get(name)
            if field is None:
                self._fault(written, f"unknown field {quoted(name)}: {suggestion(name, FIELDS)}")
                continue
            value = read_value(written, field.type, field.values, self._faults, "POL018")
            if value is not None and not isinstance(value, float):
                fields[name] = value
        if conversation.query is None and conversation.passage is None and conversation.answer is None:
            self._fault(node, "a conversation without text: write a `query`, `passage` or `answer`")
        return Dialogue(
            name=conversation.name,
            file=self._source.file,
            line=node.line,
            query=conversation.query,
            passage=conversation.passage,
            answer=conversation.answer,
            fields={**_surroundings(self._source.set.applies_to), **fields},
            effect=conversation.expect.effect,
            rules=frozenset(conversation.expect.rules),
            without=self._spared(conversation),
        )

    def _spared(self, conversation: Conversation) -> frozenset[str]:
        """Rules that must not be reasons; one that does not exist would pass every time."""
        written = conversation.expect.without
        for index, name in enumerate(written):
            if name not in self._rules:
                node = self._source.document.node(conversation.expect, "without", index)
                self._fault(node, f"unknown rule {quoted(name)}: {suggestion(name, self._rules)}")
        return frozenset(written)

    def _trial(self, test: RuleTest, rule: CompiledRule) -> Trial:
        node = self._source.document.node(test)
        fields: dict[str, Any] = {}
        values: dict[str, Any] = {}
        failures: dict[str, SignalStatus] = {}
        types: dict[str, ValueType] = {
            **{atom.name: atom.type for atom in atoms(rule.condition)},
            **self._vocabulary.signals,
            **{name: field.type for name, field in FIELDS.items()},
        }
        for name in test.given:
            written = node.find("given", name)
            type_ = types.get(name)
            if type_ is None:
                self._fault(written, f"unknown signal or field {quoted(name)}: {suggestion(name, types)}")
            elif isinstance(written, MappingNode) and isinstance(type_, SignalType):
                status = self._failure(written)
                if status is not None:
                    failures[detector_of(name)] = status
            else:
                value = read_value(written, type_, self._vocabulary.words(name), self._faults, "POL018")
                (values if isinstance(type_, SignalType) else fields)[name] = value
        expected = test.expect
        if not isinstance(expected, Expected):
            expected = Expected(status=RuleStatus.MATCHED if expected == "match" else RuleStatus.NOT_MATCHED)
        return Trial(
            rule=rule.id,
            name=test.name,
            file=self._source.file,
            line=node.line,
            phases=tuple(sorted(rule.phases)),
            provenance=test.provenance or min(rule.provenances, default=None),
            fields={**_surroundings(self._source.set.applies_to), **fields},
            values=values,
            failures=failures,
            status=expected.status,
            effect=expected.effect,
            exception=expected.exception or "",
        )

    def _failure(self, node: MappingNode) -> SignalStatus | None:
        status = node.child("status")
        word = status.text if isinstance(status, Scalar) else ""
        if len(node.entries) != 1 or word not in _FAILURES:
            self._fault(node, f"a failed detector is written `{{status: timeout}}`: {suggestion(word, _FAILURES)}")
            return None
        return _FAILURES[word]

    def _fault(self, node: Node, message: str) -> None:
        self._faults.append(node.fault("POL018", message))


def _surroundings(applies: AppliesTo) -> dict[str, FieldValue]:
    """A caller to whom the set applies."""

    def some(names: tuple[str, ...]) -> str:
        return names[0].replace("*", "x")

    return {
        "principal.tenant": some(applies.tenants),
        "principal.app": some(applies.apps),
        "principal.user": "someone",
        "principal.groups": frozenset() if "*" in applies.groups else frozenset({some(applies.groups)}),
        "request.model": some(applies.models),
        "request.route": "chat.completions",
        "retrieval.status": "ok",
    }
