"""One step of training: what is mixed, and the loss of its rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vidlstm.data.loading import Batch
from vidlstm.engine.steps import Step, rows_of

CPU = torch.device("cpu")
LABELS = np.array([0, 2, 1, 2, 2, 0, 1])
B, K = len(LABELS), 3
ALL = slice(0, B)
WEIGHTS = torch.tensor([0.5, 3.0, 1.5])


def step(mixup: float) -> Step:
    """Make a step of clips whose features are their numbers, the first of them shorter."""
    numbers = np.arange(B, dtype=np.float16)
    mask = np.ones((B, 2), bool)
    mask[0, 1] = False
    batch = Batch({"motion": np.broadcast_to(numbers[:, None, None], (B, 2, 4)) * mask[..., None]},
                  {"motion": mask}, {"colour": numbers[:, None]})  # fmt: skip
    return Step.draw(batch, LABELS, ALL, mixup, np.random.default_rng(0), CPU)


def logits() -> Tensor:
    return torch.randn(2, B, K, generator=torch.Generator().manual_seed(0), requires_grad=True)


class TestMix:
    def test_every_stream_is_mixed_with_the_same_partner_in_the_same_proportion(self) -> None:
        mixed = step(mixup=1.0)
        assert 0 < mixed.share < 1
        own = torch.arange(B, dtype=torch.float32)
        expected = mixed.share * own + (1 - mixed.share) * own[mixed.partners]
        torch.testing.assert_close(mixed.sequences["motion"][:, 0, 0], expected)
        torch.testing.assert_close(mixed.summaries["colour"][:, 0], expected)

    def test_a_mix_is_as_long_as_the_longer_of_the_two(self) -> None:
        mixed = step(mixup=1.0)
        assert mixed.partners[0] != 0
        assert mixed.masks["motion"].all()

    def test_0_mixes_none(self) -> None:
        plain = step(mixup=0.0)
        assert plain.share == 1
        assert plain.sequences["motion"][:, 0, 0].tolist() == list(range(B))
        assert plain.masks["motion"].tolist() == [[True, False], *[[True, True]] * (B - 1)]


class TestLoss:
    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    @pytest.mark.parametrize("mixup", [0.0, 1.0])
    def test_is_the_cross_entropy_with_both_labels_of_a_mix_summed_over_the_branches(
        self, mixup: float, smoothing: float, weights: Tensor | None
    ) -> None:
        one = step(mixup)
        ours, theirs = logits(), logits()
        loss = one.loss(ours, ALL, weights, smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        reference = torch.zeros(())
        for branch in theirs:
            for share, labels in ((one.share, one.labels), (1 - one.share, one.labels[one.partners])):
                reference = reference + share * F.cross_entropy(
                    branch, labels, weights, label_smoothing=smoothing
                )
        reference.backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(loss, reference)
        torch.testing.assert_close(ours.grad, theirs.grad)

    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    def test_that_of_the_parts_adds_up_to_that_of_the_whole(self, weights: Tensor | None) -> None:
        one = step(mixup=1.0)
        given = logits().detach()
        parts = [rows_of(B, place, 3) for place in range(3)]
        losses = [one.loss(given[:, rows], rows, weights, 0.1) for rows in parts]
        torch.testing.assert_close(torch.stack(losses).sum(), one.loss(given, ALL, weights, 0.1))
