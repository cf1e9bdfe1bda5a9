"""Signing beside a growing log, refusing a changed one, and what a boot makes of it."""

import json
import mailbox
import shutil
import sqlite3
from pathlib import Path

import pytest

from gateway.audit.anchor import break_glass, find_rollback
from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.copies import Copies, FileCopy, SpoolCopy, UrlCopy
from gateway.audit.entry import leaf_hash
from gateway.audit.merkle import root_of
from gateway.audit.note import KeyType, SigningKey
from gateway.audit.signer import Signer, SigningRefused
from gateway.domain.errors import AuditUnavailable, ConfigurationError
from gateway.domain.event import EventDraft, EventType

KEY = SigningKey("gateway.test/node-1", KeyType.NOTE, bytes(range(32)))
NEXT_KEY = SigningKey("gateway.test/node-1/2", KeyType.NOTE, bytes(range(2, 34)))
INGEST = EventDraft(type=EventType.INGEST)


def grow(logs, events: int) -> None:
    """Append to a log in a boot of its own; the boot is an event, too."""
    log = logs.open()
    for _ in range(events - 1):
        log.append_blocking(INGEST)
    log.close()


def bodies(path: Path) -> list[bytes]:
    db = sqlite3.connect(path)
    found = [body for (body,) in db.execute("SELECT body FROM events ORDER BY seq")]
    db.close()
    return found


def cut(path: Path, keep: int) -> None:
    db = sqlite3.connect(path)
    db.execute("DELETE FROM events WHERE seq > ?", (keep,))
    db.commit()
    db.close()


def write_anew(logs, events: int) -> None:
    """Another log in the place of the one that was signed."""
    for file in logs.path.parent.glob("audit.db*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    folder = folder_of(logs.path).path
    shutil.move(folder, folder.with_name("aside"))
    grow(logs, events)
    shutil.move(folder.with_name("aside"), folder)


def test_a_checkpoint_signs_the_root_over_all_events(logs, sign) -> None:
    grow(logs, 7)
    signed = sign(logs.path)
    assert signed.is_signed_by(KEY.verifier)
    assert (signed.checkpoint.origin, signed.checkpoint.size) == ("gateway.test/node-1", 7)
    assert signed.checkpoint.root == root_of(map(leaf_hash, bodies(logs.path)))
    folder = folder_of(logs.path)
    assert folder.last() == signed
    assert folder.latest.read_text() == str(signed)
    assert folder.verifier_key() == KEY.verifier
    assert folder.last_proof().proves(bodies(logs.path)[-1])
    assert sign(logs.path) is None  # nothing is new


def test_a_signer_waits_for_events_or_time(logs) -> None:
    grow(logs, 3)
    now = [0.0]
    copies = Copies([], clock=lambda: now[0], warn=pytest.fail)
    options = {"every_events": 10, "every_s": 1.0, "witnesses": [], "copies": copies, "warn": pytest.fail}
    with Signer(logs.path, KEY, clock=lambda: now[0], **options) as signer:
        assert signer.step().checkpoint.size == 3
        grow(logs, 2)
        assert signer.step() is None
        now[0] = 1.0
        assert signer.step().checkpoint.size == 5
        grow(logs, 10)
        assert signer.step().checkpoint.size == 15
    sizes = [one.checkpoint.size for one in folder_of(logs.path).read()]
    assert sizes == [3, 5, 15]


def test_a_signer_goes_on_after_thousands_of_events_and_a_torn_line(logs, sign) -> None:
    log = logs.open()
    log._writer._write([log._author.entry(INGEST) for _ in range(600)])
    sign(logs.path)
    log._writer._write([log._author.entry(INGEST) for _ in range(300)])
    folder = folder_of(logs.path)
    with folder.file.open("ab") as file:
        file.write(b'"gateway.test/node-1\\n')
    assert folder.last().checkpoint.size == 601
    signed = sign(logs.path)
    assert signed.checkpoint.root == root_of(map(leaf_hash, bodies(logs.path)))
    assert [one.checkpoint.size for one in folder.read()] == [601, 901]
    folder.tiles.unlink()
    log.append_blocking(INGEST)
    assert sign(logs.path).checkpoint.size == 902


def test_a_signer_refuses_a_log_that_shrank(logs, sign) -> None:
    grow(logs, 7)
    sign(logs.path)
    cut(logs.path, 5)
    with pytest.raises(SigningRefused, match="it ends at event 5, and a checkpoint of 7 events was signed"):
        sign(logs.path)


def test_a_signer_refuses_a_log_that_was_written_anew(logs, sign) -> None:
    grow(logs, 7)
    sign(logs.path)
    write_anew(logs, 9)
    with pytest.raises(SigningRefused, match="its first 7 events are not those"):
        sign(logs.path)


def test_a_signer_refuses_new_events_that_are_no_chain(logs, sign) -> None:
    grow(logs, 5)
    sign(logs.path)
    grow(logs, 5)
    db = sqlite3.connect(logs.path)
    db.execute("DELETE FROM events WHERE seq = 8")
    db.commit()
    db.close()
    with pytest.raises(SigningRefused, match="stands where event 8 belongs"):
        sign(logs.path)


def test_a_signer_notices_a_change_while_it_runs(logs) -> None:
    grow(logs, 5)
    copies = Copies([], clock=lambda: 0.0, warn=pytest.fail)
    options = {"every_events": 1, "every_s": 1.0, "witnesses": [], "copies": copies, "warn": pytest.fail}
    with Signer(logs.path, KEY, clock=lambda: 0.0, **options) as signer:
        signer.step()
        cut(logs.path, 4)
        with pytest.raises(SigningRefused, match="it ends at event 4"):
            signer.step()


def test_another_key_or_name_does_not_go_on_with_the_checkpoints(logs, sign) -> None:
    grow(logs, 5)
    sign(logs.path)
    with pytest.raises(SigningRefused, match="signed with another key"):
        sign(logs.path, SigningKey("gateway.test/node-1", KeyType.NOTE, bytes(32)))
    with pytest.raises(SigningRefused, match="not as `gateway"):
        sign(logs.path, NEXT_KEY)


def test_a_refused_key_is_not_published(logs, sign) -> None:
    grow(logs, 5)
    sign(logs.path)
    with pytest.raises(SigningRefused):
        sign(logs.path, NEXT_KEY)
    assert folder_of(logs.path).verifier_key() == KEY.verifier


def test_a_log_has_one_signer_at_a_time(logs, sign) -> None:
    grow(logs, 5)
    copies = Copies([], clock=lambda: 0.0, warn=pytest.fail)
    options = {"every_events": 1, "every_s": 1.0, "witnesses": [], "copies": copies, "warn": pytest.fail}
    with (
        Signer(logs.path, KEY, clock=lambda: 0.0, **options),
        pytest.raises(AuditUnavailable, match="another signer writes"),
    ):
        sign(logs.path)
    assert sign(logs.path).checkpoint.size == 5


def test_a_boot_refuses_a_log_that_is_shorter_than_its_last_checkpoint(logs, sign) -> None:
    grow(logs, 7)
    sign(logs.path)
    grow(logs, 2)
    cut(logs.path, 7)
    logs.open().close()  # what was not signed yet is lost without a trace but for the copies of later hashes
    cut(logs.path, 6)
    with pytest.raises(AuditUnavailable, match=r"rolled back or changed: it ends at event 6.*break-glass") as caught:
        logs.open()
    assert caught.value.code == "audit_rolled_back"


@pytest.mark.parametrize("proof", [True, False])
def test_a_boot_refuses_a_log_with_another_root(logs, sign, proof: bool) -> None:
    grow(logs, 7)
    sign(logs.path)
    if not proof:
        folder_of(logs.path).proof.unlink()
        logs.open().close()
    write_anew(logs, 12)
    with pytest.raises(AuditUnavailable, match="its first 7 events are not those"):
        logs.open()


def test_damaged_checkpoints_refuse_to_serve(logs, sign) -> None:
    grow(logs, 7)
    sign(logs.path)
    file = folder_of(logs.path).file
    file.write_text(file.read_text().replace("node-1", "", 1).replace("\\n7\\n", "\\nx\\n"))
    with pytest.raises(AuditUnavailable, match="are damaged") as caught:
        logs.open()
    assert caught.value.code == "checkpoints_damaged"


def test_a_log_that_two_people_accepted_serves_again_and_signs_under_a_new_name(logs, sign) -> None:
    grow(logs, 7)
    sign(logs.path)
    cut(logs.path, 5)
    logs.open(accept=lambda rollback: break_glass(rollback, [{"key": "1"}, {"key": "2"}], "RESTORED_BACKUP")).close()
    logs.open().close()
    db = sqlite3.connect(logs.path)
    rows = db.execute("SELECT body FROM events WHERE type = 'admin.break_glass'").fetchall()
    assert find_rollback(db, folder_of(logs.path)) is not None
    db.close()
    (event,) = (json.loads(body) for (body,) in rows)
    assert (event["operators"], event["reason"]) == ([{"key": "1"}, {"key": "2"}], "RESTORED_BACKUP")
    assert event["checkpoint"]["size"] == 7
    with pytest.raises(SigningRefused, match="not those of the checkpoint that was signed"):
        sign(logs.path)
    signed = sign(logs.path, NEXT_KEY)
    assert signed.checkpoint.root == root_of(map(leaf_hash, bodies(logs.path)))
    logs.open().close()
    cut(logs.path, 6)
    with pytest.raises(AuditUnavailable, match="rolled back"):
        logs.open()


class Full:
    name = "a full place"

    def put(self, signed: SignedCheckpoint) -> None:
        raise OSError(28, "No space left on device")


def test_copies_go_to_each_place_in_its_own_rhythm(logs, sign, tmp_path, witness_url) -> None:
    now, warnings = [0.0], []
    file, spool = tmp_path / "worm", tmp_path / "spool"
    places = [
        (FileCopy(file), 0.0),
        (SpoolCopy(spool, "auditor@example.org"), 60.0),
        (Full(), 0.0),
        (UrlCopy(f"{witness_url}/add-checkpoint"), 60.0),
    ]
    copies = Copies(places, clock=lambda: now[0], warn=warnings.append)
    sizes = []
    for _ in range(3):
        grow(logs, 2)
        with Signer(
            logs.path, KEY, every_events=1, every_s=1, witnesses=[], copies=copies, clock=lambda: 0.0, warn=pytest.fail
        ) as signer:
            sizes.append(signer.step().checkpoint.size)
            signer._last = None  # it does not stop in order
        now[0] += 30
    kept = [SignedCheckpoint.parse(json.loads(line).encode()) for line in file.read_text().splitlines()]
    assert [one.checkpoint.size for one in kept] == sizes == [2, 4, 6]
    mails = sorted(mailbox.Maildir(spool), key=lambda mail: mail["Subject"])
    assert [mail["Subject"] for mail in mails] == [
        "checkpoint 2 of gateway.test/node-1",
        "checkpoint 6 of gateway.test/node-1",
    ]
    content = mails[1].get_payload(decode=True)
    assert SignedCheckpoint.parse(content) == kept[2]
    assert sum("No space left" in warning for warning in warnings) == 3
    assert sum("add-checkpoint`: it answered 400" in warning for warning in warnings) == 2


@pytest.mark.parametrize("url", ["ftp://example.org", "example.org", "http://", "file:///etc"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not an http or https address"):
        UrlCopy(url)
