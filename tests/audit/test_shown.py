"""Checks of shown events: what is proven, what is only chained, and every way of tampering that they see."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from gateway.audit.anchor import break_glass
from gateway.audit.anchoring import NOBODY, Trust
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.note import KeyType, SigningKey
from gateway.audit.shown import ShownCheck, check_shown
from gateway.audit.verify import Outcome
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType

KEY = SigningKey("gateway.test/node-1", KeyType.NOTE, bytes(range(32)))
TRUST = Trust(log_keys=(KEY.verifier,))


def grow(logs, events: int) -> None:
    log = logs.open()
    for number in range(events - 1):
        log.append_blocking(EventDraft(type=EventType.INGEST, tenant="acme", body={"number": number}))
    log.close()


def change(path: Path, sql: str, *values: object) -> None:
    db = sqlite3.connect(path)
    assert db.execute(sql, values).rowcount == 1
    db.commit()
    db.close()


def rewritten(path: Path, seq: int, old: bytes, new: bytes) -> None:
    """Change the bytes of an event and its stored hash with them."""
    db = sqlite3.connect(path)
    db.create_function("sha256", 1, lambda body: __import__("hashlib").sha256(body).digest())
    (body,) = db.execute("SELECT body FROM events WHERE seq = ?", (seq,)).fetchone()
    changed = body.replace(old, new)
    assert changed != body
    db.execute("UPDATE events SET body = ?, hash = sha256(?) WHERE seq = ?", (changed, changed, seq))
    db.commit()
    db.close()


def state(found: ShownCheck) -> dict[int, str]:
    return {seq: check.outcome.value for seq, check in found.checks.items()}


@pytest.fixture
def signed(logs, sign) -> Path:
    """A log of 700 events under one checkpoint of 600 and one of 650."""
    grow(logs, 600)
    sign(logs.path)
    grow(logs, 50)
    sign(logs.path)
    grow(logs, 50)
    return logs.path


@pytest.mark.parametrize("tiles", [True, False])
def test_covered_events_are_proven_and_newer_ones_chained(signed: Path, tiles: bool) -> None:
    if not tiles:
        folder_of(signed).tiles.unlink()
    found = check_shown(signed, [1, 256, 257, 600, 650, 651, 700], TRUST)
    assert state(found) == dict.fromkeys([1, 256, 257, 600, 650], "verified-anchored") | dict.fromkeys(
        [651, 700], "verified-unanchored"
    )
    assert found.outcome is Outcome.VERIFIED_UNANCHORED
    assert "newer than the last checkpoint" in found.what
    assert (found.events, found.checkpoint.checkpoint.size, found.trusted) == (700, 650, True)
    proof = found.checks[257].proof
    assert proof is not None
    db = sqlite3.connect(signed)
    (body,) = db.execute("SELECT body FROM events WHERE seq = 257").fetchone()
    db.close()
    assert proof.proves(body)
    assert not proof.proves(body + b" ")


def test_a_key_that_nobody_trusts_anchors_nothing(signed: Path) -> None:
    for trust in (NOBODY, Trust(log_keys=(SigningKey("other", KeyType.NOTE, bytes(32)).verifier,))):
        found = check_shown(signed, [5], trust)
        assert found.outcome is Outcome.VERIFIED_UNANCHORED
        assert not found.trusted
        assert "no key that the settings trust" in found.checks[5].what
        assert found.checks[5].proof is not None


def test_a_log_without_checkpoints_says_what_to_do(logs) -> None:
    grow(logs, 3)
    found = check_shown(logs.path, [2], TRUST)
    assert (found.outcome, found.checkpoint) == (Outcome.VERIFIED_UNANCHORED, None)
    assert "gateway signer" in found.what


def test_an_edited_event_is_red(signed: Path) -> None:
    edit = "UPDATE events SET body = CAST(replace(body, '\"number\":98', '\"number\":99') AS BLOB) WHERE seq = 100"
    change(signed, edit)
    found = check_shown(signed, [100], TRUST)
    assert found.outcome is Outcome.INVALID
    assert found.what.startswith("event 100: ")


def test_an_edited_event_with_its_hash_is_red(signed: Path) -> None:
    rewritten(signed, 100, b'"number":98', b'"number":97')
    found = check_shown(signed, [100], TRUST)
    assert found.outcome is Outcome.INVALID
    assert "event 101 beside it" in found.what


def test_a_chain_written_anew_is_red_by_its_proof(signed: Path, logs, sign, tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    shutil.move(folder_of(signed).path, aside)
    for file in signed.parent.glob("audit.db*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    grow(logs, 700)
    shutil.move(aside, folder_of(signed).path)
    found = check_shown(signed, [100, 690], TRUST)
    assert found.outcome is Outcome.DIVERGED
    assert state(found) == {100: "diverged", 690: "verified-unanchored"}


def test_a_log_shorter_than_its_checkpoint_is_red(signed: Path) -> None:
    db = sqlite3.connect(signed)
    db.execute("DELETE FROM events WHERE seq > 620")
    db.commit()
    db.close()
    found = check_shown(signed, [10], TRUST)
    assert found.outcome is Outcome.DIVERGED
    assert "650 events was signed" in found.what


def test_a_loss_that_two_people_accepted_is_not_red(signed: Path, logs, sign) -> None:
    db = sqlite3.connect(signed)
    db.execute("DELETE FROM events WHERE seq > 620")
    db.commit()
    db.close()
    logs.open(accept=lambda rollback: break_glass(rollback, [{"key": "1"}, {"key": "2"}], "RESTORED_BACKUP")).close()
    assert state(check_shown(signed, [10], TRUST)) == {10: "verified-unanchored"}
    key = SigningKey("gateway.test/node-1/2", KeyType.NOTE, bytes(range(2, 34)))
    sign(signed, key)
    assert state(check_shown(signed, [10], Trust(log_keys=(key.verifier,)))) == {10: "verified-anchored"}


def test_a_deleted_event_is_red(signed: Path) -> None:
    change(signed, "DELETE FROM events WHERE seq = 300")
    found = check_shown(signed, [300, 301], TRUST)
    assert state(found) == {300: "invalid", 301: "diverged"}
    assert "not in the log any more" in found.checks[300].what


def test_a_forked_checkpoint_is_red(signed: Path, logs, sign, tmp_path: Path) -> None:
    """The signer's key signed another history before: the last checkpoint does not extend that one."""
    folder = folder_of(signed)
    own = folder.recent(2)
    other = tmp_path / "other" / "audit.db"
    other.parent.mkdir()
    logs.path = other
    grow(logs, 640)
    forked = sign(other)
    assert forked is not None
    lines = folder.file.read_bytes().splitlines(keepends=True)
    line = folder_of(other).file.read_bytes()
    folder.file.write_bytes(lines[0] + line + lines[1])
    found = check_shown(signed, [], TRUST)
    assert found.outcome is Outcome.DIVERGED
    assert "does not extend checkpoint 640" in found.what
    assert own[-1].checkpoint == found.checkpoint.checkpoint


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 400])
def test_damaged_tiles_change_nothing(signed: Path, damage: bytes) -> None:
    folder_of(signed).tiles.write_bytes(damage)
    assert state(check_shown(signed, [7], TRUST)) == {7: "verified-anchored"}


def test_false_tiles_are_not_believed(signed: Path) -> None:
    db = sqlite3.connect(folder_of(signed).tiles)
    db.execute("UPDATE nodes SET hash = zeroblob(32)")
    db.commit()
    db.close()
    assert state(check_shown(signed, [7], TRUST)) == {7: "verified-anchored"}


def test_a_file_that_is_no_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(AuditUnavailable):
        check_shown(tmp_path / "audit.db", [1], TRUST)
