"""Run a frozen encoder in torch.

In float32, torch and OpenVINO give the same features up to rounding, so labels do not depend on what is
installed. bfloat16 features are a few hundredths off: bfloat16 is never the default, and it is part of
`digest`, so that the feature store keeps both apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidlstm.config import Precision
from vidlstm.errors import BackendError
from vidlstm.models.backends.fused import FusedConv2d
from vidlstm.models.backends.int8 import ConvInput, ConvInputs
from vidlstm.models.backends.protocol import CPU_BATCH
from vidlstm.models.encoders import Encoder, for_inference, weights_digest

_GPU_BATCH = 128


class TorchEncoder:
    """An encoder that runs in torch.

    On a CPU each thread encodes different pictures: threads that share a picture wait for one another at
    every layer, and longer on a busy machine.

    Args:
        encoder: On its device; copied on first use.
        num_threads: Number of threads on a CPU.
        precision: Precision of weights and activations.
    """

    def __init__(self, encoder: Encoder, num_threads: int, precision: Precision = "float32") -> None:
        self.digest = features_digest(encoder, precision)
        self._device = encoder.mean.device
        on_cpu = self._device.type == "cpu"
        self._batch = CPU_BATCH if on_cpu else _GPU_BATCH
        single = partial(torch.set_num_threads, 1)
        self._threads = ThreadPoolExecutor(num_threads, initializer=single) if on_cpu else None
        self._precisely = full_precision if self._device.type == "cuda" else contextlib.nullcontext
        self._prepare = partial(for_inference, encoder, getattr(torch, precision))

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode `(N, S, S, C)` to `(N, D)`, or to `(N, R, D)` if a picture is read as R rows.

        Raises:
            BackendError: The GPU has too little memory.
        """
        batches = [pictures[start : start + self._batch] for start in range(0, len(pictures), self._batch)]
        run = map if self._threads is None else self._threads.map
        try:
            encode = partial(_encode, self._quick, self._device)
            with self._precisely():
                features: NDArray[np.float16] = torch.cat(list(run(encode, batches))).numpy()
        except torch.OutOfMemoryError as error:
            raise BackendError(
                "the GPU has not enough free memory for the encoder; end what else computes there, "
                "or compute with `device=cpu`"
            ) from error
        return features

    @cached_property
    def _quick(self) -> Encoder:
        return self._prepare()


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Compute convolutions on a GPU in float32, not in TF32, which is torch's default.

    In TF32 the features of EfficientNet-Lite0 were off by 0.2 % of their norm, in float32 by 1e-5, so they
    are interchangeable with those of a CPU. An H200 encodes 6,500 frames per second in float32 instead of
    9,900, which is still many times as fast as files are decoded.
    """
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device has instructions for bfloat16. Without them, bfloat16 is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        if device.type == "cpu":
            return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # what torch.compile asks
        return bool(torch.ones(1, dtype=torch.bfloat16, device=device).sum() == 1)
    except (AttributeError, RuntimeError, TypeError):
        return False


@torch.inference_mode()
def _encode(encoder: Encoder, device: torch.device, pictures: NDArray[np.uint8]) -> Tensor:
    # (N, S, S, C) in memory is (N, C, S, S) in channels-last order, so nothing is copied.
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(device)
    features: Tensor = encoder(batch).to("cpu", torch.float16)
    return features


def features_digest(encoder: Encoder, precision: Precision) -> str:
    """Return a text that differs for encoders with different features."""
    weights = weights_digest(encoder)
    return weights if precision == "float32" else f"{weights} {precision}"


@torch.inference_mode()
def conv_inputs(encoder: Encoder, pictures: Iterable[NDArray[np.uint8]]) -> ConvInputs:
    """Return the range and the means of each convolution's input, in the order of computation.

    They are rounded to four digits, as their last digits depend on the machine.

    Args:
        encoder: On the CPU.
        pictures: Batches of pictures, `(N, S, S, C)`.
    """
    quick = for_inference(encoder)
    bounds: dict[nn.Module, tuple[float, float]] = {}
    sums: dict[nn.Module, Tensor] = {}

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        low, high = (float(bound) for bound in inputs[0].aminmax())
        before = bounds.get(layer, (low, high))
        bounds[layer] = min(low, before[0]), max(high, before[1])
        sums[layer] = sums.get(layer, torch.zeros(())) + inputs[0].mean((2, 3)).double().sum(0)

    for layer in quick.modules():
        if isinstance(layer, (nn.Conv2d, FusedConv2d)):
            layer.register_forward_pre_hook(watch)
    number = 0
    for part in pictures:
        number += len(part)
        for start in range(0, len(part), CPU_BATCH):
            _encode(quick, encoder.mean.device, part[start : start + CPU_BATCH])
    return [
        ConvInput(_rounded(low), _rounded(high), tuple(map(_rounded, (sums[layer] / number).tolist())))
        for layer, (low, high) in bounds.items()
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
