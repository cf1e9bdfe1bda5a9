"""Loading policy files: every fault with its place and remedy, and what does not change a bundle."""
# ruff: noqa: E501 -- a table of faults reads best with one case a line

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.definition import ListDefinition, PatternDefinition
from gateway.domain.errors import ConfigurationError, FaultsFound
from gateway.domain.vocabulary import Effect, RuleStatus, SignalType
from gateway.policy import load_bundle
from tests.policy.policy_texts import NOW, SIGNALS, bundle_of, evidence_of, faults_of, policy_set, rule

HEAD = """\
apiVersion: gateway/v1
kind: PolicySet
metadata: {id: a, version: "1", owner: o, purpose: p}
"""
RULE = """\
rules:
  - id: R-1
    title: t
    phase: query
    when:
      all:
        - {signal: injection.score, gte: 0.5}
    then: {effect: refuse}
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def with_rule(**keys: Any) -> dict[str, Any]:
    return policy_set(rule(**keys))


def when(*clauses: dict[str, Any], group: str = "all") -> dict[str, Any]:
    return with_rule(when={group: list(clauses)})


def exception(**keys: Any) -> dict[str, Any]:
    written = {"id": "EX-1", "rule": "R-1", "match": {"app": "a"}, "reason": "r", "approved_by": ["x"]}
    return policy_set(rule(), exceptions=[{**written, "expires": "2026-12-31", **keys}])


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (when({"signal": "pii.entitys", "any_of": ["A"]}), "POL002 unknown signal `pii.entitys`: did you mean `pii.entities`?"),
        (when({"signal": "topic.credit", "gte": 0.5}), "POL002 unknown signal `topic.credit`"),
        (when({"signal": "request.model", "eq": "m"}), "POL002 unknown signal `request.model`: it is a field"),
        (when({"field": "principal.group", "any_of": ["A"]}), "POL003 unknown field `principal.group`: did you mean `principal.groups`?"),
        (when({"field": "pii.entities", "any_of": ["A"]}), "POL003 unknown field `pii.entities`: it is a signal"),
        (when({"field": "passage.doc", "eq": "d"}), "POL003 field `passage.doc` does not exist in phase `query`"),
        (when({"field": "passage.classification", "eq": "secret"}), "POL003"),
        (with_rule(phase="passage", when={"all": [{"field": "passage.classification", "eq": "secret"}]}), "POL005 unknown value `secret`"),
        (when({"field": "request.unscanned", "any_of": ["images"]}), "POL005 unknown value `images`: did you mean `image`?"),
        (when({"signal": "pii.entities", "gte": 1}), "POL004 `pii.entities` is of type kinds, `gte` does not fit it: use `all_of`, `any_of`"),
        (when({"signal": "injection.score", "any_of": ["A"]}), "POL004 `injection.score` is of type score"),
        (when({"signal": "tone.angry", "eq": True}), "POL004 `tone.angry` is of type flag, `eq` does not fit it: use `is`"),
        (when({"field": "request.model", "gte": 1}), "POL004 `request.model` is of type text"),
        (when({"signal": "injection.score", "gte": 50}), "POL005 `50` is not a number from 0 to 1"),
        (when({"signal": "injection.score", "gte": "0.5"}), "POL005 `0.5` is not a number from 0 to 1"),
        (when({"signal": "pii.count", "gte": 0.5}), "POL005 `0.5` is not a whole number from 0"),
        (when({"signal": "tone.angry", "is": "yes"}), "POL005 `yes` is not `true` or `false`"),
        (when({"signal": "pii.entities", "empty": "no"}), "POL005 `no` is not `true` or `false`"),
        (when({"signal": "pii.entities"}), "POL006 no operator for `pii.entities`: write one of `all_of`, `any_of`"),
        (when({"signal": "injection.score", "gte": 0.5, "lte": 0.6}), "POL006 2 operators for `injection.score`"),
        (when({"gte": 0.5}), "POL006 neither `signal` nor `field`: name one"),
        (when({"signal": "pii.count", "field": "request.model", "eq": 1}), "POL006 both `signal` and `field`"),
        (when({"signal": "pii.count", "any": [{"signal": "pii.count", "eq": 1}]}), "POL006 a group and an atom in one entry"),
        (when(), "POL006 `all` is empty: write a condition"),
        (when({"any": []}), "POL006 `any` is empty"),
        (when({"signal": "pii.entities", "any_of": []}), "YAML024 0 entries: at least 1 are needed"),
        (with_rule(then={"effect": "refuse", "with": "mask"}), "POL007 `with` belongs to `effect: redact`, not `refuse`"),
        (with_rule(then={"effect": "flag", "queue": "q"}), "POL007 `queue` belongs to `effect: escalate`"),
        (with_rule(then={"effect": "redact", "with": "mask"}), "POL022 nothing says which kinds to redact: add `entities`"),
        (with_rule(then={"effect": "redakt"}), "YAML023 unknown value `redakt`: did you mean `redact`?"),
        (with_rule(then={"effect": "escalate", "sla": "soon"}), "YAML024 `soon` has the wrong form"),
        (with_rule(on_error="redact"), "POL008 a failed detector leaves nothing to redact"),
        (with_rule(on_error="allow", severity="high"), "POL008 a rule of severity `high` may not allow on error"),
        (with_rule(release="whole"), "POL023 `release` is about answers"),
        (with_rule(release="sentence", phase="answer", then={"effect": "escalate"}), "POL023 a person decides on the whole answer"),
        (with_rule(phase=[]), "POL018 no phase: name one"),
        (with_rule(phase="querry"), "YAML023 unknown value `querry`: did you mean `query`?"),
        (with_rule(id_="R 1"), "YAML024 `R 1` has the wrong form"),
        (with_rule(mode={"canary": 101}), "YAML024 `101` is out of range: write at most 100"),
        (with_rule(mode="shadows"), "YAML023 unknown value `shadows`: did you mean `shadow`?"),
        (policy_set(rule(), rule()), "POL001 rule `R-1` is already at base/one.yaml:"),
        (policy_set(rule(), patterns={"p": {"regex": "(?=a)", "example": "a"}}), "POL010 regex of `p` is not RE2: "),
        (policy_set(rule(), patterns={"p": {"regex": "a(", "example": "a"}}), "POL010 regex of `p` is not RE2: missing )"),
        (policy_set(rule(), patterns={"p": {"regex": "a*", "example": "a"}}), "POL010 regex of `p` finds the empty text"),
        (policy_set(rule(), patterns={"p": {"regex": "a", "example": "b"}}), "POL010 regex of `p` does not find its example"),
        (policy_set(rule(), patterns={"P": {"regex": "a", "example": "a"}}), "YAML024 `P` has the wrong form"),
        (policy_set(rule(), extends=["base/on"]), "POL011 unknown set `base/on`"),
        (policy_set(rule(), extends=["base/one"]), "POL011 `base/one` extends itself"),
        (exception(rule="R-2"), "POL013 unknown rule `R-2`: did you mean `R-1`?"),
        (exception(match={"apps": "a"}), "POL014 unknown field `apps`: did you mean `app`?"),
        (exception(match={"request.stream": True}), "POL014 unknown field `request.stream`"),
        (exception(match={}), "YAML024 0 entries: at least 1 are needed"),
        (exception(match={"app": []}), "POL014 no value to match: name one"),
        (exception(expires="31.12.2026"), "YAML021 `31.12.2026` is not a date such as `2027-01-31`"),
        (exception(approved_by=[]), "YAML024 0 entries"),
        (policy_set(rule(), scoring={"over": {"effect": "refuse"}}), "POL016 no score: name one"),
        (policy_set(rule(), scoring={"query": 5, "over": {"effect": "refuse", "queue": "q"}}), "POL016 `queue` and `sla` belong to `escalate`"),
        (policy_set(rule(), needs={"topic": {"detector": "topic"}}), "POL017 signals `topic.…` come from `topics`"),
        (policy_set(rule(), needs={"toxic": {"detector": "toxic"}}), "POL017 detector `toxic` is not installed"),
        (with_rule(tests=[{"name": "a", "given": {"pii.entity": []}, "expect": "match"}]), "POL018 unknown signal or field `pii.entity`"),
        (with_rule(tests=[{"name": "a", "given": {"pii.count": "x"}, "expect": "match"}]), "POL018 `x` is not a whole number"),
        (with_rule(tests=[{"name": "a", "given": {"pii.count": {"status": "tired"}}, "expect": "match"}]), "POL018 a failed detector is written `{status: timeout}`"),
        (with_rule(tests=[{"name": "a", "expect": "matched"}]), "YAML023 unknown value `matched`: did you mean `match`?"),
        (with_rule(tests=[{"name": "a", "expect": "match"}, {"name": "a", "expect": "match"}]), "POL018 test `a` is there twice"),
        (policy_set(rule(), conversations=[{"name": "a", "expect": {"effect": "allow"}}]), "POL018 a conversation without text"),
        (policy_set(rule(), conversations=[{"name": "a", "query": "b", "expect": {"effect": "allow", "without": ["R-2"]}}]), "POL018 unknown rule `R-2`: did you mean `R-1`?"),
        (policy_set(rule(), conversations=[{"name": "a", "query": "b", "given": {"app": "c"}, "expect": {"effect": "allow"}}]), "POL018 unknown field `app`"),
    ],
)  # fmt: skip
def test_a_fault_says_what_is_wrong_and_what_to_do(written: dict[str, Any], fault: str) -> None:
    found = faults_of(written)
    assert len(found) == 1, found
    assert fault in found[0]
    assert found[0].startswith("base/one.yaml:")
    assert "\n" not in found[0]


def test_a_fault_points_to_line_and_column() -> None:
    text = HEAD + RULE.replace("injection.score", "injection.scores")
    assert faults_of(text) == [
        "f0.yaml:10:20: POL002 unknown signal `injection.scores`: did you mean `injection.score`?"
    ]


def test_faults_of_all_files_and_of_all_kinds_come_together_in_order() -> None:
    first = HEAD + RULE.replace("refuse", "refuze") + "exceptions: [{id: E}]\n"
    second = (
        HEAD.replace("id: a", "id: b") + RULE.replace("injection.score", "x.y").replace("R-1", "R-2") + "rulez: []\n"
    )
    codes = [fault.split(" ")[:2] for fault in faults_of(first, second)]
    assert codes == [
        ["f0.yaml:11:20:", "YAML023"],
        *([["f0.yaml:12:14:", "YAML022"]] * 5),
        ["f1.yaml:10:20:", "POL002"],
        ["f1.yaml:12:1:", "YAML020"],
    ]


def test_a_duplicate_key_cannot_turn_a_refusal_into_a_permission() -> None:
    found = faults_of(HEAD + RULE.replace("{effect: refuse}", "{effect: refuse, effect: allow}"))
    assert found == ["f0.yaml:11:28: YAML010 key `effect` is already on line 11: keep one of the two"]


def test_nesting_is_bounded() -> None:
    clause: dict[str, Any] = {"signal": "tone.angry", "is": True}
    for _ in range(5):
        clause = {"any": [clause]}
    assert faults_of(when(clause)) == []
    (fault,) = faults_of(when({"any": [clause]}))
    assert "POL006 nested deeper than 6: split the rule" in fault


def test_ids_are_unique_over_files() -> None:
    one, two = policy_set(rule(), id_="one"), policy_set(rule(), id_="two")
    assert [fault for fault in faults_of(one, two) if "POL001 rule `R-1` is already at one.yaml:" in fault]
    same = policy_set(rule("R-2"), id_="one")
    assert any("POL020 set `one` is already at" in fault for fault in faults_of(one, same))


def test_a_definition_may_be_there_twice_only_if_it_is_the_same() -> None:
    words = {"lists": {"words": {"values": ["a", "b"]}}}
    turned = {"lists": {"words": {"values": ["b", "a", "a"], "fold_case": True}}}
    other = {"lists": {"words": {"values": ["a"]}}}
    bundle = bundle_of(policy_set(rule(), id_="one", **words), policy_set(id_="two", **turned))
    assert bundle.lists == (ListDefinition(id="words", values=("a", "b")),)
    (fault,) = faults_of(policy_set(rule(), id_="one", **words), policy_set(id_="two", **other))
    assert "POL009 lists `words` is already at one.yaml:" in fault


def test_kinds_are_checked_where_they_are_known() -> None:
    known = {"kinds": {"pii.entities": ["PERSON", "US_SSN"]}}
    written = when({"signal": "pii.entities", "any_of": ["PRESON"]})
    assert faults_of(written) == []
    (fault,) = faults_of(written, **known)
    assert "POL005 unknown value `PRESON`: did you mean `PERSON`?" in fault


def test_an_exception_may_not_outlive_what_the_pack_allows() -> None:
    written = exception(expires="2027-03-01")
    written["metadata"]["longest_exception_days"] = 30
    (fault,) = faults_of(written)
    assert "POL015 expires more than 30 days ahead" in fault
    assert faults_of(written, now=NOW + dt.timedelta(days=70)) == []


def test_an_optional_detector_may_be_absent_and_its_rules_do_not_run() -> None:
    needs = {"toxic": {"detector": "toxic", "required": False}}
    clauses = [{"signal": "toxic.score", "gte": 0.5}, {"signal": "toxic.kinds", "any_of": ["a"]}]
    flags = [{"signal": "toxic.flag", "is": True}, {"signal": "toxic.count", "gt": 3}]
    written = policy_set(rule(when={"any": clauses + flags}, severity="low", then={"effect": "flag"}), needs=needs)
    verdict = bundle_of(written).decide(evidence_of(), now=NOW)
    assert (verdict.outcomes[0].status, verdict.effect) == (RuleStatus.NOT_RUN, Effect.FLAG)
    typo = faults_of(written, signals={**SIGNALS, "toxic.score": SignalType.SCORE})
    assert [fault.split("unknown signal ")[1].split(":")[0] for fault in typo] == [
        "`toxic.kinds`",
        "`toxic.flag`",
        "`toxic.count`",
    ]


def test_the_digest_is_of_the_meaning() -> None:
    clauses = [{"signal": "pii.entities", "any_of": ["A", "B"]}, {"field": "request.model", "eq": "m"}]
    base = policy_set(rule(when={"all": clauses}, severity="medium"))
    digest = bundle_of(base).digest
    assert digest.startswith("sha256:")
    assert len(digest) == 71
    same: list[Any] = [
        policy_set(rule(when={"all": clauses[::-1]})),
        policy_set(rule(when={"all": [{"all": clauses}, clauses[0]]})),
        policy_set(rule(when={"all": [{"signal": "pii.entities", "any_of": ["B", "A"]}, {"field": "request.model", "one_of": ["m"]}]})),
        policy_set(rule(when={"all": clauses}, title="another title", on_error="refuse", phase=["query"])),
        policy_set(rule(when={"all": clauses}, tests=[{"name": "t", "expect": "no_match"}]), id_="other"),
        policy_set(rule(when={"all": clauses}), applies_to={"apps": ["*", "a"]}),
        "# a comment\n" + json.dumps(base),
    ]  # fmt: skip
    for one in same:
        assert bundle_of(one).digest == digest
    different = [
        policy_set(rule(when={"any": clauses})),
        policy_set(rule(when={"all": clauses[:1]})),
        policy_set(rule("R-2", when={"all": clauses})),
        policy_set(rule(when={"all": clauses}, severity="high")),
        policy_set(rule(when={"all": clauses}, message={"client": "x"})),
        policy_set(rule(when={"all": clauses}, mode="shadow")),
        policy_set(rule(when={"all": clauses}, provenance=["user"])),
        policy_set(rule(when={"all": clauses}, then={"effect": "refuse", "cite": True})),
        policy_set(rule(when={"all": clauses}), applies_to={"apps": ["a"]}),
        policy_set(rule(when={"all": clauses}), topics={"t": {"like": ["a"]}}),
        policy_set(rule(when={"all": clauses}), needs={"pii": {"detector": "pii", "timeout_ms": 5}}),
        policy_set(rule(when={"all": clauses}), needs={"pii": {"detector": "pii", "min_version": "2"}}),
        policy_set(rule(when={"all": clauses}), scoring={"query": 5, "over": {"effect": "refuse"}}),
    ]
    digests = [bundle_of(one).digest for one in different]
    assert len({digest, *digests}) == len(different) + 1


def test_files_are_found_below_a_folder_by_name(tmp_path: Path) -> None:
    write(tmp_path, "base/one.yaml", HEAD + RULE)
    write(tmp_path, "base/two.yml", HEAD.replace("id: a", "id: b") + "extends: [base/one]\n")
    write(tmp_path, ".hidden/three.yaml", "not: [a policy")
    write(tmp_path, "notes.txt", "nothing")
    bundle = load_bundle([tmp_path], signals=SIGNALS, now=NOW)
    assert [source.name for source in bundle.sources] == ["base/one", "base/two"]
    assert [one.id for one in bundle.rules] == ["R-1"]
    one = load_bundle([tmp_path / "base" / "one.yaml", tmp_path / "base" / "one.yaml"], signals=SIGNALS, now=NOW)
    assert one.digest == bundle.digest


def test_a_set_is_extended_by_its_id_whichever_folder_it_was_loaded_from(tmp_path: Path) -> None:
    write(tmp_path, "base/one.yaml", HEAD.replace("id: a", "id: base/one") + RULE)
    write(tmp_path, "sector/two.yaml", HEAD.replace("id: a", "id: sector/two") + "extends: [base/one]\n")
    bundle = load_bundle([tmp_path / "base", tmp_path / "sector"], signals=SIGNALS, now=NOW)
    assert [source.name for source in bundle.sources] == ["one", "two"]
    assert bundle.digest == load_bundle([tmp_path], signals=SIGNALS, now=NOW).digest


def test_the_gateway_has_no_bundle_without_a_rule(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no policy file in"):
        load_bundle([tmp_path], signals=SIGNALS, now=NOW)
    write(tmp_path, "a.yaml", HEAD)
    with pytest.raises(ConfigurationError, match="no policy rule found"):
        load_bundle([tmp_path], signals=SIGNALS, now=NOW)
    with pytest.raises(ConfigurationError, match="no policy rule found"):
        load_bundle([], signals=SIGNALS, now=NOW)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", HEAD + RULE)
    (tmp_path / "b.yaml").write_bytes(b"a: b\nc: \xff\n")
    with pytest.raises(FaultsFound) as caught:
        load_bundle([tmp_path, tmp_path / "absent.yaml"], signals=SIGNALS, now=NOW)
    messages = [f"{Path(fault.file).name}:{fault.line} {fault.code} {fault.message}" for fault in caught.value.faults]
    assert messages == [
        "absent.yaml:1 POL021 file cannot be read: no such file or directory",
        "b.yaml:2 POL021 not utf-8: save the file as UTF-8",
    ]


def test_two_roots_may_not_hold_sets_of_one_name(tmp_path: Path) -> None:
    write(tmp_path, "x/a.yaml", HEAD + RULE)
    write(tmp_path, "y/a.yaml", HEAD.replace("id: a", "id: b"))
    with pytest.raises(FaultsFound, match="POL020 a set named `a` is already in"):
        load_bundle([tmp_path / "x", tmp_path / "y"], signals=SIGNALS, now=NOW)


def test_a_time_without_a_zone_is_no_time() -> None:
    with pytest.raises(ConfigurationError, match="no time zone"):
        bundle_of(policy_set(rule()), now=dt.datetime(2026, 1, 1))  # noqa: DTZ001


def test_definitions_reach_their_detectors() -> None:
    bundle = bundle_of(policy_set(rule(), patterns={"p": {"regex": "CR-[0-9]{6}", "example": "CR-204812"}}))
    assert bundle.patterns == (PatternDefinition(id="p", regex="CR-[0-9]{6}", example="CR-204812"),)
    assert "R-1" not in repr(bundle)
