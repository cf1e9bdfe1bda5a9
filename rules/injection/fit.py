"""Fitting the model with NumPy alone: two small networks over one table of n-gram rows, trained together with Adam.

Method: bag of hashed n-grams as in fastText (Joulin et al. 2016, arXiv:1607.01759) with a hidden layer, beside the
sentence embedding. N-grams, embeddings and hidden units are dropped at random, so that no single word carries the
verdict. Deterministic for a seed on one machine; about a minute for 40,000 texts on one core.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from rules.injection.features import BUCKETS
from rules.injection.model import Calibration, Network, Weights, bag

Array = NDArray[np.float32]

UNCALIBRATED: Final = Calibration(joint=0.0, lexical=0.0, sentence=0.0, slope=1.0, per_window=0.0, per_sentence=0.0)

_BATCH: Final = 256
_TABLE_RATE: Final = 0.05
_RATE: Final = 2e-3
_DECAY: Final = 1e-4
_SMOOTHING: Final = 0.03  # of labels: some of them are wrong
_DROP_NGRAMS: Final = 0.3
_DROP_INPUTS: Final = 0.1
_DROP_HIDDEN: Final = 0.3


class Samples(Struct, frozen=True):
    """What is learnt from. Row `i` has the n-grams `buckets[i]`, flags `structure[i]`, embedding `embeddings[i]`, label
    `labels[i]` (0 or 1) and weight `weights[i]`."""

    buckets: Sequence[NDArray[np.int32]]
    structure: Array
    embeddings: Array
    labels: Array
    weights: Array


class _Adam:
    """Kingma and Ba 2015, arXiv:1412.6980, with decoupled decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    def __init__(self, parameters: Sequence[Array]) -> None:
        self._parameters = parameters
        self._first = [np.zeros_like(p) for p in parameters]
        self._second = [np.zeros_like(p) for p in parameters]
        self._step = 0

    def step(self, gradients: Sequence[Array], rate: float) -> None:
        self._step += 1
        for parameter, gradient, first, second in zip(
            self._parameters, gradients, self._first, self._second, strict=True
        ):
            first[...] += 0.1 * (gradient - first)
            second[...] += 0.001 * (gradient * gradient - second)
            mean, square = first / (1 - 0.9**self._step), second / (1 - 0.999**self._step)
            parameter[...] -= rate * (mean / (np.sqrt(square) + 1e-8) + _DECAY * parameter)


def fit(samples: Samples, *, width: int = 8, hidden: int = 32, epochs: int = 6, seed: int = 0) -> Weights:
    """Weights of both networks. `width` is that of a row of the n-gram table."""
    random = np.random.default_rng(seed)
    table = (random.standard_normal((BUCKETS, width)) * 0.05).astype(np.float32)
    squares = np.full((BUCKETS, 1), 1e-6, dtype=np.float32)
    lexical = _network(random, width + samples.structure.shape[1], hidden)
    joint = _network(random, width + samples.structure.shape[1] + samples.embeddings.shape[1], hidden)
    adam = _Adam([*_parameters(lexical), *_parameters(joint)])
    steps = epochs * -(-len(samples.labels) // _BATCH)
    for step, batch in enumerate(_batches(random, len(samples.labels), epochs)):
        rate = 1.0 - step / steps
        kept = [_dropped(random, samples.buckets[i]) for i in batch]
        bags = np.stack([bag(table, buckets) for buckets in kept])
        short = np.concatenate([bags, samples.structure[batch]], axis=1)
        full = np.concatenate([short, samples.embeddings[batch]], axis=1)
        target = samples.labels[batch] * (1 - 2 * _SMOOTHING) + _SMOOTHING
        weight = samples.weights[batch]
        lexical_gradients, lexical_input = _backward(random, lexical, short, target, weight)
        joint_gradients, joint_input = _backward(random, joint, full, target, weight)
        adam.step([*lexical_gradients, *joint_gradients], _RATE * rate)
        _update_table(table, squares, kept, lexical_input[:, :width] + joint_input[:, :width], _TABLE_RATE * rate)
    return Weights(table, lexical, joint, UNCALIBRATED)


def _network(random: np.random.Generator, inputs: int, hidden: int) -> Network:
    scale = np.sqrt(2 / inputs)
    return Network(
        first=(random.standard_normal((inputs, hidden)) * scale).astype(np.float32),
        first_bias=np.zeros(hidden, dtype=np.float32),
        second=(random.standard_normal(hidden) * 0.1).astype(np.float32),
        direct=np.zeros(inputs, dtype=np.float32),
        bias=np.zeros(1, dtype=np.float32),
    )


def _parameters(network: Network) -> list[Array]:
    return [network.first, network.first_bias, network.second, network.direct, network.bias]


def _batches(random: np.random.Generator, count: int, epochs: int) -> Iterator[NDArray[np.int64]]:
    for _ in range(epochs):
        order = random.permutation(count)
        for start in range(0, count, _BATCH):
            yield order[start : start + _BATCH]


def _dropped(random: np.random.Generator, buckets: NDArray[np.int32]) -> NDArray[np.int32]:
    kept = buckets[random.random(len(buckets)) >= _DROP_NGRAMS]
    return kept if len(kept) else buckets


def _backward(
    random: np.random.Generator, network: Network, inputs: Array, target: Array, weight: Array
) -> tuple[list[Array], Array]:
    """Gradients of the weighted mean log loss for the network's parameters, and for its inputs."""
    shown = inputs * (random.random(inputs.shape) >= _DROP_INPUTS).astype(np.float32) / np.float32(1 - _DROP_INPUTS)
    raw = shown @ network.first + network.first_bias
    gate = (random.random(raw.shape) >= _DROP_HIDDEN).astype(np.float32) / np.float32(1 - _DROP_HIDDEN) * (raw > 0)
    active = raw * gate
    logits = active @ network.second + shown @ network.direct + network.bias
    error = ((1 / (1 + np.exp(-logits)) - target) * weight / len(target)).astype(np.float32)
    hidden_error = np.outer(error, network.second) * gate
    gradients = [
        shown.T @ hidden_error,
        hidden_error.sum(axis=0),
        active.T @ error,
        shown.T @ error,
        error.sum(keepdims=True),
    ]
    return gradients, hidden_error @ network.first.T + np.outer(error, network.direct)


def _update_table(
    table: Array, squares: Array, kept: Sequence[NDArray[np.int32]], gradients: Array, rate: float
) -> None:
    """Adagrad on the rows that were seen (Duchi et al. 2011)."""
    counts = np.array([len(buckets) for buckets in kept])
    flat = np.concatenate(kept)
    order = np.argsort(flat, kind="stable")
    rows, starts = np.unique(flat[order], return_index=True)
    each = np.repeat(gradients / np.sqrt(counts)[:, None], counts, axis=0)[order]
    summed = np.add.reduceat(each, starts, axis=0)
    squares[rows, 0] += (summed * summed).mean(axis=1)
    table[rows] -= rate * summed / np.sqrt(squares[rows])
