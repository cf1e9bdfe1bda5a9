"""The policies that the gateway comes with."""

from pathlib import Path

import pytest

from gateway.domain.vocabulary import Effect, Phase, Provenance, RuleStatus, SignalStatus
from gateway.policy import Bundle, load_bundle
from gateway.policy.coverage import coverage
from gateway.policy.lint import lint
from gateway.policy.mutants import mutate
from gateway.policy.trials import run_trials
from tests.policy.policy_texts import NOW, SIGNALS, evidence_of

PACKS = Path(__file__).parents[2] / "policies"
FILES = sorted(path.relative_to(PACKS).as_posix() for path in PACKS.rglob("*.yaml"))


@pytest.fixture(scope="module")
def packs() -> Bundle:
    return load_bundle([PACKS], signals=SIGNALS, now=NOW)


def test_the_areas_are_covered() -> None:
    assert set(FILES) >= {
        "base/personal-data.yaml",
        "base/secrets.yaml",
        "base/injection.yaml",
        "base/exfiltration.yaml",
        "base/disclosure.yaml",
        "finance/regulated-advice.yaml",
    }


def test_every_test_in_the_packs_passes(packs: Bundle) -> None:
    results = run_trials(packs, now=NOW)
    assert len(results) > 100
    assert [f"{one.trial.rule} {one.trial.name}: {one.message}" for one in results if not one.passed] == []


def test_the_tests_of_the_packs_cover_everything_and_kill_nearly_every_mutant(packs: Bundle) -> None:
    assert coverage(packs, now=NOW).missing() == ()
    found = mutate(packs, now=NOW, budget=10_000)
    assert found.tried == found.possible > 100
    assert found.score >= 0.9, found.survivors


def test_no_pack_has_a_warning(packs: Bundle) -> None:
    assert [str(fault) for fault in lint(packs, now=NOW)] == []


def test_every_rule_that_needs_a_detector_is_tested_without_it(packs: Bundle) -> None:
    failing = {trial.rule for trial in packs.trials if trial.status in {RuleStatus.ERROR, RuleStatus.NOT_RUN}}
    assert [rule.id for rule in packs.rules if rule.detectors and rule.id not in failing] == []


def test_every_rule_has_at_least_as_many_benign_conversations_as_attacks_in_its_file(packs: Bundle) -> None:
    for source in packs.sources:
        effects = [one.effect for one in packs.dialogues if one.file == source.file]
        assert effects.count(Effect.ALLOW) * 2 >= len(effects), source.name


@pytest.mark.parametrize("phase", list(Phase))
def test_a_request_in_which_nothing_is_seen_is_allowed(packs: Bundle, phase: Phase) -> None:
    assert packs.decide(evidence_of(phase=phase), now=NOW).outcomes == ()


@pytest.mark.parametrize("phase", [Phase.QUERY, Phase.ANSWER, Phase.TOOL_CALL, Phase.PASSAGE])
def test_nothing_passes_when_no_detector_ran(packs: Bundle, phase: Phase) -> None:
    evidence = evidence_of(phase=phase, failed=dict.fromkeys(packs.required(phase, {}), SignalStatus.ERROR))
    assert packs.decide(evidence, now=NOW).effect is Effect.REFUSE


def test_names_in_an_answer_are_not_redacted(packs: Bundle) -> None:
    seen = evidence_of(
        {"pii.entities": frozenset({"PERSON", "PHONE_NUMBER"})}, phase=Phase.ANSWER, provenance=Provenance.ASSISTANT
    )
    assert packs.decide(seen, now=NOW).effect is Effect.ALLOW


def test_no_query_rule_makes_a_plain_answer_wait(packs: Bundle) -> None:
    assert packs.whole_answer_rules({}) == ()
