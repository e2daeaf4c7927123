"""AdamW (Loshchilov & Hutter 2019), and the clipping of gradients before it.

`torch.optim.AdamW` brings the compiler along when it is made: more than a second in every process
that trains, about as long as a warm run takes otherwise to its first epoch. So PyTorch's function
behind the class is called here, on the same state, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class AdamW:
    """Updates those of its parameters that have a gradient; biases and norms are not decayed.

    Args:
        parameters: On their device; those that need no gradient are left alone.
        weight_decay: Of the parameters with more than one dimension.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], weight_decay: float) -> None:
        learning = [p for p in parameters if p.requires_grad]
        self._groups = (
            (weight_decay, [(p, *_new_state(p)) for p in learning if p.ndim > 1]),
            (0.0, [(p, *_new_state(p)) for p in learning if p.ndim <= 1]),
        )

    def step(self, rate: float) -> None:
        """Update at the learning rate `rate`, and drop the gradients."""
        for weight_decay, held in self._groups:
            moved = [(p, p.grad, *state) for p, *state in held if p.grad is not None]
            if not moved:
                continue
            there, gradients, steps, means, squares = (list(column) for column in zip(*moved, strict=True))
            adamw(
                there, gradients, means, squares, [], steps, fused=True, amsgrad=False, maximize=False,
                beta1=_BETAS[0], beta2=_BETAS[1], eps=_EPSILON, lr=rate, weight_decay=weight_decay,
            )  # fmt: skip
            for parameter in there:
                parameter.grad = None

    def state(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return the steps taken and both moments of every parameter."""
        return [(steps, mean, square) for _, held in self._groups for _, steps, mean, square in held]

    def restore(self, state: Iterable[Any]) -> None:
        """Go on from a state."""
        for own, given in zip(self.state(), state, strict=True):
            for place, value in zip(own, given, strict=True):
                place.copy_(value)


def clip(gradients: list[Tensor], max_norm: float) -> None:
    """Scale the gradients of one network down until their common norm is at most `max_norm`.

    As `torch.nn.utils.clip_grad_norm_` (Pascanu et al. 2013), for tensors that are slices of a gradient.
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
