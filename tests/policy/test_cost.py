"""The cost of decisions: what is timed, and how it is told."""

import itertools
import json
from pathlib import Path

from click.testing import CliRunner, Result

from gateway.commands.policy import policy
from gateway.domain.vocabulary import Phase
from gateway.policy.cost import costs
from tests.policy.policy_texts import NOW, SIGNALS, bundle_of, evidence_of, policy_set, rule

TESTS = [
    {"name": "hit", "given": {"injection.score": 0.9}, "expect": "match"},
    {"name": "miss", "given": {"injection.score": 0.1}, "expect": "no_match"},
]


def test_every_kind_of_evidence_is_timed_in_each_phase_with_rules() -> None:
    bundle = bundle_of(policy_set(rule(tests=TESTS), rule("R-2", phase="answer")))
    ticks = itertools.count(0, 2000)
    found = costs(bundle, now=NOW, decisions=11, clock_ns=lambda: next(ticks), given=[evidence_of(phase=Phase.ANSWER)])
    assert [(one.phase.value, one.kind, one.rules, one.decisions) for one in found] == [
        ("query", "quiet", 1, 11),
        ("query", "tests", 1, 12),
        ("answer", "quiet", 1, 11),
        ("answer", "given", 1, 11),
    ]
    assert {(one.p50_us, one.p99_us, one.max_us) for one in found} == {(2.0, 2.0, 2.0)}


def test_percentiles_are_of_the_times() -> None:
    moments = iter([moment for number in range(100) for moment in (number * 10_000, number * 11_000)])
    [one] = costs(bundle_of(policy_set(rule())), now=NOW, decisions=100, clock_ns=lambda: next(moments))
    assert (one.p50_us, one.p99_us, one.max_us) == (50.0, 99.0, 99.0)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(policy, ["bench", *arguments], obj={"signals": SIGNALS})


def test_bench_prints_a_table_and_json(tmp_path: Path) -> None:
    (tmp_path / "set.yaml").write_text(json.dumps(policy_set(rule(tests=TESTS))))
    given = tmp_path / "given.jsonl"
    given.write_text('{"phase": "query"}\n{"phase": "query", "values": {"user": {"injection.score": 0.9}}}\n')
    result = run(str(tmp_path / "set.yaml"), "--decisions", "10", "--evidence", str(given))
    assert result.exit_code == 0
    assert [line.split()[:4] for line in result.output.splitlines()[2:]] == [
        ["query", "quiet", "1", "10"],
        ["query", "tests", "1", "10"],
        ["query", "given", "1", "10"],
    ]
    shown = json.loads(run(str(tmp_path / "set.yaml"), "--decisions", "10", "--format", "json").output)
    assert shown["rules"] == 1
    assert shown["load_ms"] > 0
    assert [one["kind"] for one in shown["costs"]] == ["quiet", "tests"]
    given.write_text('{"phase": "query", "values": {"user": {"injection.scor": 0.9}}}')
    assert run(str(tmp_path / "set.yaml"), "--evidence", str(given)).exit_code == 2
    given.write_text("{")
    assert "evidence: not json" in run(str(tmp_path / "set.yaml"), "--evidence", str(given)).output
