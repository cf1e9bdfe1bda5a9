"""What is wrong with the configuration or the data is told at the start, one line a fault, and nothing is served."""

import asyncio
import socket
import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.served import FAST_POLICIES, command, refused, served, verify, write_config

from gateway.retrieval.embedded import EmbeddedStore
from gateway.retrieval.ingest import Ingest

pytestmark = pytest.mark.slow

UVICORN_SAYS = "Application startup failed. Exiting."

BAD_POLICY = """\
apiVersion: gateway/v1
kind: PolicySet
metadata: {id: bad, version: "1", owner: "team:tests", purpose: Faults, review_by: 2030-01-01}
rules:
  - id: T-001
    title: Two faults
    severity: hugh
    phase: query
    when: {all: [{field: request.model, eq: m}]}
    then: {effect: refuze}
"""

DOCUMENT = """\
---
title: Fees
access: [public]
classification: public
owner: team:fees
---

# Fees

The fee is one euro.
"""


def faults_of(output: str) -> list[str]:
    assert "Traceback" not in output
    return [line for line in output.splitlines() if line != UVICORN_SAYS]


def test_each_fault_of_a_policy_is_one_line_with_its_place(make_config, tmp_path) -> None:
    file = tmp_path / "policies" / "bad.yaml"
    file.parent.mkdir()
    file.write_text(BAD_POLICY)
    code, output = refused(make_config(policies=[file.parent]))
    assert code == 3
    severity, effect = faults_of(output)
    assert severity.startswith(f"gateway: {file}:7:15: ")
    assert "`hugh`" in severity
    assert effect.startswith(f"gateway: {file}:10:20: ")
    assert "did you mean `refuse`" in effect


def test_workers_that_cannot_start_end_the_supervisor_with_an_error(make_config, tmp_path) -> None:
    code, output = refused(make_config(policies=[tmp_path / "nowhere"]), "--workers", "2")
    assert code == 3
    assert "Traceback" not in output
    assert str(tmp_path / "nowhere") in output


def test_each_fault_of_the_settings_is_one_line_with_its_place(tmp_path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text("server: {prot: 1}\nmodels:\n  - {name: a, provider: openai}\n")
    code, output = refused(config)
    assert code == 2
    unknown, missing = faults_of(output)
    assert unknown.startswith(f"gateway: {config}:1:10: ")
    assert "did you mean `port`" in unknown
    assert missing.startswith(f"gateway: {config}:3:")
    assert "`base_url`" in missing


def test_a_settings_file_that_is_missing_is_named(tmp_path) -> None:
    code, output = refused(tmp_path / "none.yaml")
    assert code == 2
    (line,) = faults_of(output)
    assert str(tmp_path / "none.yaml") in line


def test_a_model_key_that_is_nowhere_is_named_but_no_value_is_shown(make_config) -> None:
    model = {"name": "m", "provider": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": "env:NO_SUCH_KEY"}
    code, output = refused(make_config(models=[model]), environ={"OTHER_KEY": "sk-secret-value"})
    assert code == 3
    (line,) = faults_of(output)
    assert "`NO_SUCH_KEY`" in line
    assert "sk-secret-value" not in output


def test_a_data_folder_that_cannot_be_made_is_named(make_config) -> None:
    code, output = refused(make_config(data_dir="/proc/gateway"))
    assert code == 3
    (line,) = faults_of(output)
    assert "`/proc/gateway`" in line


def test_a_port_that_is_taken_is_named(make_config) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, output = refused(make_config(), port=taken.getsockname()[1])
    assert code == 3
    assert "address already in use" in output.lower()
    assert "Traceback" not in output


@pytest.mark.parametrize("name", ["identity.db", "cases.db", "master.key", "audit.db"])
def test_a_store_that_is_no_store_is_named(make_config, tmp_path, name: str) -> None:
    damaged = tmp_path / "data" / name
    damaged.parent.mkdir(mode=0o700)
    damaged.write_text("this is no store of the gateway, but it is long enough to look like a file of some kind\n" * 50)
    damaged.chmod(0o600)
    code, output = refused(make_config())
    assert code == 3
    (line,) = faults_of(output)
    assert str(damaged) in line


class OtherEmbedder:
    name, version, dimensions = "another-model", "1", 8

    def embed(self, texts):
        return np.full((len(texts), self.dimensions), 1 / np.sqrt(self.dimensions), dtype=np.float32)


async def ingest_with(embedder, data: Path, documents: Path) -> None:
    store = EmbeddedStore(data / "index", embedder=f"{embedder.name}@{embedder.version}")
    try:
        await Ingest(store, embedder).run([documents], tenant="acme")
    finally:
        await store.close()


def test_an_index_of_another_embedder_must_be_built_anew(make_config, tmp_path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "fees.md").write_text(DOCUMENT)
    asyncio.run(ingest_with(OtherEmbedder(), tmp_path / "data", documents))
    config = make_config(retrieval={"store": "embedded"})
    code, output = refused(config)
    assert code == 3
    (line,) = faults_of(output)
    assert "another embedding model" in line
    done = command(config, "ingest", str(documents), "--tenant", "acme", "--rebuild")
    assert done.returncode == 0, done.stderr
    with served(config):
        pass


def test_a_log_whose_tail_was_altered_serves_nobody(make_config, tmp_path) -> None:
    config = make_config()
    with served(config) as gateway:
        gateway.key()
    with sqlite3.connect(tmp_path / "data" / "audit.db") as db:
        (last,) = db.execute("SELECT max(seq) FROM events").fetchone()
        (body,) = db.execute("SELECT body FROM events WHERE seq = ?", (last,)).fetchone()
        altered = msgspec.json.decode(body) | {"tenant": "other"}
        db.execute("UPDATE events SET body = ? WHERE seq = ?", (msgspec.json.encode(altered, order="sorted"), last))
    code, output = refused(config)
    assert code == 3
    (line,) = faults_of(output)
    assert "gateway audit verify" in line
    assert f"event {last}" in line or str(last) in line
    code, found = verify(config)
    assert (code, found.bad is not None and found.bad.seq) == (4, last)


def test_settings_of_the_tests_are_sound(tmp_path) -> None:
    """The faults above are what was planted, not what the tests' own files hold."""
    with served(write_config(tmp_path, data_dir=tmp_path / "data", policies=[FAST_POLICIES])) as gateway:
        status, body = gateway.ready()
        assert (status, body["status"], body["checks"]) == (200, "ok", {"audit": True})
        assert body["policy"].keys() == {"state", "digest"}
        assert body["policy"]["state"] == "current"
