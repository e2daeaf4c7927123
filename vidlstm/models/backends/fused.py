"""Rewrite networks for inference: the same function, up to rounding, in fewer and faster steps.

Batch normalisations are folded into the convolutions before them. On x86 CPUs the convolution, its bias and
its activation then become one oneDNN call, with the weights in oneDNN's layout: there the cost of such
networks is memory traffic, not arithmetic. These are the operators that torch.compile emits for a frozen
network on a CPU; called directly they need no compiler, and not the minute that it takes. torch does not
document them, so each layer is compared with the layers it replaces when it is built. If torch or the CPU
lacks the operators, or any layer differs, the folded layers are used instead.
"""

from __future__ import annotations

import copy
import itertools
import logging
import platform
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vidlstm.models.efficientnet_lite import SameConv2d

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=nn.Module)

_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
    nn.SiLU: ("swish", []),
}
"""Activations that oneDNN can fuse, with its names and parameters for them."""

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.02}
"""Maximum difference between a fused layer and the plain layers, as a share of the norm."""


class DiffersError(Exception):
    """A fused layer does not compute what the plain layers compute."""


def fold(network: T) -> T:
    """Return a copy with batch normalisations folded into the convolutions before them.

    Only inside `nn.Sequential`, where the order of layers is certain. For evaluation only.
    """
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        names = list(module._modules)
        for name, following in itertools.pairwise(names):
            conv, norm = module._modules[name], module._modules[following]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module._modules[name] = fuse_conv_bn_eval(conv, norm)
                module._modules[following] = nn.Identity()
    return network


def fuse_layers(network: T) -> T:
    """Fuse each convolution of a folded network with the activation after it, in oneDNN.

    Args:
        network: On the CPU, with its final weights and type.

    Returns:
        A copy that shares the weights. If a fused layer fails or differs from the plain layers, the network
        itself, and a warning is logged.
    """
    weights = {id(value): value for value in itertools.chain(network.parameters(), network.buffers())}
    fused = copy.deepcopy(network, memo=dict(weights))
    try:
        for module in list(fused.modules()):
            for name, conv in list(module.named_children()):
                if isinstance(conv, nn.Conv2d) and conv.padding_mode == "zeros" and conv.padding != "same":
                    module._modules[name] = _checked(conv, _take_activation(module, name))
    except (DiffersError, RuntimeError, TypeError) as error:
        logger.warning("oneDNN's fused layers are not used, the encoder is slower: %s", _first_line(error))
        return network
    return fused


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def can_fuse_layers(device: torch.device) -> bool:
    """Tell whether this torch has oneDNN's fused convolutions for this device."""
    names = ("_convolution_pointwise", "_reorder_convolution_weight")
    return (
        device.type == "cpu"
        and platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and all(hasattr(torch.ops.mkldnn, name) for name in names)
    )


@torch.inference_mode()
def _checked(conv: nn.Conv2d, activation: nn.Module | None) -> FusedConv2d:
    """Build a fused layer and compare it with the plain layers.

    Raises:
        DiffersError: The results differ.
    """
    fused = FusedConv2d(conv, activation)
    # An odd height and an even width, to test both of TensorFlow's paddings.
    height, width = ((k - 1) * d + 1 for k, d in zip(conv.kernel_size, conv.dilation, strict=True))
    shape = 1, conv.in_channels, height + 3 - height % 2, width + 2 + width % 2
    random = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=random).to(conv.weight.dtype).to(memory_format=torch.channels_last)
    expected = conv(x) if activation is None else activation(conv(x))
    given = fused(x)
    if len(fused.packed) > 1:  # later inputs need only one of them
        fused.packed.clear()
    limit = _TOLERANCE.get(x.dtype, 0.0) * float(expected.float().norm())
    if given.shape != expected.shape or not float((given - expected).float().norm()) <= limit:
        raise DiffersError(f"torch {torch.__version__} computes something else for {conv}")
    return fused


def _take_activation(parent: nn.Module, name: str) -> nn.Module | None:
    """Remove the activation that follows a layer of an `nn.Sequential`, and return it."""
    if isinstance(parent, nn.Sequential):
        names = list(parent._modules)
        for following in names[names.index(name) + 1 :]:
            module = parent._modules[following]
            if type(module) in _ACTIVATIONS:
                parent._modules[following] = nn.Identity()
                return module
            if not isinstance(module, nn.Identity):
                break
    return None


class FusedConv2d(nn.Module):
    """A convolution with its bias and activation in one call of oneDNN.

    Args:
        conv: For inference, on the CPU.
        activation: One of the table above, or None.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None) -> None:
        super().__init__()
        self._weight, self._bias = conv.weight.detach(), conv.bias
        self._stretch = conv.stride, conv.dilation, conv.groups
        self._after = ("none", []) if activation is None else _ACTIVATIONS[type(activation)]
        self._pads_as_tensorflow = isinstance(conv, SameConv2d) and conv.stride[0] > 1
        if self._pads_as_tensorflow:
            self._padding = [side // 2 for side in conv.kernel_size]
        else:
            self._padding = [0, 0] if isinstance(conv.padding, str) else list(conv.padding)
        self.packed: dict[tuple[int, int], Tensor] = {}
        """Weights in oneDNN's layout, by the numbers of zero rows and columns in front."""

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to the output of convolution and activation."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight_for(x), self._bias, self._padding, *self._stretch, *self._after, ""
        )
        return y

    def _weight_for(self, x: Tensor) -> Tensor:
        """Return the weights in oneDNN's layout."""
        # TensorFlow pads an even side with one pixel less at the start. Zeros in front of the kernel make
        # the padding symmetric, which is faster than a padded copy of the input.
        rows, columns = (1 - side % 2 if self._pads_as_tensorflow else 0 for side in x.shape[-2:])
        if (rows, columns) not in self.packed:
            self.packed[rows, columns] = torch.ops.mkldnn._reorder_convolution_weight(
                F.pad(self._weight, (columns, 0, rows, 0)), self._padding, *self._stretch
            )
        return self.packed[rows, columns]
