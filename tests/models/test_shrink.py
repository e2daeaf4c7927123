"""Smaller ONNX networks give nearly the same results as the originals."""

from __future__ import annotations

import numpy as np
import pytest

from vidlstm.config import ModelConfig
from vidlstm.models.backends.convert import convert_encoder
from vidlstm.models.backends.onnx import OnnxEncoder
from vidlstm.models.backends.shrink import in_int8, with_float16_weights
from vidlstm.models.checkpoint import rgb_encoder

pytest.importorskip("onnx", reason="needs onnx: pip install vidlstm[onnx]")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install vidlstm[onnx]")

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)


@pytest.fixture(scope="module")
def network() -> bytes:
    """The default encoder, for pictures of 64 pixels."""
    config = ModelConfig.default("video", ("a", "b")).changed(encoder={"size": 64})
    encoder = rgb_encoder(config)
    assert encoder is not None
    return convert_encoder(encoder.eval(), 64, 3)


def alike(network: bytes, other: bytes) -> float:
    """Return the lowest cosine similarity of the features of two encoders."""
    x, y = (OnnxEncoder("", n, 1)(PICTURES).astype(np.float64) for n in (network, other))
    return float(((x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)).min())


def test_float16_weights(network: bytes) -> None:
    half = with_float16_weights(network)
    assert len(half) < 0.55 * len(network)
    assert 0.999 < alike(network, half) < 1


def test_int8(network: bytes) -> None:
    small = in_int8(network, [PICTURES[:4], PICTURES[4:]])
    assert len(small) < 0.35 * len(network)
    assert 0.9 < alike(network, small) < 0.9999
