"""The compiled evaluator against the reference interpreter, and the laws of the language, on generated policies."""

import copy
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from gateway.domain.signal import DetectorRun
from gateway.domain.verdict import Evidence, Verdict
from gateway.domain.vocabulary import Effect, Phase, Provenance, RuleMode, RuleStatus, SignalStatus, SignalType
from tests.policy import reference
from tests.policy.policy_texts import DETECTORS, NOW, SIGNALS, bundle_of, fields_of, policy_set

KINDS = ["PERSON", "US_SSN", "IBAN_CODE"]
GROUPS = ["staff", "fraud", "public"]
ALL_SIGNALS = {
    **SIGNALS,
    "topic.credit": SignalType.SCORE,
    "list.words": SignalType.FLAG,
    "pattern.ref": SignalType.FLAG,
}
DEFINITIONS: dict[str, Any] = {
    "topics": {"credit": {"like": ["Am I approved?"]}},
    "lists": {"words": {"values": ["loan"]}},
    "patterns": {"ref": {"regex": "CR-[0-9]+", "example": "CR-1"}},
}
_words = st.lists(st.sampled_from(KINDS), min_size=1, max_size=3)
_groups = st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2)


@st.composite
def atoms(draw: st.DrawFn) -> dict[str, Any]:
    shape = draw(st.integers(0, 6))
    number = draw(st.sampled_from(["gt", "gte", "lt", "lte", "eq"]))
    if shape == 0:
        signal = draw(st.sampled_from(["injection.score", "topic.credit"]))
        return {"signal": signal, number: draw(st.sampled_from([0.0, 0.5, 1.0]))}
    if shape == 1:
        return {"signal": "pii.count", number: draw(st.integers(0, 3))}
    if shape == 2:
        return {"signal": draw(st.sampled_from(["list.words", "pattern.ref", "tone.angry"])), "is": draw(st.booleans())}
    if shape == 3:
        return {"signal": "pii.entities", draw(st.sampled_from(["any_of", "all_of", "none_of"])): draw(_words)}
    if shape == 4:
        return {"signal": draw(st.sampled_from(["pii.entities", "secrets.kinds"])), "empty": draw(st.booleans())}
    if shape == 5:
        return {"field": "principal.groups", draw(st.sampled_from(["any_of", "all_of", "none_of"])): draw(_groups)}
    return {
        "field": "request.model",
        draw(st.sampled_from(["one_of", "not_one_of"])): draw(st.sampled_from([["m"], ["m", "n"]])),
    }


def groups(members: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    listed = st.lists(members, min_size=1, max_size=3)
    return st.fixed_dictionaries({}, optional={"all": listed, "any": listed, "none": listed})


conditions = groups(st.recursive(atoms(), lambda inner: groups(inner).filter(bool), max_leaves=6))
effects = st.sampled_from([
    {"effect": "allow"},
    {"effect": "flag"},
    {"effect": "redact", "entities": ["PERSON"], "with": "mask"},
    {"effect": "redact", "entities": ["US_SSN", "IBAN_CODE"], "with": "pseudonym"},
    {"effect": "escalate", "queue": "credit"},
    {"effect": "refuse"},
])  # fmt: skip
rules = st.fixed_dictionaries(
    {
        "title": st.just("a rule"),
        "phase": st.sampled_from(["query", "answer", ["query", "answer"]]),
        "when": conditions,
        "then": effects,
    },
    optional={
        "severity": st.sampled_from(["critical", "high", "medium", "low"]),
        "on_error": st.sampled_from(["flag", "escalate", "refuse"]),
        "mode": st.sampled_from(["enforce", "shadow"]),
        "provenance": st.lists(st.sampled_from(["user", "tool", "assistant"]), min_size=1, max_size=2, unique=True),
    },
)
scopes = st.fixed_dictionaries(
    {},
    optional={
        "tenants": st.sampled_from([["acme"], ["other"], ["other", "acme"]]),
        "models": st.sampled_from([["m"], ["n"]]),
        "groups": st.sampled_from([["staff"], ["fraud", "public"]]),
    },
)
scorings = st.fixed_dictionaries(
    {"over": st.sampled_from([{"effect": "escalate", "queue": "triage"}, {"effect": "refuse"}])},
    optional={"query": st.integers(1, 12), "answer": st.integers(1, 12)},
).filter(lambda one: len(one) > 1)


@st.composite
def policies(draw: st.DrawFn, most: int = 4) -> list[dict[str, Any]]:
    sets = []
    for number in range(draw(st.integers(1, 2))):
        drawn = draw(st.lists(rules, min_size=1, max_size=most))
        named = [{"id": f"R{number}-{index}", **rule} for index, rule in enumerate(drawn)]
        one = policy_set(*named, id_=f"set-{number}", applies_to=draw(scopes), **(DEFINITIONS if number == 0 else {}))
        if draw(st.booleans()):
            one["scoring"] = draw(scorings)
        sets.append(one)
    return sets


values = st.fixed_dictionaries(
    {},
    optional={
        "injection.score": st.sampled_from([0.3, 0.5, 0.9]),
        "topic.credit": st.sampled_from([0.3, 0.5, 1.0]),
        "pii.count": st.integers(1, 3),
        "pii.entities": st.frozensets(st.sampled_from(KINDS), min_size=1),
        "secrets.kinds": st.just(frozenset({"secret.jwt"})),
        "list.words": st.just(True),
        "pattern.ref": st.just(True),
        "tone.angry": st.just(True),
    },
)


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    phase = draw(st.sampled_from([Phase.QUERY, Phase.ANSWER]))
    runs = {}
    for name in DETECTORS:
        status = draw(st.sampled_from([SignalStatus.OK] * 6 + [*SignalStatus, None]))
        if status is not None:
            runs[name] = DetectorRun(detector=name, version="1", status=status, reason="" if status == "ok" else "x")
    fields = fields_of(
        phase,
        principal__groups=draw(st.frozensets(st.sampled_from(GROUPS))),
        request__model=draw(st.sampled_from(["m", "n", "o"])),
    )
    spoken = draw(st.dictionaries(st.sampled_from([Provenance.USER, Provenance.TOOL, Provenance.ASSISTANT]), values))
    return Evidence(phase=phase, fields=fields, values=spoken, runs=runs)


def meaning(verdict: Verdict) -> dict[str, Any]:
    return {
        "effect": verdict.effect.value,
        "outcomes": {one.rule: (one.status.value, one.effect.value) for one in verdict.outcomes},
        "redactions": {one.rule: set(one.kinds) for one in verdict.obligations.redactions},
        "escalations": {one.rule for one in verdict.obligations.escalations},
    }


def random_evidence(random: Random) -> Evidence:
    """As `evidences`, but cheap: failures are frequent, and many are tried on one policy."""
    phase = random.choice([Phase.QUERY, Phase.ANSWER])
    drawn: dict[str, list[Any]] = {
        "injection.score": [0.3, 0.5, 0.9],
        "topic.credit": [0.3, 0.5, 1.0],
        "pii.count": [1, 2, 3],
        "pii.entities": [frozenset({"PERSON"}), frozenset({"US_SSN", "IBAN_CODE"}), frozenset(KINDS)],
        "secrets.kinds": [frozenset({"secret.jwt"})],
        "list.words": [True],
        "pattern.ref": [True],
        "tone.angry": [True],
    }
    rare = random.choice([0.1, 0.5])
    broken = random.choice([0.0, 0.2, 0.6])
    runs = {
        name: DetectorRun(
            detector=name,
            version="1",
            status=random.choice([*SignalStatus]) if random.random() < broken else SignalStatus.OK,
        )
        for name in DETECTORS
        if random.random() > broken / 3
    }
    spoken = {
        source: {name: random.choice(some) for name, some in drawn.items() if random.random() < rare}
        for source in random.sample([Provenance.USER, Provenance.TOOL, Provenance.ASSISTANT], k=random.randint(0, 2))
    }
    fields = fields_of(
        phase,
        principal__groups=frozenset(random.sample(GROUPS, k=random.randint(0, 2))),
        request__model=random.choice(["m", "n", "o"]),
    )
    for name in ("principal.groups", "request.model"):
        if random.random() < broken / 4:
            del fields[name]
    return Evidence(phase=phase, fields=fields, values=spoken, runs=runs)


def agree(sets: list[dict[str, Any]], seed: int) -> None:
    bundle, random = bundle_of(*sets), Random(seed)
    for _ in range(60):
        seen = random_evidence(random)
        assert meaning(bundle.decide(seen, now=NOW)) == reference.decide(sets, seen, ALL_SIGNALS)


@settings(max_examples=100, deadline=None)
@given(policies(), st.integers())
def test_the_compiled_evaluator_decides_as_the_reference_interpreter(sets: list[dict[str, Any]], seed: int) -> None:
    agree(sets, seed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=1000, deadline=None)
@given(policies(most=12), st.integers())
def test_the_evaluator_and_the_interpreter_agree_at_length(sets: list[dict[str, Any]], seed: int) -> None:
    agree(sets, seed)


@settings(max_examples=40, deadline=None)
@given(policies(), evidences(), st.randoms(use_true_random=False))
def test_order_has_no_meaning(sets: list[dict[str, Any]], seen: Evidence, random: Any) -> None:
    """I4: files, rules, clauses and provenances in any order, repeated clauses included."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, list):
            mixed = [shuffled(one) for one in value]
            random.shuffle(mixed)
            return mixed
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return value

    moved = shuffled(copy.deepcopy(sets))
    turned = structs.replace(seen, values=dict(reversed(seen.values.items())))
    first, second = bundle_of(*sets), bundle_of(*moved)
    assert first.digest == second.digest
    assert first.decide(seen, now=NOW) == second.decide(turned, now=NOW)


@settings(max_examples=40, deadline=None)
@given(policies(), rules, evidences())
def test_adding_a_rule_only_tightens(sets: list[dict[str, Any]], more: dict[str, Any], seen: Evidence) -> None:
    fewer = bundle_of(*sets).decide(seen, now=NOW)
    added = bundle_of(*sets, policy_set({"id": "NEW-1", **more}, id_="new")).decide(seen, now=NOW)
    assert added.effect.rank >= fewer.effect.rank
    assert set(fewer.reasons) <= set(added.reasons)
    assert set(fewer.obligations.redactions) <= set(added.obligations.redactions)
    assert set(fewer.obligations.escalations) <= set(added.obligations.escalations)


@settings(max_examples=40, deadline=None)
@given(policies(), evidences(), st.sampled_from(DETECTORS), st.sampled_from([*SignalStatus][1:]))
def test_a_detector_that_fails_never_loosens(
    sets: list[dict[str, Any]], seen: Evidence, detector: str, status: SignalStatus
) -> None:
    """I3, for rules whose author did not choose a looser `on_error`; the values that were seen may stay or go."""
    for one in sets:
        for rule in one["rules"]:
            rule.pop("on_error", None)
    bundle = bundle_of(*sets)
    whole = structs.replace(
        seen, runs={name: DetectorRun(detector=name, version="1", status=SignalStatus.OK) for name in DETECTORS}
    )
    run = DetectorRun(detector=detector, version="1", status=status, reason="deadline")
    broken = structs.replace(whole, runs={**whole.runs, detector: run})
    expected = bundle.decide(whole, now=NOW)
    assert bundle.decide(broken, now=NOW).effect.rank >= expected.effect.rank
    own = {name for name in ALL_SIGNALS if reference.detector_of(name) == detector}
    blind = {source: {k: v for k, v in known.items() if k not in own} for source, known in seen.values.items()}
    assert bundle.decide(structs.replace(broken, values=blind), now=NOW).effect.rank >= expected.effect.rank


@settings(max_examples=40, deadline=None)
@given(policies(), evidences())
def test_the_effect_is_the_strictest_of_the_enforced_outcomes(sets: list[dict[str, Any]], seen: Evidence) -> None:
    verdict = bundle_of(*sets).decide(seen, now=NOW)
    enforced = [one.effect for one in verdict.outcomes if one.mode is not RuleMode.SHADOW]
    assert verdict.effect is max(enforced, key=lambda effect: effect.rank, default=Effect.ALLOW)
    assert [one.rule for one in verdict.outcomes] == sorted(one.rule for one in verdict.outcomes)
    assert all(one.status is not RuleStatus.NOT_MATCHED for one in verdict.outcomes)
    assert all(one.why for one in verdict.outcomes)


@settings(max_examples=40, deadline=None)
@given(policies(), evidences())
def test_a_verdict_needs_only_the_detectors_that_are_required(sets: list[dict[str, Any]], seen: Evidence) -> None:
    bundle = bundle_of(*sets)
    needed = bundle.required(seen.phase, seen.fields)
    fewer = structs.replace(seen, runs={name: run for name, run in seen.runs.items() if name in needed})
    assert bundle.decide(fewer, now=NOW) == bundle.decide(seen, now=NOW)
