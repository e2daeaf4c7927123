"""Layers of several networks side by side, each with weights of its own.

A model's members have the same shape and are small. A layer holds all of them and computes them in one
product: an epoch on one core takes 5 to 9 % less CPU than with one network after another
(`python -m tests.benchmarks.training_step`), and one trainer, one optimiser and one graph serve all.
`torch.vmap` cannot do it: it has no batching rule for LSTMs (torch 2.14).
Shapes have the M members in front; an input whose first dimension is 1 is the same for every member.

Biases and the like are kept flat, `(M * D,)`: the optimiser decays what has more than one dimension.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Standardise(nn.Module):
    """Shift and scale features by the statistics of each member's training clips, held fixed."""

    mean: Tensor
    scale: Tensor

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(members, width))
        self.register_buffer("scale", torch.ones(members, width))

    def fit(self, member: int, mean: Tensor, std: Tensor) -> None:
        """Take the statistics `(D,)` of a member's clips; a constant feature is left unscaled."""
        self.mean[member] = mean
        self.scale[member] = torch.where(std > 1e-4, 1 / std.clamp(min=1e-4), torch.ones_like(std))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise `(M, ..., D)`."""
        return torch.addcmul(in_front(-self.mean * self.scale, x), x, in_front(self.scale, x))


class Linear(nn.Module):
    """What `nn.Linear` is to one network, with the same draw of its weights."""

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
    """What `nn.LayerNorm` is to one network (Ba et al. 2016)."""

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
    """Dropout (Srivastava et al. 2014) whose draws are made for all rows of a step.

    So a row is treated the same whether it is computed with all the others, in a part of an accumulated
    step, or in one of several processes.

    Args:
        share: Of the units that are dropped, to the nearest 256th below 1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = min(round(256 * share), 255) / 256
        self.rows: tuple[slice, int] | None = None
        """Which rows of how many come in; None: all that come in are all there are."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of `(M, B, ...)` while training, and scale the others up."""
        if not self.training or not self.share:
            return x
        rows, total = self.rows or (slice(None), x.shape[1])
        kept = _draw((x.shape[0], total, *x.shape[2:]), 1 - self.share)[:, rows]
        return x * kept.to(x.device, x.dtype).mul_(1 / (1 - self.share))


def in_front(values: Tensor, x: Tensor) -> Tensor:
    """Give `(M, D)` as many dimensions as `x` has, `(M, 1, ..., D)`."""
    return values.view(len(values), *(1,) * (x.ndim - 2), values.shape[-1])


def _draw(shape: tuple[int, ...], chance: float) -> Tensor:
    """Draw what is true with a chance of so many 256ths, bool; on the CPU, so the same for every device.

    One random byte an element: `bernoulli_` takes eight times as long.
    """
    number = math.prod(shape)
    words = torch.empty(-(-number // 8), dtype=torch.int64).random_(-(2**63), None)
    return (words.view(torch.uint8)[:number] < round(256 * chance)).view(shape)
