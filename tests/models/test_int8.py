"""An encoder in int8: near the original, and only with ranges measured on the same encoder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from vidlstm.config import EncoderConfig, ModelConfig
from vidlstm.errors import BackendError, CheckpointError, UsageError
from vidlstm.models.backends.convert import convert_encoder
from vidlstm.models.backends.int8 import ConvInput, ConvInputs, int8_inputs, quantised
from vidlstm.models.backends.openvino import OpenVinoEncoder, is_installed, read_networks
from vidlstm.models.backends.torch import TorchEncoder, conv_inputs
from vidlstm.models.encoders import Encoder, build_encoder
from vidlstm.models.header import Header

pytest.importorskip("onnx", reason="needs onnx: pip install vidlstm[cpu]")

SIZE = 64
PICTURES = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """The default encoder, for pictures of 64 pixels."""
    return build_encoder(EncoderConfig(size=SIZE)).eval()


@pytest.fixture(scope="module")
def network(encoder: Encoder) -> bytes:
    return convert_encoder(encoder, SIZE, 3)


@pytest.fixture(scope="module")
def inputs(encoder: Encoder) -> ConvInputs:
    return conv_inputs(encoder, [PICTURES[:5], PICTURES[5:]])


class TestInputs:
    def test_there_is_one_for_each_convolution(self, encoder: Encoder, inputs: ConvInputs) -> None:
        convolutions = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
        assert [len(given.means) for given in inputs] == [layer.in_channels for layer in convolutions]

    def test_the_first_is_that_of_the_normalised_pictures(self, encoder: Encoder, inputs: ConvInputs) -> None:
        x = (PICTURES - encoder.mean.flatten().numpy()) / encoder.std.flatten().numpy()
        assert (inputs[0].low, inputs[0].high) == pytest.approx((x.min(), x.max()), rel=1e-3)
        assert inputs[0].means == pytest.approx(x.mean((0, 1, 2)), rel=1e-3)

    @pytest.mark.parametrize(
        ("low", "high", "mean"), [(1, 0, 0), (0, math.inf, 0), (math.nan, 1, 0), (0, 1, math.nan)]
    )
    def test_damaged_ones_are_refused(self, low: float, high: float, mean: float) -> None:
        with pytest.raises(ValueError, match="interval"):
            ConvInput(low, high, (mean,))


@pytest.mark.skipif(not is_installed(), reason="needs OpenVINO: pip install vidlstm[cpu]")
class TestQuantised:
    def test_features_are_near_those_of_the_original(
        self, encoder: Encoder, network: bytes, inputs: ConvInputs
    ) -> None:
        wanted = TorchEncoder(encoder, 1)(PICTURES).astype(np.float64)
        found = run(quantised(network, inputs))
        assert 1e-3 < distance(found, wanted) < 0.2

    def test_means_correct_the_bias(self, encoder: Encoder, network: bytes, inputs: ConvInputs) -> None:
        wanted = TorchEncoder(encoder, 1)(PICTURES).astype(np.float64)
        without = [ConvInput(given.low, given.high, (0.0,) * len(given.means)) for given in inputs]
        assert distance(run(quantised(network, inputs)), wanted) < 0.7 * distance(
            run(quantised(network, without)), wanted
        )

    def test_an_input_outside_its_range_is_clipped(self, network: bytes, inputs: ConvInputs) -> None:
        narrow = [ConvInput(given.low / 9, given.high / 9, given.means) for given in inputs]
        assert np.isfinite(run(quantised(network, narrow))).all()


class TestSize:
    def test_weights_take_a_quarter(self, network: bytes, inputs: ConvInputs) -> None:
        assert len(quantised(network, inputs)) < 0.35 * len(network)

    def test_weights_use_seven_bits(self, network: bytes, inputs: ConvInputs) -> None:
        """Pairs of products of 8 bits overflow on CPUs without VNNI."""
        import onnx
        from onnx import numpy_helper

        tensors = onnx.load_from_string(quantised(network, inputs)).graph.initializer
        levels = [numpy_helper.to_array(t) for t in tensors if t.name.endswith(".levels")]
        assert len(levels) == len(inputs)
        assert all(abs(values.astype(int)).max() == 63 for values in levels)


def test_inputs_of_another_encoder_are_refused(network: bytes, inputs: ConvInputs) -> None:
    with pytest.raises(BackendError, match="does not support this encoder"):
        quantised(network, inputs[:-1])
    with pytest.raises(BackendError, match="does not support this encoder"):
        quantised(network, [ConvInput(0, 1, (0.5,) * 5)] * len(inputs))


FACTS: dict[str, Any] = {"clips": 9, "same_labels": 8, "mean_difference": 0.0312}


def header(int8: dict[str, Any] | None, streams: tuple[str, ...] = ("rgb",)) -> Header:
    config = ModelConfig.default("video", ("a", "b")).changed(streams=streams)
    return Header(config, {}, {} if int8 is None else {"int8": int8}, 0)


class TestFromACheckpoint:
    def test_the_inputs_are_read_back_as_stored(self) -> None:
        stored = json.loads(json.dumps({**FACTS, "inputs": [(0, 1.5, (0.25, 0.5))]}))
        assert int8_inputs(header(stored), Path("m")) == [ConvInput(0, 1.5, (0.25, 0.5))]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (header(None, ("motion",)), "is for the rgb stream, which runs/m does not have"),
            (header(None), r"trained without OpenVINO.*vidlstm\[cpu\].*`format=openvino`"),
            (
                header({**FACTS, "clips": 0, "same_labels": 0}),
                "without readable held-out clips; train it again",
            ),
            (header(FACTS), r"too much \(8 of 9 labels agree, scores differ by 0.0312.*`precision=float32`"),
        ],
    )
    def test_without_them_the_message_says_why(self, given: Header, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            int8_inputs(given, Path("runs/m"))

    @pytest.mark.parametrize(
        "inputs",
        [[[1, 0, [0]]], [[0, 1]], [[0, 1, 2]], [["a", 1, [0]]], [[0, 1, ["b"]]], 3, [[0, 1, [None]]]],
    )
    def test_damaged_ones_are_reported(self, inputs: object) -> None:
        with pytest.raises(CheckpointError, match=r"m\.safetensors"):
            int8_inputs(header({**FACTS, "inputs": inputs}), Path("m.safetensors"))


def run(network: bytes) -> NDArray[np.float64]:
    networks = read_networks({"encoder.onnx": network})
    return OpenVinoEncoder("", lambda: networks["encoder"], 1)(PICTURES).astype(np.float64)


def distance(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
