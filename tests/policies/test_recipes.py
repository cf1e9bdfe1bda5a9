"""Every recipe loads beside the packs, is clean, passes its tests, and its tests notice a change of it."""

import datetime as dt
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.detectors import installed_kinds, installed_signals
from gateway.domain.vocabulary import Effect, SignalType
from gateway.policy import Bundle, load_bundle
from gateway.policy.coverage import coverage
from gateway.policy.layout import formatted
from gateway.policy.lint import lint
from gateway.policy.mutants import mutate
from gateway.policy.trials import run_trials
from gateway.settings import InspectionSettings
from tests.policy.policy_texts import NOW, evidence_of

PACKS = Path(__file__).parents[2] / "policies"
RECIPES = (PACKS / "RECIPES.md").read_text("utf-8")
SIGNALS = {**installed_signals(InspectionSettings()), "tone.failed": SignalType.FLAG}
HEAD = """\
apiVersion: gateway/v1
kind: PolicySet
metadata:
  id: recipes/{name}
  version: "1"
  owner: team:compliance
  purpose: {title}
"""


class Recipe(NamedTuple):
    title: str
    text: str


FOUND = [
    Recipe(*one) for one in re.findall(r"^## ([^\n]+)\n.*?^```yaml\n(.*?)^```$", RECIPES, re.DOTALL | re.MULTILINE)
]


def test_there_are_twenty_and_each_has_one_piece() -> None:
    assert len(FOUND) >= 20
    assert len(FOUND) == RECIPES.count("\n## ") == RECIPES.count("```yaml\n")


def made(recipe: Recipe, folder: Path) -> Path:
    """The recipe as an author would write it: behind the first lines of a file."""
    name = re.sub("[^a-z]+", "-", recipe.title.lower()).strip("-")
    file = folder / f"{name}.yaml"
    file.write_text(HEAD.format(name=name, title=recipe.title) + recipe.text, "utf-8")
    return file


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """All recipes beside the packs: no two of them are in each other's way."""
    folder = tmp_path_factory.mktemp("recipes")
    for recipe in FOUND:
        made(recipe, folder)
    return load_bundle([PACKS, folder], signals=SIGNALS, kinds=installed_kinds(), now=NOW)


def test_recipes_are_clean_beside_the_packs(together: Bundle) -> None:
    # Whether a rule of a recipe ever decides depends on the packs beside it, which may already do as much.
    assert [str(fault) for fault in lint(together, now=NOW) if fault.code != "POL107"] == []


def test_tests_of_recipes_pass_beside_the_packs(together: Bundle) -> None:
    results = [one for one in run_trials(together, now=NOW) if one.trial.rule.startswith("RCP-")]
    assert len(results) >= 60
    assert [f"{one.trial.rule} {one.trial.name}: {one.message}" for one in results if not one.passed] == []


@pytest.mark.parametrize("recipe", FOUND, ids=[one.title for one in FOUND])
def test_a_recipe_is_in_the_layout_and_its_tests_notice_changes(recipe: Recipe, tmp_path: Path) -> None:
    file = made(recipe, tmp_path)
    text = file.read_text("utf-8")
    assert formatted(text, str(file)) == text
    if "rules:" not in recipe.text:
        return
    bundle = load_bundle([file], signals=SIGNALS, kinds=installed_kinds(), now=NOW)
    assert coverage(bundle, now=NOW).missing() == ()
    assert mutate(bundle, now=NOW, budget=1000).score >= 0.9


def test_the_exception_lifts_the_rule_for_its_group_and_until_its_day(together: Bundle) -> None:
    advice = {"topic.personal_investment_advice": 0.9, "pattern.asks_for_judgement": True}
    desk = {"principal.app": "adviser-desk", "principal.groups": frozenset({"advisers"})}
    for fields, now, lifted in (
        (desk, NOW, True),
        (desk, dt.datetime(2026, 12, 31, 23, tzinfo=dt.UTC), True),
        (desk, dt.datetime(2027, 1, 1, 1, tzinfo=dt.UTC), False),
        (desk | {"principal.groups": frozenset()}, NOW, False),
        (desk | {"principal.app": "chat"}, NOW, False),
    ):
        verdict = together.decide(evidence_of(advice, **fields), now=now)
        assert ("FIN-001" in verdict.reasons) is not lifted
        assert verdict.effect is (Effect.ALLOW if lifted else Effect.ESCALATE)


def test_two_small_findings_together_go_to_people(together: Bundle) -> None:
    one = together.decide(evidence_of({"list.account_words": True}), now=NOW)
    both = together.decide(evidence_of({"list.account_words": True, "list.pressure_words": True}), now=NOW)
    assert (one.effect, both.effect) == (Effect.FLAG, Effect.ESCALATE)
