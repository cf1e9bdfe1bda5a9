"""Every rule of the packs leaves alone at least as much as it finds: in its unit tests and in the conversations."""

from collections import Counter
from pathlib import Path

import pytest

from gateway.domain.vocabulary import Phase, Provenance, RuleMode, RuleStatus
from gateway.policy import Bundle, load_bundle
from tests.policy.policy_texts import NOW, SIGNALS

# A conversation has no system prompt to echo, and a list of fifty people is a text that nobody would read here.
NOT_SPOKEN = {"DIS-004", "PII-004"}
SPEAKERS = {Provenance.USER, Provenance.PASSAGE, Provenance.ASSISTANT}
PACKS = Path(__file__).parents[2] / "policies"


@pytest.fixture(scope="module")
def packs() -> Bundle:
    return load_bundle([PACKS], signals=SIGNALS, now=NOW)


def test_unit_tests_have_at_least_as_many_near_misses_as_hits(packs: Bundle) -> None:
    hits = Counter(one.rule for one in packs.trials if one.status is RuleStatus.MATCHED)
    near = Counter(one.rule for one in packs.trials if one.status is RuleStatus.NOT_MATCHED)
    assert set(hits) == {rule.id for rule in packs.rules}
    assert {rule: (hits[rule], near[rule]) for rule in hits if near[rule] < hits[rule]} == {}


def test_conversations_have_at_least_as_many_near_misses_as_hits(packs: Bundle) -> None:
    hits = Counter(rule for one in packs.dialogues for rule in one.rules)
    near = Counter(rule for one in packs.dialogues for rule in one.without)
    assert {rule: (hits[rule], near[rule]) for rule in hits if near[rule] < hits[rule]} == {}


def test_every_rule_that_a_conversation_can_reach_has_one(packs: Bundle) -> None:
    spoken = {rule for one in packs.dialogues for rule in one.rules}
    reachable = {
        rule.id
        for rule in packs.rules
        if rule.detectors
        and rule.mode is not RuleMode.SHADOW  # what it says is no part of a conversation's end
        and rule.phases - {Phase.TOOL_CALL}
        and (not rule.provenances or rule.provenances & SPEAKERS)
    }
    assert reachable - spoken == NOT_SPOKEN


def test_a_near_miss_is_allowed_or_falls_to_another_rule(packs: Bundle) -> None:
    assert [one.name for one in packs.dialogues if one.rules & one.without] == []
    assert [one.name for one in packs.dialogues if not one.rules and not one.without] == []
