"""Each pack says in its README what its rules do and what the controls it names ask for."""

import re
from pathlib import Path

import pytest

from gateway.detectors import installed_kinds, installed_signals
from gateway.policy import Bundle, load_bundle
from gateway.settings import InspectionSettings
from tests.policy.policy_texts import NOW
from tests.support.documents import current
from tests.support.policy_packs import NAMES

PACKS = Path(__file__).parents[2] / "policies"
DOCUMENTS = sorted(PACKS.rglob("*.md"))


@pytest.fixture(scope="module")
def packs() -> Bundle:
    return load_bundle([PACKS], signals=installed_signals(InspectionSettings()), kinds=installed_kinds(), now=NOW)


@pytest.mark.parametrize("name", NAMES)
def test_every_control_is_explained_and_no_other(packs: Bundle, name: str) -> None:
    named = {
        control
        for source in packs.sources
        if source.name.startswith(f"{name}/")
        for control in source.set.metadata.controls
    }
    text = (PACKS / name / "README.md").read_text("utf-8")
    explained = re.findall(r"^\| `([A-Z][^`]+:?[^`]*)` \| (\S.*) \|$", text.partition("## Controls")[2], re.MULTILINE)
    assert {control for control, _ in explained} == named
    assert "The mapping is ours" in text
    assert "## Limits" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_table_of_rules_is_current(name: str) -> None:
    file = PACKS / name / "README.md"
    assert current(file) == file.read_text("utf-8")


def test_the_overview_has_every_pack() -> None:
    text = (PACKS / "README.md").read_text("utf-8")
    assert [name for name in NAMES if f"]({name}/README.md)" not in text] == []


@pytest.mark.parametrize("file", DOCUMENTS, ids=[file.relative_to(PACKS).as_posix() for file in DOCUMENTS])
def test_links_lead_somewhere(file: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", file.read_text("utf-8"))
    assert [link for link in links if not (file.parent / link).exists()] == []


def test_the_eighteen_identifiers_name_kinds_and_rules_that_exist(packs: Bundle) -> None:
    text = (PACKS / "health/README.md").read_text("utf-8")
    rows = re.findall(r"^\| \(([A-R])\) .*$", text, re.MULTILINE)
    assert rows == list("ABCDEFGHIJKLMNOPQR")
    table = "\n".join(re.findall(r"^\| \([A-R]\).*$", text, re.MULTILINE))
    words = set(re.findall(r"`([^`]+)`", table))
    known = {rule.id for rule in packs.rules} | installed_kinds()["pii.entities"] | {one.id for one in packs.patterns}
    assert words - known == set()
