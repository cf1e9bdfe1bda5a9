"""Small corpora on disk, an embedder that needs no model, and what a caller sees of an index."""

import hashlib

import numpy as np

from gateway.retrieval.store import SearchRequest


class FakeEmbedder:
    """Unit vectors from a hash; counts the texts it was asked for."""

    name, dimensions = "fake", 8

    def __init__(self, version="1"):
        self.version = version
        self.texts = []

    def embed(self, texts):
        self.texts += texts
        rows = [np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], np.uint8) + 1.0 for text in texts]
        matrix = np.array(rows, np.float32).reshape(len(texts), 8)
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def front(*, title="Card fees", owner="team:cards", classification="public", access="[public]", **more):
    keys = {"title": title, "owner": owner, "classification": classification, "access": access} | more
    return "---\n" + "".join(f"{key}: {value}\n" for key, value in keys.items() if value is not None) + "---\n"


def write(folder, name, body="# Card fees\n\nThe fee is three pounds.\n", **keys):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(front(**keys) + body, "utf-8")
    return file


async def visible(store, embedder, groups=("public",), tenant="acme"):
    request = SearchRequest(
        tenant=tenant, groups=frozenset(groups), text="fee", vector=embedder.embed(["fee"])[0], limit=50
    )
    return {passage.doc: passage for passage in (await store.search(request)).passages}


def only(report):
    [tenant] = report.tenants
    return tenant
