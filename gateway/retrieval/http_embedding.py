"""Sentence embeddings from a server that speaks the OpenAI wire format of `/embeddings`.

For a larger model than the packaged one on a machine of one's own. Texts of passages and questions leave for that
server, so it is named in the settings or it is not asked at all.
"""

import http.client
import json
import ssl
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.errors import StoreUnavailable
from gateway.domain.text import Secret

_AT_ONCE: Final = 64  # texts a request
_MAX_REPLY: Final = 64 * 1024 * 1024


class EmbeddingServer(Struct, frozen=True, kw_only=True):
    """`base_url` is the address up to and without `/embeddings`."""

    base_url: str
    model: str
    api_key: Secret | None = None
    timeout_s: float = 30.0


class HttpEmbedder:
    """Port `Embedder` on a server. Rows are scaled to unit length. Blocking and thread-safe: one connection a call.

    `version` holds the server's model and its dimensions; a server that gives another number of them raises, like one
    that fails: `StoreUnavailable`, without a word of the texts.
    """

    def __init__(self, name: str, server: EmbeddingServer, *, dimensions: int) -> None:
        self.name = name
        self.version = f"http-{server.model}-{dimensions}"
        self.dimensions = dimensions
        self._server = server

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.empty((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), _AT_ONCE):
            portion = [text.encode("utf-8", "replace").decode() for text in texts[start : start + _AT_ONCE]]
            rows[start : start + len(portion)] = self._portion(portion)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        scaled: NDArray[np.float32] = rows / np.maximum(norms, np.finfo(np.float32).tiny)
        return scaled

    def _portion(self, texts: Sequence[str]) -> NDArray[np.float32]:
        try:
            entries = sorted(self._asked(texts)["data"], key=lambda entry: int(entry["index"]))
            found = np.array([entry["embedding"] for entry in entries], np.float32)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise StoreUnavailable(
                f"the embedding server of `{self.name}` gives no embeddings: {type(error).__name__}: check that it "
                "runs and has the model",
                code="embedder_failed",
            ) from error
        if found.shape != (len(texts), self.dimensions) or not np.isfinite(found).all():
            raise StoreUnavailable(
                f"the embedding server of `{self.name}` gives no vectors of {self.dimensions} dimensions: set the "
                "`dimensions` of its model",
                code="embedder_failed",
            )
        return found

    def _asked(self, texts: Sequence[str]) -> Any:
        url = urlsplit(self._server.base_url)
        headers = {"content-type": "application/json"}
        if self._server.api_key is not None:
            headers["authorization"] = f"Bearer {self._server.api_key.reveal()}"
        body = json.dumps({"model": self._server.model, "input": list(texts), "encoding_format": "float"})
        connection = _connection(url.scheme, url.hostname or "", url.port, self._server.timeout_s)
        try:
            connection.request("POST", f"{url.path.rstrip('/')}/embeddings", body, headers)
            reply = connection.getresponse()
            content = reply.read(_MAX_REPLY)
            if reply.status != http.HTTPStatus.OK:
                raise http.client.HTTPException(str(reply.status))
            return json.loads(content)
        finally:
            connection.close()


def _connection(scheme: str, host: str, port: int | None, timeout_s: float) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=timeout_s)
