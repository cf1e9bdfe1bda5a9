"""Copies of events reach their sinks at least once and in order, whatever dies in between; nothing waits for them."""

import asyncio
import ipaddress
import json
import multiprocessing
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.assembly.sinks import SinkWatch, deliveries, sink_of
from gateway.audit.outbox import Delivery
from gateway.audit.outbox_places import Places, place_at, sink_lags
from gateway.audit.outbox_sinks import FileSink, HttpSink, SyslogSink, as_hashed, as_ocsf
from gateway.audit.read import AuditReader, Event
from gateway.commands.audit import audit
from gateway.domain.errors import AuditUnavailable, ConfigurationError
from gateway.domain.event import EventDraft, EventType
from gateway.domain.text import Secret
from gateway.settings import Settings, SinkSettings, TrailSettings
from tests.bench.audit_workload import write_log

EVENTS = 900


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outbox") / "audit.db"
    write_log(path, EVENTS)
    return path


@pytest.fixture(scope="module")
def written(log: Path) -> list[Event]:
    with AuditReader(log) as reader:
        return list(reader.search())


class Receiver:
    """An HTTP server that keeps what it takes; answers with the statuses it is given, then 200."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.statuses: list[int] = []
        self.pause_s = 0.0
        own = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                time.sleep(own.pause_s)
                status = own.statuses.pop(0) if own.statuses else 200
                if status == 200:
                    own.lines += body.splitlines()
                    own.headers.append({key.lower(): value for key, value in self.headers.items()})
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/in"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def http_sink(url: str, **more: object) -> HttpSink:
    return HttpSink("siem", url, **{"token": None, "encode": as_hashed, "timeout_s": 5.0, **more})  # type: ignore[arg-type]


def delivery(log: Path, folder: Path, sink: object, **more: object) -> Delivery:
    options = {"batch_events": 100, "warn": lambda *_: None, "first_pause_s": 0.01, **more}
    return Delivery(log, folder / "sinks.db", sink, **options)  # type: ignore[arg-type]


def drained(part: Delivery, most: int = 200) -> int:
    """Steps until nothing is left; how many there were."""
    for step in range(most):
        if part.step() == 0.5:
            return step + 1
    raise AssertionError("it did not end")


def test_everything_is_posted_in_order_and_once(log: Path, written, receiver: Receiver, tmp_path: Path) -> None:
    part = delivery(log, tmp_path, http_sink(receiver.url, token=Secret("t0ken")))
    drained(part)
    assert receiver.lines == [event.body for event in written]
    assert receiver.headers[0]["x-gateway-batch"] == "gateway.bench/node-1:1-100"
    assert receiver.headers[0]["authorization"] == "Bearer t0ken"
    assert receiver.headers[0]["content-type"] == "application/x-ndjson"
    assert drained(part) == 1
    part.close()
    again = delivery(log, tmp_path, http_sink(receiver.url))
    assert drained(again) == 1, "the position outlives the process"
    again.close()
    assert len(receiver.lines) == EVENTS


def test_a_sink_that_fails_is_asked_again_and_gets_all(log: Path, written, receiver: Receiver, tmp_path: Path) -> None:
    receiver.statuses = [500, 429, 302, 503]
    told: list[tuple[str, str]] = []
    part = delivery(log, tmp_path, http_sink(receiver.url), warn=lambda *line: told.append(line))
    pauses = [part.step() for _ in range(4)]
    assert pauses == [0.01, 0.02, 0.04, 0.08]
    (lag,) = sink_lags(log, tmp_path / "sinks.db", ["siem"])
    assert (lag.delivered, lag.behind, lag.failures, lag.reason) == (0, EVENTS, 4, "it answered 503")
    assert lag.behind_s > 3_600
    drained(part)
    part.close()
    assert receiver.lines == [event.body for event in written]
    assert told == [("siem", "a batch was not taken: it answered 500")]
    (lag,) = sink_lags(log, tmp_path / "sinks.db", ["siem"])
    assert (lag.delivered, lag.behind, lag.behind_s, lag.failures) == (EVENTS, 0, 0, 0)


def test_the_pause_is_at_most_a_minute(log: Path, tmp_path: Path) -> None:
    part = delivery(log, tmp_path, http_sink("http://127.0.0.1:9/"), first_pause_s=20.0)
    assert [part.step() for _ in range(4)] == [20.0, 40.0, 60.0, 60.0]
    part.close()


def test_a_server_that_hangs_is_left_after_its_time(log: Path, receiver: Receiver, tmp_path: Path) -> None:
    receiver.pause_s = 2.0
    part = delivery(log, tmp_path, http_sink(receiver.url, timeout_s=0.1))
    assert part.step() > 0
    part.close()
    with Places(tmp_path / "sinks.db") as places:
        assert places.of("siem").reason == "it did not answer in time"


def test_ocsf_goes_out_line_by_line(log: Path, written, receiver: Receiver, tmp_path: Path) -> None:
    part = delivery(log, tmp_path, http_sink(receiver.url, encode=as_ocsf))
    drained(part)
    part.close()
    records = [json.loads(line) for line in receiver.lines]
    assert {record["metadata"]["sequence"] for record in records} == {event.seq for event in written}
    assert {record["class_uid"] for record in records} >= {6003, 2004}


def _deliver(log: Path, folder: Path, url: str) -> None:
    part = delivery(log, folder, http_sink(url), batch_events=20)
    while True:
        time.sleep(part.step())


@pytest.mark.slow
def test_killed_at_any_moment_it_loses_nothing(log: Path, written, receiver: Receiver, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    receiver.pause_s = 0.004
    for life_s in (0.35, 0.5, 0.4, 0.6, 20.0):
        process = spawn.Process(target=_deliver, args=(log, tmp_path, receiver.url))
        process.start()
        end = time.monotonic() + life_s + 0.3
        while time.monotonic() < end and len(set(receiver.lines)) < EVENTS:
            time.sleep(0.01)
        process.kill()
        process.join()
    first_seen = list(dict.fromkeys(receiver.lines))
    assert first_seen == [event.body for event in written]


class TestFile:
    def sink(self, path: Path, **more: int) -> FileSink:
        return FileSink("copy", path, encode=as_hashed, **{"max_bytes": 300_000, "keep": 50, **more})

    def lines(self, path: Path) -> list[bytes]:
        numbers = sorted((int(file.suffix[1:]) for file in path.parent.glob(path.name + ".*")), reverse=True)
        files = [path.with_name(f"{path.name}.{number}") for number in numbers] + [path]
        return [line for file in files if file.exists() for line in file.read_bytes().splitlines()]

    def test_lines_are_appended_and_full_files_move_on(self, log: Path, written, tmp_path: Path) -> None:
        path = tmp_path / "copy.jsonl"
        part = delivery(log, tmp_path, self.sink(path))
        drained(part)
        part.close()
        assert self.lines(path) == [event.body for event in written]
        assert len(list(tmp_path.glob("copy.jsonl.*"))) >= 3
        assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.glob("copy.jsonl*"))

    def test_only_so_many_full_files_are_kept(self, log: Path, written, tmp_path: Path) -> None:
        path = tmp_path / "copy.jsonl"
        part = delivery(log, tmp_path, self.sink(path, keep=2))
        drained(part)
        part.close()
        assert sorted(file.name for file in tmp_path.glob("copy.jsonl.*")) == ["copy.jsonl.1", "copy.jsonl.2"]
        kept = self.lines(path)
        assert kept == [event.body for event in written][-len(kept) :]

    def test_a_folder_that_is_not_there_is_a_failure_with_a_reason(self, log: Path, tmp_path: Path) -> None:
        part = delivery(log, tmp_path, self.sink(tmp_path / "no" / "copy"))
        assert part.step() > 0
        part.close()
        with Places(tmp_path / "sinks.db") as places:
            assert places.of("copy").reason == "no such file or directory"


def octet_counted(stream: bytes) -> list[bytes]:
    """The messages of a stream (RFC 6587 section 3.4.1)."""
    messages = []
    while stream:
        size, _, rest = stream.partition(b" ")
        messages.append(rest[: int(size)])
        assert len(messages[-1]) == int(size)
        stream = rest[int(size) :]
    return messages


RFC_5424 = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) answer-gateway - ([!-~]{1,32}) - (.*)",
    re.DOTALL,
)


class SyslogServer:
    """Reads each connection to its end, then closes it. `cut_after` closes the first one early instead."""

    def __init__(self, context: ssl.SSLContext | None = None, cut_after: int = 0) -> None:
        self.received: list[bytes] = []
        self._context, self._cut_after = context, cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                self._take(connection)
            except OSError:
                connection.close()

    def _take(self, connection: socket.socket) -> None:
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        if self._cut_after:
            connection.recv(self._cut_after)
            self._cut_after = 0
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
            connection.close()
            return
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
        self.received.append(b"".join(parts))
        if isinstance(connection, ssl.SSLSocket):
            connection = connection.unwrap()
        connection.close()

    def stop(self) -> None:
        self._listener.close()


class TestSyslog:
    def sink(
        self, port: int, transport: str, context: ssl.SSLContext | None = None, timeout_s: float = 5.0
    ) -> SyslogSink:
        return SyslogSink(
            "syslog", "127.0.0.1", port, transport=transport, encode=as_hashed, timeout_s=timeout_s, context=context
        )

    def test_messages_over_tcp_are_those_of_rfc_5424(self, log: Path, written, tmp_path: Path) -> None:
        server = SyslogServer()
        part = delivery(log, tmp_path, self.sink(server.port, "tcp"))
        drained(part)
        part.close()
        server.stop()
        messages = octet_counted(b"".join(server.received))
        assert len(messages) == EVENTS
        for message, event in zip(messages, written, strict=True):
            match = RFC_5424.fullmatch(message)
            assert match is not None
            assert match[5] == event.body
            assert match[4].decode() == event.members["type"]
            severity = {"refuse": 4, "escalate": 4, "flag": 5, "redact": 5}.get(event.members.get("effect"), 6)
            assert int(match[1]) == 13 * 8 + severity

    def test_a_connection_that_breaks_delivers_its_batch_again(self, log: Path, written, tmp_path: Path) -> None:
        server = SyslogServer(cut_after=10_000)
        part = delivery(log, tmp_path, self.sink(server.port, "tcp"))
        assert part.step() > 0
        drained(part)
        part.close()
        server.stop()
        bodies = [RFC_5424.fullmatch(message)[5] for message in octet_counted(b"".join(server.received))]
        assert bodies == [event.body for event in written]

    def test_a_server_that_never_closes_has_not_taken_the_batch(self, log: Path, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            part = delivery(log, tmp_path, self.sink(silent.getsockname()[1], "tcp", timeout_s=0.2), batch_events=3)
            assert part.step() > 0
            part.close()
        with Places(tmp_path / "sinks.db") as places:
            assert (places.of("syslog").progress.seq, places.of("syslog").failures) == (0, 1)

    def test_tls_checks_the_certificate(self, log: Path, written, tmp_path: Path) -> None:
        certificate, key = certified(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = SyslogServer(context)
        trusting = ssl.create_default_context(cafile=certificate)
        part = delivery(log, tmp_path, self.sink(server.port, "tls", trusting))
        drained(part)
        part.close()
        assert len(octet_counted(b"".join(server.received))) == EVENTS
        (tmp_path / "other").mkdir()
        wary = delivery(log, tmp_path / "other", self.sink(server.port, "tls", ssl.create_default_context()))
        assert wary.step() > 0
        wary.close()
        server.stop()
        with Places(tmp_path / "other" / "sinks.db") as places:
            assert "certificate is not trusted" in places.of("syslog").reason

    def test_datagrams_hold_one_message_each_and_name_what_is_too_large(self, written) -> None:
        large = Event(
            seq=7, hash="ab", members={**written[3].members, "type": "outcome"}, body=b'{"x":"' + b"y" * 70_000 + b'"}'
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.settimeout(5)
            self.sink(server.getsockname()[1], "udp").put([written[0], large])
            first, second = server.recv(65_535), server.recv(65_535)
        assert RFC_5424.fullmatch(first)[5] == written[0].body
        told = json.loads(RFC_5424.fullmatch(second)[5])
        assert (told["too_large"], told["hash"]) == (True, "ab")


def certified(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(secret)
    return folder / "cert.pem", folder / "key.pem"


def test_a_log_that_was_replaced_is_not_delivered_from_the_middle(
    log: Path, receiver: Receiver, tmp_path: Path
) -> None:
    part = delivery(log, tmp_path, http_sink(receiver.url))
    part.step()
    part.close()
    other = tmp_path / "audit.db"
    write_log(other, 300, seed=5)
    part = delivery(other, tmp_path, http_sink(receiver.url))
    with pytest.raises(AuditUnavailable, match="--restart siem SEQ"):
        part.step()
    with Places(tmp_path / "sinks.db") as places:
        places.delivered("siem", place_at(other, 0))
    drained(part)
    part.close()
    assert len(receiver.lines) == 400


async def test_a_sink_that_hangs_slows_no_append(logs, receiver: Receiver, tmp_path: Path) -> None:
    log = logs.open()
    receiver.pause_s = 2.5
    settings = Settings(
        data_dir=tmp_path, trail=TrailSettings(sinks=(SinkSettings(name="siem", kind="http", url=receiver.url),))
    )
    ((_, make),) = deliveries(settings, {}, lambda *_: None)
    thread = threading.Thread(target=_step_once, args=(make,))
    thread.start()
    begun = time.monotonic()
    await asyncio.gather(*(log.append(EventDraft(type=EventType.INGEST, body={"n": n})) for n in range(200)))
    assert time.monotonic() - begun < 2.0
    assert thread.is_alive()
    await asyncio.to_thread(thread.join)
    assert len(receiver.lines) >= 1


def _step_once(make: Callable[[], Delivery]) -> None:
    part = make()
    part.step()
    part.close()


class TestSettings:
    def test_each_kind_makes_its_sink(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("abc")
        http = SinkSettings(name="a", kind="http", url="http://h/x", token=f"file:{tmp_path / 'token'}")
        assert isinstance(sink_of(http, {}), HttpSink)
        assert isinstance(sink_of(SinkSettings(name="b", kind="file", path="x"), {}), FileSink)
        for transport in ("tls", "tcp", "udp"):
            assert isinstance(
                sink_of(SinkSettings(name="c", kind="syslog", host="h", transport=transport), {}), SyslogSink
            )
        with pytest.raises(ConfigurationError, match="ca_file"):
            sink_of(SinkSettings(name="c", kind="syslog", host="h", ca_file=str(tmp_path / "none")), {})

    def test_the_watch_tells_who_is_behind(self, log: Path, tmp_path: Path) -> None:
        (tmp_path / "audit.db").symlink_to(log)
        sink = SinkSettings(name="siem", kind="http", url="http://127.0.0.1:9/")
        watch = SinkWatch(Settings(data_dir=tmp_path, trail=TrailSettings(sinks=(sink,))))
        assert watch.keeps_up() is False
        assert [lag.behind for lag in watch.lags()] == [EVENTS]
        with Places(tmp_path / "audit-sinks.db") as places:
            places.delivered("siem", place_at(log, EVENTS))
        again = SinkWatch(Settings(data_dir=tmp_path, trail=TrailSettings(sinks=(sink,))))
        assert again.keeps_up() is True
        assert SinkWatch(Settings(data_dir=tmp_path)).keeps_up() is None

    def test_the_command_shows_and_moves(self, log: Path, tmp_path: Path) -> None:
        (tmp_path / "audit.db").symlink_to(log)
        sink = SinkSettings(name="siem", kind="http", url="http://127.0.0.1:9/")
        settings = Settings(data_dir=tmp_path, trail=TrailSettings(sinks=(sink,)))

        def run(*arguments: str) -> SimpleNamespace:
            return CliRunner().invoke(audit, ["sinks", *arguments], obj={"settings": settings}, env={"COLUMNS": "160"})

        shown = run("--format", "json")
        assert (shown.exit_code, json.loads(shown.stdout)[0]["behind"]) == (0, EVENTS)
        moved = run("--restart", "siem", str(EVENTS - 7))
        assert re.search(rf"siem\s+{EVENTS - 7}\s+7\s", moved.stdout), moved.output
        assert run("--restart", "nobody", "1").exit_code == 1
        assert run("--restart", "siem", "99999").exit_code == 2
        with Places(tmp_path / "audit-sinks.db") as places:
            places.failed("siem", "it answered 500")
        failing = run()
        assert failing.exit_code == 1
        assert "it answered 500" in failing.stdout
