"""Measures of groundedness on labelled sets, and the command that prints them."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gateway.commands.evaluate import evaluate
from gateway.domain.errors import ConfigurationError
from gateway.evaluation.groundedness import LabelledAnswer, area, measure, read_set
from rules.grounding.detector import GroundingDetector

CONTEXT = "The Plus account has a monthly fee of £9.50. Paying by card abroad is free of charge."
ROWS = [
    {"context": CONTEXT, "answer": "The monthly fee of the Plus account is £9.50.", "label": 0},
    {"context": CONTEXT, "answer": "The monthly fee of the Plus account is £12.", "label": 1},
    {"context": CONTEXT, "question": "Is it free?", "answer": "Paying by card abroad is free.", "label": 0, "id": "x"},
    {"context": CONTEXT, "answer": "Electric vehicles recharge underneath the town hall.", "label": 1},
]
LABELLED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "groundedness").mkdir()
    write(tmp_path / "groundedness" / "own.jsonl.gz", ROWS)
    return tmp_path


def write(file, rows):
    file.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))


def run(*arguments):
    return CliRunner().invoke(evaluate, ("groundedness", *arguments), obj={}, env={"COLUMNS": "200"})


def test_a_set_is_measured_with_its_baseline():
    ticks = iter(range(0, 10_000, 70))
    rows = [LabelledAnswer(context=r["context"], answer=r["answer"], label=r["label"]) for r in ROWS]
    found = measure("own", rows, GroundingDetector(), threshold=0.5, clock_us=lambda: next(ticks))
    assert found.detector.value == 1.0
    assert (found.found.hits, found.false_alarms.hits, found.unknown, found.answers) == (2, 0, 0, 4)
    assert (found.median_us, found.p95_us) == (70, 70)
    assert 0 <= found.length.value <= 1


def test_one_label_alone_says_nothing():
    with pytest.raises(ConfigurationError, match="both labels"):
        measure(
            "own", [LabelledAnswer(context="c", answer="a", label=0)], GroundingDetector(), threshold=0.5, clock_us=int
        )


def test_answers_to_one_context_are_drawn_together():
    scores, labels = np.array([0.9, 0.1] * 20), np.array([1, 0] * 20)
    assert area(scores, labels, ["same"] * 40).low == 1.0
    noisy = np.random.default_rng(1).random(40)
    apart = area(noisy, labels, [str(i) for i in range(40)])
    assert apart.low < apart.value < apart.high
    assert apart == area(noisy, labels, [str(i) for i in range(40)])
    assert math.isnan(area(noisy, np.zeros(40, int), ["c"] * 40).value)


def test_the_command_prints_json(folder):
    result = run("--labelled", str(folder), "--format", "json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.output)["sets"]
    assert (found["name"], found["detector"]["value"], found["found"]["value"]) == ("own", 1.0, 1.0)


def test_the_command_prints_a_table_of_one_file(folder):
    result = run("--labelled", str(folder / "groundedness" / "own.jsonl.gz"))
    assert result.exit_code == 0
    assert "own" in result.output
    assert "1.000" in result.output


def test_a_folder_without_sets_is_refused(tmp_path):
    result = run("--labelled", str(tmp_path))
    assert result.exit_code == 2
    assert "groundedness" in result.output


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"{}", mtime=0), gzip.compress(b'{"context": "c"', mtime=0)]
)
def test_a_file_that_is_no_set_is_told_without_its_content(tmp_path, content):
    file = tmp_path / "set.jsonl.gz"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"`set\.jsonl\.gz` is no labelled set"):
        read_set(file)


def test_an_answer_does_not_show_in_its_representation():
    assert "canary" not in repr(LabelledAnswer(context="canary", answer="canary", label=1))


@pytest.mark.skipif(not LABELLED.is_dir(), reason="the labelled sets are not beside the project")
def test_claims_about_abstracts_are_ranked_no_worse_than_measured():
    rows = read_set(LABELLED / "groundedness" / "scifact_claim_pairs.jsonl.gz")
    found = measure("scifact", rows, GroundingDetector(), threshold=0.5, clock_us=int)
    assert found.detector.value > 0.74
    assert found.false_alarms.value < 0.12
    assert found.found.value > 0.38
