"""Data keys wrapped at a key service: a server that speaks the transit API, and one that misbehaves in each way."""

import base64
import json
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.assembly.bodies import wrappers_of
from gateway.audit.data_keys import DataKeys, KeyOwner
from gateway.audit.transit import TransitWrapper
from gateway.audit.wrapping import MasterWrapper, Wrappers
from gateway.domain.errors import AuditUnavailable, ConfigurationError
from gateway.domain.sealing import UnsealError
from gateway.domain.text import Secret
from gateway.settings import AuditSettings, BodySettings, Settings

TOKEN = "token-that-is-secret"
KEY, CONTEXT = bytes(range(32)), b"whose key it is"


class KeyService:
    """Wraps with the newest of its keys and unwraps with any, as `vault:vN:…` says."""

    def __init__(self) -> None:
        self.keys = [AESGCM(os.urandom(32))]
        self.answer: tuple[int, bytes] | None = None
        self.paths: list[str] = []
        self.url = ""

    def rotate(self) -> None:
        self.keys.append(AESGCM(os.urandom(32)))

    def serve(self, path: str, token: str | None, body: dict[str, Any]) -> tuple[int, bytes]:
        self.paths.append(path)
        if self.answer is not None:
            return self.answer
        if token != TOKEN:
            return 403, b'{"errors":["permission denied"]}'
        context = base64.b64decode(body["associated_data"])
        if path.endswith("/encrypt/answer-gateway"):
            nonce = os.urandom(12)
            sealed = nonce + self.keys[-1].encrypt(nonce, base64.b64decode(body["plaintext"]), context)
            return 200, _data(ciphertext=f"vault:v{len(self.keys)}:{base64.b64encode(sealed).decode()}")
        try:
            _, version, sealed_text = body["ciphertext"].split(":")
            sealed = base64.b64decode(sealed_text)
            plain = self.keys[int(version[1:]) - 1].decrypt(sealed[:12], sealed[12:], context)
        except (ValueError, IndexError, InvalidTag):
            return 400, b'{"errors":["cipher: message authentication failed"]}'
        return 200, _data(plaintext=base64.b64encode(plain).decode())


def _data(**members: str) -> bytes:
    return json.dumps({"request_id": "r", "data": members}).encode()


@pytest.fixture
def service() -> Iterator[KeyService]:
    made = KeyService()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, answer = made.serve(self.path, self.headers.get("x-vault-token"), body)
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def wrapper(service: KeyService, token: str = TOKEN, timeout_s: float = 2.0) -> TransitWrapper:
    return TransitWrapper(service.url, mount="transit", key="answer-gateway", token=Secret(token), timeout_s=timeout_s)


def test_a_key_comes_back_for_its_owner_only(service: KeyService) -> None:
    made = wrapper(service)
    wrapped = made.wrap(KEY, CONTEXT)
    assert wrapped.startswith(b"vault:v1:")
    assert made.unwrap(wrapped, CONTEXT) == KEY
    for altered, context in ((wrapped, b"another"), (wrapped[:-4] + b"AAAA", CONTEXT), (b"\xff", CONTEXT)):
        with pytest.raises(UnsealError, match="another key's"):
            made.unwrap(altered, context)
    assert service.paths[0] == "/v1/transit/encrypt/answer-gateway"


@pytest.mark.parametrize(
    "answer",
    [
        (403, b"{}"),
        (500, b"oops"),
        (301, b""),
        (200, b""),
        (200, b"not json"),
        (200, b"[]"),
        (200, b'{"data": []}'),
        (200, b'{"data": {"ciphertext": 7, "plaintext": "?"}}'),
    ],
)
def test_a_service_that_misbehaves_fails_closed(service: KeyService, answer: tuple[int, bytes]) -> None:
    service.answer = answer
    with pytest.raises(AuditUnavailable) as caught:
        wrapper(service).wrap(KEY, CONTEXT)
    assert caught.value.code == "key_service_unavailable"
    assert TOKEN not in str(caught.value)


def test_a_plaintext_that_is_none_fails_closed(service: KeyService, tmp_path: Path) -> None:
    keys = DataKeys.open(tmp_path / "keys.db", Wrappers(wrapper(service)))
    owner = KeyOwner("acme", "desk", "p:1")
    ref = keys.current(owner, datetime.now(UTC)).ref
    service.answer = (200, b'{"data": {"plaintext": "dG9vIHNob3J0"}}')
    with pytest.raises(UnsealError, match="altered"):
        keys.unwrap(ref)
    service.answer = (200, b'{"data": {"plaintext": "???"}}')
    with pytest.raises(AuditUnavailable, match="plaintext"):
        keys.unwrap(ref)
    keys.close()


def test_a_wrong_token_a_closed_port_and_silence_fail_closed(service: KeyService) -> None:
    with pytest.raises(AuditUnavailable, match="403"):
        wrapper(service, token="other").wrap(KEY, CONTEXT)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        service.url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(AuditUnavailable, match="Timeout"):
            wrapper(service, timeout_s=0.1).wrap(KEY, CONTEXT)
    with pytest.raises(AuditUnavailable, match="ConnectionRefused"):
        wrapper(service).wrap(KEY, CONTEXT)


def test_rotation_follows_the_service_and_moves_between_it_and_a_file(service: KeyService, tmp_path: Path) -> None:
    path, local = tmp_path / "keys.db", MasterWrapper(bytes(32))
    owner, now = KeyOwner("acme", "desk", "p:1"), datetime.now(UTC)
    keys = DataKeys.open(path, Wrappers(local))
    made = keys.current(owner, now)
    keys.close()
    keys = DataKeys.open(path, Wrappers(wrapper(service), [local]))
    assert keys.rotate() == (1, 0)
    service.rotate()
    assert keys.rotate() == (1, 0)
    assert keys._db.execute("SELECT wrapped FROM data_keys").fetchone()[0].startswith(b"vault:v2:")
    keys.close()
    keys = DataKeys.open(path, Wrappers(wrapper(service)))
    assert keys.current(owner, now) == made
    keys.close()


def test_the_settings_choose_the_key(service: KeyService, tmp_path: Path) -> None:
    def wrappers(environ: dict[str, str], **chosen: Any) -> Wrappers:
        return wrappers_of(Settings(data_dir=tmp_path, audit=AuditSettings(bodies=BodySettings(**chosen))), environ)

    own = wrappers({})
    wrapped = own.current.wrap(KEY, CONTEXT)
    from_environ = wrappers({"MASTER": "ab" * 32}, master_key="env:MASTER")
    assert from_environ.current.name == MasterWrapper(bytes.fromhex("ab" * 32)).name != own.current.name
    assert from_environ.unwrap(own.current.name, wrapped, CONTEXT) == KEY, "the folder's own key always unwraps"
    at_service = wrappers({"T": TOKEN}, vault_url=service.url, vault_token="env:T", master_key="")
    assert at_service.current.name == "transit:transit/answer-gateway"
    assert at_service.unwrap(at_service.current.name, at_service.current.wrap(KEY, CONTEXT), CONTEXT) == KEY
    with pytest.raises(ConfigurationError, match="hex"):
        wrappers({"MASTER": "ab"}, master_key="env:MASTER")
    with pytest.raises(ConfigurationError, match="MASTER"):
        wrappers({}, master_key="env:MASTER")
    assert TOKEN not in repr(at_service.current)
