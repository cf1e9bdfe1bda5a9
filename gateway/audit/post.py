"""One HTTP POST, for witnesses and for copies of checkpoints."""

import http.client
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from gateway.domain.errors import ConfigurationError

_MAX_ANSWER_BYTES: Final = 64 * 1024


class Answer(Struct, frozen=True):
    status: int
    body: bytes


def check_url(url: str) -> None:
    """Raises `ConfigurationError` for what cannot be posted to."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"`{url}` is not an http or https address")


def post(url: str, body: bytes, *, timeout_s: float) -> Answer:
    """Send text. Raises `OSError` when there is no complete HTTP answer within some `timeout_s`."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        connection.request("POST", target, body, {"content-type": "text/plain; charset=utf-8"})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(_MAX_ANSWER_BYTES))
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP answer: {type(error).__name__}") from None
    finally:
        connection.close()
