"""Sealed segments: every event once, readable by any engine, and each damage named with its place."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from gateway.audit.anchoring import NOBODY, Trust
from gateway.audit.entry import leaf_hash
from gateway.audit.merkle import root_of
from gateway.audit.note import KeyType, SigningKey
from gateway.audit.read import AuditReader
from gateway.audit.segments import seal
from gateway.audit.segments_manifest import manifests, partition, read_manifest, tenant_of
from gateway.audit.segments_tree import Beside, beside, root_with
from gateway.audit.segments_verify import SegmentsVerified, verify_segments
from gateway.audit.tree import Tree
from gateway.audit.verify import Outcome
from gateway.commands.audit import audit
from gateway.domain.errors import AuditUnavailable
from gateway.domain.event import EventDraft, EventType
from gateway.settings import Settings
from tests.bench.audit_workload import START, write_log

KEY = SigningKey("gateway.bench/node-1", KeyType.NOTE, bytes(range(32)))
TRUST = Trust(log_keys=(KEY.verifier,))
STRANGER = Trust(log_keys=(SigningKey("gateway.bench/node-1", KeyType.NOTE, bytes(32)).verifier,))
EVENTS, DAYS, MOST = 3_000, 4, 600
NOW = START + timedelta(days=DAYS - 1, hours=12)  # the last day is not over


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("segments") / "audit.db"
    write_log(path, EVENTS, days=DAYS)
    return path


@pytest.fixture
def signed(log: Path, sign) -> Path:
    if not (log.parent / "checkpoints").exists():
        sign(log, KEY)
    return log


@pytest.fixture
def sealed(signed: Path, tmp_path: Path) -> Path:
    seal(signed, tmp_path / "segments", now=NOW, most=MOST)
    return tmp_path / "segments"


def found(folder: Path, trust: Trust = TRUST) -> SegmentsVerified:
    return verify_segments(folder, trust)


def test_whole_days_and_whole_segments_are_sealed_once(signed: Path, tmp_path: Path) -> None:
    target = tmp_path / "segments"
    first = seal(signed, target, now=NOW, most=MOST)
    assert first.events + first.waiting == EVENTS
    assert first.waiting < MOST
    assert seal(signed, target, now=NOW, most=MOST).segments == ()
    later = seal(signed, target, now=NOW + timedelta(days=1), most=MOST)
    assert (later.events, later.waiting) == (first.waiting, 0)
    names = [read_manifest(path) for path in manifests(target)]
    assert [one.first for one in names] == [1, *(one.last + 1 for one in names[:-1])]
    assert names[-1].last == EVENTS
    assert all(one.last - one.first < MOST for one in names)
    result = found(target)
    assert (result.outcome, result.events, result.fault) == (Outcome.VERIFIED_ANCHORED, EVENTS, "")
    assert (result.first, result.last, result.unsigned) == (1, EVENTS, 0)


def test_today_seals_what_is_there(signed: Path, tmp_path: Path) -> None:
    sealed = seal(signed, tmp_path / "s", now=START, today=True)
    assert (sealed.events, sealed.waiting) == (EVENTS, 0)
    assert found(tmp_path / "s").outcome is Outcome.VERIFIED_ANCHORED


def test_only_keys_that_are_named_anchor(sealed: Path) -> None:
    for trust in (NOBODY, STRANGER):
        result = found(sealed, trust)
        assert (result.outcome, result.unsigned) == (Outcome.VERIFIED_UNANCHORED, result.segments)


def test_duckdb_reads_them_by_partition(signed: Path, sealed: Path) -> None:
    last = found(sealed).last
    with AuditReader(signed) as reader:
        events = [event for event in reader.search() if event.seq <= last]
    expected = Counter((event.members["tenant"], event.members["ts"][:10]) for event in events)
    files = f"read_parquet('{sealed}/events/*/*/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
    rows = duckdb.sql(f"SELECT tenant, day, count(*) FROM {files} GROUP BY ALL").fetchall()
    assert {(tenant or "", str(day)): count for tenant, day, count in rows} == dict(expected)
    ((refused,),) = duckdb.sql(
        f"SELECT count(*) FROM {files} WHERE tenant = 'tenant-00' AND effect = 'refuse'"
    ).fetchall()
    assert refused == sum(
        event.members["tenant"] == "tenant-00" and event.members.get("effect") == "refuse" for event in events
    )
    bodies = duckdb.sql(f"SELECT event FROM {files} ORDER BY seq").fetchall()
    assert [body.encode() for (body,) in bodies] == [event.body for event in events]


@pytest.mark.parametrize("tenant", ["acme", "", "a/b", "..", "a=b c%", "ü"])
def test_tenants_of_any_name_have_a_folder_of_their_own(tenant: str) -> None:
    path = partition(tenant, "2026-11-24") / "x.parquet"
    assert len(path.parts) == 4
    assert ".." not in path.parts
    assert tenant_of(path.as_posix()) == tenant


async def test_a_tenant_with_an_odd_name_is_sealed_and_verified(logs, sign, tmp_path: Path) -> None:
    log = logs.open()
    for tenant in ("a/b", "..", ""):
        await log.append(EventDraft(type=EventType.INGEST, tenant=tenant, body={"n": 1}))
    log.close()
    sign(logs.path, KEY)
    seal(logs.path, tmp_path / "s", now=datetime(2027, 1, 1, tzinfo=UTC))
    assert found(tmp_path / "s").outcome is Outcome.VERIFIED_ANCHORED


def file_of(folder: Path) -> Path:
    return folder / read_manifest(manifests(folder)[0]).files[2].path


def rewritten(path: Path, change: Callable[[list[dict]], object]) -> None:
    table = parquet.read_table(path, partitioning=None)
    rows = table.to_pylist()
    change(rows)
    parquet.write_table(pa.Table.from_pylist(rows, table.schema), path)


def manifest_changed(folder: Path, **changes: object) -> None:
    path = manifests(folder)[0]
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes))


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def edited(rows: list[dict]) -> None:
    rows[0]["event"] = rows[0]["event"].replace('"v":1', '"v":2')


def rehashed(rows: list[dict]) -> None:
    edited(rows)
    rows[0]["hash"] = hashlib.sha256(rows[0]["event"].encode()).hexdigest()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: cut(file_of(f), 0.5), "truncated or no Parquet"),
        (lambda f: cut(file_of(f), 0.0), "truncated or no Parquet"),
        (lambda f: file_of(f).write_bytes(b"nonsense" * 50), "truncated or no Parquet"),
        (lambda f: file_of(f).unlink(), "cannot be read: No such file"),
        (lambda f: rewritten(file_of(f), edited), "does not have its hash"),
        (lambda f: rewritten(file_of(f), list.pop), "events, not"),
        (lambda f: rewritten(file_of(f), lambda rows: rows.append(rows[0])), "is there twice"),
        (lambda f: rewritten(file_of(f), lambda rows: rows[0].update(seq=rows[1]["seq"])), "is another one"),
        (lambda f: rewritten(file_of(f), lambda rows: rows[0].update(seq=99_999)), "something else than events"),
        (lambda f: rewritten(file_of(f), lambda rows: rows[0].update(event=None)), "something else than events"),
        (lambda f: rewritten(file_of(f), lambda rows: rows[0].update(effect="allow!")), "SHA-256 that the manifest"),
        (lambda f: shutil.move(file_of(f), f / "x"), "cannot be read"),
        (lambda f: manifests(f)[1].unlink(), "one is missing"),
        (lambda f: manifests(f)[0].write_bytes(b"{"), "is no manifest"),
        (lambda f: manifest_changed(f, first=2), "is not the manifest of these events"),
        (lambda f: manifest_changed(f, files=[]), "event 1 is in none of its files"),
        (lambda f: manifest_changed(f, checkpoint="x"), "its checkpoint is none"),
        (lambda f: manifest_changed(f, behind=["AA=="]), "something else than hashes"),
        (lambda f: manifest_changed(f, files=[{"path": "../x", "sha256": "", "events": 1}]), "outside the folder"),
    ],
)
def test_each_damage_is_named_with_its_place(sealed: Path, damage: Callable[[Path], object], words: str) -> None:
    damage(sealed)
    result = found(sealed)
    assert result.outcome is Outcome.INVALID
    assert words in result.fault
    assert "segment" in result.fault or ".json" in result.fault


def test_events_that_are_changed_with_their_hashes_do_not_stand_under_the_root(sealed: Path) -> None:
    rewritten(file_of(sealed), rehashed)
    files = json.loads(manifests(sealed)[0].read_text("utf-8"))["files"]
    for file in files:
        file["sha256"] = hashlib.sha256((sealed / file["path"]).read_bytes()).hexdigest()
    manifest_changed(sealed, files=files)
    result = found(sealed)
    assert result.outcome is Outcome.DIVERGED
    assert "do not stand under the root" in result.fault
    assert result.events == 0


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_any_flipped_byte_is_noticed(sealed: Path, share: float) -> None:
    path = file_of(sealed)
    flip(path, int(path.stat().st_size * share))
    result = found(sealed)
    assert result.outcome is Outcome.INVALID
    assert path.name in result.fault


def test_nothing_is_sealed_without_a_checkpoint_or_against_one(logs, sign, tmp_path: Path) -> None:
    log = logs.open()
    with pytest.raises(AuditUnavailable, match="gateway signer"):
        seal(logs.path, tmp_path / "s", now=NOW)
    log.append_blocking(EventDraft(type=EventType.INGEST))
    sign(logs.path, KEY)
    log.close()
    other = tmp_path / "other"
    shutil.copytree(logs.path.parent / "checkpoints", other / "checkpoints")
    write_log(other / "audit.db", 50)
    with pytest.raises(AuditUnavailable, match="not what its last checkpoint"):
        seal(other / "audit.db", tmp_path / "s", now=NOW)
    assert verify_segments(tmp_path / "s", TRUST).outcome is Outcome.INVALID


def run(folder: Path, *arguments: str) -> Result:
    obj = {"settings": Settings(data_dir=folder)}
    return CliRunner().invoke(audit, arguments, obj=obj, env={"COLUMNS": "160"})


def test_the_commands_seal_and_verify(signed: Path, tmp_path: Path) -> None:
    target = str(tmp_path / "s")
    sealed = run(signed.parent, "seal", "--to", target, "--most", str(MOST))
    assert sealed.exit_code == 0, sealed.output
    assert f"{EVENTS} events sealed, 0 wait" in sealed.stderr
    good = run(signed.parent, "verify", "--segments", target, "--key", str(KEY.verifier))
    assert (good.exit_code, "verified-anchored" in good.stdout) == (0, True)
    assert run(signed.parent, "verify", "--segments", target, "--require-anchor").exit_code == 6
    cut(file_of(tmp_path / "s"), 0.4)
    bad = run(signed.parent, "verify", "--segments", target, "--key", str(KEY.verifier))
    assert bad.exit_code == 4
    assert "first fault: segment 000000000001-" in bad.stdout
    assert "Traceback" not in bad.output
    assert run(tmp_path, "seal").exit_code == 2


@given(size=st.integers(1, 300), data=st.data())
def test_a_run_and_what_is_beside_it_give_the_root(size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(first + 1, size))
    leaves = [leaf_hash(str(number).encode()) for number in range(size)]
    with Tree(lambda start, stop: leaves[start:stop]) as tree:
        tree.root(size)
        proof = beside(tree.subtree, first, end, size)
    root = root_of(leaves)
    assert root_with(proof, first, leaves[first:end], size) == root
    # Whole subtrees: at most one of each height before, and on the way up to the largest and down again behind.
    assert len(proof.before) <= size.bit_length()
    assert len(proof.behind) <= 2 * size.bit_length()
    wrong = [*leaves[first : end - 1], leaf_hash(b"another")]
    assert root_with(proof, first, wrong, size) != root
    assert root_with(proof, first, leaves[first : end - 1], size) != root
    assert root_with(Beside((*proof.before, root), proof.behind), first, leaves[first:end], size) is None


def test_a_run_outside_the_tree_has_no_proof() -> None:
    for first, end in ((0, 0), (2, 1), (0, 5), (-1, 2)):
        with pytest.raises(ValueError, match="has no run"):
            beside(lambda *_: b"", first, end, 4)
