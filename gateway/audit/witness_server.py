"""HTTP for a witness. It needs nothing of the gateway but its own files, so that anybody can run it."""

import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import unquote

from gateway.audit.note import MAX_NOTE_BYTES
from gateway.audit.witness import Reply, Witness

_MAX_BODY_BYTES: Final = MAX_NOTE_BYTES + 4096  # a checkpoint and 63 lines of proof
_TIMEOUT_S: Final = 10.0
_LATEST: Final = "/latest/"


class WitnessServer(ThreadingHTTPServer):
    """`POST /add-checkpoint` of C2SP tlog-witness, and `GET /latest/<origin, percent-encoded>` for monitors."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        self.witness = witness
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT_S

    def do_POST(self) -> None:
        if self.path != "/add-checkpoint":
            self._send(Reply(404, "no such address\n"))
            return
        length = self.headers.get("content-length", "")
        if not length.isascii() or not length.isdecimal() or int(length) > _MAX_BODY_BYTES:
            self.close_connection = True  # the body is not read
            self._send(Reply(400, "the body has no length, or is too long\n"))
            return
        try:
            reply = self.server.witness.add_checkpoint(self.rfile.read(int(length)))
        except sqlite3.Error:
            reply = Reply(503, "the state of this witness cannot be written: nothing was cosigned\n")
        self._send(reply)

    def do_GET(self) -> None:
        latest = None
        if self.path.startswith(_LATEST):
            latest = self.server.witness.latest(unquote(self.path.removeprefix(_LATEST)))
        self._send(Reply(200, latest) if latest else Reply(404, "nothing is known of that log\n"))

    def log_message(self, *_: Any) -> None:
        """A witness keeps no log of who asked."""

    def _send(self, reply: Reply) -> None:
        content = reply.body.encode()
        self.send_response(reply.status)
        self.send_header("content-type", reply.content_type)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
