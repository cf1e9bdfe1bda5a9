"""`gateway signer`, `gateway witness` and `gateway audit break-glass`, as processes and with their key files."""

import signal
import socket
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.__main__ import cli
from gateway.assembly.node import open_audit
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.key_file import create_key, load_key
from gateway.audit.note import KeyType, VerifierKey
from gateway.audit.read import AuditReader, Filter
from gateway.domain.errors import AuditUnavailable, ConfigurationError
from gateway.domain.event import EventDraft, EventType
from gateway.identity.key_store import KeyStore
from gateway.settings import Settings
from gateway.settings.folder import IDENTITY_FILE

INGEST = EventDraft(type=EventType.INGEST)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def grow(settings: Settings, events: int) -> Path:
    log = open_audit(settings)
    for _ in range(events - 1):
        log.append_blocking(INGEST)
    log.close()
    return log.path


def run(settings: Settings, *arguments: str, typed: str = "") -> Result:
    config = settings.data_dir.parent / "gateway.yaml"
    config.write_text(f"data_dir: {settings.data_dir}\n")
    return CliRunner().invoke(cli, ["--config", str(config), *arguments], input=typed)


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def until(condition: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def sizes(path: Path) -> list[int]:
    return [signed.checkpoint.size for signed in folder_of(path).read()]


def test_a_key_file_is_for_its_owner_alone_and_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "signer.key"
    key = create_key(file, "gateway.test/node-1", KeyType.NOTE)
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_key(file, KeyType.NOTE).verifier == key.verifier
    with pytest.raises(ConfigurationError, match="cannot be made: File exists"):
        create_key(file, "gateway.test/node-1", KeyType.NOTE)
    with pytest.raises(ConfigurationError, match="holds a key for another purpose: cosignature"):
        load_key(file, KeyType.COSIGNATURE)
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="can be read by others: `chmod 600` it"):
        load_key(file, KeyType.NOTE)
    with pytest.raises(ConfigurationError, match="cannot name a key"):
        create_key(tmp_path / "other", "a b", KeyType.NOTE)


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"PRIVATE+KEY+a+b+c", b"a+c74f20a3+ARpc"])
def test_what_is_no_key_file_is_told_without_its_content(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(ConfigurationError) as caught:
        load_key(file, KeyType.NOTE)
    assert "ARpc" not in caught.value.message
    assert "\n" not in caught.value.message


def test_the_signer_signs_once_and_refuses_a_rollback(settings: Settings, tmp_path: Path) -> None:
    path = grow(settings, 5)
    key = ["signer", "--key", str(tmp_path / "signer.key"), "--once"]
    result = run(settings, *key)
    assert isinstance(result.exception, ConfigurationError)
    assert "make one with `--create-key`" in result.exception.message
    assert run(settings, *key, "--create-key").exit_code == 0
    grow(settings, 2)
    assert run(settings, *key, "--copy-file", str(tmp_path / "worm")).exit_code == 0
    assert sizes(path) == [5, 7]
    assert (tmp_path / "worm").read_text().count("\n") == 1
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM events WHERE seq > 6")
    db.close()
    result = run(settings, *key)
    assert result.exit_code == 5
    assert "nothing more is signed" in result.stderr or "break the glass" in result.stderr


def test_a_signer_needs_addresses_and_keys_that_are_some(settings: Settings, tmp_path: Path) -> None:
    grow(settings, 1)
    key = ["signer", "--key", str(tmp_path / "signer.key"), "--create-key", "--once"]
    for wrong in (["--witness", "http://127.0.0.1:1", "x"], ["--copy-url", "ftp://x"]):
        result = run(settings, *key, *wrong)
        assert isinstance(result.exception, ConfigurationError)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_signer_and_witness_run_as_processes_of_their_own(settings: Settings, tmp_path: Path) -> None:
    log_key, witness_key = tmp_path / "signer.key", tmp_path / "witness.key"
    log = create_key(log_key, settings.audit.log_name, KeyType.NOTE).verifier
    made = run(settings, "witness", "key", "--key", str(witness_key), "--name", "witness.test/w1")
    cosigner = VerifierKey.parse(made.stdout)
    port = free_port()
    serving = start(
        "witness", "serve", "--key", str(witness_key), "--state", str(tmp_path / "seen.db"), "--log", str(log),
        "--port", str(port),
    )  # fmt: skip
    assert serving.stderr is not None
    assert "witness at" in serving.stderr.readline()
    config = tmp_path / "gateway.yaml"
    config.write_text(f"data_dir: {settings.data_dir}\n")
    signing = start(
        "--config", str(config), "signer", "--key", str(log_key), "--every-seconds", "0.1", "--witness",
        f"http://127.0.0.1:{port}", str(cosigner),
    )  # fmt: skip
    try:
        path = grow(settings, 3)  # the signer waited for the log
        until(lambda: sizes(path)[-1:] == [3])
        grow(settings, 12)
        until(lambda: sizes(path)[-1:] == [15])
        last = folder_of(path).last()
        assert last is not None
        assert last.is_signed_by(log)
        (moment,) = last.witnesses([cosigner]).values()
        assert abs(moment - time.time()) < 60
    finally:
        signing.send_signal(signal.SIGTERM)
        serving.send_signal(signal.SIGINT)
        ended = [process.communicate(timeout=30) for process in (signing, serving)]
    assert (signing.returncode, serving.returncode) == (0, 0), ended


@pytest.fixture
def people(settings: Settings) -> dict[str, str]:
    """API keys of ann and bob, who are admins, and of eve, who is not."""
    settings.data_dir.mkdir()
    store = KeyStore.open(settings.data_dir / IDENTITY_FILE)
    keys = {}
    for user, roles in (("ann", ("admin",)), ("bob", ("admin", "auditor")), ("eve", ("reviewer",))):
        created = store.create(
            tenant="t", app="ops", user=user, groups=(), roles=roles, models=("*",), requests_per_minute=0, label="",
            expires=None, now=datetime.now(UTC),
        )  # fmt: skip
        keys[user] = created.key.reveal()
    store.close()
    return keys


def test_two_admins_break_the_glass_and_it_is_recorded(settings: Settings, tmp_path: Path, people) -> None:
    path = grow(settings, 5)
    signing = ["signer", "--key", str(tmp_path / "signer.key"), "--create-key", "--once"]
    assert run(settings, *signing).exit_code == 0
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM events WHERE seq > 3")
    db.close()
    with pytest.raises(AuditUnavailable, match="rolled back"):
        open_audit(settings)
    command = ["audit", "break-glass", "--as", "ann", "--as", "bob", "--reason", "RESTORED_BACKUP"]
    for typed in ("x\nx\n", f"{people['ann']}\n{people['ann']}\n", f"{people['ann']}\n{people['eve']}\n"):
        result = run(settings, *command, typed=typed)
        assert result.exit_code == 1
        assert "is no valid API key of" in result.stderr
    with pytest.raises(AuditUnavailable, match="rolled back"):
        open_audit(settings)
    result = run(settings, *command, typed=f"{people['ann']}\n{people['bob']}\n")
    assert result.exit_code == 0, result.output
    assert "recorded: the log is accepted although it ends at event 3" in result.stdout
    assert people["ann"] not in result.output
    open_audit(settings).close()
    with AuditReader(path) as reader:
        (event,) = reader.search(Filter(types=frozenset({"admin.break_glass"})))
    assert event.members["reason"] == "RESTORED_BACKUP"
    assert {operator["key"] for operator in event.members["operators"]} == {people["ann"][3:13], people["bob"][3:13]}
    again = run(settings, *command, typed=f"{people['ann']}\n{people['bob']}\n")
    assert "was accepted before" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--as", "ann", "--reason", "LOST"], "takes two different people"),
        (["--as", "ann", "--as", "ann", "--reason", "LOST"], "takes two different people"),
        (["--as", "ann", "--as", "bob", "--reason", "because"], "a reason is a code"),
    ],
)
def test_the_glass_does_not_break_for_one(settings: Settings, arguments: list[str], message: str) -> None:
    result = run(settings, "audit", "break-glass", *arguments)
    assert (result.exit_code, message in result.stderr) == (2, True)
    assert not settings.data_dir.exists()
