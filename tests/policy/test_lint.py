"""Every code of the catalogue by its own example, and what lint proves about rules and exceptions."""

import datetime as dt
import re
from typing import Any

import msgspec
import pytest

from gateway.domain.errors import Fault, FaultsFound
from gateway.policy.codes import CODES, Code
from gateway.policy.compile import compile_bundle
from gateway.policy.controls import renamed, unknown_family
from gateway.policy.lint import lint
from gateway.policy.schema import PolicySet, Rule
from gateway.policy.source import Source
from gateway.policy.trials import run_trials
from gateway.strict_yaml import load_document
from tests.policy.policy_texts import NOW, SIGNALS, bundle_of, policy_set, rule

HIT = {"name": "hit", "given": {"injection.score": 0.9}, "expect": "match"}
MISS = {"name": "miss", "given": {"injection.score": 0.1}, "expect": "no_match"}
DOWN = {"name": "down", "given": {"injection.score": {"status": "error"}}, "expect": {"status": "error"}}
TESTS = [HIT, MISS, DOWN]

RULE_KEYS = {one.encode_name for one in msgspec.structs.fields(Rule)}
SET_DEFAULTS = {
    "apiVersion": "apiVersion: gateway/v1",
    "kind": "kind: PolicySet",
    "metadata": "metadata: {id: base/one, version: '1', owner: 'team:a', purpose: p}",
}
RULE_DEFAULTS = {
    "id": "id: R-1",
    "title": "title: A rule",
    "phase": "phase: query",
    "when": "when: {all: [{signal: injection.score, gte: 0.5}]}",
    "then": "then: {effect: refuse}",
    "tests": "tests:\n"
    "  - {name: hit, given: {injection.score: 0.9}, expect: match}\n"
    "  - {name: miss, given: {injection.score: 0.1}, expect: no_match}\n"
    "  - {name: down, given: {injection.score: {status: error}}, expect: {status: error}}",
}


def whole(example: str) -> str:
    """The part of a file that an example is, put into a file that is sound otherwise."""
    keys = set(re.findall(r"^(\w+):", example, re.MULTILINE))
    if example.startswith("%"):
        return example
    of_rule = keys <= RULE_KEYS
    parts = [text for key, text in RULE_DEFAULTS.items() if not of_rule or key not in keys]
    lines = "\n".join([*([example] if of_rule else []), *parts]).splitlines()
    rules = "rules:\n  - " + "\n    ".join(lines)
    tail = [rules] if of_rule else [*([rules] if "rules" not in keys else []), example]
    return "\n".join([*(text for key, text in SET_DEFAULTS.items() if key not in keys), *tail])


def codes_of(text: str) -> set[str]:
    faults: list[Fault] = []
    document = load_document(text, "f.yaml", PolicySet, faults)
    sources = [Source("base/one", "f.yaml", document)] if document is not None else []
    try:
        bundle = compile_bundle(sources, faults, signals=SIGNALS, now=NOW, levels={}, kinds={})
    except FaultsFound as found:
        return {fault.code for fault in found.faults}
    failing = {"POL201" for one in run_trials(bundle, now=NOW) if not one.passed}
    return {fault.code for fault in lint(bundle, now=NOW)} | failing


def test_the_file_around_the_examples_is_sound() -> None:
    assert codes_of(whole("title: A rule")) == set()


@pytest.mark.parametrize("code", [one for one in CODES.values() if one.example], ids=lambda one: one.code)
def test_each_example_has_the_fault_that_it_is_an_example_of(code: Code) -> None:
    assert code.code in codes_of(whole(code.example))


def test_the_catalogue_is_complete_and_ordered() -> None:
    assert list(CODES) == sorted(CODES, key=lambda code: (code.startswith("POL"), code))
    for code, one in CODES.items():
        assert code == one.code
        assert one.severity == ("warning" if code.startswith("POL1") else "error")
        assert one.title
        assert one.remedy
        assert not one.title.endswith(".")
    assert sum(bool(one.example) for one in CODES.values()) > 40


def found(*rules: dict[str, Any], **keys: Any) -> list[tuple[str, str]]:
    """Codes and messages of idle rules and exceptions."""
    codes = {"POL012", "POL107", "POL108", "POL109", "POL110"}
    bundle = bundle_of(policy_set(*rules, **keys))
    return [(fault.code, fault.message) for fault in lint(bundle, now=NOW) if fault.code in codes]


def over(threshold: float, operator: str = "gte") -> dict[str, Any]:
    return {"signal": "injection.score", operator: threshold}


NEVER = {"all": [over(0.8), over(0.5, "lt")]}


@pytest.mark.parametrize(
    ("when", "dead"),
    [
        (NEVER, True),
        (
            {
                "all": [{"signal": "pii.entities", "any_of": ["A"]}],
                "none": [{"signal": "pii.entities", "empty": False}],
            },
            True,
        ),
        (
            {
                "all": [
                    {"field": "request.model", "one_of": ["a"]},
                    {"field": "request.model", "not_one_of": ["a", "b"]},
                ]
            },
            True,
        ),
        ({"all": [{"signal": "tone.angry", "is": True}, {"signal": "tone.angry", "is": False}]}, True),
        ({"all": [{"signal": "pii.count", "gt": 2}, {"signal": "pii.count", "lt": 3}]}, True),
        ({"all": [{"signal": "pii.count", "gte": 2}, {"signal": "pii.count", "lt": 3}]}, False),
        ({"all": [over(0.5), over(0.5, "lte")]}, False),
        (
            {"all": [{"signal": "pii.entities", "all_of": ["A", "B"]}, {"signal": "pii.entities", "none_of": ["C"]}]},
            False,
        ),
        ({}, False),
    ],
)
def test_a_rule_that_can_never_match_is_an_error(when: Any, dead: bool) -> None:
    codes = [code for code, _ in found(rule(when=when))]
    assert codes == (["POL012"] if dead else [])


WIDE = rule("WIDE", when={"all": [over(0.5)]})


@pytest.mark.parametrize(
    ("narrow", "idle"),
    [
        (rule("N", when={"all": [over(0.9)]}), True),
        (rule("N", when={"all": [over(0.9)]}, then={"effect": "flag"}), True),
        (rule("N", when={"all": [over(0.9)]}, then={"effect": "redact", "entities": ["PERSON"]}), True),
        (rule("N", when={"all": [over(0.9), {"signal": "tone.angry", "is": True}]}, on_error="flag"), True),
        (rule("N", when={"all": [over(0.4)]}), False),
        (rule("N", when={"all": [over(0.9)]}, phase="answer"), False),
        (rule("N", when={"all": [over(0.9)]}, then={"effect": "flag", "notify": ["security"]}), False),
        (rule("N", when={"all": [over(0.9)]}, message={"client": "Other words."}), False),
        (rule("N", when={"all": [over(0.9)]}, mode="shadow"), False),
        (rule("N", when={"any": [over(0.9), {"signal": "tone.angry", "is": True}]}), False),
        (rule("N", when={"all": [over(0.9), {"signal": "tone.angry", "is": True}]}, on_error="refuse"), True),
        (rule("N", when={"all": [over(0.9), {"signal": "pii.count", "gte": 1}]}, provenance=["user"]), True),
        (rule("N", when={"all": [{"signal": "pii.count", "gte": 1}]}), False),
        (rule("N", when={"all": [over(0.9)]}, level=1, release="whole", phase=["query", "answer"]), False),
    ],
)
def test_a_rule_that_others_make_idle_is_told_with_the_other(narrow: dict[str, Any], idle: bool) -> None:
    expected = [("POL107", "rule `N` never decides: `WIDE` always reaches its effect, remove or narrow it")]
    assert [one for one in found(narrow, WIDE) if "rule `N`" in one[1]] == (expected if idle else [])


@pytest.mark.parametrize(
    ("effect", "other", "phase", "idle"),
    [
        ("flag", "flag", "query", True),
        ("flag", "redact", "query", True),
        ("flag", "escalate", "query", False),  # an approval lifts the escalation, and the flag stays
        ("flag", "refuse", "query", True),
        ("redact", "redact", "query", False),
        ("redact", "escalate", "query", False),  # what is approved is still redacted
        ("redact", "refuse", "query", True),
        ("escalate", "refuse", "query", True),
        ("refuse", "refuse", "query", True),
        ("flag", "refuse", "passage", False),  # a person may let the passage in
        ("refuse", "refuse", "passage", True),
    ],
)
def test_what_a_person_can_lift_makes_no_rule_idle(effect: str, other: str, phase: str, idle: bool) -> None:
    def one(id_: str, effect_: str, threshold: float) -> dict[str, Any]:
        then = {"effect": effect_, **({"entities": ["PERSON"]} if effect_ == "redact" else {})}
        return rule(id_, phase=phase, when={"all": [over(threshold)]}, then=then, on_error="refuse")

    messages = [message for code, message in found(one("N", effect, 0.9), one("W", other, 0.5)) if code == "POL107"]
    assert ["rule `N`" in message for message in messages if "rule `N`" in message] == ([True] if idle else [])


def test_several_rules_can_make_one_idle_together() -> None:
    low, high = rule("LOW", when={"all": [over(0.7, "lt")]}), rule("HIGH", when={"all": [over(0.7)]})
    message = "rule `R-1` never decides: others together always reach its effect, remove or narrow it"
    assert ("POL107", message) in found(rule(), low, high)


def test_a_rule_is_not_idle_for_an_escalation_with_other_terms_or_where_points_count() -> None:
    credit = rule("A", then={"effect": "escalate", "queue": "credit"})
    triage = rule("B", then={"effect": "escalate", "queue": "triage"})
    assert found(credit, triage) == []
    assert [code for code, _ in found(credit, {**credit, "id": "B"})] == ["POL107", "POL107"]
    flags = [rule("A", then={"effect": "flag"}), rule("B", then={"effect": "flag"})]
    assert len(found(*flags)) == 2
    assert found(*flags, scoring={"query": 6, "over": {"effect": "refuse"}}) == []


def test_a_rule_that_another_exempts_from_is_not_idle() -> None:
    lifted = {"id": "E-1", "rule": "WIDE", "match": {"app": "chat"}, "reason": "r", "approved_by": ["user:a"]}
    [(code, message)] = found(rule("N"), WIDE, exceptions=[{**lifted, "expires": "2027-06-01"}])
    assert (code, message.split("`")[1]) == ("POL107", "WIDE")


EXCEPTION = {"id": "E-1", "rule": "R-1", "reason": "r", "approved_by": ["user:a"], "expires": "2027-06-01"}


@pytest.mark.parametrize(
    ("match", "keys", "code"),
    [
        ({"app": "chat"}, {}, ""),
        ({"app": "chat"}, {"applies_to": {"apps": ["mail"]}}, "POL108"),
        ({"app": "chat"}, {"applies_to": {"apps": ["c*"]}}, ""),
        ({"app": "chat"}, {"applies_to": {"apps": ["m*"]}}, "POL108"),
        ({"app": ["chat", "mail"]}, {"applies_to": {"apps": ["mail"]}}, "POL109"),
        ({"tool.name": "pay"}, {}, "POL108"),  # a query has no tool
    ],
)
def test_an_exception_lifts_nothing_or_everything(match: Any, keys: Any, code: str) -> None:
    codes = [one for one, _ in found(rule(), exceptions=[{**EXCEPTION, "match": match}], **keys)]
    assert codes == ([code] if code else [])


def test_an_exception_against_the_condition_of_its_rule_never_lifts() -> None:
    only_mail = rule(when={"all": [over(0.5), {"field": "principal.app", "one_of": ["mail"]}]})
    assert [code for code, _ in found(only_mail, exceptions=[{**EXCEPTION, "match": {"app": "chat"}}])] == ["POL108"]
    # It cannot lift a match, but the error of a rule that could have been one is lifted too.
    loose = rule(when={"all": [{"field": "principal.app", "not_one_of": ["chat"]}]})
    assert [code for code, _ in found(loose, exceptions=[{**EXCEPTION, "match": {"app": "chat"}}])] == ["POL108"]


@pytest.mark.parametrize(
    ("second", "covered"),
    [
        ({"match": {"app": "chat"}}, "E-2"),
        ({"match": {"app": "chat", "groups": ["staff"]}}, "E-2"),
        ({"match": {"app": ["chat", "mail"]}}, "E-1"),
        ({"match": {"groups": ["staff"]}}, ""),
        ({"match": {"app": "chat"}, "expires": "2027-07-01"}, "E-1"),
        ({"match": {"app": "chat"}, "expires": "2020-01-01"}, ""),
    ],
)
def test_an_exception_that_another_covers_is_told(second: Any, covered: str) -> None:
    one, other = {**EXCEPTION, "match": {"app": "chat"}}, {**EXCEPTION, "id": "E-2", **second}
    messages = [message for code, message in found(rule(), exceptions=[one, other]) if code == "POL110"]
    assert [message.split("`")[1] for message in messages] == ([covered] if covered else [])


@pytest.mark.parametrize(
    ("control", "new"),
    [
        ("OWASP-LLM01:2025", "OWASP-LLM01:2026"),
        ("OWASP-LLM02:2025", "OWASP-LLM02:2026"),
        ("OWASP-LLM03:2025", "OWASP-LLM04:2026"),
        ("OWASP-LLM04:2025", "OWASP-LLM05:2026"),
        ("OWASP-LLM05:2025", "OWASP-LLM10:2026"),
        ("OWASP-LLM06:2025", "OWASP-LLM03:2026"),
        ("OWASP-LLM07:2025", "OWASP-LLM08:2026"),
        ("OWASP-LLM08:2025", "OWASP-LLM09:2026"),
        ("OWASP-LLM09:2025", "OWASP-LLM07:2026"),
        ("OWASP-LLM10:2025", "OWASP-LLM06:2026"),
    ],
)
def test_numbers_of_an_old_edition_are_told_with_the_new_one(control: str, new: str) -> None:
    assert f"`{new}`" in renamed(control)
    assert renamed(new) == ""


@pytest.mark.parametrize(
    "control",
    ["GDPR:22", "FCA-COBS:4.2.1", "FCA-FG21/1", "SEC-206(4)-1:a", "OWASP-LLM03:2026", "OWASP-ASI02:2026", "X-OWN:1"],
)
def test_known_families_are_fine(control: str) -> None:
    assert unknown_family(control) == ""
    assert renamed(control) == ""


def test_unknown_families_are_told_with_the_nearest() -> None:
    assert "did you mean `GDPR`" in unknown_family("GDR:22")
    assert unknown_family("the law") != ""
    assert "edition that is out of use" in renamed("OWASP-LLM02:2023")


@pytest.mark.parametrize("name", ["TBD", "todo", "team:TBD", "?", " nobody "])
def test_a_placeholder_is_no_owner(name: str) -> None:
    written = policy_set(rule(tests=TESTS))
    written["metadata"]["owner"] = name
    assert [fault.code for fault in lint(bundle_of(written), now=NOW)] == ["POL113"]


def test_a_placeholder_approves_nothing() -> None:
    approved = {**EXCEPTION, "match": {"app": "chat"}, "approved_by": ["user:ana", "TBD"]}
    bundle = bundle_of(policy_set(rule(tests=TESTS), exceptions=[approved]))
    assert [fault.code for fault in lint(bundle, now=NOW)] == ["POL113"]


def test_the_dates_of_reminders_are_those_of_the_clock() -> None:
    bundle = bundle_of(policy_set(rule(tests=TESTS), exceptions=[{**EXCEPTION, "match": {"app": "chat"}}]))
    soon, late = dt.datetime(2027, 5, 20, tzinfo=dt.UTC), dt.datetime(2027, 6, 2, tzinfo=dt.UTC)
    assert [[fault.code for fault in lint(bundle, now=at)] for at in (NOW, soon, late)] == [[], ["POL102"], ["POL101"]]


def test_rules_for_many_apps_are_told_apart() -> None:
    rules = [
        rule(f"R-{n}", when={"all": [over(0.5), {"field": "principal.app", "one_of": [f"app-{n}"]}]}, tests=TESTS)
        for n in range(60)
    ]
    assert {fault.code for fault in lint(bundle_of(policy_set(*rules)), now=NOW)} <= {"POL104", "POL105"}
