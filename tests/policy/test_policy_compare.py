"""`diff`, `prove`, `sign` and `verify` as a user meets them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.commands.policy import policy
from gateway.policy.difference import difference
from tests.policy.policy_texts import SIGNALS, bundle_of, policy_set, rule


def run(*arguments: str) -> Result:
    return CliRunner().invoke(policy, arguments, obj={"signals": SIGNALS})


def write(folder: Path, name: str, one: Any) -> str:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "set.yaml").write_text(json.dumps(one, indent=1))
    return str(folder / name)


def over(threshold: float) -> dict[str, Any]:
    return {"all": [{"signal": "injection.score", "gte": threshold}]}


BASE = policy_set(rule())
EXCEPTION = {
    "id": "E-1",
    "rule": "R-1",
    "match": {"app": "chat"},
    "reason": "a pilot",
    "approved_by": ["user:a"],
    "expires": "2027-01-01",
}


@pytest.mark.parametrize(
    ("new", "lines"),
    [  # one change each
        (policy_set(rule(title="other words", tests=[])), []),
        (policy_set(rule(), rule("R-2")), ["tighter rule R-2: is new: refuse, a rule"]),
        (
            policy_set(rule("R-2")),
            ["looser rule R-1: is gone (it was `refuse`)", "tighter rule R-2: is new: refuse, a rule"],
        ),
        (
            policy_set(rule(when=over(0.6))),
            ["looser rule R-1: condition: threshold injection.score>= 0.5 becomes 0.6"],
        ),
        (
            policy_set(rule(then={"effect": "escalate"}, on_error="refuse")),
            ["looser rule R-1: effect `refuse` becomes `escalate`"],
        ),
        (policy_set(rule(on_error="flag")), ["looser rule R-1: effect on error `refuse` becomes `flag`"]),
        (policy_set(rule(mode="shadow")), ["looser rule R-1: mode `enforce` becomes `shadow`"]),
        (policy_set(rule(level=2)), ["looser rule R-1: level 1 becomes 2"]),
        (policy_set(rule(phase=["query", "answer"])), ["tighter rule R-1: phases [query] become [answer, query]"]),
        (policy_set(rule(provenance=["user"])), ["looser rule R-1: provenance [all] become [user]"]),
        (policy_set(rule(message={"client": "No."})), ["changed rule R-1: the text for clients changed"]),
        (policy_set(rule(), exceptions=[EXCEPTION]), ["looser exception E-1: from R-1 is new, before 2027-01-02"]),
        (policy_set(rule(), lists={"terms": {"values": ["loan"]}}), ["changed list terms: is new"]),
    ],
)
def test_a_difference_in_words(new: Any, lines: list[str]) -> None:
    found = [f"{one.direction.value} {one.what}: {one.text}" for one in difference(bundle_of(BASE), bundle_of(new))]
    assert [line for line in found if "redacted" not in line and "queue" not in line and "release" not in line] == lines


def kinds(operator: str, *names: str) -> dict[str, Any]:
    return {"all": [{"signal": "pii.entities", operator: list(names)}]}


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (over(0.5), over(0.4), "tighter threshold injection.score>= 0.5 becomes 0.4"),
        (
            over(0.5),
            {"all": [{"signal": "injection.score", "gt": 0.5}]},
            "looser injection.score>=0.5 becomes injection.score>0.5",
        ),
        (
            {"none": [{"signal": "injection.score", "lt": 0.5}]},
            {"none": [{"signal": "injection.score", "lt": 0.6}]},
            "looser threshold injection.score< 0.5 becomes 0.6",
        ),
        (kinds("any_of", "A", "B"), kinds("any_of", "A", "B", "C"), "tighter pii.entities any_of adds [C]"),
        (kinds("any_of", "A", "B"), kinds("any_of", "B"), "looser pii.entities any_of removes [A]"),
        (kinds("any_of", "A"), kinds("any_of", "B"), "changed pii.entities any_of adds [B], removes [A]"),
        (kinds("none_of", "A"), kinds("none_of", "A", "B"), "looser pii.entities none_of adds [B]"),
        (kinds("all_of", "A"), kinds("all_of", "A", "B"), "looser pii.entities all_of adds [B]"),
        (
            kinds("any_of", *"ABCDEFGH"),
            kinds("any_of", "A"),
            "looser pii.entities any_of removes [B, C, D, E, F] and 2 more",
        ),
        (
            over(0.5),
            {"all": [*over(0.5)["all"], {"signal": "tone.angry", "is": True}]},
            "looser with tone.angry is true",
        ),
        (
            {"all": [*over(0.5)["all"], {"signal": "tone.angry", "is": True}]},
            {"any": [*over(0.5)["all"], {"signal": "tone.angry", "is": True}]},
            (
                "tighter all(injection.score>=0.5, tone.angry is true) becomes "
                "any(injection.score>=0.5, tone.angry is true)"
            ),
        ),
        (
            {"all": [{"signal": "pii.count", "gte": 2}]},
            {"all": [{"signal": "pii.count", "gt": 1}]},
            "changed pii.count>=2 becomes pii.count>1",  # the same in other words
        ),
    ],
)
def test_a_changed_condition_is_told_with_its_direction(old: Any, new: Any, line: str) -> None:
    [change] = difference(bundle_of(policy_set(rule(when=old))), bundle_of(policy_set(rule(when=new))))
    assert f"{change.direction.value} {change.text.removeprefix('condition: ')}" == line


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            {"lists": {"terms": {"values": ["loan", "debt"]}}},
            {"lists": {"terms": {"values": ["loan", "credit"], "fold_case": False}}},
            "list terms: values: adds [credit], removes [debt]; fold_case true becomes false",
        ),
        (
            {"patterns": {"ref": {"regex": "A[0-9]", "example": "A1"}}},
            {"patterns": {"ref": {"regex": "B[0-9]", "example": "B1"}}},
            'pattern ref: regex "A[0-9]" becomes "B[0-9]"; example "A1" becomes "B1"',
        ),
        (
            {"topics": {"tax": {"like": ["a", "b"]}}},
            {"topics": {"tax": {"like": ["a", "c"]}}},
            "topic tax: like: adds [c], removes [b]",
        ),
        (
            {"scoring": {"query": 5, "over": {"effect": "flag"}}},
            {"scoring": {"query": 4, "over": {"effect": "flag"}}},
            'scoring scoring:base/one: thresholds {"query": 5} becomes {"query": 4}',
        ),
        (
            {"needs": {"injection": {"detector": "injection", "min_version": "1.0"}}},
            {"needs": {"injection": {"detector": "injection", "min_version": "1.2"}}},
            "detector injection: least version 1.0 becomes 1.2",
        ),
        ({}, {"applies_to": {"apps": ["chat"]}}, "rule R-1: applies to apps chat, was everywhere"),
    ],
)
def test_what_became_of_definitions_is_told_with_values(old: Any, new: Any, line: str) -> None:
    before, after = bundle_of(policy_set(rule(), **old)), bundle_of(policy_set(rule(), **new))
    [change] = difference(before, after, contents=True)
    assert f"{change.what}: {change.text}" == line
    if {"lists", "topics", "patterns"} & old.keys():  # what a log must not tell
        [quiet] = difference(before, after)
        assert quiet.text.endswith(" changed")
        assert not any(word in quiet.text for word in ("credit", "debt", "B[0-9]", "adds"))


def test_duties_are_told_from_and_to() -> None:
    old = rule(then={"effect": "escalate", "queue": "a", "sla": "4h"}, severity="high")
    new = rule(
        then={"effect": "escalate", "queue": "b", "sla": "8h", "approvals": 2, "notify": ["security"]}, severity="low"
    )
    new["on_error"] = "escalate"
    found = {change.text for change in difference(bundle_of(policy_set(old)), bundle_of(policy_set(new)))}
    assert found == {
        "queue a becomes b",
        "approvals 1 becomes 2",
        "seconds to decide 14400 becomes 28800",
        "who is told: adds [security]",
        "severity high becomes low",
    }
    masks = rule(then={"effect": "redact", "entities": ["A"]})
    hashes = rule(then={"effect": "redact", "entities": ["A", "B"], "with": "hash"})
    found = {change.text for change in difference(bundle_of(policy_set(masks)), bundle_of(policy_set(hashes)))}
    assert found == {"redacts with `hash`, was `mask`", "redacted kinds: adds [B]"}


def test_diff_prints_words_and_json(tmp_path: Path) -> None:
    old, new = write(tmp_path, "old", BASE), write(tmp_path, "new", policy_set(rule(on_error="flag")))
    result = run("diff", old, new)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "1 changes")
    shown = json.loads(run("diff", old, new, "--format", "json").output)
    assert shown["changes"][0]["direction"] == "looser"
    assert run("diff", old, old).output == "0 changes\n"


def test_prove_exits_by_its_answer_and_writes_a_test_that_holds(tmp_path: Path) -> None:
    old, new = write(tmp_path, "old", BASE), write(tmp_path, "new", policy_set(rule(when=over(0.6))))
    assert run("prove", "no-weaker", old, old).output == "no weaker: yes\n"
    weaker = run("prove", "no-weaker", old, new)
    assert weaker.exit_code == 1
    test = json.loads(weaker.output.splitlines()[-1].removeprefix("- "))
    assert run("test", write(tmp_path, "tested", policy_set(rule(tests=[test])))).exit_code == 0
    assert run("test", write(tmp_path, "tested", policy_set(rule(when=over(0.6), tests=[test])))).exit_code == 1
    assert run("prove", "no-weaker", old, new, "--budget", "1").exit_code == 2
    assert run("prove", "can-match", "R-1", old).exit_code == 0
    assert "did you mean `R-1`?" in run("prove", "can-match", "R-2", old).output
    both = write(tmp_path, "both", policy_set(rule(), rule("R-2", when=over(0.9))))
    assert "R-2 is shadowed" in run("prove", "shadowed", both).output


def test_a_failing_detector_is_written_as_a_test(tmp_path: Path) -> None:
    old, new = write(tmp_path, "old", BASE), write(tmp_path, "new", policy_set(rule(on_error="flag")))
    test = json.loads(run("prove", "no-weaker", old, new).output.splitlines()[-1].removeprefix("- "))
    assert test["given"]["injection.score"] == {"status": "error"}
    assert run("test", write(tmp_path, "tested", policy_set(rule(tests=[test])))).exit_code == 0


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, tuple[str, str]]:
    made = {}
    for name in ("kim", "ana", "li"):
        key = Ed25519PrivateKey.generate()
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        made[name] = str(private), str(public)
    return made


def test_two_people_other_than_the_author_approve(tmp_path: Path, keys: dict[str, tuple[str, str]]) -> None:
    folder, manifest = write(tmp_path, "p", BASE), str(tmp_path / "m.json")
    known = [part for name in keys for part in ("--key", f"user:{name}={keys[name][1]}")]

    def sign(name: str, *more: str, key: str = "") -> Result:
        return run("sign", folder, "--manifest", manifest, "--key", keys[key or name][0], "--as", f"user:{name}", *more)

    def verified() -> Result:
        return run("verify", folder, "--manifest", manifest, *known)

    assert sign("ana").exit_code == 2
    assert sign("kim", "--author", "user:kim").exit_code == 0
    assert sign("ana").exit_code == 0
    assert verified().exit_code == 1
    assert "1 approvals by people other than the author `user:kim`: 2 are needed" in verified().output
    assert sign("li", key="ana").exit_code == 0
    assert "signature of `user:li` is wrong" in verified().output
    assert sign("li").exit_code == 0
    assert verified().exit_code == 0
    assert verified().output.endswith("by user:kim, approved by user:ana, user:li\n")
    write(tmp_path, "p", policy_set(rule(title="other words")))
    assert "policy file `set` is not the one that was signed" in verified().output
    assert sign("ana").exit_code == 1


@pytest.mark.parametrize("content", ["", "{", '{"statement": {}}', "[]"])
def test_what_is_no_manifest_or_key_is_told(tmp_path: Path, keys: dict[str, tuple[str, str]], content: str) -> None:
    folder, manifest = write(tmp_path, "p", BASE), tmp_path / "m.json"
    manifest.write_text(content)
    result = run("verify", folder, "--manifest", str(manifest), "--key", f"user:ana={keys['ana'][1]}")
    assert result.exit_code == 2
    assert "manifest is not readable" in result.output
    wrong = run("verify", folder, "--manifest", str(manifest), "--key", f"user:ana={manifest}")
    assert (wrong.exit_code, "no pem public key" in wrong.output) == (2, True)
