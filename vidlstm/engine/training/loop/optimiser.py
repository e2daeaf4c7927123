"""AdamW (Loshchilov & Hutter 2019), its learning rate, and gradient clipping.

Constructing `torch.optim.AdamW` imports PyTorch's compiler: more than a second in every process that
trains, about as long as a warm run otherwise takes to its first epoch. So this module calls PyTorch's
function behind the class, on the same state, with the same result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from vidlstm.config import TrainConfig

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class AdamW:
    """AdamW on the parameters that have a gradient, without weight decay on biases and norms.

    Args:
        parameters: On their device; those that require no gradient are ignored.
        weight_decay: Weight decay of the parameters with more than one dimension.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], weight_decay: float) -> None:
        trained = [p for p in parameters if p.requires_grad]
        self._groups = (
            (weight_decay, [(p, *_new_state(p)) for p in trained if p.ndim > 1]),
            (0.0, [(p, *_new_state(p)) for p in trained if p.ndim <= 1]),
        )

    def step(self, rate: float) -> None:
        """Update with learning rate `rate` and clear the gradients."""
        for weight_decay, group in self._groups:
            updated = [(p, p.grad, *state) for p, *state in group if p.grad is not None]
            if not updated:
                continue
            parameters, gradients, steps, means, squares = (
                list(column) for column in zip(*updated, strict=True)
            )
            adamw(
                parameters, gradients, means, squares, [], steps, fused=True, amsgrad=False, maximize=False,
                beta1=_BETAS[0], beta2=_BETAS[1], eps=_EPSILON, lr=rate, weight_decay=weight_decay,
            )  # fmt: skip
            for parameter in parameters:
                parameter.grad = None

    def state(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return the step count and both moments of every parameter."""
        return [(steps, mean, square) for _, group in self._groups for _, steps, mean, square in group]

    def restore(self, state: Iterable[Any]) -> None:
        """Restore a state."""
        for current, saved in zip(self.state(), state, strict=True):
            for tensor, value in zip(current, saved, strict=True):
                tensor.copy_(value)


def clip(gradients: list[Tensor], max_norm: float) -> None:
    """Scale down the gradients of one network so that their total norm is at most `max_norm`.

    Like `torch.nn.utils.clip_grad_norm_` (Pascanu et al. 2013), but for slices of gradients.
    """
    if not gradients:
        return
    scale = (max_norm / (nn.utils.get_total_norm(gradients) + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale)


def _new_state(parameter: nn.Parameter) -> tuple[Tensor, Tensor, Tensor]:
    steps = torch.zeros((), device=parameter.device)
    return (
        steps,
        torch.zeros_like(parameter, requires_grad=False),
        torch.zeros_like(parameter, requires_grad=False),
    )


def rate_after(epochs: float, config: TrainConfig) -> float:
    """Return the learning rate after some epochs, as a share of its peak.

    Linear warm-up, then cosine decay to zero (Loshchilov & Hutter 2017).
    """
    done = epochs / config.epochs
    warmup = config.warmup_epochs / config.epochs
    if done < warmup:
        share = (done + 1 / (config.epochs * 4)) / warmup
    else:
        share = 0.5 * (1 + math.cos(math.pi * (done - warmup) / max(1 - warmup, 1e-9)))
    return min(share, 1.0)
