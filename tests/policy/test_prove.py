"""Proofs against brute force on small domains, and by example."""

import datetime as dt
import random
from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from gateway.domain.verdict import Evidence
from gateway.domain.vocabulary import Provenance, RuleStatus, SignalStatus
from gateway.policy import Bundle
from gateway.policy.compiled import Scope
from gateway.policy.globs import representatives
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


def counted(least: int, **keys: Any) -> dict[str, Any]:
    return rule(when={"all": [{"signal": "pii.count", "gte": least}]}, **keys)


def test_what_the_search_cannot_settle_is_unknown() -> None:
    candidate = bundle_of(policy_set(rule("R-2", when={"all": [over(0.4)]})))
    proof = no_weaker(bundle_of(BASE), candidate, now=NOW, budget=2)
    assert (proof.answer, proof.reason) == (Answer.UNKNOWN, "gave up after 3 assignments")
    lower = policy_set(counted(400), rule("X", provenance=["user"]))
    proof = no_weaker(bundle_of(policy_set(counted(500))), bundle_of(lower), now=NOW)
    assert (proof.answer, proof.reason) == (
        Answer.UNKNOWN,
        "R-1 in phase query: the cases cannot all be told apart",
    )


def test_counts_add_up_over_provenances() -> None:
    split = policy_set(
        counted(2),
        rule("U", when={"all": [{"signal": "pii.count", "gte": 2}]}, provenance=["user"]),
    )
    assert weaker(policy_set(counted(3)), split) is Answer.YES
    users = rule("U", when={"all": [{"signal": "pii.count", "gte": 2}]}, provenance=["user"])
    tools = rule("T", when={"all": [{"signal": "pii.count", "gte": 2}]}, provenance=["tool"])
    assert weaker(policy_set(counted(3, provenance=["user", "tool"])), policy_set(users, tools)) is Answer.YES
    assert weaker(policy_set(counted(2, provenance=["user", "tool"])), policy_set(users, tools)) is Answer.NO


def scoped(id_: str, *apps: str) -> dict[str, Any]:
    return policy_set(rule(f"R-{id_}"), id_=f"set-{id_}", applies_to={"apps": list(apps)})


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        (("mail-*",), ("m*",), Answer.YES),
        (("m*",), ("mail-*",), Answer.NO),
        (("*-uk", "mail-*"), ("mail-*", "*uk"), Answer.YES),
        (("s*",), ("so*",), Answer.NO),
        (("a*b",), ("a*", "*b"), Answer.YES),
        (("a*", "*b"), ("a*b",), Answer.NO),
        (("a*a",), ("a*a", "aa"), Answer.YES),
        (("a", "a*"), ("a?", "a*"), Answer.YES),
        (("a*",), ("a*x", "a"), Answer.NO),
    ],
)
def test_scopes_with_stars_are_told_apart(old: tuple[str, ...], new: tuple[str, ...], answer: Answer) -> None:
    assert weaker(scoped("1", *old), scoped("1", *new)) is answer


def scored(threshold: int, *rules: dict[str, Any], effect: str = "refuse") -> dict[str, Any]:
    return policy_set(*rules, scoring={"query": threshold, "over": {"effect": effect}})


FLAGS = [
    rule("F-1", severity="low", when={"all": [over(0.5)]}, then={"effect": "flag"}),
    rule("F-2", severity="low", when={"all": [{"signal": "tone.angry", "is": True}]}, then={"effect": "flag"}),
]


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        (scored(4, *FLAGS), scored(4, *FLAGS), Answer.YES),
        (scored(4, *FLAGS), scored(3, *FLAGS), Answer.YES),
        (scored(3, *FLAGS), scored(4, *FLAGS), Answer.YES),  # the points are 0, 2 or 4
        (scored(2, *FLAGS), scored(3, *FLAGS), Answer.NO),
        (scored(4, *FLAGS), scored(4, *FLAGS, effect="escalate"), Answer.NO),
        (scored(4, *FLAGS), scored(4, FLAGS[0]), Answer.NO),
        (scored(4, *FLAGS), policy_set(*FLAGS), Answer.NO),
        (scored(4, *FLAGS), policy_set(*(rule(f"S-{n}", when=one["when"]) for n, one in enumerate(FLAGS))), Answer.YES),
        (policy_set(FLAGS[0]), scored(2, rule("N", severity="low", then={"effect": "flag"})), Answer.YES),
    ],
)
def test_scores_are_compared_too(old: Any, new: Any, answer: Answer) -> None:
    assert weaker(old, new) is answer


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
    {"signal": "pii.count", "gte": 2},
    {"signal": "pii.count", "eq": 1},
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


SCORINGS = st.sampled_from([None, {"query": 4, "over": {"effect": "refuse"}}, {"query": 6, "over": {"effect": "flag"}}])


def built(rules: list[Any], scoring: Any = None) -> Bundle:
    written = [
        rule(f"R-{i}", when=when, then={"effect": effect}, on_error=on_error, provenance=provenance)
        for i, (when, effect, on_error, provenance) in enumerate(rules)
    ]
    return bundle_of(policy_set(*written, **({"scoring": scoring} if scoring else {})))


SEEN = list(product([0.0, 0.5, 0.6, 0.8], [False, True], [(), ("A",), ("B",), ("A", "B"), ("C",)], [0, 1, 2]))


def small_evidence(choose: random.Random) -> Evidence:
    """One of all small pieces of evidence, as far as the atoms above can tell them apart."""
    values = {}
    for source in choose.sample([Provenance.USER, Provenance.TOOL, Provenance.SYSTEM], choose.randint(1, 3)):
        score, angry, kinds, count = choose.choice(SEEN)
        names = ("injection.score", "tone.angry", "pii.entities", "pii.count")
        values[source] = dict(zip(names, (score, angry, frozenset(kinds), count), strict=True))
    failed = choose.choice([(), (), ("injection",), ("pii", "tone"), ("pii",)])
    one = evidence_of({}, failed=dict.fromkeys(failed, SignalStatus.ERROR), principal__app=choose.choice(["a", "z"]))
    return structs.replace(one, values=values)


@settings(max_examples=80, deadline=None)
@given(
    old=st.lists(RULES, min_size=1, max_size=2),
    new=st.lists(RULES, min_size=1, max_size=3),
    scorings=st.tuples(SCORINGS, SCORINGS),
    seed=st.integers(0, 2**32),
)
def test_proofs_agree_with_brute_force_and_are_never_unknown_in_small_spaces(
    old: list[Any], new: list[Any], scorings: tuple[Any, Any], seed: int
) -> None:
    before, after = built(old, scorings[0]), built(new, scorings[1])
    proof = no_weaker(before, after, now=NOW)
    choose = random.Random(seed)
    loosened = [
        one
        for one in (small_evidence(choose) for _ in range(300))
        if before.decide(one, now=NOW).effect.rank > after.decide(one, now=NOW).effect.rank
    ]
    assert proof.answer is (Answer.NO if proof.witness is not None else Answer.YES), proof.reason
    if loosened:
        assert proof.answer is Answer.NO
    if proof.witness is not None:
        seen = proof.witness.evidence
        assert before.decide(seen, now=NOW).effect.rank > after.decide(seen, now=NOW).effect.rank


@settings(max_examples=60, deadline=None)
@given(one=RULES, seed=st.integers(0, 2**32))
def test_whether_a_rule_can_match_agrees_with_brute_force(one: Any, seed: int) -> None:
    bundle = built([one])
    proof = can_match(bundle, "R-0", now=NOW)
    assert proof.answer in {Answer.YES, Answer.NO}
    choose = random.Random(seed)
    statuses = {
        outcome.status
        for seen in (small_evidence(choose) for _ in range(300))
        for outcome in bundle.decide(seen, now=NOW).outcomes
    }
    if RuleStatus.MATCHED in statuses:
        assert proof.answer is Answer.YES


@settings(max_examples=60, deadline=None)
@given(patterns=st.lists(st.text("ab*", min_size=1, max_size=4), min_size=1, max_size=3, unique=True))
def test_the_texts_that_stand_for_all_texts_fit_in_every_possible_way(patterns: list[str]) -> None:
    def ways(texts: Iterable[str]) -> set[tuple[bool, ...]]:
        scopes = [Scope(tenants=(one,)) for one in patterns]
        return {tuple(scope.fits({"principal.tenant": text}) for scope in scopes) for text in texts}

    chosen = representatives(patterns, ["z"])
    assert chosen is not None
    every = ("".join(letters) for size in range(6) for letters in product("abc", repeat=size))
    assert ways(chosen) >= ways(every)  # longer texts may fit in more ways
    assert len(chosen) == len(ways(chosen))
