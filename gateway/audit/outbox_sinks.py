"""Places that get copies of events: an HTTP address, a syslog server, a file. Blocking; each is used by one thread.

`put` returns when the sink has taken a batch, and raises `OSError` when it may not have: the batch comes again then.
"""

import http.client
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from gateway.audit.checkpoint_folder import write_all
from gateway.audit.database import sync_folder
from gateway.audit.export_ocsf import ocsf_records
from gateway.audit.read import Event
from gateway.domain.text import Secret
from gateway.domain.vocabulary import Effect

_AUDIT_FACILITY: Final = 13  # RFC 5424 section 6.2.1: log audit
_NOTICE, _INFORMATIONAL, _WARNING = 5, 6, 4
_MOST_DATAGRAM: Final = 60_000  # bytes; a UDP datagram over IPv4 carries at most 65,507
_NAME_CHARS: Final = 48
_MAX_ANSWER: Final = 64 * 1024

Encode = Callable[[Event], list[bytes]]
"""The lines that an event is in a format, without line feeds."""


class Sink(Protocol):
    name: str

    def put(self, events: Sequence[Event]) -> None: ...


def as_hashed(event: Event) -> list[bytes]:
    """The bytes that were hashed."""
    return [event.body]


def as_ocsf(event: Event) -> list[bytes]:
    """Records of OCSF 1.8."""
    return [msgspec.json.encode(record) for record in ocsf_records(event)]


class HttpSink:
    """Posts batches of lines. Any 2xx status says that the batch was taken; `x-gateway-batch` names it, so that a
    receiver can drop what comes twice."""

    def __init__(self, name: str, url: str, *, token: Secret | None, encode: Encode, timeout_s: float) -> None:
        self.name = name
        self._parts = urlsplit(url)
        self._token = token
        self._encode = encode
        self._timeout_s = timeout_s

    def put(self, events: Sequence[Event]) -> None:
        lines = [line for event in events for line in self._encode(event)]
        headers = {
            "content-type": "application/x-ndjson",
            "x-gateway-batch": f"{events[0].members['log']}:{events[0].seq}-{events[-1].seq}",
        }
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token.reveal()}"
        parts = self._parts
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self._timeout_s)
        try:
            connection.request("POST", parts.path or "/", b"\n".join(lines) + b"\n", headers)
            answer = connection.getresponse()
            answer.read(_MAX_ANSWER)
            if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                raise ConnectionError(f"it answered {answer.status}")
        except http.client.HTTPException as error:
            raise ConnectionError(f"no HTTP answer: {type(error).__name__}") from None
        finally:
            connection.close()


class FileSink:
    """Appends lines to a file and syncs it. A full file is renamed to `.1`, older ones move up, the oldest goes."""

    def __init__(self, name: str, path: Path, *, encode: Encode, max_bytes: int, keep: int) -> None:
        self.name = name
        self._path = path
        self._encode = encode
        self._max_bytes = max_bytes
        self._keep = keep

    def put(self, events: Sequence[Event]) -> None:
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            write_all(descriptor, b"".join(line + b"\n" for event in events for line in self._encode(event)))
            os.fsync(descriptor)
            full = os.fstat(descriptor).st_size >= self._max_bytes
        finally:
            os.close(descriptor)
        if full:
            self._rotate()

    def _rotate(self) -> None:
        self._numbered(self._keep).unlink(missing_ok=True)
        for number in range(self._keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._numbered(number).rename(self._numbered(number + 1))
        self._path.rename(self._numbered(1))
        sync_folder(self._path.parent)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class SyslogSink:
    """Sends RFC 5424 messages: over TLS (RFC 5425) or TCP (RFC 6587) with octet counting, or as UDP datagrams.

    Syslog acknowledges nothing. Over TCP and TLS each batch has a connection of its own that is closed in our
    direction at its end; the server closes its own when it has read all, and only then the batch counts as taken. Over
    UDP a batch counts as taken when it was sent.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        transport: str,
        encode: Encode,
        timeout_s: float,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`context` is needed for `tls`."""
        self.name = name
        self._address = (host, port)
        self._transport = transport
        self._encode = encode
        self._timeout_s = timeout_s
        self._context = context
        self._host_name = _printable(socket.gethostname()) or "-"

    def put(self, events: Sequence[Event]) -> None:
        messages = [self._message(event, line) for event in events for line in self._encode(event)]
        if self._transport == "udp":
            self._send_datagrams(messages)
            return
        payload = b"".join(b"%d %b" % (len(message), message) for message in messages)
        with socket.create_connection(self._address, timeout=self._timeout_s) as plain:
            if self._context is None:
                plain.sendall(payload)
                plain.shutdown(socket.SHUT_WR)
                _read_to_end(plain)
                return
            with self._context.wrap_socket(plain, server_hostname=self._address[0]) as secure:
                secure.sendall(payload)
                _close_notify(secure)

    def _send_datagrams(self, messages: list[bytes]) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as datagrams:
            datagrams.settimeout(self._timeout_s)
            for message in messages:
                datagrams.sendto(message, address)

    def _message(self, event: Event, line: bytes) -> bytes:
        own = event.members
        severity = _severity(own)
        head = f"<{_AUDIT_FACILITY * 8 + severity}>1 {own['ts']} {self._host_name} answer-gateway - "
        message = head.encode() + _printable(str(own["type"])).encode() + b" - " + line
        if self._transport == "udp" and len(message) > _MOST_DATAGRAM:
            named = {name: own[name] for name in ("id", "log", "seq", "type")} | {"hash": event.hash, "too_large": True}
            return message[: -len(line)] + msgspec.json.encode(named)
        return message


def _read_to_end(connection: socket.socket) -> None:
    """Until the server closes; raises `TimeoutError` if it does not."""
    while connection.recv(_MAX_ANSWER):
        pass


def _close_notify(secure: ssl.SSLSocket) -> None:
    """Close our direction, and wait for the server's (RFC 5425 section 4.4). A server that closes the connection
    without a word has read all, too."""
    try:
        secure.unwrap()
    except ssl.SSLError as error:
        if error.reason not in ("UNEXPECTED_EOF_WHILE_READING", "APPLICATION_DATA_AFTER_CLOSE_NOTIFY"):
            raise


def _severity(event: dict[str, Any]) -> int:
    match event.get("effect"):
        case Effect.REFUSE | Effect.ESCALATE | "error":
            return _WARNING
        case Effect.FLAG | Effect.REDACT:
            return _NOTICE
        case _:
            return _INFORMATIONAL


def _printable(text: str) -> str:
    """As RFC 5424 wants names: printable ASCII without spaces."""
    return "".join(char for char in text if "!" <= char <= "~")[:_NAME_CHARS]
