"""Findings as SARIF and JUnit, coverage and mutation score."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from gateway.commands.policy import policy
from gateway.policy.codes import CODES
from gateway.policy.coverage import Goal, coverage
from gateway.policy.mutants import mutants, mutate
from tests.policy.policy_texts import NOW, SIGNALS, bundle_of, policy_set, rule

SOURCES = Path(__file__).parents[2] / "gateway"
HIT = {"name": "hit", "given": {"injection.score": 0.5}, "expect": {"status": "matched", "effect": "refuse"}}
MISS = {"name": "miss", "given": {"injection.score": 0.49}, "expect": "no_match"}
DOWN = {
    "name": "down",
    "given": {"injection.score": {"status": "error"}},
    "expect": {"status": "error", "effect": "refuse"},
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(policy, arguments, obj={"signals": SIGNALS})


def write(folder: Path, *sets: Any) -> str:
    for index, one in enumerate(sets):
        (folder / f"f{index}.yaml").write_text(json.dumps(one, indent=1))
    return str(folder)


def test_every_code_is_in_the_catalogue() -> None:
    used: set[str] = set()
    for folder in ("policy", "strict_yaml", "commands/policy"):
        for file in (SOURCES / folder).glob("*.py"):
            if file.name != "codes.py":
                used |= set(re.findall(r'"((?:POL|YAML)[0-9]{3})"', file.read_text()))
    assert used == set(CODES)


def test_lint_as_sarif_has_rules_and_regions(tmp_path: Path) -> None:
    result = run("lint", write(tmp_path, policy_set(rule())), "--format", "sarif")
    assert result.exit_code == 0
    log = json.loads(result.output)
    run_ = log["runs"][0]
    assert log["version"] == "2.1.0"
    assert [one["id"] for one in run_["tool"]["driver"]["rules"]] == ["POL104", "POL105", "POL114"]
    first = run_["results"][0]
    assert (first["ruleId"], first["ruleIndex"], first["level"]) == ("POL104", 0, "warning")
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("/f0.yaml")
    assert place["region"] == {"startLine": 12, "startColumn": 10}


def test_faults_of_loading_come_in_every_format(tmp_path: Path) -> None:
    folder = write(tmp_path, policy_set(rule(on_error="redact")))
    for command in ("lint", "test"):
        sarif = run(command, folder, "--format", "sarif")
        assert sarif.exit_code == 1
        assert json.loads(sarif.output)["runs"][0]["results"][0]["level"] == "error"
        junit = run(command, folder, "--format", "junit")
        assert junit.exit_code == 1
        assert ET.fromstring(junit.output).attrib["failures"] == "1"


def test_tests_as_junit(tmp_path: Path) -> None:
    wrong = {**MISS, "name": 'a "wrong" <one>', "expect": "match"}
    result = run("test", write(tmp_path, policy_set(rule(tests=[HIT, wrong]))), "--format", "junit")
    assert result.exit_code == 1
    root = ET.fromstring(result.output)
    assert (root.attrib["tests"], root.attrib["failures"]) == ("2", "1")
    cases = root.findall("./testsuite/testcase")
    assert [one.attrib["name"] for one in cases] == ["R-1 (query) hit", 'R-1 (query) a "wrong" <one>']
    failure = cases[1].find("failure")
    assert failure is not None
    assert failure.attrib["type"] == "POL201"
    assert "expected matched, the rule ended in not_matched" in failure.attrib["message"]


def test_warnings_do_not_fail_junit(tmp_path: Path) -> None:
    root = ET.fromstring(run("lint", write(tmp_path, policy_set(rule())), "--format", "junit").output)
    assert (root.attrib["tests"], root.attrib["failures"]) == ("3", "0")


EXCEPTION = {
    "id": "E-1",
    "rule": "R-1",
    "match": {"app": "chat"},
    "reason": "a pilot",
    "approved_by": ["user:a"],
    "expires": "2027-01-01",
}


def test_coverage_tells_what_no_test_shows() -> None:
    found = coverage(bundle_of(policy_set(rule(tests=[HIT]), exceptions=[EXCEPTION])), now=NOW)
    assert found.missing() == (
        Goal("R-1", "atom", "injection.score>=0.5 is false"),
        Goal("R-1", "exception", "E-1 lifts"),
        Goal("R-1", "on_error", "a detector fails"),
        Goal("R-1", "rule", "does not match"),
    )
    assert (found.count("atom"), found.count()) == ((1, 2), (3, 7))
    lifted = {
        "name": "lifted",
        "given": {"injection.score": 0.9, "principal.app": "chat"},
        "expect": {"status": "matched", "effect": "allow", "exception": "E-1"},
    }
    full = coverage(bundle_of(policy_set(rule(tests=[HIT, MISS, DOWN, lifted]), exceptions=[EXCEPTION])), now=NOW)
    assert full.missing() == ()
    assert full.share() == 1.0


def test_a_test_out_of_scope_covers_nothing() -> None:
    elsewhere = {**HIT, "given": {"injection.score": 0.9, "principal.app": "b"}, "expect": "no_match"}
    found = coverage(bundle_of(policy_set(rule(tests=[elsewhere]), applies_to={"apps": ["a"]})), now=NOW)
    assert found.count() == (0, 5)


def test_a_threshold_of_coverage_decides(tmp_path: Path) -> None:
    folder = write(tmp_path, policy_set(rule(tests=[HIT, MISS])))
    result = run("test", folder, "--min-coverage", "0.9")
    assert result.exit_code == 1
    assert "POL203 coverage is 0.800: 0.9 is asked for, add tests" in result.output
    assert "no test: R-1 on_error: a detector fails" in result.output
    assert run("test", folder, "--min-coverage", "0.8").exit_code == 0
    assert json.loads(run("test", folder, "--coverage", "--format", "json").output)["coverage"]["kinds"][
        "on_error"
    ] == {
        "covered": 0,
        "total": 1,
    }


def changes(*rules: dict[str, Any], **keys: Any) -> list[str]:
    bundle = bundle_of(policy_set(*rules, **keys))
    return [one.change for one in mutants(bundle.rules[0], now=NOW)]


def test_the_mutants_of_a_threshold() -> None:
    assert changes(rule()) == [
        "drop `injection.score>=0.5`",
        "`injection.score>=0.5` becomes `injection.score>0.5`",
        "`injection.score>=0.5` becomes `injection.score<0.5`",
        "`injection.score>=0.5` becomes `injection.score>=0.45`",
        "`injection.score>=0.5` becomes `injection.score>=0.55`",
        "effect `refuse` becomes `escalate`",
        "on_error `refuse` becomes `escalate`",
    ]


@pytest.mark.parametrize(
    ("keys", "change"),
    [
        ({"provenance": ["user"]}, "drop `provenance`"),
        ({"provenance": ["user", "tool"]}, "drop provenance `tool`"),
        (
            {"when": {"none": [{"signal": "tone.angry", "is": True}]}},
            "`none` over none(`tone.angry is true`) becomes `any`",
        ),
        (
            {"when": {"any": [{"signal": "pii.count", "gte": 3}, {"signal": "tone.angry", "is": True}]}},
            "drop `pii.count>=3`",
        ),
        (
            {"when": {"all": [{"signal": "pii.entities", "any_of": ["A", "B"]}]}},
            "`pii.entities any_of [A, B]` becomes `pii.entities all_of [A, B]`",
        ),
        (
            {"when": {"all": [{"field": "principal.app", "eq": "a"}]}},
            "`principal.app one_of [a]` becomes `principal.app not_one_of [a]`",
        ),
        ({"severity": "low", "then": {"effect": "flag"}}, "effect `flag` becomes `redact`"),
    ],
)
def test_each_kind_of_mutant_is_made(keys: dict[str, Any], change: str) -> None:
    assert change in changes(rule(**keys))


def test_exceptions_have_mutants() -> None:
    assert {"end E-1", "drop `principal.app` from E-1"} <= set(changes(rule(), exceptions=[EXCEPTION]))
    old = {**EXCEPTION, "expires": "2020-01-01"}
    assert "drop the expiry of E-1" in changes(rule(), exceptions=[old])


def test_survivors_have_their_place_and_the_score_decides(tmp_path: Path) -> None:
    loose = {**HIT, "given": {"injection.score": 0.9}, "expect": "match"}
    weak = mutate(bundle_of(policy_set(rule(tests=[loose, {**MISS, "given": {}}]))), now=NOW, budget=100)
    assert (weak.tried, weak.possible, round(weak.score, 3)) == (7, 7, 0.286)
    assert {one.change for one in weak.survivors} >= {"on_error `refuse` becomes `escalate`"}
    assert all((one.file, one.line) == ("base/one.yaml", 12) for one in weak.survivors)
    strong = mutate(bundle_of(policy_set(rule(tests=[HIT, MISS, DOWN]))), now=NOW, budget=100)
    assert strong.score == 1.0
    folder = write(tmp_path, policy_set(rule(tests=[loose, MISS])))
    result = run("test", folder, "--min-score", "0.9")
    assert result.exit_code == 1
    assert "POL205 mutation score is" in result.output
    assert run("test", write(tmp_path, policy_set(rule(tests=[HIT, MISS, DOWN]))), "--min-score", "0.9").exit_code == 0


def test_a_budget_spreads_over_all_rules_and_is_repeatable() -> None:
    bundle = bundle_of(policy_set(rule(), rule("R-2"), rule("R-3")))
    first, second = (mutate(bundle, now=NOW, budget=5) for _ in range(2))
    assert first == second
    assert (first.tried, first.possible) == (5, 21)
    assert {one.rule for one in first.survivors} == {"R-1", "R-2", "R-3"}
