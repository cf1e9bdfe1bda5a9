"""The layout of policy files: same meaning, same comments, and formatting twice is formatting once."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.commands.policy import policy
from gateway.domain.errors import FaultsFound
from gateway.policy.layout import formatted
from tests.policy.policy_texts import SIGNALS, bundle_of, policy_set, rule
from tests.policy.test_laws import policies

PACKS = Path(__file__).parents[2] / "policies"
FILES = sorted(PACKS.rglob("*.yaml"))

UGLY = """\
# what the set is for


kind: PolicySet
apiVersion: gateway/v1   # the version
metadata: {version: 1.10, id: base/one,owner: 'team:a',   purpose: "NO # no comment"}
rules:
- title: Second, first
  # why it is that one
  id: R-1

  # the condition,
  # in two lines
  when:
     all:
     - gte: 0.50
       signal: injection.score
  then: {message_not: x}
  phase: query
- id: R-2 # the second
  title: |
     Several lines

     # of text
  phase: query
  when: {all: [{ gte: 0.5,signal: injection.score }]}
  then: {effect: refuse}
  # a last word
lists:
    words: {values: [NO, 1.10, 12:30, 0o17, "yes", "~"]}
""".replace("{message_not: x}", "{with: mask, effect: redact, entities: [PERSON]}")

NEAT = """\
# what the set is for

apiVersion: gateway/v1   # the version
kind: PolicySet
metadata: {id: base/one, version: 1.10, owner: 'team:a', purpose: "NO # no comment"}
lists:
  words: {values: [NO, 1.10, 12:30, 0o17, "yes", "~"]}
rules:
  # why it is that one
  - id: R-1
    title: Second, first

    phase: query
    # the condition,
    # in two lines
    when:
      all:
        - signal: injection.score
          gte: 0.50
    then: {effect: redact, with: mask, entities: [PERSON]}

  - id: R-2 # the second
    title: |
      Several lines

      # of text
    phase: query
    when: {all: [{signal: injection.score, gte: 0.5}]}
    then: {effect: refuse}
    # a last word
"""


def test_an_untidy_file_becomes_the_canonical_one() -> None:
    result = formatted(UGLY, "f.yaml")
    assert [line.rstrip() for line in result.splitlines() if line.strip()] == [
        line.rstrip() for line in NEAT.splitlines() if line.strip()
    ]
    assert "\n\n\n" not in result
    assert formatted(result, "f.yaml") == result
    assert bundle_of(result).digest == bundle_of(UGLY).digest


@pytest.mark.parametrize("file", FILES, ids=lambda one: one.relative_to(PACKS).as_posix())
def test_the_packs_are_in_the_canonical_layout(file: Path) -> None:
    text = file.read_text("utf-8")
    assert formatted(text, str(file)) == text


def spelled(one: dict[str, Any], seed: int) -> str:
    """A set in some layout: keys in any order, in blocks or in braces, with comments, blank lines and quotes."""
    choose = random.Random(seed)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            choose.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(entry) for entry in value] if isinstance(value, list) else value

    text = yaml.safe_dump(
        shuffled(one),
        sort_keys=False,
        default_flow_style=choose.choice([None, False]),
        indent=choose.choice([2, 3, 4]),
        width=choose.choice([60, 10_000]),
    )
    lines: list[str] = []
    for number, line in enumerate(text.splitlines()):
        indent = " " * (len(line) - len(line.lstrip()))
        opens = line.count("{") + line.count("[") == line.count("}") + line.count("]")
        key = line.lstrip().startswith(("- ", "id:", "when:", "then:", "title:", "rules:", "phase:"))
        if opens and key and choose.random() < 0.2:
            lines += [""] * choose.randint(0, 2) + [f"{indent}# note {number}"]
        lines.append(line + ("  " if choose.random() < 0.1 else ""))
    return "\n".join(lines) + "\n" * choose.randint(0, 2)


@settings(max_examples=12, deadline=None)
@given(sets=policies(most=2), seed=st.integers(0, 2**32))
def test_the_layout_never_changes_the_digest_and_is_found_at_once(sets: list[dict[str, Any]], seed: int) -> None:
    texts = [spelled(one, seed + number) for number, one in enumerate(sets)]
    results = [formatted(text, "f.yaml") for text in texts]
    assert bundle_of(*results).digest == bundle_of(*texts).digest == bundle_of(*sets).digest
    for text, result in zip(texts, results, strict=True):
        assert formatted(result, "f.yaml") == result
        assert result.count("# note ") == text.count("# note ")
        assert list(yaml.safe_load(result)) == [
            key
            for key in (
                "apiVersion",
                "kind",
                "metadata",
                "applies_to",
                "lists",
                "topics",
                "patterns",
                "rules",
                "scoring",
            )
            if key in yaml.safe_load(text)
        ]


@settings(max_examples=20, deadline=None)
@given(word=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20))
def test_any_word_keeps_its_spelling(word: str) -> None:
    one = policy_set(rule(), lists={"words": {"values": [word]}})
    for text in (json.dumps(one, ensure_ascii=False), yaml.safe_dump(one, allow_unicode=True)):
        try:
            digest = bundle_of(text).digest
        except FaultsFound:
            with pytest.raises(FaultsFound):
                formatted(text, "f.yaml")
            continue
        assert bundle_of(formatted(text, "f.yaml")).digest == digest


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("rules: [", "YAML003"),
        ("", "YAML004"),
        ("a: 1\na: 2\n", "YAML010"),
        (json.dumps({**policy_set(rule()), "colour": "red"}), "YAML020"),
        ("kind: &a PolicySet\n", "YAML007"),
    ],
)
def test_what_is_no_policy_file_is_refused(text: str, code: str) -> None:
    with pytest.raises(FaultsFound) as found:
        formatted(text, "f.yaml")
    assert code in {fault.code for fault in found.value.faults}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(policy, ["fmt", *arguments], obj={"signals": SIGNALS})


def test_fmt_checks_shows_and_writes(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(UGLY)
    file.chmod(0o640)
    checked = run(str(tmp_path), "--check")
    assert (checked.exit_code, checked.output) == (1, f"would change {file}\n1 of 1 files would change\n")
    shown = run(str(tmp_path), "--diff")
    assert shown.exit_code == 1
    assert "-- title: Second, first\n" in shown.output
    assert "+  - id: R-1\n" in shown.output
    assert file.read_text() == UGLY
    sarif = json.loads(run(str(tmp_path), "--check", "--format", "sarif").output)
    assert [one["ruleId"] for one in sarif["runs"][0]["results"]] == ["POL301"]
    written = run(str(tmp_path), "--format", "json")
    assert (written.exit_code, json.loads(written.output)["changed"]) == (0, [str(file)])
    assert file.read_text() == formatted(UGLY, "one.yaml")
    assert file.stat().st_mode & 0o777 == 0o640
    assert run(str(tmp_path), "--check").output == "0 of 1 files would change\n"
    assert [path.name for path in tmp_path.iterdir()] == ["one.yaml"]


def test_fmt_leaves_a_file_that_is_none_alone_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("rules: [")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "good.yaml").write_text(UGLY)
    result = run(str(tmp_path))
    assert result.exit_code == 1
    assert "YAML003" in result.output
    assert "POL021 not utf-8" in result.output
    assert (tmp_path / "bad.yaml").read_text() == "rules: ["
    assert (tmp_path / "good.yaml").read_text() == formatted(UGLY, "f")
    assert run(str(tmp_path / "absent")).exit_code == 2
    assert json.loads(run(str(tmp_path), "--check", "--format", "json").output)["ok"] is False


UNSEEN = ["\u200b", "\xad", "\u202a", "\u202e", "\u2066", "\u2069", "\u2060", "\U000e0041"]


@pytest.mark.parametrize("char", UNSEEN)
def test_what_nobody_sees_is_refused_as_it_is_and_stays_an_escape(char: str) -> None:
    code = ord(char)
    spellings = [f"\\U{code:08x}", f"\\U{code:08X}", *([f"\\u{code:04x}"] if code < 0x10000 else [])]
    spellings += [f"\\x{code:02x}"] if code < 0x100 else []
    for spelling in spellings:
        told = UGLY.replace('"yes"', f'"y{spelling}s"')
        result = formatted(told, "f.yaml")
        assert f'"y{spelling}s"' in result
        assert char not in result
        assert formatted(result, "f.yaml") == result
    for raw in (f'"y{char}s"', f"y{char}s", f"'y{char}s'"):
        with pytest.raises(FaultsFound) as found:
            formatted(UGLY.replace('"yes"', raw), "f.yaml")
        assert [fault.code for fault in found.value.faults] == ["YAML002"]
