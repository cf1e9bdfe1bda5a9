"""Decisions by example: effects, reasons, obligations and what failure does."""

import datetime as dt
import statistics
import time
from typing import Any

import pytest

from gateway.domain.signal import SignalValue
from gateway.domain.verdict import Escalation, Redaction
from gateway.domain.vocabulary import Effect, Phase, Provenance, RedactOperator, RuleMode, RuleStatus, SignalStatus
from gateway.policy import Levels
from tests.policy.policy_texts import NOW, bundle_of, evidence_of, fields_of, policy_set, rule

PII = {"all": [{"signal": "pii.entities", "any_of": ["PERSON", "US_SSN"]}]}


def test_a_match_names_its_atoms_and_its_message() -> None:
    bundle = bundle_of(policy_set(rule(message={"client": "no", "reviewer": "look"}, severity="high")))
    verdict = bundle.decide(evidence_of({"injection.score": 0.75}), now=NOW)
    (outcome,) = verdict.outcomes
    assert (verdict.effect, verdict.reasons, verdict.message) == (Effect.REFUSE, ("R-1",), "no")
    assert (outcome.status, outcome.severity, outcome.why) == (RuleStatus.MATCHED, "high", ("injection.score>=0.5",))
    assert (verdict.evaluated, verdict.policy, bundle.messages) == (1, bundle.digest, frozenset({"no"}))


def test_nothing_seen_is_allowed_and_counted() -> None:
    verdict = bundle_of(policy_set(rule(), rule("R-2", when=PII))).decide(evidence_of(), now=NOW)
    assert (verdict.effect, verdict.outcomes, verdict.evaluated) == (Effect.ALLOW, (), 2)


def test_rules_of_other_phases_do_not_count() -> None:
    verdict = bundle_of(policy_set(rule(phase="answer"))).decide(evidence_of({"injection.score": 1.0}), now=NOW)
    assert (verdict.effect, verdict.evaluated) == (Effect.ALLOW, 0)


@pytest.mark.parametrize(
    ("failed", "missing", "status", "why"),
    [
        ({"injection": SignalStatus.TIMEOUT}, frozenset(), RuleStatus.ERROR, "injection: timeout deadline"),
        ({"injection": SignalStatus.ERROR}, frozenset(), RuleStatus.ERROR, "injection: error deadline"),
        ({"injection": SignalStatus.NOT_RUN}, frozenset(), RuleStatus.NOT_RUN, "injection: not_run deadline"),
        ({}, frozenset({"injection"}), RuleStatus.NOT_RUN, "injection: not_run"),
    ],
)
def test_a_detector_that_is_not_ok_takes_on_error(
    failed: dict[str, SignalStatus], missing: frozenset[str], status: RuleStatus, why: str
) -> None:
    bundle = bundle_of(policy_set(rule(on_error="escalate", message={"client": "never said of an error"})))
    verdict = bundle.decide(evidence_of(failed=failed, missing=missing), now=NOW)
    (outcome,) = verdict.outcomes
    assert (outcome.status, outcome.effect, outcome.why) == (status, Effect.ESCALATE, (why,))
    assert (verdict.effect, verdict.reasons, verdict.message) == (Effect.ESCALATE, ("R-1",), "")
    assert verdict.obligations.escalations == (Escalation(rule="R-1", queue="default", sla_s=28800),)


@pytest.mark.parametrize(
    ("severity", "effect", "expected"),
    [
        ("critical", "flag", Effect.REFUSE),
        ("critical", "escalate", Effect.REFUSE),
        ("high", "allow", Effect.ESCALATE),
        ("high", "flag", Effect.ESCALATE),
        ("high", "redact", Effect.REFUSE),
        ("high", "refuse", Effect.REFUSE),
        ("medium", "allow", Effect.FLAG),
        ("medium", "flag", Effect.FLAG),
        ("medium", "redact", Effect.REFUSE),
        ("medium", "escalate", Effect.ESCALATE),
        ("low", "flag", Effect.FLAG),
        ("low", "refuse", Effect.REFUSE),
    ],
)
def test_the_default_of_on_error(severity: str, effect: str, expected: Effect) -> None:
    then = {"effect": effect, **({"entities": ["PERSON"]} if effect == "redact" else {})}
    bundle = bundle_of(policy_set(rule(severity=severity, then=then)))
    assert bundle.decide(evidence_of(missing=frozenset({"injection"})), now=NOW).effect is expected


def test_what_a_failing_detector_has_already_seen_still_counts() -> None:
    then = {"effect": "refuse", "notify": ["security"]}
    bundle = bundle_of(policy_set(rule(when=PII, then=then, severity="low", on_error="flag")))
    late = {"pii": SignalStatus.TIMEOUT}
    seen = bundle.decide(evidence_of({"pii.entities": frozenset({"US_SSN"})}, failed=late), now=NOW)
    assert (seen.effect, seen.outcomes[0].status, seen.obligations.notify) == (
        Effect.REFUSE,
        RuleStatus.ERROR,
        ("security",),
    )
    unseen = bundle.decide(evidence_of({"pii.entities": frozenset({"EMAIL_ADDRESS"})}, failed=late), now=NOW)
    assert (unseen.effect, unseen.obligations.notify) == (Effect.FLAG, ())


@pytest.mark.parametrize(
    ("clause", "seen", "effect"),
    [
        ({"signal": "tone.angry", "is": True}, {"tone.angry": True}, Effect.REFUSE),
        ({"signal": "tone.angry", "is": True}, {}, Effect.FLAG),
        ({"signal": "tone.angry", "is": False}, {}, Effect.FLAG),
        ({"signal": "pii.entities", "empty": False}, {"pii.entities": frozenset({"PERSON"})}, Effect.REFUSE),
        ({"signal": "pii.entities", "empty": True}, {}, Effect.FLAG),
        ({"signal": "pii.entities", "none_of": ["PERSON"]}, {"pii.entities": frozenset({"URL"})}, Effect.FLAG),
        ({"signal": "pii.count", "gt": 2}, {"pii.count": 3}, Effect.REFUSE),
        ({"signal": "pii.count", "eq": 3}, {"pii.count": 3}, Effect.FLAG),
    ],
)
def test_more_text_can_only_add_to_what_was_seen(clause: dict[str, Any], seen: Any, effect: Effect) -> None:
    bundle = bundle_of(policy_set(rule(when={"all": [clause]}, severity="low", on_error="flag")))
    late = {"pii": SignalStatus.TIMEOUT, "tone": SignalStatus.TIMEOUT}
    assert bundle.decide(evidence_of(seen, failed=late), now=NOW).effect is effect


def test_that_a_failing_detector_saw_little_so_far_proves_nothing() -> None:
    few = {"all": [{"signal": "pii.count", "lte": 3}]}
    bundle = bundle_of(policy_set(rule(when=few, severity="low", on_error="flag")))
    late = {"pii": SignalStatus.TIMEOUT}
    assert bundle.decide(evidence_of({"pii.count": 2}, failed=late), now=NOW).effect is Effect.FLAG
    assert bundle.decide(evidence_of({"pii.count": 2}), now=NOW).effect is Effect.REFUSE


def test_an_unknown_atom_does_not_matter_where_another_decides() -> None:
    both = [{"signal": "injection.score", "gte": 0.5}, {"signal": "pii.entities", "any_of": ["PERSON"]}]
    bundle = bundle_of(policy_set(rule("ALL", when={"all": both}), rule("ANY", when={"any": both})))
    failed = {"pii": SignalStatus.ERROR}
    low = bundle.decide(evidence_of(failed=failed), now=NOW)
    assert [(one.rule, one.status) for one in low.outcomes] == [("ANY", RuleStatus.ERROR)]
    high = bundle.decide(evidence_of({"injection.score": 0.5}, failed=failed), now=NOW)
    assert [(one.rule, one.status) for one in high.outcomes] == [("ALL", RuleStatus.ERROR), ("ANY", RuleStatus.MATCHED)]


@pytest.mark.parametrize("value", [float("nan"), "high", True is None, frozenset({"x"}), [0.9], None])
def test_a_value_of_the_wrong_type_is_an_error_never_a_pass(value: Any) -> None:
    if value is None or value is False:
        value = {"x": 1}
    verdict = bundle_of(policy_set(rule())).decide(evidence_of({"injection.score": value}), now=NOW)
    assert (verdict.effect, verdict.outcomes[0].status) == (Effect.REFUSE, RuleStatus.ERROR)
    assert verdict.outcomes[0].why == ("injection.score: malformed",)


@pytest.mark.parametrize("value", ["PERSON", ["PERSON"], 1, {"PERSON"}])
def test_kinds_of_the_wrong_type_are_an_error(value: Any) -> None:
    verdict = bundle_of(policy_set(rule(when=PII))).decide(evidence_of({"pii.entities": value}), now=NOW)
    assert (verdict.effect, verdict.outcomes[0].why) == (Effect.REFUSE, ("pii.entities: malformed",))


@pytest.mark.parametrize(
    "clause",
    [
        {"field": "principal.groups", "any_of": ["staff"]},
        {"field": "principal.groups", "none_of": ["staff"]},
        {"field": "request.model", "eq": "m"},
        {"field": "request.model", "not_one_of": ["m"]},
        {"field": "request.stream", "is": True},
    ],
)
@pytest.mark.parametrize("group", ["all", "none"])
def test_a_missing_field_is_an_error(clause: dict[str, Any], group: str) -> None:
    bundle = bundle_of(policy_set(rule(when={group: [clause]})))
    evidence = evidence_of()
    fields = {name: value for name, value in evidence.fields.items() if name != clause["field"]}
    verdict = bundle.decide(
        type(evidence)(phase=evidence.phase, fields=fields, runs=evidence.runs), now=NOW
    )  # fmt: skip
    (outcome,) = verdict.outcomes
    assert (outcome.status, outcome.effect, outcome.why) == (
        RuleStatus.ERROR,
        Effect.REFUSE,
        (f"{clause['field']}: missing",),
    )


@pytest.mark.parametrize("seen", ["pii.count", "secrets.count"])
def test_a_double_negation_is_found_by_either_of_its_signals(seen: str) -> None:
    either = [{"signal": "pii.count", "gte": 1}, {"signal": "secrets.count", "gte": 1}]
    bundle = bundle_of(policy_set(rule(when={"none": [{"none": either}]})))
    assert bundle.decide(evidence_of(), now=NOW).outcomes == ()
    assert bundle.decide(evidence_of({seen: 1}), now=NOW).effect is Effect.REFUSE


def test_an_empty_condition_always_holds() -> None:
    bundle = bundle_of(policy_set(rule(when={}, then={"effect": "allow", "disclaimer": "No advice.", "cite": True})))
    verdict = bundle.decide(evidence_of(), now=NOW)
    assert (verdict.effect, verdict.reasons, verdict.outcomes[0].why) == (Effect.ALLOW, (), ("always",))
    assert (verdict.obligations.disclaimers, verdict.obligations.cite) == (("No advice.",), True)


def test_signals_of_other_provenances_do_not_count() -> None:
    bundle = bundle_of(policy_set(rule(provenance=["user", "tool"])))
    loud = {"injection.score": 0.9}
    assert bundle.decide(evidence_of(loud, provenance=Provenance.SYSTEM), now=NOW).effect is Effect.ALLOW
    assert bundle.decide(evidence_of(loud, provenance=Provenance.TOOL), now=NOW).effect is Effect.REFUSE


def test_values_merge_over_the_provenances_of_the_rule() -> None:
    three = {"signal": "pii.count", "gte": 3}
    both = {"signal": "pii.entities", "all_of": ["PERSON", "US_SSN"]}
    bundle = bundle_of(
        policy_set(
            rule("COUNT", when={"all": [three]}, provenance=["user", "tool"]),
            rule("KINDS", when={"all": [both]}),
            rule("USER", when={"all": [three]}, provenance=["user"]),
        )
    )
    evidence = evidence_of({"pii.count": 2, "pii.entities": frozenset({"PERSON"})})
    tool: dict[str, SignalValue] = {"pii.count": 1, "pii.entities": frozenset({"US_SSN"})}
    spoken = {**evidence.values, Provenance.TOOL: tool}
    verdict = bundle.decide(
        type(evidence)(phase=evidence.phase, fields=evidence.fields, values=spoken, runs=evidence.runs), now=NOW
    )  # fmt: skip
    assert verdict.reasons == ("COUNT", "KINDS")


def test_redactions_take_the_kinds_that_the_condition_names() -> None:
    bundle = bundle_of(
        policy_set(
            rule("A", when=PII, then={"effect": "redact", "with": "pseudonym"}, provenance=["user"]),
            rule("B", when={"all": [{"signal": "secrets.kinds", "empty": False}]}, then={"effect": "redact"}),
            rule("C", when=PII, then={"effect": "redact", "entities": ["*"], "with": "remove"}),
            rule("D", when={"any": [{"signal": "list.words", "is": True}]}, then={"effect": "redact"}),
            lists={"words": {"values": ["loan"]}},
        )
    )
    seen: dict[str, SignalValue] = {
        "pii.entities": frozenset({"PERSON"}),
        "secrets.kinds": frozenset({"secret.jwt"}),
        "list.words": True,
    }
    verdict = bundle.decide(evidence_of(seen), now=NOW)
    assert verdict.effect is Effect.REDACT
    assert verdict.obligations.redactions == (
        Redaction(
            rule="A",
            kinds=frozenset({"PERSON", "US_SSN"}),
            operator=RedactOperator.PSEUDONYM,
            provenances=frozenset({Provenance.USER}),
        ),
        Redaction(rule="B", kinds=frozenset({"secret.jwt"}), operator=RedactOperator.MASK),
        Redaction(rule="C", kinds=frozenset({"*"}), operator=RedactOperator.REMOVE),
        Redaction(rule="D", kinds=frozenset({"list.words"}), operator=RedactOperator.MASK),
    )


def test_obligations_of_all_matched_rules_unite_whatever_the_effect() -> None:
    bundle = bundle_of(
        policy_set(
            rule(
                "A", then={"effect": "escalate", "queue": "credit", "sla": "30m", "approvals": 2, "notify": ["b", "a"]}
            ),
            rule("B", then={"effect": "redact", "entities": ["PERSON"], "notify": ["a"]}),
            rule("C", then={"effect": "flag", "disclaimer": "z", "cite": True}),
        )
    )
    verdict = bundle.decide(evidence_of({"injection.score": 1.0}), now=NOW)
    assert verdict.effect is Effect.ESCALATE
    assert verdict.obligations.escalations == (Escalation(rule="A", queue="credit", sla_s=1800, approvals=2),)
    assert [one.rule for one in verdict.obligations.redactions] == ["B"]
    assert (verdict.obligations.notify, verdict.obligations.disclaimers) == (("a", "b"), ("z",))
    assert verdict.obligations.cite


def test_the_message_is_of_the_strictest_rule_that_has_one() -> None:
    bundle = bundle_of(
        policy_set(
            rule("A", then={"effect": "flag"}, message={"client": "flagged"}),
            rule("B"),
            rule("C", message={"client": "refused"}),
        )
    )
    assert bundle.decide(evidence_of({"injection.score": 1.0}), now=NOW).message == "refused"


def test_a_shadow_rule_records_and_does_nothing() -> None:
    bundle = bundle_of(policy_set(rule(mode="shadow", then={"effect": "escalate"}, phase="answer")))
    verdict = bundle.decide(evidence_of({"injection.score": 1.0}, phase=Phase.ANSWER), now=NOW)
    assert (verdict.effect, verdict.reasons, verdict.obligations.escalations) == (Effect.ALLOW, (), ())
    assert (verdict.outcomes[0].effect, verdict.outcomes[0].mode) == (Effect.ESCALATE, RuleMode.SHADOW)
    assert bundle.whole_answer_rules(fields_of(Phase.ANSWER)) == ()


def test_a_canary_falls_alike_for_the_same_caller_and_by_its_share() -> None:
    bundle = bundle_of(policy_set(rule(mode={"canary": 25, "by": "principal"})))
    callers = [evidence_of({"injection.score": 1.0}, principal__user=f"u{n}") for n in range(400)]
    first = [bundle.decide(one, now=NOW) for one in callers]
    assert first == [bundle.decide(one, now=NOW) for one in callers]
    enforced = [one for one in first if one.effect is Effect.REFUSE]
    assert 60 <= len(enforced) <= 140
    assert {one.outcomes[0].mode for one in enforced} == {RuleMode.CANARY}
    assert {one.outcomes[0].mode for one in first if one not in enforced} == {RuleMode.SHADOW}
    tenants = bundle_of(policy_set(rule(mode={"canary": 50, "by": "tenant"})))
    assert len({tenants.decide(one, now=NOW).effect for one in callers}) == 1


@pytest.mark.parametrize(
    ("now", "groups", "effect"),
    [
        (dt.datetime(2026, 12, 31, 23, 59, 59, tzinfo=dt.UTC), {"pilot"}, Effect.ALLOW),
        (dt.datetime(2027, 1, 1, tzinfo=dt.UTC), {"pilot"}, Effect.REFUSE),
        (dt.datetime(2027, 1, 1, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=1))), {"pilot"}, Effect.ALLOW),
        (NOW, {"staff"}, Effect.REFUSE),
        (NOW, set(), Effect.REFUSE),
    ],
)
def test_an_exception_lifts_a_match_until_it_expires(now: dt.datetime, groups: set[str], effect: Effect) -> None:
    exception = {
        "id": "EX-7",
        "rule": "R-1",
        "match": {"app": "chat", "principal.groups": ["pilot"]},
        "reason": "synthetic people",
        "approved_by": ["user:ana"],
        "expires": "2026-12-31",
    }
    bundle = bundle_of(policy_set(rule(), exceptions=[exception]))
    loud = evidence_of({"injection.score": 1.0}, principal__groups=frozenset(groups))
    verdict = bundle.decide(loud, now=now)
    assert verdict.effect is effect
    lifted = "EX-7" if effect is Effect.ALLOW else ""
    assert (verdict.outcomes[0].status, verdict.outcomes[0].exception) == (RuleStatus.MATCHED, lifted)
    failed = evidence_of(principal__groups=frozenset(groups), missing=frozenset({"injection"}))
    assert bundle.decide(failed, now=now).effect is effect


def test_an_exception_holds_only_where_its_set_applies() -> None:
    exception = {
        "id": "EX-1",
        "rule": "R-1",
        "match": {"user": "u"},
        "reason": "r",
        "approved_by": ["a"],
        "expires": "2027-01-01",
    }
    child = policy_set(id_="child", exceptions=[exception], applies_to={"tenants": ["other"]})
    bundle = bundle_of(policy_set(rule()), child)
    loud = {"injection.score": 1.0}
    assert bundle.decide(evidence_of(loud), now=NOW).effect is Effect.REFUSE
    assert bundle.decide(evidence_of(loud, principal__tenant="other"), now=NOW).effect is Effect.ALLOW


def test_scores_of_small_findings_add_up() -> None:
    scoring = {"query": 5, "over": {"effect": "escalate", "queue": "triage", "sla": "2d"}}
    low = {"severity": "low", "then": {"effect": "flag"}}
    bundle = bundle_of(
        policy_set(rule("A", **low), rule("B", **{**low, "severity": "medium"}, when=PII), scoring=scoring)
    )
    one = bundle.decide(evidence_of({"injection.score": 1.0}), now=NOW)
    assert (one.effect, one.reasons) == (Effect.FLAG, ("A",))
    two = bundle.decide(evidence_of({"injection.score": 1.0, "pii.entities": frozenset({"PERSON"})}), now=NOW)
    assert (two.effect, two.reasons) == (Effect.ESCALATE, ("A", "B", "scoring:base/one"))
    assert two.outcomes[-1].why == ("score=5>=5",)
    assert two.obligations.escalations == (Escalation(rule="scoring:base/one", queue="triage", sla_s=172800),)


def test_levels_say_which_rules_an_app_enforces_and_observes() -> None:
    rules = [rule(f"L-{level}", level=level) for level in (1, 2, 3, 4)]
    bundle = bundle_of(policy_set(*rules), levels={"chat": Levels(enforce=1, observe=3)})
    loud = {"injection.score": 1.0}
    verdict = bundle.decide(evidence_of(loud), now=NOW)
    assert verdict.reasons == ("L-1",)
    assert [(one.rule, one.mode.value) for one in verdict.outcomes] == [
        ("L-1", "enforce"),
        ("L-2", "shadow"),
        ("L-3", "shadow"),
    ]
    other = bundle.decide(evidence_of(loud, principal__app="other"), now=NOW)
    assert other.reasons == ("L-1", "L-2", "L-3", "L-4")


@pytest.mark.parametrize(
    ("applies", "fields", "fits"),
    [
        ({"tenants": ["acme"]}, {}, True),
        ({"tenants": ["other"]}, {}, False),
        ({"apps": ["ch*"]}, {}, True),
        ({"apps": ["*at"]}, {}, True),
        ({"apps": ["c*a*t"]}, {}, True),
        ({"apps": ["cha*hat"]}, {}, False),
        ({"models": ["gpt-*"]}, {"request__model": "gpt-5"}, True),
        ({"models": ["gpt-*"]}, {"request__model": "llama"}, False),
        ({"groups": ["staff"]}, {"principal__groups": frozenset({"staff", "x"})}, True),
        ({"groups": ["staff"]}, {}, False),
        ({"tenants": ["acme"], "apps": ["x"]}, {}, False),
    ],
)
def test_a_set_applies_by_tenant_app_model_and_group(applies: dict[str, Any], fields: Any, fits: bool) -> None:
    bundle = bundle_of(policy_set(rule(), applies_to=applies))
    verdict = bundle.decide(evidence_of({"injection.score": 1.0}, **fields), now=NOW)
    assert (verdict.effect, verdict.evaluated) == ((Effect.REFUSE, 1) if fits else (Effect.ALLOW, 0))


def test_not_knowing_who_asks_takes_no_rule_away() -> None:
    bundle = bundle_of(policy_set(rule(), applies_to={"tenants": ["x"], "groups": ["y"]}))
    evidence = evidence_of({"injection.score": 1.0})
    nobody = type(evidence)(phase=evidence.phase, fields={}, values=evidence.values, runs=evidence.runs)
    assert bundle.decide(nobody, now=NOW).effect is Effect.REFUSE


def test_extending_a_set_takes_its_rules_along() -> None:
    parent = policy_set(rule(), id_="base/parent", applies_to={"apps": ["other"]})
    child = policy_set(id_="child", extends=["base/parent"], applies_to={"apps": ["chat"]})
    grandchild = policy_set(id_="grandchild", extends=["child"], applies_to={"apps": ["third"]})
    loud = {"injection.score": 1.0}
    assert bundle_of(parent).decide(evidence_of(loud), now=NOW).effect is Effect.ALLOW
    bundle = bundle_of(parent, child, grandchild)
    for app, effect in (("chat", Effect.REFUSE), ("third", Effect.REFUSE), ("fourth", Effect.ALLOW)):
        assert bundle.decide(evidence_of(loud, principal__app=app), now=NOW).effect is effect


@pytest.mark.parametrize(
    ("minimum", "version", "status"),
    [
        ("1.2", "1.2", None),
        ("1.2", "1.10.3", None),
        ("1.2", "1.2+abc", None),
        ("1.2", "2", None),
        ("1.2", "1.1.9+2", RuleStatus.ERROR),
        ("1.2", "1", RuleStatus.ERROR),
        ("1", "unknown", RuleStatus.ERROR),
    ],
)
def test_a_detector_that_is_too_old_counts_as_failed(minimum: str, version: str, status: RuleStatus | None) -> None:
    needs = {"injection": {"detector": "injection", "min_version": minimum}}
    verdict = bundle_of(policy_set(rule(), needs=needs)).decide(evidence_of(version=version), now=NOW)
    assert [one.status for one in verdict.outcomes] == ([] if status is None else [status])
    assert [one.why for one in verdict.outcomes] == ([] if status is None else [("injection: version",)])


def test_what_a_caller_needs_follows_from_the_rules_that_apply() -> None:
    topics = {"topics": {"t": {"like": ["a"]}}}
    bundle = bundle_of(
        policy_set(
            rule(),
            rule("R-2", phase="answer", when={"all": [{"signal": "topic.t", "gte": 0.7}]}, then={"effect": "escalate"}),
            rule("R-3", phase="answer", when=PII, release="whole"),
            rule("R-4", phase="answer", when=PII),
            needs={"injection": {"detector": "injection", "timeout_ms": 250}},
            **topics,
        ),
        policy_set(
            rule("R-5", when=PII, mode="shadow"),
            id_="two",
            applies_to={"apps": ["other"]},
            needs={
                "injection": {"detector": "injection", "timeout_ms": 100},
                "pii": {"detector": "pii", "timeout_ms": 9},
            },
        ),
    )
    chat, other = fields_of(Phase.QUERY), fields_of(Phase.QUERY, principal__app="other")
    assert bundle.required(Phase.QUERY, chat) == {"injection"}
    assert bundle.required(Phase.QUERY, other) == {"injection", "pii"}
    assert bundle.required(Phase.ANSWER, chat) == {"topics", "pii"}
    assert bundle.required(Phase.PASSAGE, chat) == frozenset()
    assert bundle.timeouts(chat) == {"injection": 0.25}
    assert bundle.timeouts(other) == {"injection": 0.1, "pii": 0.009}
    assert bundle.whole_answer_rules(chat) == ("R-2", "R-3")
    assert [one.id for one in bundle.topics] == ["t"]


def test_idle_rules_cost_next_to_nothing_and_hundreds_decide_in_a_fraction_of_a_millisecond() -> None:
    """P13 with a wide margin for a busy machine; the figures are measured by the benchmark."""
    kinds = [f"K{n}" for n in range(100)]
    rules = [
        rule(
            f"R-{n}",
            when={
                "all": [{"signal": "pii.entities", "any_of": [kinds[n % 100], kinds[(n * 7) % 100]]}],
                "none": [{"field": "principal.groups", "any_of": ["staff"]}],
            },
            then={"effect": "flag"},
        )
        for n in range(1000)
    ]
    bundle = bundle_of(policy_set(*rules))

    def median_us(evidence: Any) -> float:
        taken = []
        for _ in range(200):
            begun = time.perf_counter_ns()
            bundle.decide(evidence, now=NOW)
            taken.append(time.perf_counter_ns() - begun)
        return statistics.median(taken) / 1000

    idle, busy = evidence_of(), evidence_of({"pii.entities": frozenset({"K1"})})
    assert 10 <= len(bundle.decide(busy, now=NOW).outcomes) <= 30
    assert median_us(idle) < 100
    assert median_us(busy) < 1500
