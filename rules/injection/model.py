"""The model: an n-gram bag, structure flags and a sentence embedding into two small networks, in NumPy.

`lexical` sees n-grams and structure, `joint` the embedding besides. Weights are arrays in one `.npz` file, read
without pickle and only if its SHA-256 is the pinned one; `gateway/evaluation/injection_training.py` makes them.
"""

import hashlib
import io
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.domain.errors import ConfigurationError
from rules.injection.features import BUCKETS
from rules.injection.structure import STRUCTURE_SIZE

Array = NDArray[np.float32]

WEIGHTS_FILE: Final = "weights.npz"
WEIGHTS_SHA256: Final = "186244083dcdb043f692ceed49946936eaae6f635aca155528d065bd161ab1a4"

_LAYERS: Final = ("first", "first_bias", "second", "direct", "bias")


class Network(Struct, frozen=True):
    """One hidden layer of rectified units, and a direct linear path. Gives a logit."""

    first: Array  # (inputs, hidden)
    first_bias: Array  # (hidden,)
    second: Array  # (hidden,)
    direct: Array  # (inputs,)
    bias: Array  # (1,)

    def logits(self, inputs: Array) -> Array:
        """Shape `(rows,)` for inputs of shape `(rows, inputs)`."""
        active = np.maximum(inputs @ self.first + self.first_bias, 0)
        logits: Array = active @ self.second + inputs @ self.direct + self.bias
        return logits


class Calibration(Struct, frozen=True):
    """How logits become scores. A logit at its threshold becomes 0.5, one `1 / slope` above it 0.73.

    `joint` is for windows whose embedding is known, `lexical` for other windows, `sentence` for sentences by the
    lexical network. `per_window` and `per_sentence` are what these thresholds rise when a text has e times as many.
    """

    joint: float
    lexical: float
    sentence: float
    slope: float
    per_window: float
    per_sentence: float


class Weights(Struct, frozen=True):
    """`table` has a row for each n-gram bucket: float32 in training, int8 in use."""

    table: NDArray[Any]
    lexical: Network
    joint: Network
    calibration: Calibration


def bag(table: NDArray[Any], buckets: NDArray[np.int32]) -> Array:
    """Sum of the rows over the root of their number: a repeated theme counts, a long text does not."""
    if not len(buckets):
        return np.zeros(table.shape[1], dtype=np.float32)
    summed: Array = table[buckets].sum(axis=0, dtype=np.float32)
    return summed / np.float32(np.sqrt(len(buckets)))


def inputs(table: NDArray[Any], buckets: Sequence[NDArray[np.int32]], structure: Array) -> Array:
    """Inputs of the lexical network, shape `(rows, width + STRUCTURE_SIZE)`."""
    if not buckets:
        return np.empty((0, table.shape[1] + STRUCTURE_SIZE), dtype=np.float32)
    return np.concatenate([np.stack([bag(table, row) for row in buckets]), structure], axis=1)


def quantised(weights: Weights) -> Weights:
    """The same function with a table of bytes; the scale of each column moves into the networks."""
    scale = np.maximum(np.abs(weights.table).max(axis=0) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    table = np.rint(weights.table / scale).astype(np.int8)
    return Weights(table, _scaled(weights.lexical, scale), _scaled(weights.joint, scale), weights.calibration)


def _scaled(network: Network, scale: Array) -> Network:
    first, direct = network.first.copy(), network.direct.copy()
    first[: len(scale)] *= scale[:, None]
    direct[: len(scale)] *= scale
    return Network(first, network.first_bias, network.second, direct, network.bias)


def dump(weights: Weights) -> bytes:
    """The file format: a compressed `.npz` of plain arrays."""
    arrays: dict[str, NDArray[Any]] = {"table": weights.table}
    for name, network in (("lexical", weights.lexical), ("joint", weights.joint)):
        arrays |= {f"{name}.{layer}": getattr(network, layer) for layer in _LAYERS}
    arrays["calibration"] = np.array(msgspec.structs.astuple(weights.calibration), dtype=np.float64)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def load(content: bytes, sha256: str) -> Weights:
    """Raises `ConfigurationError` unless the bytes have that hash and the arrays fit this version of the features."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ConfigurationError(f"`{WEIGHTS_FILE}` of the injection detector is not the pinned file: reinstall it")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        lexical, joint = (Network(*(arrays[f"{name}.{layer}"] for layer in _LAYERS)) for name in ("lexical", "joint"))
        weights = Weights(arrays["table"], lexical, joint, Calibration(*map(float, arrays["calibration"])))
    expected = weights.table.shape[1] + STRUCTURE_SIZE
    if len(weights.table) != BUCKETS or len(weights.lexical.direct) != expected:
        raise ConfigurationError(
            f"`{WEIGHTS_FILE}` of the injection detector does not fit its features: train it again"
        )
    return weights


def packaged() -> Weights:
    """The weights that belong to this version. Raises `ConfigurationError` if the file is missing or another."""
    file = resources.files("rules.injection").joinpath(WEIGHTS_FILE)
    if not file.is_file():
        raise ConfigurationError(f"`{WEIGHTS_FILE}` of the injection detector is missing: reinstall the package")
    return load(file.read_bytes(), WEIGHTS_SHA256)
