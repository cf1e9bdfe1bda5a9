"""Wraps data keys at a key service that speaks the transit API of HashiCorp Vault (`encrypt` and `decrypt` with
`associated_data`, so the key there must be an AEAD one: `aes256-gcm96`)."""

import base64
import binascii
import http.client
import json
from typing import Any, Final
from urllib.parse import quote, urlsplit

from gateway.domain.errors import AuditUnavailable
from gateway.domain.sealing import UnsealError
from gateway.domain.text import Secret

_MAX_ANSWER_BYTES: Final = 64 * 1024


class TransitWrapper:
    """A `KeyWrapper`. One connection a call: calls are rare, since unwrapped data keys are remembered."""

    def __init__(self, url: str, *, mount: str, key: str, token: Secret, timeout_s: float) -> None:
        self.name = f"transit:{mount}/{key}"
        self._url = urlsplit(url)
        self._mount = mount
        self._key = key
        self._token = token
        self._timeout_s = timeout_s

    def wrap(self, key: bytes, context: bytes) -> bytes:
        answer = self._call("encrypt", {"plaintext": _b64(key), "associated_data": _b64(context)})
        wrapped = answer.get("ciphertext")
        if not isinstance(wrapped, str) or not wrapped:
            raise self._unusable("its answer holds no ciphertext")
        return wrapped.encode()

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        text = wrapped.decode("ascii", "replace")
        answer = self._call("decrypt", {"ciphertext": text, "associated_data": _b64(context)})
        try:
            return base64.b64decode(str(answer.get("plaintext", "")), validate=True)
        except binascii.Error:
            raise self._unusable("its answer holds no plaintext") from None

    def _call(self, act: str, body: dict[str, str]) -> dict[str, Any]:
        path = f"{self._url.path.rstrip('/')}/v1/{quote(self._mount)}/{act}/{quote(self._key, safe='')}"
        try:
            status, raw = self._post(path, json.dumps(body).encode())
        except (OSError, http.client.HTTPException) as error:
            raise self._unusable(type(error).__name__) from None
        if status == http.client.BAD_REQUEST and act == "decrypt":
            raise UnsealError("the key service does not unwrap this data key: it was altered, or is another key's")
        if status != http.client.OK:
            raise self._unusable(f"it answered {status}")
        try:
            found = json.loads(raw)["data"]
        except (ValueError, KeyError, TypeError):
            raise self._unusable("its answer is no JSON of that API") from None
        return found if isinstance(found, dict) else {}

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=self._timeout_s)
        try:
            headers = {"content-type": "application/json", "x-vault-token": self._token.reveal()}
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_MAX_ANSWER_BYTES)
        finally:
            connection.close()

    def _unusable(self, why: str) -> AuditUnavailable:
        return AuditUnavailable(
            f"the key service of `{self.name}` cannot be used: {why}: check `audit.bodies` and the service",
            code="key_service_unavailable",
        )

    def __repr__(self) -> str:
        return f"TransitWrapper({self.name})"


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
