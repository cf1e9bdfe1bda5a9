"""Proofs against brute force on small domains, and by example."""

import datetime as dt
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.vocabulary import Phase, Provenance, SignalStatus
from gateway.policy import Bundle
from gateway.policy.prove import Answer, can_match, no_weaker, shadowed
from tests.policy.policy_texts import NOW, bundle_of, evidence_of, policy_set, rule


def over(threshold: float, operator: str = "gte") -> dict[str, Any]:
    return {"signal": "injection.score", operator: threshold}


def kinds(**operator: Any) -> dict[str, Any]:
    return {"signal": "pii.entities", **operator}


def weaker(old: Any, new: Any) -> Answer:
    return no_weaker(bundle_of(old), bundle_of(new), now=NOW).answer


BASE = policy_set(rule())


@pytest.mark.parametrize(
    ("new", "answer"),
    [
        (BASE, Answer.YES),
        (policy_set(rule(), rule("R-2")), Answer.YES),
        (policy_set(rule(when={"all": [over(0.4)]})), Answer.YES),
        (policy_set(rule(when={"all": [over(0.6)]})), Answer.NO),
        (policy_set(rule(when={"all": [over(0.5, "gt")]})), Answer.NO),
        (policy_set(rule(when={"none": [over(0.5, "lt")]})), Answer.YES),
        (policy_set(rule("R-7", when={"all": [over(0.5)]}), rule("R-8", when={"all": [over(0.9)]})), Answer.YES),
        (
            policy_set(rule("A", when={"all": [over(0.5), over(0.7, "lt")]}), rule("B", when={"all": [over(0.7)]})),
            Answer.YES,
        ),
        (
            policy_set(rule("A", when={"all": [over(0.5), over(0.7, "lt")]}), rule("B", when={"all": [over(0.8)]})),
            Answer.NO,
        ),
        (policy_set(rule(then={"effect": "escalate"})), Answer.NO),
        (policy_set(rule(on_error="flag")), Answer.NO),
        (policy_set(rule(mode="shadow"), rule("X", when={"all": [over(0.99)]})), Answer.NO),
        (policy_set(rule(mode={"canary": 50})), Answer.NO),
        (policy_set(rule(provenance=["user"])), Answer.NO),
        (policy_set(rule(phase=["query", "answer"])), Answer.YES),
        (policy_set(rule(phase="answer")), Answer.NO),
        (policy_set(rule(), applies_to={"apps": ["chat"]}), Answer.NO),
        (policy_set(rule(), applies_to={"groups": ["staff"]}), Answer.NO),
        (
            policy_set(
                rule(when={"all": [over(0.5), {"field": "principal.app", "one_of": ["a"]}]}),
                rule("B", when={"all": [over(0.5), {"field": "principal.app", "not_one_of": ["a"]}]}),
            ),
            Answer.YES,
        ),
        (policy_set(rule(), needs={"injection": {"detector": "injection", "min_version": "2.0"}}), Answer.YES),
    ],
)
def test_a_candidate_is_weaker_or_not(new: Any, answer: Answer) -> None:
    old, candidate = bundle_of(BASE), bundle_of(new)
    proof = no_weaker(old, candidate, now=NOW)
    assert proof.answer is answer, proof
    if proof.witness is not None:
        seen = proof.witness.evidence
        before, after = old.decide(seen, now=proof.witness.now), candidate.decide(seen, now=proof.witness.now)
        assert before.effect.rank > after.effect.rank


def test_a_lower_minimum_of_a_version_is_weaker() -> None:
    need = {"injection": {"detector": "injection", "min_version": "2.0"}}
    assert weaker(policy_set(rule(), needs=need), BASE) is Answer.NO


EXCEPTION = {
    "id": "E-1",
    "rule": "R-1",
    "match": {"app": "chat"},
    "reason": "a pilot",
    "approved_by": ["user:a"],
    "expires": "2027-01-01",
}


def test_exceptions_loosen_until_they_expire() -> None:
    with_it = policy_set(rule(), exceptions=[EXCEPTION])
    assert weaker(BASE, with_it) is Answer.NO
    assert weaker(with_it, BASE) is Answer.YES
    longer = policy_set(rule(), exceptions=[{**EXCEPTION, "expires": "2027-02-01"}])
    proof = no_weaker(bundle_of(with_it), bundle_of(longer), now=NOW)
    assert proof.answer is Answer.NO
    assert proof.witness is not None
    assert proof.witness.now == dt.datetime(2027, 1, 2, tzinfo=dt.UTC)
    ended = policy_set(rule(), exceptions=[{**EXCEPTION, "expires": "2020-01-01"}])
    assert weaker(BASE, ended) is Answer.YES


def test_what_the_search_cannot_settle_is_unknown() -> None:
    candidate = bundle_of(policy_set(rule("R-2", when={"all": [over(0.4)]})))
    assert no_weaker(bundle_of(BASE), candidate, now=NOW, budget=2).answer is Answer.UNKNOWN
    counted = policy_set(rule(when={"all": [{"signal": "pii.count", "gte": 3}]}))
    lower = policy_set(rule(when={"all": [{"signal": "pii.count", "gte": 2}]}), rule("X", provenance=["user"]))
    assert weaker(counted, lower) is Answer.UNKNOWN


def test_a_rule_can_match_or_not() -> None:
    bundle = bundle_of(
        policy_set(
            rule("YES", when={"all": [over(0.5), over(0.6, "lt")]}),
            rule("NO", when={"all": [over(0.6), over(0.5, "lt")]}),
            rule("SAME", when={"all": [kinds(any_of=["A"])], "none": [kinds(any_of=["A", "B"])]}),
            rule("OTHER", when={"all": [kinds(empty=False)], "none": [kinds(any_of=["A"])]}),
        )
    )
    answers = {one.id: can_match(bundle, one.id, now=NOW) for one in bundle.rules}
    assert {name: proof.answer.value for name, proof in answers.items()} == {
        "NO": "no",
        "OTHER": "yes",
        "SAME": "no",
        "YES": "yes",
    }
    witness = answers["YES"].witness
    assert witness is not None
    assert witness.as_test("found").startswith('- {"name": "found", "provenance": "user", "given": {')


def test_a_shadowed_rule_never_decides() -> None:
    bundle = bundle_of(
        policy_set(
            rule("WIDE", when={"all": [over(0.5)]}),
            rule("NARROW", when={"all": [over(0.9)]}, then={"effect": "escalate"}, on_error="escalate"),
            rule("APART", when={"all": [{"signal": "tone.angry", "is": True}]}),
        )
    )
    assert {name: proof.answer.value for name, proof in shadowed(bundle, now=NOW).items()} == {
        "APART": "no",
        "NARROW": "yes",
        "WIDE": "no",
    }


ATOMS = [
    over(0.5),
    over(0.5, "gt"),
    over(0.8, "lt"),
    {"signal": "tone.angry", "is": True},
    {"signal": "tone.angry", "is": False},
    {"signal": "pii.entities", "any_of": ["A", "B"]},
    {"signal": "pii.entities", "all_of": ["A", "B"]},
    {"signal": "pii.entities", "none_of": ["A"]},
    {"signal": "pii.entities", "empty": False},
    {"field": "principal.app", "one_of": ["a"]},
]
WHENS = st.lists(
    st.tuples(st.sampled_from(["all", "any", "none"]), st.lists(st.sampled_from(ATOMS), min_size=1, max_size=2)),
    min_size=1,
    max_size=2,
).map(dict)
RULES = st.tuples(
    WHENS,
    st.sampled_from(["flag", "escalate", "refuse"]),
    st.sampled_from(["flag", "refuse"]),
    st.sampled_from([[], ["user"], ["tool"]]),
)


def built(rules: list[Any]) -> Bundle:
    return bundle_of(
        policy_set(
            *(
                rule(f"R-{i}", when=when, then={"effect": effect}, on_error=on_error, provenance=provenance)
                for i, (when, effect, on_error, provenance) in enumerate(rules)
            )
        )
    )


def everything() -> Any:
    """All small evidence, as far as the atoms above can tell it apart."""
    one = list(product([0.0, 0.5, 0.6, 0.8], [False, True], [(), ("A",), ("B",), ("A", "B"), ("C",)]))
    for score, angry, kinds in one:
        values = {"injection.score": score, "tone.angry": angry, "pii.entities": frozenset(kinds)}
        for source, app, failed in product(
            [Provenance.USER, Provenance.TOOL, Provenance.SYSTEM], ["a", "z"], [(), ("injection",), ("pii", "tone")]
        ):
            yield evidence_of(
                values,
                phase=Phase.QUERY,
                provenance=source,
                failed=dict.fromkeys(failed, SignalStatus.ERROR),
                principal__app=app,
            )


EVERYTHING = list(everything())


@settings(max_examples=25, deadline=None)
@given(old=st.lists(RULES, min_size=1, max_size=2), new=st.lists(RULES, min_size=1, max_size=3))
def test_proofs_agree_with_brute_force(old: list[Any], new: list[Any]) -> None:
    before, after = built(old), built(new)
    proof = no_weaker(before, after, now=NOW, budget=3_000)
    loosened = [
        one for one in EVERYTHING if before.decide(one, now=NOW).effect.rank > after.decide(one, now=NOW).effect.rank
    ]
    # A search that gives up claims nothing; one that does not is right.
    if loosened:
        assert proof.answer is not Answer.YES
    if proof.witness is not None:
        seen = proof.witness.evidence
        assert before.decide(seen, now=NOW).effect.rank > after.decide(seen, now=NOW).effect.rank
