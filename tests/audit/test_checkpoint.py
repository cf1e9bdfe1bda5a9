"""Notes, checkpoints, cosignatures and proofs, byte for byte as C2SP writes them."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit.checkpoint import Checkpoint, SignedCheckpoint, cosign, parse_size, sign_checkpoint
from gateway.audit.merkle import EMPTY_ROOT
from gateway.audit.note import KeyType, NoteError, SigningKey, VerifierKey, parse_note
from gateway.audit.proof import TlogProof

# The example of Go's note package, which the format comes from.
GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example of tlog-cosignature: a checkpoint with the line of its log and that of a witness.
C2SP_CHECKPOINT = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+"
    "mbIUBkBIfZ+qnA==\n"
)
LOG = SigningKey("gateway.example/node-1", KeyType.NOTE, bytes(range(32)))
WITNESS = SigningKey("witness.example/w1", KeyType.COSIGNATURE, bytes(range(1, 33)))
OTHER = SigningKey("gateway.example/node-1", KeyType.NOTE, bytes(32))
ROOT = hashlib.sha256(b"root").digest()
POINT = Checkpoint("gateway.example/node-1", 12, ROOT)


def test_the_example_of_the_note_package_is_reproduced() -> None:
    key = VerifierKey.parse(GO_VERIFIER)
    note = parse_note(GO_NOTE.encode())
    assert (str(key), str(note)) == (GO_VERIFIER, GO_NOTE)
    assert key.made(note.signatures[0])
    assert key.verify(note.text.encode(), note.signatures[0].value)
    signer = SigningKey.parse(GO_SIGNER)
    assert signer.verifier == key
    assert signer.export() == GO_SIGNER
    assert str(signer.sign(note.text.encode())) == GO_NOTE.split("\n\n")[1]
    assert GO_SIGNER.rpartition("+")[2] not in repr(signer)


def test_the_example_of_the_checkpoint_specification_is_read_and_written() -> None:
    signed = SignedCheckpoint.parse(C2SP_CHECKPOINT.encode())
    assert (signed.checkpoint.origin, signed.checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert str(signed) == C2SP_CHECKPOINT
    assert signed.note.text == signed.checkpoint.text()
    witness = signed.note.signatures[1]
    assert int.from_bytes(witness.value[:8], "big") == 1_679_315_147  # the time that the specification names


def test_key_ids_are_those_of_the_specification() -> None:
    for key, kind in ((LOG.verifier, b"\x01"), (WITNESS.verifier, b"\x04")):
        expected = hashlib.sha256(key.name.encode() + b"\n" + kind + key.public).digest()[:4]
        assert key.key_id == expected
        assert VerifierKey.parse(str(key)) == key


def test_cosigned_messages_are_those_of_the_specification() -> None:
    signature = cosign(POINT.text(), WITNESS, 1_679_315_147)
    message = f"cosignature/v1\ntime 1679315147\n{POINT.text()}".encode()
    assert signature.value[:8] == (1_679_315_147).to_bytes(8, "big")
    assert WITNESS.verifier.verify(message, signature.value[8:])


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1), st.integers(0, 2**63 - 1))
def test_signed_checkpoints_come_back_as_they_were(origin: str, size: int) -> None:
    signed = sign_checkpoint(Checkpoint(origin, size, ROOT), LOG)
    signed = signed.with_signatures(cosign(signed.note.text, WITNESS, 77))
    again = SignedCheckpoint.parse(str(signed).encode())
    assert again == signed
    assert again.is_signed_by(LOG.verifier)
    assert again.witnesses([WITNESS.verifier]) == {str(WITNESS.verifier): 77}


def test_only_the_key_that_signed_counts() -> None:
    signed = sign_checkpoint(POINT, LOG)
    assert signed.is_signed_by(LOG.verifier)
    assert not signed.is_signed_by(OTHER.verifier)
    assert signed.cosigned_at(WITNESS.verifier) is None
    moved = SignedCheckpoint.parse(str(signed).replace("\n12\n", "\n13\n").encode())
    assert not moved.is_signed_by(LOG.verifier)
    twice = signed.with_signatures(LOG.sign(b"another text"))
    assert not twice.is_signed_by(LOG.verifier)


def test_a_cosignature_cannot_be_given_another_time_or_text() -> None:
    signature = cosign(POINT.text(), WITNESS, 77)
    later = type(signature)(signature.name, signature.key_id, (78).to_bytes(8, "big") + signature.value[8:])
    signed = sign_checkpoint(POINT, LOG)
    assert signed.with_signatures(later).cosigned_at(WITNESS.verifier) is None
    other = sign_checkpoint(Checkpoint(POINT.origin, 13, ROOT), LOG)
    assert other.with_signatures(signature).cosigned_at(WITNESS.verifier) is None
    assert signed.with_signatures(WITNESS.sign(b"short")).cosigned_at(WITNESS.verifier) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n12\n", "\n012\n"),
        ("\n12\n", "\n-1\n"),
        ("\n12\n", "\n1 2\n"),
        ("\n12\n", "\n99999999999999999999\n"),
        ("\n12\n", "\n\n"),
        ("gateway.example/node-1\n12", "\n12"),
        ("— ", "- "),
        ("— ", "—"),
        ("\n\n", "\n"),
        ("=\n", "\n"),
        ("=\n", "=\r\n"),
        ("node-1 ", "node+1 "),
        ("node-1\n12", "node\x00\n12"),
    ],
)
def test_what_is_no_checkpoint_is_refused(old: str, new: str) -> None:
    whole = str(sign_checkpoint(POINT, LOG))
    assert old in whole
    with pytest.raises(NoteError):
        SignedCheckpoint.parse(whole.replace(old, new).encode())


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\n\n", b"a" * 70_000, b"a\n\n\xe2\x80\x94 n AAAA\n"])
def test_what_is_no_note_is_refused(content: bytes) -> None:
    with pytest.raises(NoteError):
        parse_note(content)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_note_or_refused(content: bytes) -> None:
    for read in (parse_note, SignedCheckpoint.parse, TlogProof.parse):
        with pytest.raises(NoteError):
            read(content)


@pytest.mark.parametrize(
    "text",
    ["", "a+b", "a+00000000+AAAA", "a b+c74f20a3+ARpc", GO_VERIFIER.replace("c74f20a3", "c74f20a4"), GO_VERIFIER[:-4]],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(text)
    with pytest.raises(NoteError):
        SigningKey.parse("PRIVATE+KEY+" + text)


def test_a_name_that_no_line_can_hold_is_refused() -> None:
    with pytest.raises(NoteError, match="space or a plus"):
        SigningKey("a b", KeyType.NOTE, bytes(32))
    assert parse_size("0") == 0


def test_a_proof_has_the_form_of_the_specification() -> None:
    body = b"event"
    leaf = hashlib.sha256(b"\x00" + body).digest()
    root = hashlib.sha256(b"\x01" + EMPTY_ROOT + leaf).digest()
    signed = sign_checkpoint(Checkpoint(POINT.origin, 2, root), LOG)
    proof = TlogProof(1, (EMPTY_ROOT,), signed)
    sibling = base64.b64encode(EMPTY_ROOT).decode()
    assert str(proof) == f"c2sp.org/tlog-proof@v1\nindex 1\n{sibling}\n\n{signed}"
    assert TlogProof.parse(str(proof).encode()) == proof
    assert TlogProof.parse(str(proof).replace("index", "extra AAAA\nindex").encode()) == proof
    assert proof.proves(body)
    assert not proof.proves(b"another event")
    for old, new in (("@v1", "@v2"), ("index 1", "index 01"), ("index 1\n", ""), (sibling, sibling[4:])):
        with pytest.raises(NoteError):
            TlogProof.parse(str(proof).replace(old, new, 1).encode())
