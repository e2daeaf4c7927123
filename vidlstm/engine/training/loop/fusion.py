"""Fusion weights of the branches and calibration of their sum, fitted on held-out clips.

Temperature scaling alone is overconfident on few clips: fitted on 48 easy ones it became 0.096, and a black
screen got a score of 1.000. So scores are capped at what the held-out clips can show.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from vidlstm.models.classifier import fuse

_WEIGHT_PENALTY = 0.02  # pulls the weights towards equality: a few dozen clips support no more
_TEMPERATURE_PENALTY = 0.001  # pulls the log temperature towards 0
_MAX_STEPS = 100  # about ten are needed
_MIN_CURVATURE = 1e-4
_MIN_LENGTH = 1e-6  # shortest share of a Newton step that is tried
_ARMIJO = 1e-4  # required share of the decrease that the slope predicts (Armijo 1966)


def fit_fusion(
    log_probabilities: Tensor, labels: Tensor, num_clips: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit the weights of the branches and the temperature of their sum; set the floor of the scores.

    Minimises the negative log-likelihood of `fuse`, with the weights on the simplex: a log-linear opinion
    pool (Genest & Zidek 1986) with temperature scaling (Guo et al. 2017), both regularised weakly towards
    equal weights and temperature 1. A branch that overfits is confident and wrong on held-out clips, so it
    gets little weight here and does not spoil the fused scores. The floor is not fitted: see `score_floor`.

    Args:
        log_probabilities: Log-probabilities of every branch on the held-out clips, `(S, N, K)`.
        labels: int64 `(N,)`.
        num_clips: Number of different clips, if several members hold out the same ones; default: N.

    Returns:
        Weights `(S,)`; temperature and floor, scalars.
    """
    given = log_probabilities.detach().double().cpu()
    num_branches, number, num_classes = given.shape
    floor = torch.tensor(score_floor(number if num_clips is None else num_clips, num_classes))
    truth = labels.cpu()[:, None]

    def loss(point: Tensor) -> Tensor:
        """Loss of a point: the weights before the softmax, then the log temperature, `(S + 1,)`."""
        weights, log_temperature = point[:-1].softmax(0), point[-1]
        logits = fuse(given, weights, log_temperature.exp(), floor)
        value = -logits.gather(1, truth).mean()  # the logits are log-probabilities already
        value = value + _WEIGHT_PENALTY * num_branches * (weights - 1 / num_branches).square().sum()
        return value + _TEMPERATURE_PENALTY * log_temperature.square()

    with torch.enable_grad():
        best = _minimise(loss, torch.zeros(num_branches + 1, dtype=torch.float64))
    return best[:-1].softmax(0).float(), best[-1].exp().float(), floor.float()


def score_floor(num_clips: int, num_classes: int) -> float:
    """Return the share of each score that is spread over all classes, which caps the scores.

    Laplace's rule of succession: if all n held-out clips are right, the next one is right with probability
    (n + 1) / (n + 2). No score exceeds that.
    """
    return num_classes / (num_classes - 1) / (max(num_clips, 1) + 2)


def _minimise(loss: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """Minimise a loss of a few variables by Newton's method with a line search, starting at `point`, `(D,)`.

    Negative curvature is replaced by its absolute value (Dauphin et al. 2014). PyTorch's optimisers would
    work too, but they import its compiler: a second in every process that trains.
    """
    for _ in range(_MAX_STEPS):
        value = loss(point)
        slope: Tensor = jacobian(loss, point)  # type: ignore[no-untyped-call]
        curvature, axes = torch.linalg.eigh(hessian(loss, point))  # type: ignore[no-untyped-call]
        step = axes @ (axes.T @ slope / curvature.abs().clamp(min=_MIN_CURVATURE))
        length = 1.0
        while not loss(point - length * step) < value - _ARMIJO * length * (slope @ step):
            length /= 2
            if length < _MIN_LENGTH:
                return point
        point = point - length * step
    return point
