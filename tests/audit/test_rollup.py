"""One log over the logs of all nodes: what it takes, what it tells, and that a node's checkpoint is proved in it."""

import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.audit.log import SqliteAuditLog
from gateway.audit.note import KeyType, SigningKey
from gateway.audit.proof import TlogProof
from gateway.audit.read import AuditReader, Event, Filter
from gateway.audit.rollup import Fit, Node, Rollup, is_retired
from gateway.audit.verify import Outcome, verify_log
from gateway.commands.audit import audit
from gateway.domain.event import EventDraft, EventType
from gateway.settings import AuditSettings, Settings
from tests.bench.audit_workload import write_log

KEY = SigningKey("gateway.bench/node-1", KeyType.NOTE, bytes(range(32)))
OTHER = SigningKey("gateway.bench/node-1", KeyType.NOTE, bytes(32))
ROLLUP_KEY = SigningKey("gateway.test/all", KeyType.NOTE, bytes(range(2, 34)))


class Fleet:
    """A node with a signed log, and the roll-up."""

    def __init__(self, folder: Path, logs, sign: Callable) -> None:
        self.node = folder / "node"
        self.node.mkdir()
        self.checkpoints = self.node / "checkpoints"
        self._sign, self._logs = sign, logs
        write_log(self.node / "audit.db", 40)
        sign(self.node / "audit.db", KEY)
        self.log: SqliteAuditLog = logs.open(log_name="gateway.test/all")

    def grow(self, kind: EventType = EventType.LOG_HEARTBEAT) -> None:
        own = self._logs.open(path=self.node / "audit.db", log_name="gateway.bench/node-1")
        own.append_blocking(EventDraft(type=kind, body={"reason": "REPLACED"} if kind is EventType.LOG_RETIRED else {}))
        own.close()
        self._sign(self.node / "audit.db", KEY)

    def rollup(self, *, key: SigningKey = KEY, source: str = "", retired: Path | None = None) -> Rollup:
        node = Node(key=key.verifier, source=source or str(self.checkpoints), retired=retired)
        return Rollup(
            self._logs.path, [node], append=self.log.append_blocking, silence_s=300, clock=lambda: self._logs.clock.now
        )

    def later(self, seconds: float) -> None:
        self._logs.clock.now += timedelta(seconds=seconds)

    def events(self, kind: EventType) -> list[Event]:
        with AuditReader(self._logs.path) as reader:
            return list(reader.search(Filter(types=frozenset({kind.value}))))


@pytest.fixture
def fleet(tmp_path: Path, logs, sign) -> Fleet:
    logs.clock.now += timedelta(days=365)  # the node's log is of this year
    return Fleet(tmp_path, logs, sign)


def words(findings: list) -> list[str]:
    return [str(finding) for finding in findings]


def test_each_new_checkpoint_is_an_event_and_stands_under_the_signed_root(fleet: Fleet, sign, logs) -> None:
    rollup = fleet.rollup()
    assert rollup.step() == []
    assert rollup.step() == [], "the same checkpoint is taken once"
    fleet.grow()
    assert rollup.step() == []
    first, second = (event.members for event in fleet.events(EventType.LOG_CHECKPOINT))
    assert (first["origin"], first["size"], first["fit"]) == ("gateway.bench/node-1", 40, Fit.FIRST)
    assert second["size"] > 40
    assert second["fit"] == Fit.EXTENDS
    assert (fleet.checkpoints / "latest").read_text() == second["note"]
    fleet.log.close()
    sign(logs.path, ROLLUP_KEY)
    assert verify_log(logs.path).outcome is Outcome.VERIFIED_UNANCHORED
    (event,) = fleet.events(EventType.LOG_CHECKPOINT)[1:]
    result = CliRunner().invoke(audit, ["prove", str(event.seq)], obj={"settings": Settings(data_dir=logs.path.parent)})
    proof = TlogProof.parse(result.stdout.encode())
    assert proof.proves(event.body)
    assert proof.signed.is_signed_by(ROLLUP_KEY.verifier)


def test_silence_is_a_finding_until_there_is_a_sign_of_life(fleet: Fleet) -> None:
    rollup = fleet.rollup()
    rollup.step()
    fleet.later(299)
    assert rollup.step() == []
    fleet.later(60)
    (line,) = words(rollup.step())
    assert "`gateway.bench/node-1`: no new checkpoint for 359 s" in line
    assert len(rollup.step()) == 1
    (event,) = fleet.events(EventType.LOG_SILENT)
    assert (event.members["size"], event.members["silent_s"]) == (40, 359)
    assert len(words(fleet.rollup().step())) == 1, "a roll-up that is started anew still tells"
    assert len(fleet.events(EventType.LOG_SILENT)) == 1, "and does not write it again"
    fleet.grow()
    assert rollup.step() == []
    fleet.later(400)
    rollup.step()
    assert len(fleet.events(EventType.LOG_SILENT)) == 2


def retire(fleet: Fleet, folder: Path) -> Result:
    settings = Settings(data_dir=fleet.node, audit=AuditSettings(log_name="gateway.bench/node-1"))

    def record(draft: EventDraft) -> object:
        fleet.grow(draft.type)
        with AuditReader(fleet.node / "audit.db") as reader:
            (event,) = reader.search(Filter(types=frozenset({draft.type.value})))
        return event

    arguments = ["retire", "--reason", "REPLACED", "--proof", str(folder), "--wait-seconds", "0"]
    return CliRunner().invoke(audit, arguments, obj={"settings": settings, "record": record})


def test_a_node_that_proves_to_be_retired_may_be_silent(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "retired"
    result = retire(fleet, folder)
    assert result.exit_code == 0, result.output
    rollup = fleet.rollup(retired=folder)
    rollup.step()
    fleet.later(10_000)
    assert rollup.step() == []
    node = Node(key=KEY.verifier, source="x", retired=folder)
    assert is_retired(node)
    assert not is_retired(Node(key=OTHER.verifier, source="x", retired=folder))
    assert not is_retired(Node(key=KEY.verifier, source="x", retired=tmp_path / "nothing"))
    event = folder / "retired.json"
    event.write_bytes(event.read_bytes().replace(b"REPLACED", b"REPLACEX"))
    assert not is_retired(node)
    assert len(rollup.step()) == 1


def test_another_event_of_the_node_retires_nothing(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "retired"
    folder.mkdir()
    with AuditReader(fleet.node / "audit.db") as reader:
        last = reader.checked(40)
    (folder / "retired.json").write_bytes(last.body)
    shutil.copy(fleet.checkpoints / "latest.tlog-proof", folder / "retired.tlog-proof")
    node = Node(key=KEY.verifier, source="x", retired=folder)
    assert TlogProof.parse((folder / "retired.tlog-proof").read_bytes()).proves(last.body)
    assert not is_retired(node)


@pytest.mark.parametrize(("events", "seed", "fit"), [(20, 1, Fit.SHRANK), (40, 2, Fit.FORKED)])
def test_a_checkpoint_that_does_not_extend_is_told_and_kept(
    fleet: Fleet, tmp_path: Path, sign, events: int, seed: int, fit: Fit
) -> None:
    rollup = fleet.rollup()
    rollup.step()
    other = tmp_path / "restored"
    other.mkdir()
    write_log(other / "audit.db", events, seed=seed)
    sign(other / "audit.db", KEY)
    (line,) = words(fleet.rollup(source=str(other / "checkpoints")).step())
    assert f"does not extend that of 40: {fit}" in line
    assert fleet.events(EventType.LOG_CHECKPOINT)[-1].members["fit"] == fit


def test_what_the_nodes_key_did_not_sign_is_not_taken(fleet: Fleet, tmp_path: Path) -> None:
    (line,) = words(fleet.rollup(key=OTHER).step())
    assert "not signed by the key of the node" in line
    (fleet.checkpoints / "latest").write_text("nonsense")
    (line,) = words(fleet.rollup().step())
    assert "no checkpoint of it can be read" in line
    (line,) = words(fleet.rollup(source=str(tmp_path / "nowhere")).step())
    assert "No such file" in line
    assert fleet.events(EventType.LOG_CHECKPOINT) == []


@pytest.fixture
def address(fleet: Fleet) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(fleet.node))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_checkpoints_come_over_http_too(fleet: Fleet, address: str) -> None:
    assert fleet.rollup(source=f"{address}/checkpoints/").step() == []
    assert len(fleet.events(EventType.LOG_CHECKPOINT)) == 1
    (line,) = words(fleet.rollup(source=f"{address}/nothing").step())
    assert "it answered 404" in line
    (line,) = words(fleet.rollup(source="http://127.0.0.1:9").step())
    assert "refused" in line


def test_the_command_takes_in_and_exits_with_its_findings(fleet: Fleet, tmp_path: Path) -> None:
    target = tmp_path / "all"

    def run(*arguments: str) -> Result:
        options = ["rollup", "--to", str(target), "--name", "gateway.test/fleet", *arguments]
        return CliRunner().invoke(audit, options, obj={"settings": Settings()})

    good = run("--node", str(fleet.checkpoints), str(KEY.verifier))
    assert (good.exit_code, good.output) == (0, "")
    bad = run("--node", str(fleet.checkpoints), str(OTHER.verifier))
    assert bad.exit_code == 1
    assert "not signed by the key" in bad.stdout
    wrong = run("--node", "x", "no key")
    assert wrong.exit_code == 2
    assert run("--node", "x", str(KEY.verifier), "--retired", "nobody", "y").exit_code == 2
    with AuditReader(target / "audit.db") as reader:
        (event,) = reader.search(Filter(types=frozenset({"log.checkpoint"})))
    assert event.members["log"] == "gateway.test/fleet"


def test_retire_needs_a_code_and_a_checkpoint(fleet: Fleet, tmp_path: Path) -> None:
    obj = {"settings": Settings(data_dir=fleet.node), "record": lambda _: Event(seq=99, hash="", members={}, body=b"")}

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(audit, ["retire", *arguments], obj=obj)

    assert run("--reason", "because it is old").exit_code == 2
    assert "event 99" in run("--reason", "REPLACED").stdout
    late = run("--reason", "REPLACED", "--proof", str(tmp_path / "p"), "--wait-seconds", "0")
    assert late.exit_code == 1
    assert "run `gateway signer`" in late.stderr
