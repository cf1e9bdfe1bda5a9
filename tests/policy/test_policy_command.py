"""`gateway policy` as a user meets it: output and exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.commands.policy import policy
from gateway.domain.vocabulary import Effect, Phase
from gateway.policy.conversations import run_conversations
from gateway.policy.json_schema import policy_schema
from tests.policy.policy_texts import NOW, SIGNALS, bundle_of, evidence_of, policy_set, rule

HIT = {"name": "hit", "given": {"injection.score": 0.9}, "expect": "match"}
MISS = {"name": "miss", "given": {"injection.score": 0.1}, "expect": "no_match"}
DOWN = {"name": "down", "given": {"injection.score": {"status": "error"}}, "expect": {"status": "error"}}


def run(*arguments: str, stdin: str = "", **options: Any) -> Result:
    return CliRunner().invoke(policy, arguments, input=stdin, obj={"signals": SIGNALS, **options})


def write(folder: Path, *sets: Any) -> str:
    for index, one in enumerate(sets):
        (folder / f"f{index}.yaml").write_text(one if isinstance(one, str) else json.dumps(one, indent=1))
    return str(folder)


def test_lint_is_silent_on_sound_policies(tmp_path: Path) -> None:
    result = run("lint", write(tmp_path, policy_set(rule(tests=[HIT, MISS, DOWN]))))
    assert result.exit_code == 0
    assert result.output.startswith("0 findings; 1 rules, sha256:")


def test_lint_tells_warnings_from_errors(tmp_path: Path) -> None:
    folder = write(tmp_path, policy_set(rule()))
    result = run("lint", folder)
    assert (result.exit_code, run("lint", folder, "--strict").exit_code) == (0, 1)
    assert "POL104 rule `R-1` has no test that matches: add one (warning)" in result.output
    assert "POL105" in result.output
    written = json.loads(run("lint", folder, "--format", "json", "--strict").output)
    assert written["ok"] is False
    assert [fault["code"] for fault in written["faults"]] == ["POL104", "POL105", "POL114"]


def test_lint_reminds_of_dates(tmp_path: Path) -> None:
    old = {"id": "E-1", "rule": "R-1", "match": {"app": "a"}, "reason": "r", "approved_by": ["x"]}
    written = policy_set(rule(tests=[HIT, MISS, {**HIT, "name": "b"}]), exceptions=[{**old, "expires": "2020-01-01"}])
    written["metadata"]["review_by"] = "2020-01-01"
    output = run("lint", write(tmp_path, written)).output
    assert "POL101 exception `E-1` has expired" in output
    assert "POL103 review of `base/one` is overdue" in output
    assert "POL106 rule `R-1` has 2 hits and 1 near-misses" in output


def test_lint_shows_faults_with_their_places(tmp_path: Path) -> None:
    folder = write(tmp_path, policy_set(rule(on_error="redact")))
    result = run("lint", folder)
    assert result.exit_code == 1
    assert f"{tmp_path}/f0.yaml:26:16: POL008" in result.output
    assert "(error)" in result.output


def test_what_cannot_run_is_not_called_wrong(tmp_path: Path) -> None:
    result = run("lint", str(tmp_path / "absent"))
    assert result.exit_code == 2
    assert "does not exist: name a policy file or folder" in result.output
    assert run("test", str(tmp_path)).exit_code == 2


def test_test_passes_and_fails(tmp_path: Path) -> None:
    folder = write(tmp_path, policy_set(rule(tests=[HIT, MISS])))
    result = run("test", folder)
    assert (result.exit_code, result.output) == (0, "2 passed, 0 failed, 0 conversations skipped: no detectors here\n")
    wrong = {**MISS, "name": "wrong", "expect": {"status": "matched"}}
    effect = {**HIT, "name": "effect", "expect": {"status": "matched", "effect": "flag"}}
    lifted = {**HIT, "name": "lifted", "expect": {"status": "matched", "exception": "EX-1"}}
    folder = write(tmp_path, policy_set(rule(tests=[HIT, wrong, effect, lifted])))
    result = run("test", folder)
    assert result.exit_code == 1
    assert "`wrong`: expected matched, the rule ended in not_matched" in result.output
    assert "`effect`: expected effect flag, it is refuse: injection.score>=0.5" in result.output
    assert "`lifted`: expected to be lifted by EX-1, it is by none" in result.output
    written = json.loads(run("test", folder, "--format", "json").output)
    assert [(one["name"], one["passed"]) for one in written["tests"]] == [
        ("hit", True),
        ("wrong", False),
        ("effect", False),
        ("lifted", False),
    ]


def test_test_reports_faults_of_loading(tmp_path: Path) -> None:
    result = run("test", write(tmp_path, policy_set(rule(on_error="redact"))), "--format", "json")
    assert result.exit_code == 1
    assert json.loads(result.output)["faults"][0]["code"] == "POL008"


CONVERSATIONS = [
    {"name": "plain", "query": "What is APR?", "expect": {"effect": "allow"}},
    {"name": "loud", "query": "LOUD", "answer": "fine", "expect": {"effect": "refuse", "rules": ["R-1"]}},
    {"name": "wrong effect", "query": "LOUD", "expect": {"effect": "allow"}},
    {"name": "wrong rule", "passage": "LOUD", "expect": {"effect": "refuse", "rules": ["R-9"]}},
    {"name": "spared", "query": "calm", "expect": {"effect": "allow", "without": ["R-1"]}},
    {"name": "not spared", "query": "LOUD", "expect": {"effect": "refuse", "without": ["R-1"]}},
]


def judge(bundle: Any, phase: Phase, text: str, fields: Any, grounds: Any) -> Any:
    assert fields["principal.tenant"] == "*".replace("*", "x")
    return bundle.decide(evidence_of({"injection.score": 1.0} if text == "LOUD" else {}, phase=phase), now=NOW)


def test_conversations_run_through_the_judge_that_is_given(tmp_path: Path) -> None:
    written = policy_set(rule(phase=["query", "passage"]), conversations=CONVERSATIONS)
    results = run_conversations(bundle_of(written), judge)
    assert [(one.name, one.effect, one.message) for one in results] == [
        ("plain", Effect.ALLOW, ""),
        ("loud", Effect.REFUSE, ""),
        ("wrong effect", Effect.REFUSE, "expected allow, it is refuse: R-1"),
        ("wrong rule", Effect.REFUSE, "expected reasons R-9 are missing: it has R-1"),
        ("spared", Effect.ALLOW, ""),
        ("not spared", Effect.REFUSE, "expected without R-1: they are among its reasons"),
    ]
    result = run("test", write(tmp_path, written), converse=lambda bundle: run_conversations(bundle, judge))
    assert result.exit_code == 1
    assert "`wrong effect`: expected allow, it is refuse: R-1" in result.output
    assert result.output.endswith("3 passed, 3 failed\n")


def test_explain_shows_every_rule_and_every_atom(tmp_path: Path) -> None:
    both = {"any": [{"signal": "injection.score", "gte": 0.5}, {"signal": "pii.entities", "any_of": ["PERSON"]}]}
    folder = write(
        tmp_path,
        policy_set(rule(when=both), rule("R-2"), rule("R-3", phase="answer")),
        policy_set(rule("R-4"), id_="two", applies_to={"apps": ["other"]}),
    )
    seen = {
        "phase": "query",
        "fields": {"principal.app": "chat", "principal.groups": ["staff"]},
        "values": {"user": {"injection.score": 0.9, "pii.entities": ["PERSON"]}},
        "runs": {"pii": "timeout"},
    }
    result = run("explain", "-", folder, stdin=json.dumps(seen))
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith("refuse (R-1, R-2) by sha256:")
    assert lines[1:] == [
        "R-1 matched -> refuse [enforce]: a rule",
        "    true    injection.score>=0.5   (value 0.9)",
        '    unknown pii.entities any_of [PERSON]   (value ["PERSON"])',
        "R-2 matched -> refuse [enforce]: a rule",
        "    true    injection.score>=0.5   (value 0.9)",
        "R-4 does not apply -> allow [enforce]: a rule",
    ]
    written = json.loads(run("explain", "-", folder, "--format", "json", stdin=json.dumps(seen)).output)
    assert [(one["rule"], one["applies"]) for one in written["rules"]] == [("R-1", True), ("R-2", True), ("R-4", False)]
    assert written["verdict"]["effect"] == "refuse"


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        ("{", "not json"),
        ("[]", "evidence is not a json object"),
        ('{"phase": "querry"}', "unknown phase `querry`: did you mean `query`?"),
        ('{"phase": "query", "value": {}}', "unknown key `value`"),
        ('{"phase": "query", "values": {"user": {"pii.x": 1}}}', "unknown signal `pii.x`"),
        ('{"phase": "query", "values": {"me": {}}}', "unknown provenance `me`"),
        ('{"phase": "query", "fields": {"a": 1}}', "unknown field `a`"),
        ('{"phase": "query", "runs": {"pii": "slow"}}', "unknown status `slow`"),
        ('{"phase": "query", "fields": []}', "`fields` is not a json object"),
    ],
)
def test_explain_says_what_is_wrong_with_the_evidence(tmp_path: Path, stdin: str, message: str) -> None:
    result = run("explain", "-", write(tmp_path, policy_set(rule())), stdin=stdin)
    assert result.exit_code == 2
    assert message in result.output


def test_the_schema_describes_every_key() -> None:
    result = run("schema")
    assert result.exit_code == 0
    schema = json.loads(result.output)
    assert schema == json.loads(json.dumps(policy_schema()))
    assert schema["$ref"] == "#/$defs/PolicySet"
    bare = [
        f"{name}.{key}"
        for name, definition in schema["$defs"].items()
        for key, of in definition.get("properties", {}).items()
        if "description" not in of and "$ref" not in of
    ]
    assert bare == []
    assert all(one.get("additionalProperties", False) is False for one in schema["$defs"].values())
    assert schema["$defs"]["Rule"]["required"] == ["id", "title", "phase", "when", "then"]
