"""Starter sets: right from the first moment, and never over something that exists."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.commands.policy import policy
from gateway.policy import load_bundle
from gateway.policy.coverage import coverage
from gateway.policy.layout import formatted
from gateway.policy.lint import lint
from gateway.policy.mutants import mutate
from gateway.policy.starter import TEMPLATES, is_set_id, starter
from gateway.policy.trials import run_trials
from tests.policy.policy_texts import NOW, SIGNALS

PACKS = Path(__file__).parents[2] / "policies"
FOLDER = Path(__file__).parents[2] / "gateway/policy/templates"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(policy, ["new", *arguments], obj={"signals": SIGNALS})


def test_every_template_is_offered() -> None:
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(TEMPLATES)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("name", ["credit", "retail-bank/credit-cards"])
def test_a_starter_set_is_clean_at_once(tmp_path: Path, template: str, name: str) -> None:
    result = run(name, "--template", template, "--owner", "team:credit", "--folder", str(tmp_path))
    file = tmp_path / f"{name}.yaml"
    assert (result.exit_code, result.output.splitlines()[0]) == (0, f"wrote {file}: {TEMPLATES[template]}")
    text = file.read_text("utf-8")
    assert "__" not in text
    assert formatted(text, str(file)) == text
    bundle = load_bundle([tmp_path], signals=SIGNALS, now=NOW)
    assert [str(fault) for fault in lint(bundle, now=NOW)] == []
    assert [one.message for one in run_trials(bundle, now=NOW) if not one.passed] == []
    assert coverage(bundle, now=NOW).missing() == ()
    assert mutate(bundle, now=NOW, budget=1000).score >= 0.9
    [source] = bundle.sources
    assert (source.set.metadata.id, source.set.metadata.owner) == (name, "team:credit")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_starter_set_fits_beside_the_packs_and_another_of_its_kind(template: str) -> None:
    texts = [starter(template, "retail/personal", owner="team:a", today=NOW.date(), taken=["PER-001", "PERS-002"])]
    assert "- id: PERSO-001" in texts[0]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    assert run("credit", "--folder", str(tmp_path), "--owner", "team:a").exit_code == 0
    before = (tmp_path / "credit.yaml").read_text()
    again = run("credit", "--template", "pii", "--folder", str(tmp_path), "--owner", "team:a")
    assert (again.exit_code, again.output) == (1, "a set named `credit` exists already: choose another name\n")
    assert (tmp_path / "credit.yaml").read_text() == before
    (tmp_path / "loans.yaml").write_text("not: a policy\n")
    other = run("loans", "--folder", str(tmp_path), "--owner", "team:a")
    assert other.exit_code == 1
    assert "exists already: choose another name, or remove it" in other.output
    assert (tmp_path / "loans.yaml").read_text() == "not: a policy\n"


def test_a_second_set_of_one_template_loads_beside_the_first(tmp_path: Path) -> None:
    for name in ("credit-a", "credit-b", "x/credit-a"):
        assert run(name, "--template", "pii", "--folder", str(tmp_path), "--owner", "team:a").exit_code == 0
    bundle = load_bundle([tmp_path], signals=SIGNALS, now=NOW)
    assert [rule.id for rule in bundle.rules] == [
        "CRE-001",
        "CRE-002",
        "CRED-001",
        "CRED-002",
        "CREDI-001",
        "CREDI-002",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Credit"], "is no name of a set"),
        (["../credit"], "is no name of a set"),
        (["a//b"], "is no name of a set"),
        (["credit", "--owner", 'a" b'], "is no owner"),
    ],
)
def test_names_that_are_none_are_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments, "--folder", str(tmp_path))
    assert result.exit_code == 2
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_what_a_name_may_be() -> None:
    assert is_set_id("retail/credit-2")
    assert not is_set_id("retail/credit\n")
