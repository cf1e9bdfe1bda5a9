"""Bundles, and the verifier that is one file: run as a stranger would, without the gateway on its path."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cryptography
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit.bundle import write_bundle
from gateway.audit.canonical import MAX_INTEGER, canonical
from gateway.audit.checkpoint import SignedCheckpoint, cosign
from gateway.audit.checkpoint_folder import folder_of
from gateway.audit.note import KeyType, SigningKey
from gateway.audit.read import EVERYTHING, Filter
from gateway.audit.standalone import verify_bundle as standalone
from gateway.audit.witness_client import WitnessClient
from gateway.commands.audit import audit
from gateway.domain.event import EventDraft, EventType
from gateway.settings import Settings

KEY = SigningKey("gateway.test/node-1", KeyType.NOTE, bytes(range(32)))
WITNESS = SigningKey("witness.test/w1", KeyType.COSIGNATURE, bytes(range(1, 33)))
STRANGER = SigningKey("gateway.test/node-1", KeyType.NOTE, bytes(32))
OTHER_WITNESS = str(SigningKey("witness.test/w1", KeyType.COSIGNATURE, bytes(32)).verifier)
NOW = datetime(2026, 11, 24, tzinfo=UTC)
TRUSTED = [str(KEY.verifier)]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def log(logs, exchange, sign, witness_url: str) -> Path:
    """Ten exchanges, a policy and a cosigned checkpoint over all of them."""
    one = logs.open()
    one.append_blocking(EventDraft(type=EventType.POLICY_ACTIVATE, body={"policy": "sha256:abc"}))
    for number in range(10):
        for draft in exchange(f"r{number}"):
            one.append_blocking(draft)
    one.close()
    sign(logs.path, witnesses=[WitnessClient(witness_url, WITNESS.verifier)])
    return logs.path


@pytest.fixture
def bundle(log: Path, tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", log, EVERYTHING, keys=[KEY.verifier], now=NOW)
    return tmp_path / "bundle"


def verify(path: Path, keys: list[str] = TRUSTED, witnesses: list[str] | None = None) -> standalone.Result:
    return standalone.verify_path(path, keys, witnesses or [])


def seal(bundle: Path) -> None:
    """Make the manifest fit again, as a forger would."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"] = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in bundle.iterdir()
        if file.name != "manifest.json"
    }
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def events(bundle: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (bundle / "events.jsonl").read_text().splitlines()]


def test_a_bundle_of_a_whole_log_is_verified(bundle: Path) -> None:
    result = verify(bundle, TRUSTED, [str(WITNESS.verifier)])
    assert (result.outcome, result.exit_code, result.fault) == ("verified-anchored", 0, "")
    assert (result.events, result.first_seq, result.last_seq, result.checkpoint_size) == (22, 1, 22, 22)
    assert (result.signed_by, result.witnesses) == ("gateway.test/node-1", ["witness.test/w1"])
    assert json.loads((bundle / "policies.json").read_text()) == ["sha256:abc"]
    assert (bundle / "keys.txt").read_text() == f"{KEY.verifier}\n"


def test_a_bundle_of_one_exchange_proves_its_events_alone(logs, log: Path, tmp_path: Path) -> None:
    logs.open().close()
    summary = write_bundle(tmp_path / "one.zip", log, Filter(request="r3"), keys=[], now=NOW)
    assert (summary.events, summary.checkpoint_size, summary.left_out) == (2, 22, 0)
    result = verify(tmp_path / "one.zip")
    assert (result.outcome, result.events, result.first_seq) == ("verified-anchored", 2, 9)
    assert write_bundle(tmp_path / "all", log, EVERYTHING, keys=[], now=NOW).left_out == 1


def test_without_a_trusted_key_nothing_is_anchored(bundle: Path) -> None:
    for keys, witnesses in (([], []), ([str(STRANGER.verifier)], []), (TRUSTED, [OTHER_WITNESS])):
        result = verify(bundle, keys, witnesses)
        assert (result.outcome, result.exit_code) == ("verified-unanchored", 6)


def test_a_log_without_checkpoint_gives_a_bundle_that_is_unanchored(logs, exchange, tmp_path: Path) -> None:
    one = logs.open()
    one.append_blocking(exchange("r")[0])
    one.append_blocking(exchange("r")[1])
    write_bundle(tmp_path / "bundle", logs.path, EVERYTHING, keys=[], now=NOW)
    assert verify(tmp_path / "bundle").outcome == "verified-unanchored"


def test_an_exchange_that_is_cut_in_two_is_incomplete(log: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", log, Filter(last=9), keys=[], now=NOW)
    result = verify(tmp_path / "bundle")
    assert (result.outcome, result.exit_code, result.unfinished) == ("incomplete", 3, ["r3"])


def edit_event(bundle: Path, change: Callable[[list[bytes]], None]) -> None:
    lines = (bundle / "events.jsonl").read_bytes().splitlines()
    change(lines)
    (bundle / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


def put(bundle: Path, name: str, old: str, new: str) -> None:
    content = (bundle / name).read_text()
    assert old in content
    (bundle / name).write_text(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("change", "outcome", "fault"),
    [
        (lambda b: edit_event(b, lambda e: e.__setitem__(21, e[21].replace(b"700000", b"1"))), "diverged", "event 22"),
        (lambda b: edit_event(b, lambda e: e.__setitem__(3, e[3].replace(b"700000", b"1"))), "diverged", "event 4 "),
        (lambda b: edit_event(b, lambda e: e.__setitem__(4, e[4] + b" ")), "invalid", "event after 4 is not canonical"),
        (lambda b: edit_event(b, lambda e: e.__setitem__(4, b"[]")), "invalid", "event after 4 is not canonical"),
        (lambda b: edit_event(b, lambda e: e.__setitem__(0, b"{}")), "invalid", "the beginning is not of version"),
        (lambda b: edit_event(b, lambda e: e.__setitem__(4, b'{"v":1}')), "invalid", "after 4 lacks a member"),
        (lambda b: edit_event(b, lambda e: e.__setitem__(4, b'{"v":1.0}')), "invalid", "after 4 is not canonical"),
        (lambda b: edit_event(b, lambda e: e.__setitem__(4, b"[" * 100_000)), "invalid", "after 4 is not canonical"),
        (lambda b: edit_event(b, lambda e: e.pop(4)), "invalid", "event 6 .* has no proof"),
        (lambda b: edit_event(b, lambda e: e.pop()), "invalid", "proofs of events that are not in"),
        (lambda b: edit_event(b, lambda e: e.reverse()), "invalid", "event 22 .* has no proof"),
        (lambda b: edit_event(b, lambda e: e.insert(4, e[3])), "invalid", "does not stand behind"),
        (lambda b: put(b, "checkpoint", "\n22\n", "\n23\n"), "invalid", "signature of `gateway.test/node-1`"),
        (lambda b: put(b, "checkpoint", "\n22\n", "\nx\n"), "invalid", "`checkpoint` is not a checkpoint"),
        (lambda b: put(b, "checkpoint", "\n\n", "\n"), "invalid", "`checkpoint` is not a checkpoint"),
        (lambda b: put(b, "proofs.jsonl", '"path"', '"paths"'), "invalid", "line of `proofs.jsonl` is no proof"),
        (lambda b: put(b, "proofs.jsonl", '{"path"', "{"), "invalid", "`proofs.jsonl` is not of its form"),
        (lambda b: (b / "proofs.jsonl").unlink(), "invalid", "`proofs.jsonl` is missing"),
    ],
)  # fmt: skip
def test_a_forged_bundle_is_told_by_the_first_fault(
    bundle: Path, change: Callable[[Path], object], outcome: str, fault: str
) -> None:
    change(bundle)
    assert verify(bundle).outcome == "invalid"  # the manifest notices
    seal(bundle)
    result = verify(bundle)
    assert result.outcome == outcome
    assert re.search(fault, result.fault), result.fault


def test_files_that_were_added_taken_or_changed_are_named(bundle: Path) -> None:
    (bundle / "more").write_text("x")
    assert verify(bundle).fault == "`more` was added to the bundle"
    (bundle / "more").unlink()
    (bundle / "keys.txt").write_text(str(STRANGER.verifier))
    assert verify(bundle).fault == "`keys.txt` does not have the SHA-256 that `manifest.json` says"
    (bundle / "keys.txt").unlink()
    assert verify(bundle).fault == "`keys.txt` is missing"


def test_a_false_cosignature_is_told(bundle: Path, log: Path) -> None:
    signed = folder_of(log).last()
    assert signed is not None
    forged = SignedCheckpoint(signed.checkpoint, signed.note)
    forged = type(forged)(forged.checkpoint, type(forged.note)(forged.note.text, forged.note.signatures[:1]))
    (bundle / "checkpoint").write_text(str(forged.with_signatures(cosign("another text\n", WITNESS, 1))))
    seal(bundle)
    assert verify(bundle).outcome == "verified-anchored"  # nobody asked for the witness
    result = verify(bundle, TRUSTED, [str(WITNESS.verifier)])
    assert (result.outcome, "cosignature of `witness.test/w1`" in result.fault) == ("invalid", True)


@pytest.mark.parametrize(
    ("make", "keys", "message"),
    [
        (lambda path: None, TRUSTED, "does not exist"),
        (lambda path: path.write_bytes(b"PK not a zip"), TRUSTED, "neither a folder nor a zip file"),
        (lambda path: path.mkdir(), TRUSTED, "no `manifest.json`: this is no evidence bundle"),
        (lambda path: path.mkdir(), ["x"], "is no verifier key"),
        (lambda path: path.mkdir(), [str(WITNESS.verifier)], "is not one of a signer"),
        (lambda path: path.mkdir(), ["a+00000000+" + base64.b64encode(bytes(33)).decode()], "is damaged"),
    ],
)
def test_what_is_no_bundle_cannot_be_verified(tmp_path: Path, make: Any, keys: list[str], message: str) -> None:
    make(tmp_path / "bundle")
    with pytest.raises(standalone.CannotRun, match=message):
        verify(tmp_path / "bundle", keys)


def test_a_bundle_of_another_format_is_not_judged(bundle: Path) -> None:
    put(bundle, "manifest.json", "evidence/v1", "evidence/v9")
    with pytest.raises(standalone.CannotRun, match="use the verifier that came with the bundle"):
        verify(bundle)


def test_a_truncated_zip_is_a_verdict_or_one_line(log: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    write_bundle(whole, log, EVERYTHING, keys=[], now=NOW)
    content = whole.read_bytes()
    damaged = tmp_path / "damaged.zip"
    for at in range(0, len(content), len(content) // 40):
        damaged.write_bytes(content[:at])
        with pytest.raises(standalone.CannotRun):
            verify(damaged)
        flipped = bytearray(content)
        flipped[at] ^= 0xFF
        damaged.write_bytes(flipped)
        try:
            result = verify(damaged)
        except standalone.CannotRun:
            continue
        if result.outcome == "verified-anchored":  # the flip was in a field that no reader of zip files needs
            with zipfile.ZipFile(damaged) as one, zipfile.ZipFile(whole) as other:
                assert {name: one.read(name) for name in one.namelist()} == {
                    name: other.read(name) for name in other.namelist()
                }


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_both_verifiers_mean_the_same_canonical_json(value: dict[str, Any]) -> None:
    assert standalone.canonical(value).encode() == canonical(value)


def isolated(bundle: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the verifier out of the bundle, with nothing but the standard library and `cryptography` to import."""
    site = Path(cryptography.__file__).parents[1]
    libraries = bundle.parent / "libraries"
    if not libraries.exists():
        libraries.mkdir()
        for name in ("cryptography", "cffi", "pycparser"):
            if (site / name).exists():
                (libraries / name).symlink_to(site / name)
        for binary in site.glob("_cffi_backend*"):
            (libraries / binary.name).symlink_to(binary)
    code = (
        f"import sys; sys.path.append({str(libraries)!r}); sys.argv = sys.argv[1:]\n"
        "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = bundle / "verify_bundle.py"
    command = [sys.executable, "-I", "-S", "-c", code, str(script), str(bundle), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=bundle.parent, check=False)


def test_the_verifier_in_the_bundle_runs_without_the_gateway(bundle: Path) -> None:
    done = isolated(bundle, "--key", TRUSTED[0], "--witness", str(WITNESS.verifier))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{bundle}: verified-anchored\n22 events of the log `gateway.test/node-1` hold")
    done = isolated(bundle, "--json")
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (6, "verified-unanchored")
    done = isolated(bundle, "--key", "x")
    assert (done.returncode, done.stderr) == (2, "error: `x` is no verifier key: it is `name+hash+base64`\n")
    edit_event(bundle, lambda lines: lines.__setitem__(3, lines[3].replace(b"700000", b"1")))
    seal(bundle)
    done = isolated(bundle, "--key", TRUSTED[0])
    assert (done.returncode, "first fault: event 4 " in done.stdout) == (5, True)


def test_the_commands_write_and_verify_bundles(log: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(
            audit, arguments, obj={"settings": Settings(data_dir=log.parent), "record": [].append}
        )

    target = tmp_path / "evidence.zip"
    assert "22 events in " in run("export", "--bundle", str(target)).stdout
    assert "exists: name a new folder or file" in run("export", "--bundle", str(target)).stderr
    assert "cannot be written" in run("export", "--bundle", "/proc/none/x.zip").stderr
    result = run("verify", str(target), "--key", str(folder_of(log).key))
    assert (result.exit_code, "evidence.zip: verified-anchored" in result.stdout) == (0, True)
    result = run("verify", str(target), "--format", "json")
    assert (result.exit_code, json.loads(result.stdout)["outcome"]) == (6, "verified-unanchored")
    shutil.rmtree(folder_of(log).path)
    assert "no checkpoint, and so no proof" in run("export", "--bundle", str(tmp_path / "bare")).stderr
