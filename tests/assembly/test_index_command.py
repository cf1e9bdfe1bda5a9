"""`gateway index` at a terminal, over a small index of the real kind."""

import json

import pytest
from click.testing import CliRunner
from retrieval.corpora import write

from gateway.__main__ import cli


@pytest.fixture
def gateway(tmp_path, monkeypatch):
    """Runs a command in a folder with three documents, indexed without policies."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text("data_dir: data\ningest: {inspect: false}\n")
    for name in ("loan", "card", "fee"):
        body = f"# About {name}\n\n" + f"What a customer pays for a {name}. " * 20
        write(
            tmp_path / "docs",
            f"{name}.md",
            body,
            title=f"About {name}",
            valid_to="2026-01-01" if name == "fee" else None,
        )

    def run(*arguments, code=0):
        result = CliRunner().invoke(cli, ["--config", "gateway.yaml", *arguments])
        assert result.exit_code == code, result.output
        return result.output

    run("ingest", "docs", "--tenant", "acme")
    return run


def test_an_index_is_built_listed_rolled_back_and_pruned(gateway):
    built = json.loads(gateway("index", "build", "--chunker", "window", "--target-chars", "300", "--format", "json"))
    assert (built["switched"], built["comparison"]["questions"]) == (True, 3)
    assert "previous" in gateway("index", "list")
    roles = {one["edition"]["name"]: one["role"] for one in json.loads(gateway("index", "list", "--format", "json"))}
    assert roles == {"base": "previous", built["edition"]["name"]: "serving"}
    assert "edition `base` serves; 0 documents" in gateway("index", "rollback", "--by", "ann")
    assert gateway("index", "prune").startswith("0 editions removed")
    assert built["edition"]["name"] in gateway("index", "prune", "--all")
    assert "no such earlier edition" in gateway("index", "rollback", code=2)


def test_a_build_that_changes_nothing_is_asked_what_it_is_for(gateway):
    assert "say what is to be different" in gateway("index", "build", code=2)
    assert "name one of `builtin`" in gateway("index", "build", "--embedder", "huge", code=2)
    assert "less than half" in gateway("index", "build", "--target-chars", "100", "--overlap-chars", "90", code=2)


def test_drift_is_told_in_words_and_as_json(gateway, tmp_path):
    text = gateway("index", "drift", code=1)
    assert "acme: documents_expired" in text
    assert "too few searches to tell" in text
    (tmp_path / "asks.yaml").write_text(
        "version: 1\nquestions: [{id: a, ask: what does a loan cost, documents: [loan.md], fact: x}]\n"
    )
    [report] = json.loads(
        gateway("index", "drift", "--canaries", "asks.yaml", "--tenant", "acme", "--format", "json", code=1)
    )
    assert (report["canaries"], report["missed"], report["expired"]) == (1, [], ["fee.md"])
