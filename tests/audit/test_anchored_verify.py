"""The outcomes of a verification with checkpoints, by the library and by the command."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec import structs

from gateway.audit.anchor import break_glass
from gateway.audit.anchoring import Trust
from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.note import KeyType, SigningKey
from gateway.audit.proof import TlogProof
from gateway.audit.verify import Outcome, verify_log
from gateway.audit.witness_client import WitnessClient
from gateway.commands.audit import audit
from gateway.domain.event import EventDraft, EventType
from gateway.settings import Settings

KEY = SigningKey("gateway.test/node-1", KeyType.NOTE, bytes(range(32)))
NEXT_KEY = SigningKey("gateway.test/node-1/2", KeyType.NOTE, bytes(range(2, 34)))
WITNESS = SigningKey("witness.test/w1", KeyType.COSIGNATURE, bytes(range(1, 33)))
STRANGER = SigningKey("gateway.test/node-1", KeyType.NOTE, bytes(32))
TRUST = Trust(log_keys=(KEY.verifier,))
INGEST = EventDraft(type=EventType.INGEST)


@pytest.fixture
def path(logs, exchange, sign) -> Path:
    """Seven events and a checkpoint over each boot: 3 and 6; the seventh is not covered."""
    for number in range(2):
        log = logs.open()
        for draft in exchange(f"r{number}"):
            log.append_blocking(draft)
        log.close()
        sign(logs.path)
    logs.open().close()
    return logs.path


def sql(path: Path, *statements: str) -> None:
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def run(path: Path, *arguments: str, **settings: Any) -> Result:
    obj = {"settings": Settings(data_dir=path.parent, **settings)}
    return CliRunner().invoke(audit, arguments, obj=obj, env={"COLUMNS": "160"})


def test_a_trusted_key_anchors_a_log(path: Path) -> None:
    result = verify_log(path, TRUST)
    assert (result.outcome, result.checkpoints) == (Outcome.VERIFIED_ANCHORED, 2)
    assert result.anchor is not None
    assert (result.anchor.size, result.events, result.anchor.witnesses) == (6, 7, ())


@pytest.mark.parametrize(
    "trust",
    [
        Trust(),
        Trust(log_keys=(STRANGER.verifier,)),
        Trust(witness_keys=(WITNESS.verifier,)),
        Trust(log_keys=(KEY.verifier,), witness_keys=(WITNESS.verifier,)),
    ],
)
def test_what_nobody_trusted_signed_is_compared_but_anchors_nothing(path: Path, trust: Trust) -> None:
    result = verify_log(path, trust)
    assert (result.outcome, result.anchor) == (Outcome.VERIFIED_UNANCHORED, None)
    sql(path, "DELETE FROM events WHERE seq > 4")
    assert verify_log(path, trust).outcome is Outcome.DIVERGED


def test_witnesses_must_be_as_many_as_are_asked_for(logs, path: Path, sign, witness_url: str) -> None:
    signed = sign(path, witnesses=[WitnessClient(witness_url, WITNESS.verifier)])
    assert signed is not None
    trust = Trust(log_keys=(KEY.verifier,), witness_keys=(WITNESS.verifier,))
    result = verify_log(path, trust)
    assert (result.outcome, result.anchor and result.anchor.witnesses) == (
        Outcome.VERIFIED_ANCHORED,
        ("witness.test/w1",),
    )
    assert result.clock_ahead_s == 0
    two = Trust(log_keys=(KEY.verifier,), witness_keys=(WITNESS.verifier,), quorum=2)
    assert verify_log(path, two).outcome is Outcome.VERIFIED_UNANCHORED
    logs.clock.now = logs.clock.now.replace(year=2029)
    logs.open().close()
    sign(path, witnesses=[WitnessClient(witness_url, WITNESS.verifier)])
    assert verify_log(path, trust).clock_ahead_s > 86_400  # the witness says 2027


def test_events_cut_off_behind_a_checkpoint_diverge(path: Path) -> None:
    sql(path, "DELETE FROM events WHERE seq > 4")
    result = verify_log(path, TRUST)
    assert (result.outcome, result.outcome.exit_code) == (Outcome.DIVERGED, 5)
    assert result.diverged == ("checkpoint 6 of `gateway.test/node-1`: the log ends at event 4",)


def test_a_copy_kept_elsewhere_shows_what_the_folder_no_longer_does(logs, path: Path) -> None:
    kept = folder_of(path).last()
    assert kept is not None
    folder_of(path).file.unlink()
    sql(path, "DELETE FROM events WHERE seq > 4")
    assert verify_log(path, TRUST).outcome is Outcome.VERIFIED_UNANCHORED
    assert verify_log(path, TRUST, [kept]).outcome is Outcome.DIVERGED


def test_a_loss_that_two_people_accepted_is_told_and_anchored_anew(logs, path: Path, sign) -> None:
    sql(path, "DELETE FROM events WHERE seq > 4")
    people = [{"key": "1"}, {"key": "2"}]
    logs.open(accept=lambda rollback: break_glass(rollback, people, "RESTORED_BACKUP")).close()
    assert verify_log(path, TRUST).outcome is Outcome.DIVERGED
    sign(path, NEXT_KEY)
    both = Trust(log_keys=(KEY.verifier, NEXT_KEY.verifier))
    result = verify_log(path, both)
    assert (result.outcome, result.diverged) == (Outcome.VERIFIED_ANCHORED, ())
    assert result.accepted == ("checkpoint 6 of `gateway.test/node-1`: its first events differ",)


@pytest.mark.parametrize(
    ("statements", "arguments", "outcome", "code"),
    [
        ([], ["--key", str(KEY.verifier)], "verified-anchored", 0),
        ([], ["--key", str(KEY.verifier), "--require-anchor"], "verified-anchored", 0),
        ([], [], "verified-unanchored", 0),
        ([], ["--require-anchor"], "verified-unanchored", 6),
        ([], ["--key", str(STRANGER.verifier), "--require-anchor"], "verified-unanchored", 6),
        (["DELETE FROM events WHERE seq > 4"], [], "diverged", 5),
        (["UPDATE events SET hash = zeroblob(32) WHERE seq = 2"], [], "invalid", 4),
        (["DELETE FROM events WHERE seq = 6", "DELETE FROM events WHERE seq = 7"], [], "diverged", 5),
    ],
)
def test_each_outcome_has_its_exit_code(
    path: Path, statements: list[str], arguments: list[str], outcome: str, code: int
) -> None:
    sql(path, *statements)
    result = run(path, "verify", *arguments)
    assert (f"audit.db: {outcome}" in result.stdout, result.exit_code) == (True, code), result.output
    as_json = run(path, "verify", "--format", "json", *arguments)
    assert (json.loads(as_json.stdout)["outcome"], as_json.exit_code) == (outcome, code)


def test_keys_come_from_the_settings_or_files_too(path: Path, tmp_path: Path) -> None:
    settings = {"audit": structs.replace(Settings().audit, checkpoint_key=str(KEY.verifier))}
    assert "verified-anchored" in run(path, "verify", **settings).stdout
    key = folder_of(path).key
    result = run(path, "verify", "--key", str(key))
    assert "a trusted checkpoint covers 6 events; no witness was asked for; 1 newer ones" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--key", "/nowhere"], "neither a verifier key nor a file"),
        (["--key", "a+b+c"], "neither a verifier key nor a file"),
        (["--checkpoint", "/nowhere"], "checkpoint `/nowhere` cannot be read: No such file"),
        (["--checkpoint", __file__], "cannot be read: "),
        (["/nowhere.zip"], "does not exist"),
        (["/nowhere.zip", "--key", "x"], "neither a verifier key"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_exit_code_2(path: Path, arguments: list[str], message: str) -> None:
    result = run(path, "verify", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_copy_is_compared_by_the_command(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_text(str(folder_of(path).last()))
    for file in folder_of(path).path.iterdir():
        file.unlink()
    sql(path, "DELETE FROM events WHERE seq > 3")
    assert run(path, "verify").exit_code == 0
    result = run(path, "verify", "--checkpoint", str(copy))
    assert result.exit_code == 5
    assert "diverged: checkpoint 6 of `gateway.test/node-1`: the log ends at event 3" in result.stdout


def test_an_event_is_proven_by_place_id_or_exchange(path: Path, tmp_path: Path) -> None:
    with sqlite3.connect(path) as db:
        rows = dict(db.execute("SELECT seq, body FROM events"))
        (event_id,) = db.execute("SELECT id FROM events WHERE seq = 2").fetchone()
    db.close()
    for what, seq in (("2", 2), (event_id, 2), ("r1", 6)):
        result = run(path, "prove", what)
        assert result.exit_code == 0, result.output
        proof = TlogProof.parse(result.stdout.encode())
        assert (proof.index, proof.signed.is_signed_by(KEY.verifier)) == (seq - 1, True)
        assert proof.proves(rows[seq])
    folder = tmp_path / "proofs"
    assert run(path, "prove", "r0", "--folder", str(folder)).exit_code == 0
    assert sorted(file.name for file in folder.iterdir()) == ["2.json", "2.tlog-proof", "3.json", "3.tlog-proof"]
    for seq in (2, 3):
        assert TlogProof.parse((folder / f"{seq}.tlog-proof").read_bytes()).proves(
            (folder / f"{seq}.json").read_bytes()
        )


def test_what_cannot_be_proven_says_why(logs, path: Path) -> None:
    assert "has no event or exchange `r9`" in run(path, "prove", "r9").stderr
    assert "event 7 is newer than the last checkpoint, which covers 6" in run(path, "prove", "7").stderr
    sql(path, "UPDATE events SET body = CAST(body || ' ' AS BLOB) WHERE seq = 4")
    assert "not what its last checkpoint was signed over" in run(path, "prove", "2").stderr
    folder_of(path).file.unlink()
    assert "has no checkpoint: run `gateway signer`" in run(path, "prove", "2").stderr


def test_the_latest_checkpoint_is_a_plain_note(path: Path) -> None:
    assert SignedCheckpoint.parse(folder_of(path).latest.read_bytes()).checkpoint.size == 6
