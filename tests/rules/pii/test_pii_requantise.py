"""A 4-bit model, rewritten to 8 bits, computes nearly the same; anything else is refused."""

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from rules.pii.requantise import _key, _message, _tensor, _varint, requantise

ROWS, COLUMNS, BLOCK = 64, 48, 32


def _packed(nibbles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (nibbles[..., 0::2] | nibbles[..., 1::2] << 4).astype(np.uint8)


def _integer(name: bytes, value: int) -> bytes:
    return _message(5, _message(1, name) + _key(3, 0) + _varint(value) + _key(20, 0) + _varint(2))


def _port(name: bytes, *dims: int) -> bytes:
    shape = b"".join(_message(1, _key(1, 0) + _varint(size)) for size in dims)
    return _message(1, name) + _message(2, _message(1, _key(1, 0) + _varint(1) + _message(2, shape)))


def _model(
    nibbles: NDArray[np.uint8], scales: NDArray[np.float32], *, bits: int = 4, op: bytes = b"MatMulNBits"
) -> bytes:
    packed = _packed(nibbles)
    bytes_tensor = _tensor(b"w", packed.view(np.int8)).replace(_key(2, 0) + _varint(3), _key(2, 0) + _varint(2), 1)
    attributes = ((b"K", ROWS), (b"N", COLUMNS), (b"bits", bits), (b"block_size", BLOCK))
    node = b"".join(
        (
            *(_message(1, name) for name in (b"x", b"w", b"s")),
            _message(2, b"y"),
            _message(4, op),
            *(_integer(name, value) for name, value in attributes),
            _message(7, b"com.microsoft"),
        )
    )
    graph = b"".join(
        (
            _message(1, node),
            _message(2, b"tiny"),
            _message(5, bytes_tensor),
            _message(5, _tensor(b"s", scales)),
            _message(11, _port(b"x", 5, ROWS)),
            _message(12, _port(b"y", 5, COLUMNS)),
        )
    )
    opsets = _message(8, _key(2, 0) + _varint(18)) + _message(
        8, _message(1, b"com.microsoft") + _key(2, 0) + _varint(1)
    )
    return _key(1, 0) + _varint(8) + opsets + _message(7, graph)


def _run(model: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    (result,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    return np.asarray(result)


@pytest.fixture
def weights() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    random = np.random.default_rng(7)
    nibbles = random.integers(0, 16, (COLUMNS, ROWS // BLOCK, BLOCK)).astype(np.uint8)
    return nibbles, random.uniform(0.01, 0.02, COLUMNS * ROWS // BLOCK).astype(np.float32)


def test_rewritten_product_agrees_with_the_exact_one(weights: tuple[NDArray[np.uint8], NDArray[np.float32]]) -> None:
    nibbles, scales = weights
    x = np.random.default_rng(8).normal(size=(5, ROWS)).astype(np.float32)
    model = _model(nibbles, scales)
    exact = x @ ((nibbles.astype(np.float32) - 8) * scales.reshape(COLUMNS, -1, 1)).reshape(COLUMNS, ROWS).T
    np.testing.assert_allclose(_run(model, x), exact, atol=1e-3)
    rewritten = requantise(model)
    assert b"MatMulNBits" not in rewritten
    np.testing.assert_allclose(_run(rewritten, x), exact, atol=0.05 * np.abs(exact).max())


def test_rewriting_is_deterministic(weights: tuple[NDArray[np.uint8], NDArray[np.float32]]) -> None:
    model = _model(*weights)
    assert requantise(model) == requantise(model)


def test_other_models_are_refused(weights: tuple[NDArray[np.uint8], NDArray[np.float32]]) -> None:
    with pytest.raises(ValueError, match="no 4-bit matrix product"):
        requantise(_model(*weights, op=b"MatMul"))
    with pytest.raises(ValueError, match="not symmetric 4-bit"):
        requantise(_model(*weights, bits=2))
    with pytest.raises(ValueError, match="not a protocol buffer"):
        requantise(b"\x07\x00")
