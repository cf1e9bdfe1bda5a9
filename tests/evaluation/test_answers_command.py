import gzip
import hashlib
import json

import numpy as np
import pytest
from click.testing import CliRunner

from gateway.commands.evaluate import evaluate
from gateway.domain.errors import ConfigurationError
from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.ingest import Ingest
from gateway.settings import Settings

DOCUMENTS = {
    "fees.md": ("public", "Fees", "The card fee is 5 pounds a month. Stopping a cheque costs 8 pounds."),
    "secret.md": ("fraud", "Scores", "The fraud score that blocks a payment is 870."),
}
QUESTIONS = """
version: 1
questions:
  - {id: fee, ask: How much is the card fee a month?, groups: [public], documents: [fees.md], fact: 5 pounds}
  - id: score
    ask: Which fraud score blocks a payment?
    groups: [public]
    no_answer: hidden
    hidden: [secret.md]
    withheld: "870"
"""
WRONG = "  - {id: cheque, ask: How much does it cost to stop a cheque?, documents: [fees.md], fact: 9 pounds}\n"


class HashEmbedder:
    """Words to random directions: texts that share words are near."""

    name, version, dimensions = "hash", "1", 16

    def embed(self, texts):
        return np.stack([self._one(text) for text in texts])

    def _one(self, text):
        total = np.zeros(self.dimensions, np.float32)
        for word in text.lower().split():
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4])
            total += np.random.default_rng(seed).standard_normal(self.dimensions)
        return (total / max(np.linalg.norm(total), 1e-9)).astype(np.float32)


@pytest.fixture
async def folder(tmp_path):
    documents = tmp_path / "documents"
    documents.mkdir()
    for name, (group, title, text) in DOCUMENTS.items():
        front = f"title: {title}\nowner: o\nsource: s\nclassification: public\naccess: [{group}]\n"
        (documents / name).write_text(f"---\n{front}---\n{text}\n", "utf-8")
    store = EmbeddedStore(tmp_path / "index", embedder="hash@1")
    await Ingest(store, HashEmbedder()).run([documents], tenant="acme")
    await store.close()
    (tmp_path / "questions.yaml").write_text(QUESTIONS, "utf-8")
    return tmp_path


def run(folder, *arguments, tenant="acme"):
    obj = {"settings": Settings(data_dir=folder), "embedder": HashEmbedder}
    where = ("--questions", str(folder / "questions.yaml"), "--data-dir", str(folder), "--tenant", tenant)
    return CliRunner().invoke(evaluate, (arguments[0], *where, *arguments[1:]), obj=obj, env={"COLUMNS": "200"})


def test_right_answers_and_silence_pass(folder):
    result = run(folder, "answers", "--min-correct", "1")
    assert result.exit_code == 0, result.output
    assert "leaks: 0" in result.stdout


def test_json_has_the_rates_and_the_failed_questions(folder):
    with (folder / "questions.yaml").open("a", encoding="utf-8") as file:
        file.write(WRONG)
    result = run(folder, "answers", "--format", "json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["right"]["value"] == pytest.approx(2 / 3)
    assert [(one["id"], one["outcome"]) for one in found["failed"]] == [("cheque", "beside the point")]


def test_too_few_right_answers_fail(folder):
    with (folder / "questions.yaml").open("a", encoding="utf-8") as file:
        file.write(WRONG)
    result = run(folder, "answers", "--min-correct", "0.9")
    assert result.exit_code == 1
    assert "cheque: the answer does not hold the fact. How much does it cost to stop a cheque?" in result.stdout


def test_a_leak_fails_whatever_is_asked_for(folder):
    file = folder / "questions.yaml"
    file.write_text(file.read_text("utf-8").replace("hidden: [secret.md]", "hidden: [fees.md]"), "utf-8")
    result = run(folder, "answers")
    assert result.exit_code == 1
    assert "leaks: 1" in result.stdout


def test_a_search_that_fails_is_no_result(folder):
    (folder / "index").rename(folder / "moved")
    (folder / "index").write_text("no folder", "utf-8")
    result = run(folder, "answers")
    assert result.exit_code == 1
    assert "the search failed with" in result.output


def test_questions_need_a_tenant(folder):
    result = run(folder, "answers", tenant="")
    assert result.exit_code == 2
    assert "needs `--tenant`" in result.output


def test_a_file_that_is_not_text_is_told(folder):
    (folder / "questions.yaml").write_bytes(b"\xff\xfe")
    assert isinstance(run(folder, "answers").exception, ConfigurationError)


def test_retrieval_counts_any_expected_document(folder):
    result = run(folder, "retrieval", "--format", "json", "-k", "3")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == [{"name": "questions", "queries": 1, "ndcg": 1.0, "recall": 1.0, "mrr": 1.0}]


def test_labelled_sets_are_indexed_and_measured(folder):
    texts = ("Cards are blue and round.", "Zebras graze on the plain.")
    rows = {
        "scifact_corpus": [{"id": f"{n}", "title": f'"T": {n}', "sentences": [text]} for n, text in enumerate(texts)],
        "scifact_claims_train": [{"id": "c", "text": "Zebras graze.", "relevant": ["1"]}],
        "rhobank_docs": [{"id": f"d{n}", "title": "", "text": text, "internal": True} for n, text in enumerate(texts)],
        "rhobank_tasks": [{"id": "t", "scenario": {"instructions": "Blue *cards*"}, "required_documents": ["d0"]}],
    }
    (folder / "retrieval").mkdir()
    for name, entries in rows.items():
        with gzip.open(folder / "retrieval" / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)
    result = run(folder, "retrieval", "--labelled", str(folder), "--format", "json")
    assert result.exit_code == 0, result.output
    assert [(row["name"], row["queries"], row["mrr"]) for row in json.loads(result.stdout)] == [
        ("questions", 1, 1.0),
        ("scifact", 1, 1.0),
        ("rhobank", 1, 1.0),
    ]


def test_labelled_sets_that_are_not_there_are_left_out(folder):
    result = run(folder, "retrieval", "--labelled", str(folder))
    assert result.exit_code == 0
    assert "scifact" not in result.stdout


def test_quoted_answers_are_called_supported(folder):
    result = run(folder, "groundedness", "--max-alarms", "0", "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["own_answers"]["flagged"] == {
        "hits": 0,
        "total": 2,
        "low": 0.0,
        "high": pytest.approx(0.658, abs=0.001),
        "value": 0.0,
    }
