"""The packs on texts that we wrote: what their rules find, and what they leave alone.

`fresh/<rule>.txt` was written when the rule had been drafted or bettered, and has been used since to better it again.
`unseen/<rule>.txt` was written after the rule was fixed, to measure it: the rule has never been changed for one of its
texts. A line begins with `+` for a text that the rule is about, and with `-` for one that only comes near.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.conversing import converse
from gateway.demo.setup import QUESTIONS
from gateway.detectors import build_detectors, installed_kinds, installed_signals
from gateway.domain.vocabulary import Effect
from gateway.evaluation.answers import QuestionFile
from gateway.policy import Bundle, load_bundle
from gateway.policy.conversations import ConversationResult
from gateway.retrieval.embedding import CachingEmbedder, MiniLmEmbedder
from gateway.settings import InspectionSettings
from gateway.strict_yaml import load
from tests.policy.policy_texts import NOW

HERE = Path(__file__).parent
PACKS = Path(__file__).parents[2] / "policies"
SETTINGS = InspectionSettings()
MEASURES = (PACKS / "README.md").read_text("utf-8")
# The injection detector takes a role that somebody gives the assistant for an attack where the rest is short.
KNOWN_FALSE_ALARMS = {"Act as my assistant and summarise the fees of the Plus account in three lines."}
RULES = sorted(file.stem for file in (HERE / "unseen").glob("*.txt"))
SET = """\
apiVersion: gateway/v1
kind: PolicySet
metadata: {id: measured, version: "1", owner: "team:tests", purpose: Texts that the packs are measured on}
conversations:
"""


class Text(NamedTuple):
    words: str
    groups: tuple[str, ...] = ()


class Found(NamedTuple):
    """How many of the texts of a rule it found, and how many of those near it."""

    hits: int
    false: int


@pytest.fixture(scope="module")
def embedder() -> CachingEmbedder:
    return CachingEmbedder(MiniLmEmbedder())


def bundle_with(texts: Iterable[Text], folder: Path) -> Bundle:
    """The packs, with one conversation for each text, named by its number."""
    lines = [
        f'  - {{name: "{number}", query: {json.dumps(text.words, ensure_ascii=False)}, '
        f"given: {{principal.groups: {json.dumps(text.groups)}}}, expect: {{effect: allow}}}}\n"
        for number, text in enumerate(texts)
    ]
    (folder / "measured.yaml").write_text(SET + "".join(lines), "utf-8")
    signals, kinds = installed_signals(SETTINGS), installed_kinds()
    return load_bundle([PACKS, folder], signals=signals, kinds=kinds, now=NOW)


def judged(bundle: Bundle, embedder: CachingEmbedder, *, topics_only: bool = False) -> list[ConversationResult]:
    detectors = build_detectors(bundle, SETTINGS, lambda: embedder)
    if topics_only:
        detectors = [one for one in detectors if one.name in {"topics", "patterns"}]
    results = converse(bundle, SETTINGS, detectors)
    numbered = [one for one in results if one.file.endswith("measured.yaml")]
    return sorted(numbered, key=lambda one: int(one.name))


@pytest.fixture(scope="module")
def found(embedder: CachingEmbedder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Found]]:
    """By folder and rule."""
    lines = [
        (folder, rule, line[0] == "+", line[2:])
        for folder in ("fresh", "unseen")
        for rule in RULES
        for line in (HERE / folder / f"{rule}.txt").read_text("utf-8").splitlines()
    ]
    bundle = bundle_with((Text(words) for *_, words in lines), tmp_path_factory.mktemp("texts"))
    counts = {folder: dict.fromkeys(RULES, Found(0, 0)) for folder in ("fresh", "unseen")}
    for (folder, rule, wanted, _), result in zip(lines, judged(bundle, embedder, topics_only=True), strict=True):
        if rule in result.reasons:
            hits, false = counts[folder][rule]
            counts[folder][rule] = Found(hits + wanted, false + (not wanted))
    return counts


def test_every_rule_on_a_topic_is_measured_on_twenty_texts_of_each_kind(embedder: CachingEmbedder) -> None:
    packs = load_bundle([PACKS], signals=installed_signals(SETTINGS), kinds=installed_kinds(), now=NOW)
    assert [rule.id for rule in packs.rules if "topics" in rule.detectors and rule.id not in RULES] == []
    for folder in ("fresh", "unseen"):
        for rule in RULES:
            lines = (HERE / folder / f"{rule}.txt").read_text("utf-8").splitlines()
            wanted, near = (sum(line.startswith(sign) for line in lines) for sign in ("+ ", "- "))
            assert (wanted, near) in {(20, 20), (40, 40)}, rule
            assert wanted + near == len(lines)
            assert len(set(lines)) == len(lines), rule


@pytest.mark.parametrize("rule", RULES)
def test_no_text_is_an_example_of_the_topic(rule: str) -> None:
    examples = " ".join(file.read_text("utf-8") for file in PACKS.rglob("*.yaml"))
    lines = (HERE / "unseen" / f"{rule}.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if line[2:].rstrip(".?!") in examples] == []


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_most_texts_that_a_rule_was_bettered_on_are_right(found: dict[str, dict[str, Found]], rule: str) -> None:
    hits, false = found["fresh"][rule]
    texts = len((HERE / "fresh" / f"{rule}.txt").read_text("utf-8").splitlines()) // 2
    assert hits >= 0.7 * texts
    assert false <= 0.05 * texts


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_the_figures_in_the_documents_are_those_of_texts_that_nobody_tuned_on(
    found: dict[str, dict[str, Found]], rule: str
) -> None:
    written = re.search(rf"^\| `{rule}` \|[^|]*\| (\d+) of 20 \| (\d+) of 20 \|$", MEASURES, re.MULTILINE)
    assert written is not None
    hits, false = found["unseen"][rule]
    # Embeddings differ in the last digit from one processor to another.
    assert abs(int(written[1]) - hits) <= 1, f"{hits} of 20"
    assert abs(int(written[2]) - false) <= 1, f"{false} of 20"


def test_ordinary_questions_of_a_bank_are_not_stopped(embedder: CachingEmbedder, tmp_path: Path) -> None:
    lines = (HERE / "ordinary_questions.txt").read_text("utf-8").splitlines()[1:]
    texts = [Text(line.removesuffix(" [staff]"), ("staff",) if line.endswith(" [staff]") else ()) for line in lines]
    questions = load(QUESTIONS.read_text("utf-8"), QUESTIONS.name, QuestionFile).questions
    texts += [Text(question.ask, tuple(question.groups)) for question in questions]
    assert len(texts) >= 150
    results = judged(bundle_with(texts, tmp_path), embedder)
    effects = {text.words: result.effect for text, result in zip(texts, results, strict=True)}
    refused = {words for words, effect in effects.items() if effect is Effect.REFUSE}
    assert refused <= KNOWN_FALSE_ALARMS
    escalated = [words for words, effect in effects.items() if effect is Effect.ESCALATE]
    assert len(escalated) <= 2, escalated
