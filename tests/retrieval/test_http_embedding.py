"""Embeddings from a server: what it is asked, and everything it can get wrong."""

import http.server
import json
import threading

import numpy as np
import pytest

from gateway.domain.errors import StoreUnavailable
from gateway.domain.text import Secret
from gateway.retrieval.http_embedding import EmbeddingServer, HttpEmbedder


class Model:
    """Answers with `reply(body)`, or with vectors of three dimensions in reverse order."""

    def __init__(self, reply=None, status=200):
        self.asked = []
        self.headers = []
        model = self

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                model.asked.append((self.path, body))
                model.headers.append(dict(self.headers))
                content = (reply or vectors)(body)
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                return None

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def embedder(self, dimensions=3):
        address = f"http://127.0.0.1:{self.server.server_port}/v1/"
        server = EmbeddingServer(base_url=address, model="big-1", api_key=Secret("key-1"), timeout_s=5.0)
        return HttpEmbedder("big", server, dimensions=dimensions)


def vectors(body):
    rows = [{"index": at, "embedding": [float(len(text)), 1.0, 0.0]} for at, text in enumerate(body["input"])]
    return json.dumps({"data": rows[::-1]}).encode()


def test_rows_come_in_order_and_of_unit_length():
    with Model() as model:
        rows = model.embedder().embed(["a", "bbb", "lone \ud800"])
    assert rows.shape == (3, 3)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0)
    assert rows[1][0] > rows[0][0]
    [(path, body)] = model.asked
    assert (path, body["model"], body["input"][2]) == ("/v1/embeddings", "big-1", "lone ?")
    assert model.headers[0]["authorization"] == "Bearer key-1"


def test_many_texts_are_asked_in_portions():
    with Model() as model:
        assert model.embedder().embed(["x" * n for n in range(150)]).shape == (150, 3)
    assert [len(body["input"]) for _, body in model.asked] == [64, 64, 22]
    assert model.embedder().embed([]).shape == (0, 3)


def test_its_identity_moves_with_model_and_dimensions():
    one = HttpEmbedder("big", EmbeddingServer(base_url="http://x", model="m"), dimensions=3)
    others = [
        HttpEmbedder("big", EmbeddingServer(base_url="http://x", model="m2"), dimensions=3),
        HttpEmbedder("big", EmbeddingServer(base_url="http://x", model="m"), dimensions=4),
    ]
    assert len({one.version, *(other.version for other in others)}) == 3


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (lambda _: b"{", 200),
        (lambda _: b'{"data": []}', 200),
        (lambda _: b'{"data": [{"index": 0}]}', 200),
        (lambda _: b'{"data": [{"index": 0, "embedding": [1, 2]}]}', 200),
        (lambda _: b'{"data": [{"index": 0, "embedding": [NaN, 1, 1]}]}', 200),
        (lambda _: b"secret words echoed", 500),
        (lambda _: b"", 302),
    ],
    ids=["no JSON", "too few", "no vector", "wrong dimension", "no number", "failure", "redirect"],
)
def test_whatever_is_wrong_is_a_failure_without_content(reply, status):
    with Model(reply, status) as model, pytest.raises(StoreUnavailable) as raised:
        model.embedder().embed(["secret words"])
    assert raised.value.code == "embedder_failed"
    assert "secret" not in str(raised.value)
    assert "key-1" not in str(raised.value)


def test_a_server_that_is_not_there_is_a_failure(unused_tcp_port):
    server = EmbeddingServer(base_url=f"http://127.0.0.1:{unused_tcp_port}", model="m")
    with pytest.raises(StoreUnavailable, match="check that it runs"):
        HttpEmbedder("big", server, dimensions=3).embed(["x"])
