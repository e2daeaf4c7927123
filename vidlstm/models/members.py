"""Layers that hold all members of an ensemble, each with its own weights.

The members of a model are small and have the same shape. A layer computes all of them in one product: an
epoch on one core takes 5 to 9 % less CPU than with one network after another
(`python -m tests.benchmarks.training_step`), and one trainer, one optimiser and one graph serve all members.
`torch.vmap` cannot do this: it has no batching rule for LSTMs (torch 2.14).
The first dimension of a shape is the M members; an input with first dimension 1 is shared by all members.

Biases and gains are kept flat, `(M * D,)`: the optimiser decays parameters with more than one dimension.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Standardise(nn.Module):
    """Standardise features with the fixed statistics of each member's training clips."""

    mean: Tensor
    scale: Tensor

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(members, width))
        self.register_buffer("scale", torch.ones(members, width))

    def fit(self, member: int, mean: Tensor, std: Tensor) -> None:
        """Set the statistics `(D,)` of a member's clips; a constant feature is not scaled."""
        self.mean[member] = mean
        self.scale[member] = torch.where(std > 1e-4, 1 / std.clamp(min=1e-4), torch.ones_like(std))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise `(M, ..., D)`."""
        return torch.addcmul(in_front(-self.mean * self.scale, x), x, in_front(self.scale, x))


class Linear(nn.Module):
    """`nn.Linear` for all members, with the same distribution of initial weights."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members * outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(M, ..., D)` to `(M, ..., D')`."""
        members, outputs, _ = self.weight.shape
        rows = x.flatten(1, -2).expand(members, -1, -1)
        y = torch.baddbmm(self.bias.view(members, 1, outputs), rows, self.weight.transpose(1, 2))
        return y.view(members, *x.shape[1:-1], outputs)


class LayerNorm(nn.Module):
    """`nn.LayerNorm` for all members (Ba et al. 2016)."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.members, self.width = members, width
        self.gain = nn.Parameter(torch.ones(members * width))
        self.bias = nn.Parameter(torch.zeros(members * width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(M, ..., D)` over D."""
        gain, bias = (in_front(p.view(self.members, -1), x) for p in (self.gain, self.bias))
        return torch.addcmul(bias, F.layer_norm(x, (self.width,)), gain)


class RowDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) that draws its random numbers for all rows of a step.

    So a row gets the same dropout whether it is computed with all other rows, in a part of an accumulated
    step, or in one of several processes.

    Args:
        share: Share of units to drop, rounded to a multiple of 1/256 below 1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = min(round(256 * share), 255) / 256
        self.rows: tuple[slice, int] | None = None
        """The rows of the next input and the total number of rows; None: the input has all rows."""

    def forward(self, x: Tensor) -> Tensor:
        """In training, drop units of `(M, B, ...)` and scale up the others."""
        if not self.training or not self.share:
            return x
        rows, total = self.rows or (slice(None), x.shape[1])
        kept = _draw((x.shape[0], total, *x.shape[2:]), 1 - self.share)[:, rows]
        return x * kept.to(x.device, x.dtype).mul_(1 / (1 - self.share))


def in_front(values: Tensor, x: Tensor) -> Tensor:
    """Reshape `(M, D)` to the number of dimensions of `x`, `(M, 1, ..., D)`."""
    return values.view(len(values), *(1,) * (x.ndim - 2), values.shape[-1])


def _draw(shape: tuple[int, ...], chance: float) -> Tensor:
    """Draw booleans that are True with a probability in 256ths; on the CPU, so the same for every device.

    Uses one random byte per element: `bernoulli_` takes eight times as long.
    """
    number = math.prod(shape)
    words = torch.empty(-(-number // 8), dtype=torch.int64).random_(-(2**63), None)
    return (words.view(torch.uint8)[:number] < round(256 * chance)).view(shape)
