"""How much each branch counts, and how sure the sum may be: fitted on clips that were held out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlstm.models.classifier import Classifier

_TO_EQUAL = 0.02  # pull of the weights to equal ones: a few dozen clips cannot tell more
_TO_ONE = 0.001  # pull of the log temperature to 0


def fit_fusion(classifier: Classifier, log_probabilities: Tensor, labels: Tensor) -> None:
    """Fit the fusion weights and the temperature of a classifier.

    Minimises the negative log-likelihood of ``softmax(sum_s w_s log p_s / t)`` with w on the simplex:
    a log-linear opinion pool (Genest & Zidek 1986) with temperature scaling (Guo et al. 2017), both
    drawn gently to what one would take without data. A branch that overfits is sure and wrong on
    clips it has not learned from, and loses its weight here.

    Args:
        classifier: Its `fusion` and `temperature` are set.
        log_probabilities: Of every branch for held-out clips, `(S, N, K)`.
        labels: int64 `(N,)`.
    """
    given = log_probabilities.detach().double().cpu().clone()
    labels = labels.cpu()
    num_branches = len(given)
    scores = torch.zeros(num_branches, dtype=torch.float64, requires_grad=True)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([scores, log_temperature], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        weights = scores.softmax(0)
        logits = torch.einsum("s,snk->nk", weights, given) / log_temperature.exp()
        loss = F.cross_entropy(logits, labels)
        loss = loss + _TO_EQUAL * num_branches * (weights - 1 / num_branches).square().sum()
        loss = loss + _TO_ONE * log_temperature.square()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    classifier.fusion.copy_(scores.detach().softmax(0))
    classifier.temperature.copy_(log_temperature.detach().exp())
