"""How much each branch counts, and how sure the sum may be: fitted on clips that were held out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlstm.models.classifier import fuse

_TO_EQUAL = 0.02  # pull of the weights to equal ones: a few dozen clips cannot tell more
_TO_ONE = 0.001  # pull of the log temperature to 0


def fit_fusion(log_probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Fit the weights of the branches and the temperature of their sum.

    Minimises the negative log-likelihood of ``softmax(sum_s w_s log p_s / t)`` with w on the simplex:
    a log-linear opinion pool (Genest & Zidek 1986) with temperature scaling (Guo et al. 2017), both
    drawn gently to what one would take without data. A branch that overfits is sure and wrong on
    clips it has not learned from, and loses its weight here; the sum then does no harm to its better
    half.

    Args:
        log_probabilities: Of every branch for held-out clips, `(S, N, K)`.
        labels: int64 `(N,)`.

    Returns:
        Weights `(S,)`, and the temperature, a scalar.
    """
    given = log_probabilities.detach().double().cpu().clone()
    labels = labels.cpu()
    num_branches = len(given)
    scores = torch.zeros(num_branches, dtype=torch.float64, requires_grad=True)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([scores, log_temperature], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        weights = scores.softmax(0)
        value = F.cross_entropy(fuse(given, weights, log_temperature.exp()), labels)
        value = value + _TO_EQUAL * num_branches * (weights - 1 / num_branches).square().sum()
        value = value + _TO_ONE * log_temperature.square()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return scores.detach().softmax(0).float(), log_temperature.detach().exp().float()
