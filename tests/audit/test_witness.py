"""The witness protocol as C2SP writes it, over HTTP, and the signer that asks."""

import http.client
import sqlite3
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from gateway.audit.checkpoint import Checkpoint, SignedCheckpoint, sign_checkpoint
from gateway.audit.copies import Copies
from gateway.audit.entry import leaf_hash
from gateway.audit.merkle import consistency_proof, root_of
from gateway.audit.note import KeyType, SigningKey, VerifierKey
from gateway.audit.signer import Signer
from gateway.audit.witness import SIZE_TYPE, Submission, Witness
from gateway.audit.witness_client import WitnessClient, WitnessRefused, WitnessUnreachable
from gateway.domain.errors import ConfigurationError
from gateway.domain.event import EventDraft, EventType

LOG = SigningKey("gateway.test/node-1", KeyType.NOTE, bytes(range(32)))
KEY = SigningKey("witness.test/w1", KeyType.COSIGNATURE, bytes(range(1, 33))).verifier
LEAVES = [leaf_hash(bytes([number])) for number in range(40)]
FORK = [*LEAVES[:5], *(leaf_hash(b"fork" + bytes([number])) for number in range(35))]


def point(size: int, leaves: list[bytes] = LEAVES, key: SigningKey = LOG) -> SignedCheckpoint:
    return sign_checkpoint(Checkpoint(key.verifier.name, size, root_of(leaves[:size])), key)


def proof(old: int, new: int, leaves: list[bytes] = LEAVES) -> tuple[bytes, ...]:
    return tuple(consistency_proof(old, new, lambda low, high: root_of(leaves[low:high])))


def body(old: int, new: int, leaves: list[bytes] = LEAVES, key: SigningKey = LOG) -> bytes:
    return str(Submission(old, proof(old, new, leaves), point(new, leaves, key))).encode()


def test_a_growing_log_is_cosigned(witness: Witness) -> None:
    for old, new in ((0, 5), (5, 5), (5, 8), (8, 33)):
        reply = witness.add_checkpoint(body(old, new))
        assert reply.status == 200, reply.body
        whole = SignedCheckpoint.parse(f"{point(new)}{reply.body}".encode())
        assert whole.cosigned_at(KEY) == 1_800_000_000
    assert witness.latest("gateway.test/node-1") == str(whole)
    assert witness.latest("other") is None


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"", 400, ""),
        (b"old 5\n", 400, ""),
        (b"old 05\n\n" + str(point(8)).encode(), 400, ""),
        (b"old 5\nAAAA\n\n" + str(point(8)).encode(), 400, ""),
        (b"old 5\n" + b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n" * 64 + b"\n" + str(point(8)).encode(), 400, ""),
        (b"old 9\n\n" + str(point(8)).encode(), 400, "beyond"),
        (body(0, 8, key=SigningKey("unknown.test", KeyType.NOTE, bytes(32))), 404, ""),
        (body(5, 8, key=SigningKey("gateway.test/node-1", KeyType.NOTE, bytes(32))), 403, ""),
        (body(0, 8), 409, "5\n"),
        (body(6, 8), 409, "5\n"),
        (body(5, 5, [leaf_hash(b"fork")] * 5), 409, "5\n"),
        (b"old 5\n\n" + str(point(8)).encode(), 422, ""),
        (body(5, 8, [leaf_hash(b"fork")] * 8), 422, ""),
    ],
)
def test_what_does_not_extend_the_log_is_refused_with_the_status_of_the_specification(
    witness: Witness, content: bytes, status: int, text: str
) -> None:
    assert witness.add_checkpoint(body(0, 5)).status == 200
    before = witness.latest("gateway.test/node-1")
    reply = witness.add_checkpoint(content)
    assert reply.status == status
    assert text in reply.body
    assert (reply.content_type == SIZE_TYPE) == (status == 409)
    assert witness.latest("gateway.test/node-1") == before


def test_what_was_cosigned_survives_the_process(witness: Witness, tmp_path: Path) -> None:
    witness.add_checkpoint(body(0, 8))
    again = Witness(tmp_path / "witness.db", SigningKey("w", KeyType.COSIGNATURE, bytes(32)), [LOG.verifier], lambda: 1)
    assert again.add_checkpoint(body(0, 5)).body == "8\n"
    assert again.add_checkpoint(body(8, 9)).status == 200
    again.close()


def ask(url: str, method: str, path: str, content: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    connection.request(method, path, content, headers)
    answer = connection.getresponse()
    result = (answer.status, answer.read())
    connection.close()
    return result


def test_http_requests_that_are_no_submissions_get_a_status(witness_url: str, witness: Witness) -> None:
    assert ask(witness_url, "POST", "/other", b"x")[0] == 404
    assert ask(witness_url, "POST", "/add-checkpoint", b"x")[0] == 400
    assert ask(witness_url, "POST", "/add-checkpoint", **{"content-length": "99999999"})[0] == 400
    assert ask(witness_url, "GET", "/latest/x")[0] == 404
    assert ask(witness_url, "POST", "/add-checkpoint", body(0, 5))[0] == 200
    status, note = ask(witness_url, "GET", f"/latest/{quote('gateway.test/node-1', safe='')}")
    assert (status, note.decode()) == (200, witness.latest("gateway.test/node-1"))
    witness._db.execute("DROP TABLE seen")
    assert ask(witness_url, "POST", "/add-checkpoint", body(5, 6))[0] == 503


def test_a_client_gets_a_verified_cosignature_also_when_it_does_not_know_the_last_size(
    witness_url: str, witness: Witness
) -> None:
    client = WitnessClient(witness_url + "/", KEY)
    for size in (5, 8, 8):
        line = client.cosign(point(size), lambda old, new: list(proof(old, new)))
        assert point(size).with_signatures(line).cosigned_at(KEY) == 1_800_000_000
    witness.add_checkpoint(body(8, 20))
    assert client.cosign(point(33), lambda old, new: list(proof(old, new)))
    fresh = WitnessClient(witness_url, KEY)
    assert fresh.cosign(point(34), lambda old, new: list(proof(old, new)))


def test_a_client_is_refused_a_fork_and_a_rollback(witness_url: str) -> None:
    WitnessClient(witness_url, KEY).cosign(point(20), lambda old, new: list(proof(old, new)))
    client = WitnessClient(witness_url, KEY)
    with pytest.raises(WitnessRefused, match=r"has seen 20 events .* which now has 8"):
        client.cosign(point(8), lambda old, new: list(proof(old, new)))
    for size in (20, 25):
        with pytest.raises(WitnessRefused, match="another history"):
            client.cosign(point(size, FORK), lambda old, new: list(proof(old, new, FORK)))


def test_a_client_tells_what_is_no_answer_of_its_witness(witness_url: str) -> None:
    other = SigningKey("witness.test/w1", KeyType.COSIGNATURE, bytes(32)).verifier
    with pytest.raises(WitnessUnreachable, match="without a cosignature of its key"):
        WitnessClient(witness_url, other).cosign(point(5), lambda old, new: [])
    with pytest.raises(WitnessUnreachable, match="answered 404"):
        WitnessClient(witness_url + "/nowhere", KEY).cosign(point(5), lambda old, new: [])
    with pytest.raises(WitnessUnreachable, match="cannot be reached: Connection refused"):
        WitnessClient("http://127.0.0.1:1", KEY).cosign(point(5), lambda old, new: [])
    with pytest.raises(ConfigurationError):
        WitnessClient("witness.test", KEY)


def cosigned(logs, url: str, key: VerifierKey = KEY) -> tuple[SignedCheckpoint, list[str]]:
    warnings: list[str] = []
    copies = Copies([], clock=lambda: 0.0, warn=warnings.append)
    witnesses = [WitnessClient(url, key)]
    with Signer(
        logs.path, LOG, every_events=1, every_s=1, witnesses=witnesses, copies=copies, clock=lambda: 0.0,
        warn=warnings.append,
    ) as signer:  # fmt: skip
        signed = signer.step()
    assert signed is not None
    return signed, warnings


def test_a_signer_has_each_checkpoint_cosigned(logs, witness_url: str, witness: Witness) -> None:
    for _ in range(3):
        log = logs.open()
        log.append_blocking(EventDraft(type=EventType.INGEST))
        log.close()
        signed, warnings = cosigned(logs, witness_url)
        assert signed.witnesses([KEY]) == {str(KEY): 1_800_000_000}
        assert warnings == []
    assert witness.latest("gateway.test/node-1") == str(signed)


def test_a_signer_goes_on_without_a_witness_and_says_so(logs) -> None:
    logs.open().close()
    signed, warnings = cosigned(logs, "http://127.0.0.1:1")
    assert signed.is_signed_by(LOG.verifier)
    assert signed.witnesses([KEY]) == {}
    (warning,) = warnings
    assert "checkpoint 1 is not cosigned" in warning


def test_a_witness_catches_what_the_holder_of_the_key_signs_anew(logs, witness_url: str, tmp_path: Path) -> None:
    log = logs.open()
    for _ in range(5):
        log.append_blocking(EventDraft(type=EventType.INGEST))
    log.close()
    cosigned(logs, witness_url)
    for file in (tmp_path / "checkpoints").iterdir():
        file.unlink()
    db = sqlite3.connect(logs.path)
    db.execute("DELETE FROM events WHERE seq > 3")
    db.commit()
    db.close()
    with pytest.raises(WitnessRefused, match="has seen 6 events"):
        cosigned(logs, witness_url)
    assert list((tmp_path / "checkpoints").glob("latest*")) == []
