"""How much each branch counts, and how sure the sum may be: fitted on held-out clips.

A temperature alone claims too much: on 48 easy clips it became 0.096, and a black screen got a score of
1.000. So no score may say more than the held-out clips can show.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from vidlstm.models.classifier import fuse

_TO_EQUAL = 0.02  # pull of the weights to equal ones: a few dozen clips cannot tell more
_TO_ONE = 0.001  # pull of the log temperature to 0
_MOST_STEPS = 100  # about ten are taken
_LEAST_BEND = 1e-4
_SHORTEST = 1e-6  # share of a step that is still tried
_ENOUGH = 1e-4  # of the fall that the slope promises (Armijo 1966)


def fit_fusion(log_probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fit the weights of the branches, the temperature of their sum, and the floor under its scores.

    Minimises the negative log-likelihood of `fuse`, with the weights on the simplex: a log-linear opinion
    pool (Genest & Zidek 1986) with temperature scaling (Guo et al. 2017), both drawn gently to what one
    would take without data. A branch that overfits is sure and wrong on clips it has not learned from,
    and loses its weight here; the sum then does no harm to its better half. The floor is not fitted: see
    `score_floor`.

    Args:
        log_probabilities: Of every branch for held-out clips, `(S, N, K)`.
        labels: int64 `(N,)`.

    Returns:
        Weights `(S,)`; temperature and floor, scalars.
    """
    given = log_probabilities.detach().double().cpu()
    num_branches, num_clips, num_classes = given.shape
    floor = torch.tensor(score_floor(num_clips, num_classes))
    truth = labels.cpu()[:, None]

    def loss(point: Tensor) -> Tensor:
        """Of the weights before their softmax and the log temperature, `(S + 1,)`."""
        weights, log_temperature = point[:-1].softmax(0), point[-1]
        logits = fuse(given, weights, log_temperature.exp(), floor)
        value = -logits.gather(1, truth).mean()  # they are log-probabilities already
        value = value + _TO_EQUAL * num_branches * (weights - 1 / num_branches).square().sum()
        return value + _TO_ONE * log_temperature.square()

    with torch.enable_grad():
        best = _minimise(loss, torch.zeros(num_branches + 1, dtype=torch.float64))
    return best[:-1].softmax(0).float(), best[-1].exp().float(), floor.float()


def score_floor(num_clips: int, num_classes: int) -> float:
    """Return the share of a score that is spread over all classes, so that it never claims too much.

    Laplace's rule of succession: had all n held-out clips been right, the next one would be right with
    the probability (n + 1) / (n + 2). No score gets above that.
    """
    return num_classes / (num_classes - 1) / (max(num_clips, 1) + 2)


def _minimise(loss: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """Go down from a point `(D,)`, D a handful, by Newton's method; return where it goes no lower.

    Where the loss curves down, its curvature is taken for the opposite (Dauphin et al. 2014).
    PyTorch's optimisers would do, but bring its compiler along: a second in every process that trains.
    """
    for _ in range(_MOST_STEPS):
        value = loss(point)
        slope: Tensor = jacobian(loss, point)  # type: ignore[no-untyped-call]
        bends, ways = torch.linalg.eigh(hessian(loss, point))  # type: ignore[no-untyped-call]
        step = ways @ (ways.T @ slope / bends.abs().clamp(min=_LEAST_BEND))
        length = 1.0
        while not loss(point - length * step) < value - _ENOUGH * length * (slope @ step):
            length /= 2
            if length < _SHORTEST:
                return point
        point = point - length * step
    return point
