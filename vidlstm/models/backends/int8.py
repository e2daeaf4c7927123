"""Quantise the convolutions of an encoder to int8, for OpenVINO. Imports no torch.

The input of a convolution is uint8, or int8 if it has a sign, with one scale; weights have one scale per
output channel. Ranges and means of the inputs were measured on training clips.

Rounded weights shift the mean of a convolution's output by the weights' error times the mean input, which is
taken out of the bias (bias correction; Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction", 2019). On 24 held-out clips of UT-Interaction, features of EfficientNet-Lite0 are off by
0.11 of their norm with it, and by 0.30 without.

Weights use 7 of their 8 bits. x86 CPUs without VNNI add two products in 16 bits, which overflow with 8 bits:
uncorrected features were off by 0.34 on AVX2 and by 0.16 with VNNI. With 7 bits they are equal on both, so
that the labels compared at training are those of every such CPU.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vidlstm.errors import BackendError, UsageError
from vidlstm.models.header import Header, as_checkpoint_errors


@dataclass(frozen=True)
class ConvInput:
    """The input of a convolution, as measured on training clips.

    Args:
        low: Lowest value.
        high: Highest value.
        means: Mean of each channel.
    """

    low: float
    high: float
    means: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (self.low <= self.high and all(map(math.isfinite, (self.high - self.low, *self.means)))):
            raise ValueError("not an interval with means")


ConvInputs: TypeAlias = Sequence[ConvInput]
"""The inputs of all convolutions, in the order of computation."""

_WEIGHT_LEVELS = 63
_MIN_SCALE = 1e-8
_MIN_CLIPS = 20
_X86 = ("x86_64", "amd64")


def is_default(facts: Mapping[str, Any]) -> bool:
    """Tell whether a model is used in int8 unless the user chooses another precision.

    It is if its labels stayed the same on 20 held-out clips or more, or on as many windows of two films or
    more, as those of one film are alike; and on x86 CPUs only: others may round differently.

    Args:
        facts: What training has stored of the comparison; empty if there was none.
    """
    clips = facts.get("clips")  # a damaged or hostile file may hold anything
    passed = bool(facts.get("inputs")) and isinstance(clips, int) and clips >= _MIN_CLIPS
    return passed and facts.get("films") not in (0, 1) and platform.machine().lower() in _X86


def int8_inputs(header: Header, path: Path) -> ConvInputs:
    """Return the inputs of the convolutions that training has stored in a checkpoint.

    Raises:
        UsageError: The model has no encoder, was not compared in int8, or failed the comparison.
        CheckpointError: They are damaged.
    """
    if "rgb" not in header.config.streams:
        raise UsageError(f"`precision=int8`: is for the rgb stream, which {path} does not have")
    facts = header.training.get("int8")
    if facts is None or facts.get("clips") == 0:
        raise UsageError(
            f"`precision=int8`: {path} was trained without OpenVINO or without readable held-out clips; "
            "train it again with vidlstm[cpu] installed, or export it with `format=openvino` and "
            "`precision=int8`"
        )
    with as_checkpoint_errors(path):
        inputs = [ConvInput(low, high, tuple(means)) for low, high, means in facts.get("inputs", ())]
        found = (
            f"{facts['same_labels']} of {facts['clips']} labels agree, scores differ by "
            f"{facts['mean_difference']:g} on average"
        )
    if not inputs:
        raise UsageError(
            f"`precision=int8`: changes the results of {path} too much ({found}); use `precision=float32`"
        )
    return inputs


def quantised(network: bytes, inputs: ConvInputs) -> bytes:
    """Return an encoder whose convolutions OpenVINO computes in int8.

    Additions read the same quantised tensors as the convolutions, so that OpenVINO stays in int8 from the
    first layer to the last. EfficientNet-Lite0 takes 3.8 ms of CPU time per picture instead of 10.8 (AMD EPYC
    with VNNI), and 6.6 instead of 12.3 with AVX2 only. onnxruntime is slower on this network than in float32.

    Args:
        network: An ONNX file.
        inputs: Measured by `vidlstm.models.backends.torch.conv_inputs`.

    Raises:
        BackendError: The inputs are not those of this network, or its weights are not constants.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(network)
    graph = model.graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    fits = len(convolutions) == len(inputs) and all(
        len(node.input) == 3 and set(node.input[1:]) <= constants.keys() for node in convolutions
    )
    if not fits:
        raise BackendError("`precision=int8`: does not support this encoder; use `precision=float32`")
    new: dict[str, NDArray[Any]] = {}
    after: dict[str, list[Any]] = {}  # the new nodes after each tensor
    for node, given in zip(convolutions, inputs, strict=True):
        name, weights, bias = _unpadded(graph, node.input[0]), node.input[1], node.input[2]
        if name not in after:
            after[name] = _quantise_activations(name, given, new)
        after[weights] = _quantise_weights(weights, constants[weights], new)
        error = constants[weights] - new[f"{weights}.levels"] * _along(new[f"{weights}.scale"])
        node.input[2] = f"{bias}.{len(new)}"  # a bias may be shared
        new[node.input[2]] = constants[bias] + _mean_output(error, given.means)
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in after and node.op_type in ("Conv", "Pad", "Add"):
                node.input[place] = after[name][-1].output[0]
    nodes = [new_node for name in constants for new_node in after.get(name, ())]
    for node in graph.node:
        nodes += [node, *(new_node for name in node.output for new_node in after.get(name, ()))]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    kept += [numpy_helper.from_array(values, name) for name, values in new.items()]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    content: bytes = model.SerializeToString()
    return content


def _unpadded(graph: Any, name: str) -> str:
    """Return the tensor that is padded to give a tensor, or the tensor itself."""
    padded = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Pad"}
    while name in padded:
        name = padded[name]
    return name


def _quantise_activations(name: str, given: ConvInput, new: dict[str, NDArray[Any]]) -> list[Any]:
    """Return the nodes that quantise a tensor, and add their constants to `new`."""
    from onnx import helper

    levels, kind = (127, np.int8) if given.low < 0 else (255, np.uint8)
    new[f"{name}.scale"] = np.array(max(-given.low, given.high, _MIN_SCALE) / levels, np.float32)
    new[f"{name}.zero"] = np.array(0, kind)
    scaling = [f"{name}.scale", f"{name}.zero"]
    return [
        helper.make_node("QuantizeLinear", [name, *scaling], [f"{name}.levels"]),
        helper.make_node("DequantizeLinear", [f"{name}.levels", *scaling], [f"{name}.quantised"]),
    ]


def _quantise_weights(name: str, weights: NDArray[np.float32], new: dict[str, NDArray[Any]]) -> list[Any]:
    """Return the node that gives quantised weights `(D, C, H, W)`, and add its constants to `new`."""
    from onnx import helper

    scale = np.maximum(np.abs(weights).max((1, 2, 3)), _MIN_SCALE) / np.float32(_WEIGHT_LEVELS)
    new[f"{name}.levels"] = np.rint(weights / _along(scale)).astype(np.int8)
    new[f"{name}.scale"] = scale
    new[f"{name}.zero"] = np.zeros(len(weights), np.int8)
    inputs = [f"{name}.levels", f"{name}.scale", f"{name}.zero"]
    return [helper.make_node("DequantizeLinear", inputs, [f"{name}.quantised"], axis=0)]


def _along(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scales `(D,)` as `(D, 1, 1, 1)`."""
    return scale.reshape(-1, 1, 1, 1)


def _mean_output(weights: NDArray[np.float32], means: Sequence[float]) -> NDArray[np.float32]:
    """Return the mean output `(D,)` of a convolution, far from the border.

    Args:
        weights: `(D, C / G, H, W)` in G groups.
        means: Means of the C inputs.

    Raises:
        BackendError: The numbers of channels differ.
    """
    outputs, channels = weights.shape[:2]
    groups = len(means) // channels
    if groups * channels != len(means) or outputs % groups:
        raise BackendError("`precision=int8`: does not support this encoder; use `precision=float32`")
    sums = weights.sum((2, 3)).reshape(groups, -1, channels)
    given = np.asarray(means, np.float32).reshape(groups, 1, channels)
    mean: NDArray[np.float32] = (sums * given).sum(-1).reshape(-1).astype(np.float32)
    return mean
