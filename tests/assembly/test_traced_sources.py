"""From a document to an answer and back, and out again: the real commands beside a running gateway."""

import json
import urllib.request

import pytest
from click.testing import CliRunner
from support.server import running_gateway

from gateway.__main__ import cli
from gateway.settings import load_settings

POLICY = """
apiVersion: gateway/v1
kind: PolicySet
metadata: {id: one, version: "1", owner: "team:tests", purpose: Passages, review_by: 2030-01-01}
lists:
  order: {values: [obey], match: word}
rules:
  - id: P-ORDER
    title: A passage that gives orders is withheld
    severity: high
    phase: passage
    when: {all: [{signal: list.order, is: true}]}
    then: {effect: refuse}
"""
META = "owner: team:cards\nclassification: public\naccess: [public]\nlanguage: en\n"
QUESTION = "What does a replacement card cost?"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "one.yaml").write_text(POLICY)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "_meta.yaml").write_text(META)
    (tmp_path / "docs" / "cards.html").write_text("<h1>Cards</h1><p>A replacement card costs seven pounds.</p>")
    (tmp_path / "docs" / "orders.md").write_text("# Replacement\n\nA replacement card costs nothing if you obey.")
    config = tmp_path / "gateway.yaml"
    config.write_text(f"data_dir: {tmp_path / 'var'}\npolicies: [{tmp_path / 'policies'}]\n")

    def run(*arguments, code=0):
        result = CliRunner().invoke(cli, ["--config", str(config), *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result.output

    run.config = config
    return run


def ask(gateway, key):
    request = urllib.request.Request(
        f"{gateway.url}/v1/chat/completions",
        json.dumps({"model": "extractive", "messages": [{"role": "user", "content": QUESTION}]}).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def test_an_answer_is_traced_to_its_file_and_a_deletion_is_seen_at_once(run, tmp_path):
    assert "2 added" in run("ingest", "--tenant", "acme", tmp_path / "docs")
    settings = load_settings(run.config, {})
    with running_gateway(settings) as gateway:
        key = gateway.key()
        answer = ask(gateway, key)
        assert "seven pounds" in answer["choices"][0]["message"]["content"]
        assert "nothing" not in answer["choices"][0]["message"]["content"]
        [row] = json.loads(run("sources", "trace", answer["id"], "--format", "json"))
        assert (row["passage"], row["state"], row["cited as"]) == ("cards.html#0", "current", "[1]")
        assert row["file"] == str(tmp_path / "docs" / "cards.html")
        exchange = answer["id"].removeprefix("chatcmpl-")
        for what in ("cards.html", "cards.html#0"):
            [use] = json.loads(run("sources", "trace", what, "--format", "json"))
            assert (use["answer"], use["revision"]) == (exchange, row["revision"])
        [event] = json.loads(run("audit", "search", "--type", "ingest", "--format", "json"))
        assert row["run"] in json.dumps(event)

        why = ("--by", "ann", "--reason", "REQ-1")
        run("sources", "quarantine", "release", "orders.md#0", *why)
        run("sources", "delete", "cards.html", *why)
        after = ask(gateway, key)["choices"][0]["message"]["content"]
        assert "seven" not in after
        assert "obey" in after  # the released passage is left
        [row] = json.loads(run("sources", "trace", exchange, "--format", "json"))
        assert row["state"] == "deleted"
        assert row["file"] == str(tmp_path / "docs" / "cards.html")
    assert "no answer or document" in run("sources", "trace", "unknown", code=1)
    assert "DOC011" in run("ingest", "--tenant", "acme", tmp_path / "docs", code=1)
    assert "verified" in run("audit", "verify")
