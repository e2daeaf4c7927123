"""Fusion weights: the best branch gets the largest, and equal branches get equal weights."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vidlstm.engine.training.loop.fusion import fit_fusion, score_floor
from vidlstm.models.classifier import fuse

LABELS = torch.arange(40) % 2


def branch(right: float, sure: float = 0.9, seed: int = 0) -> Tensor:
    """Return log-probabilities of a branch with this share of right clips and a constant confidence."""
    wrong = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(seed))
    guess = LABELS.clone()
    flipped = wrong[: round(len(LABELS) * (1 - right))]
    guess[flipped] = 1 - guess[flipped]
    scores = torch.full((len(LABELS), 2), 1 - sure)
    scores[torch.arange(len(LABELS)), guess] = sure
    return scores.log()


def fitted(*branches: Tensor, labels: Tensor = LABELS) -> tuple[list[float], float]:
    weights, temperature, _ = fit_fusion(torch.stack(branches), labels)
    return weights.tolist(), float(temperature)


def test_the_good_branch_gets_most_of_the_weight() -> None:
    for place in range(3):
        branches = [branch(0.5), branch(0.5), branch(0.5)]
        branches[place] = branch(0.95)  # wrong on the same clips as the others, so these add nothing
        weights, _ = fitted(*branches)
        assert weights[place] > 0.7
        assert sum(weights) == pytest.approx(1)
        assert min(weights) >= 0


def test_uninformative_or_equal_branches_get_equal_weights() -> None:
    for same in (torch.full((40, 2), 0.5).log(), branch(0.8)):
        weights, _ = fitted(same, same, same)
        assert weights == pytest.approx([1 / 3] * 3, abs=1e-3)


def test_a_confident_wrong_branch_loses_its_weight() -> None:
    weights, _ = fitted(branch(0.55, sure=0.999), branch(0.85, sure=0.8, seed=1), branch(0.85, 0.8, 2))
    assert weights[0] < 0.1


def test_one_clip_changes_the_weights_only_slightly() -> None:
    good, bad = torch.tensor([[0.6, 0.4]]).log(), torch.tensor([[0.4, 0.6]]).log()
    weights, temperature = fitted(good, bad, bad, labels=torch.tensor([0]))
    assert weights[0] > weights[1] == pytest.approx(weights[2], abs=1e-3)
    assert temperature > 0


def test_overconfidence_raises_the_temperature_and_underconfidence_lowers_it() -> None:
    _, too_sure = fitted(*[branch(0.75, sure=0.99)] * 3)
    _, fitting = fitted(*[branch(0.75, sure=0.75)] * 3)
    _, timid = fitted(*[branch(0.95, sure=0.6)] * 3)
    assert too_sure > 2
    assert fitting == pytest.approx(1, abs=0.1)
    assert timid < 0.5


def test_perfect_scores_keep_the_temperature_finite() -> None:
    perfect = torch.full((40, 2), -1e4)
    perfect[torch.arange(40), LABELS] = 0
    for branches in ([perfect] * 3, [branch(1.0, 0.7)] * 3, [perfect, branch(0.5), branch(0.5)]):
        weights, temperature = fitted(*branches)
        assert all(0 <= w <= 1 for w in weights)
        assert 0 < temperature < float("inf")


@pytest.mark.parametrize(
    ("num_clips", "num_classes", "most"),
    [(20, 2, 21 / 22), (20, 8, 21 / 22), (48, 3, 49 / 50), (88, 8, 89 / 90), (1, 2, 2 / 3), (0, 2, 2 / 3)],
)
def test_scores_are_capped_by_the_number_of_held_out_clips(
    num_clips: int, num_classes: int, most: float
) -> None:
    """Laplace's rule of succession, for confident branches without a mistake."""
    certain = torch.full((1, 1, num_classes), -1e4)
    certain[..., 0] = 0
    floor = torch.tensor(score_floor(num_clips, num_classes))
    scores = fuse(certain, torch.ones(1), torch.tensor(0.05), floor).softmax(-1)[0]
    assert float(scores[0]) == pytest.approx(most)
    assert float(scores.sum()) == pytest.approx(1)
    assert int(scores.argmax()) == 0


def test_a_fit_without_mistakes_respects_the_cap() -> None:
    """A temperature alone would fall to 0.1 and give any clip a score of 1.000."""
    branches = torch.stack([branch(1.0, 0.8)] * 3)
    scores = fuse(10 * branches, *fit_fusion(branches, LABELS)).softmax(-1)
    assert float(scores.max()) <= 41 / 42 + 1e-6


def test_the_result_is_the_same_each_time_and_in_any_order_of_the_clips() -> None:
    branches = torch.stack([branch(0.9), branch(0.6, seed=1), branch(0.7, seed=2)])
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    first = fitted(*branches)
    assert fitted(*branches) == first
    weights, temperature = fitted(*branches[:, order], labels=LABELS[order])
    assert weights == pytest.approx(first[0], abs=1e-4)
    assert temperature == pytest.approx(first[1], abs=1e-3)


def test_inputs_are_not_changed() -> None:
    scores = torch.stack([branch(0.9), branch(0.5), branch(0.5, seed=1)])
    before = scores.clone()
    weights, temperature, _ = fit_fusion(scores, LABELS)
    assert torch.equal(scores, before)
    assert not weights.requires_grad
    assert not temperature.requires_grad
    assert weights.dtype == temperature.dtype == torch.float32


def test_no_other_weights_or_temperature_are_better() -> None:
    branches = torch.stack([branch(0.9), branch(0.6, seed=1), branch(0.7, sure=0.99, seed=2)]).double()

    def loss(weights: Tensor, temperature: float) -> float:
        pooled = ((weights.view(-1, 1, 1) * branches).sum(0) / temperature).softmax(-1)
        pooled = ((1 - floor) * pooled + floor / 2).log()
        unlike = (weights - 1 / 3).square().sum()
        return float(F.nll_loss(pooled, LABELS) + 0.06 * unlike + 0.001 * math.log(temperature) ** 2)

    weights, temperature, floor = fit_fusion(branches, LABELS)
    assert float(floor) == pytest.approx(2 / 42)
    least = loss(weights.double(), float(temperature))
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        others = weights.double() * torch.randn(3, generator=generator).mul(0.1).exp()
        factor = float(torch.randn((), generator=generator).mul(0.1).exp())
        assert loss(others / others.sum(), float(temperature) * factor) >= least - 1e-9


def test_does_not_load_the_compiler() -> None:
    """The compiler costs every training process a second, and is never used."""
    code = (
        "import sys, torch\n"
        "from vidlstm.engine.training.loop.fusion import fit_fusion\n"
        "fit_fusion(torch.randn(2, 9, 3).log_softmax(-1), torch.arange(9) % 3)\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
