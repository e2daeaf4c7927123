"""One training step: mixup, the loss of its rows, and parts that add up to the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tests.engine.toys import model_config, shaped
from vidlstm.engine.training.loop.steps import Step, align_members, rows_of
from vidlstm.features.batches import Batch, choose, training_batch
from vidlstm.models.classifier import Classifier

CPU = torch.device("cpu")
LABELS = np.array([0, 2, 1, 2, 2, 0, 1])
B, K = len(LABELS), 3
ALL = slice(0, B)
WEIGHTS = torch.tensor([0.5, 3.0, 1.5])


def step(mixup: float) -> Step:
    """Make a step of clips whose features are their numbers; the first clip is shorter."""
    numbers = np.arange(B, dtype=np.float16)
    mask = np.ones((B, 2), bool)
    mask[0, 1] = False
    batch = Batch({"motion": np.broadcast_to(numbers[:, None, None], (B, 2, 4)) * mask[..., None]},
                  {"motion": mask}, {"colour": numbers[:, None]})  # fmt: skip
    return Step.draw(batch, LABELS[None], np.ones((1, B), bool), ALL, mixup, np.random.default_rng(0), CPU)


def logits() -> Tensor:
    return torch.randn(2, 1, B, K, generator=torch.Generator().manual_seed(0), requires_grad=True)


class TestMix:
    def test_every_stream_is_mixed_with_the_same_partner_in_the_same_proportion(self) -> None:
        mixed = step(mixup=1.0)
        assert 0 < mixed.shares < 1
        own = torch.arange(B, dtype=torch.float32)
        expected = mixed.shares * own + (1 - mixed.shares) * own[mixed.partners[0]]
        torch.testing.assert_close(mixed.sequences["motion"][0, :, 0, 0], expected)
        torch.testing.assert_close(mixed.summaries["colour"][0, :, 0], expected)

    def test_a_mix_is_as_long_as_the_longer_of_the_two(self) -> None:
        mixed = step(mixup=1.0)
        assert mixed.partners[0, 0] != 0
        assert mixed.masks["motion"].all()

    def test_0_disables_it(self) -> None:
        plain = step(mixup=0.0)
        assert plain.shares == 1
        assert plain.sequences["motion"][0, :, 0, 0].tolist() == list(range(B))
        assert plain.masks["motion"].tolist() == [[[True, False], *[[True, True]] * (B - 1)]]


class TestMembers:
    """The members' clips form one table; shorter rows are padded."""

    ROWS = (np.array([4, 0, 6]), np.array([5]))

    def test_rows_are_padded_with_a_clip_of_the_same_member(self) -> None:
        table, real = align_members(self.ROWS, [9, 7])
        assert table.tolist() == [[4, 0, 6], [5, 7, 7]]
        assert real.tolist() == [[True, True, True], [True, False, False]]

    @staticmethod
    def draw(rows: Sequence[NDArray[np.int64]], mixup: float) -> Step:
        table, real = align_members(rows, [9, 7])
        numbers = table.ravel().astype(np.float16)
        batch = Batch(
            {"motion": np.repeat(numbers, 8).reshape(-1, 2, 4)},
            {"motion": np.ones((len(numbers), 2), bool)},
            {},
        )
        return Step.draw(batch, table % K, real, slice(0, 3), mixup, np.random.default_rng(0), CPU)

    def test_clips_are_never_mixed_across_members_or_with_padding(self) -> None:
        mixed = self.draw(self.ROWS, mixup=1.0)
        assert sorted(mixed.partners[0].tolist()) == [0, 1, 2]
        assert mixed.partners[1].tolist() == [0, 1, 2]
        assert mixed.shares[0] != mixed.shares[1]
        assert mixed.sequences["motion"][1, :, 0, 0].tolist() == [5, 7, 7]

    @pytest.mark.parametrize("weights", [None, torch.stack([WEIGHTS, WEIGHTS.flip(0)])])
    def test_padding_does_not_affect_the_loss(self, weights: Tensor | None) -> None:
        given = torch.randn(2, 2, 3, K, generator=torch.Generator().manual_seed(0), requires_grad=True)
        losses = self.draw(self.ROWS, mixup=0.0).loss(given, slice(0, 3), weights, 0.1)
        for member, (rows, loss) in enumerate(zip(self.ROWS, losses, strict=True)):
            own = None if weights is None else weights[member]
            target = torch.from_numpy(rows % K)
            expected = sum(
                F.cross_entropy(branch[member, : len(rows)], target, own, label_smoothing=0.1)
                for branch in given
            )
            torch.testing.assert_close(loss, expected)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        assert given.grad is not None
        assert given.grad[:, 1, 1:].abs().max() == 0
        assert given.grad[:, 1, 0].abs().min() > 0

    def test_one_without_a_clip_in_this_step_has_no_loss(self) -> None:
        none = self.draw((self.ROWS[0], np.zeros(0, np.int64)), mixup=1.0)
        assert none.loss(torch.zeros(1, 2, 3, K), slice(0, 3), None, 0.1)[1] == 0


class TestLoss:
    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    @pytest.mark.parametrize("mixup", [0.0, 1.0])
    def test_is_the_cross_entropy_with_both_labels_of_a_mix_summed_over_the_branches(
        self, mixup: float, smoothing: float, weights: Tensor | None
    ) -> None:
        one = step(mixup)
        ours, theirs = logits(), logits()
        loss = one.loss(ours, ALL, None if weights is None else weights[None], smoothing).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        reference = torch.zeros(())
        (labels,), (partners,), (share,) = one.labels, one.partners, one.shares
        for branch in theirs:
            for part, target in ((share, labels), (1 - share, labels[partners])):
                reference = reference + part * F.cross_entropy(
                    branch[0], target, weights, label_smoothing=smoothing
                )
        reference.backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(loss, reference)
        torch.testing.assert_close(ours.grad, theirs.grad)

    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    def test_losses_of_the_parts_add_up_to_that_of_the_whole(self, weights: Tensor | None) -> None:
        one = step(mixup=1.0)
        given = logits().detach()
        parts = [rows_of(B, place, 3) for place in range(3)]
        own = None if weights is None else weights[None]
        losses = [one.loss(given[:, :, rows], rows, own, 0.1) for rows in parts]
        torch.testing.assert_close(torch.stack(losses).sum(0), one.loss(given, ALL, own, 0.1))


@pytest.mark.parametrize("total", [*range(12), 31, 32])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_rows_are_divided_in_order_and_in_pairs(total: int, size: int) -> None:
    parts = [range(100)[rows_of(total, place, size, 10)] for place in range(size)]
    assert [row for part in parts for row in part] == [*range(10, 10 + total)]
    assert all(part.start % 2 == 0 for part in parts if part)
    lengths = [(len(part) + 1) // 2 for part in parts]
    assert max(lengths) - min(lengths) <= 1


def gradients(classifier: Classifier, steps: list[Step], parts: int, weights: Tensor | None) -> list[Tensor]:
    """Return the sum of the gradients of several processes for one step, each computed in parts."""
    classifier.zero_grad()
    drawn = torch.get_rng_state()
    for step in steps:
        for rows in step.parts(parts):
            torch.set_rng_state(drawn)
            classifier.compute(rows, step.length)
            logits = classifier.logits(*step.inputs(rows))
            step.loss(logits, rows, weights, 0.1).sum().backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in classifier.parameters() if p.grad is not None]


@pytest.mark.parametrize("weights", [None, torch.tensor([[0.5, 2.0], [1.0, 3.0]])])
@pytest.mark.parametrize("mixup", [0.0, 0.4])
@pytest.mark.parametrize(
    ("size", "parts", "layers"), [(1, 2, 1), (1, 5, 1), (2, 1, 1), (3, 2, 1), (4, 1, 1), (1, 2, 3), (2, 1, 2)]
)
def test_gradients_of_the_parts_add_up_to_that_of_the_whole(
    size: int, parts: int, layers: int, mixup: float, weights: Tensor | None
) -> None:
    clips, labels = shaped(13)
    torch.manual_seed(0)
    classifier = Classifier(model_config().changed(head={"layers": layers}), {"motion": 6}).train()

    def draw(rows: slice) -> Step:
        rng = np.random.default_rng(3)
        table, real = align_members([np.arange(13), np.arange(12)[::-1]], [0, 0])
        some = [clips[i] for i in table.ravel()]
        batch = training_batch(some, choose(some, rng, mix_views=True, mirror=False))
        return Step.draw(batch, labels[table], real, rows, mixup, rng, CPU)

    torch.manual_seed(1)
    whole = gradients(classifier, [draw(slice(0, 13))], 1, weights)
    torch.manual_seed(1)
    added = gradients(classifier, [draw(rows_of(13, n, size)) for n in range(size)], parts, weights)
    assert len(whole) > 4
    for one, other in zip(whole, added, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


class TestPixels:
    @staticmethod
    def step(rows: slice, mixup: float = 0.4) -> Step:
        rng = np.random.default_rng(0)
        clips, labels = shaped(7)
        batch = training_batch(clips, choose(clips, rng, mix_views=True, mirror=False))
        pixels = np.random.default_rng(1).integers(0, 256, (7, 3, 12, 12, 3), dtype=np.uint8)
        torch.manual_seed(5)
        return Step.draw_pixels(batch, pixels[rows], labels, rows, mixup, rng, CPU, flips=True)

    @pytest.mark.parametrize("rows", [slice(0, 4), slice(2, 6), slice(4, 7), slice(6, 7)])
    def test_a_row_is_augmented_and_mixed_the_same_wherever_it_is_computed(self, rows: slice) -> None:
        whole = self.step(slice(0, 7)).inputs(slice(0, 7))[0]["rgb"]
        ours = self.step(rows).inputs(rows)[0]["rgb"]
        torch.testing.assert_close(ours, whole[:, rows], atol=1e-3, rtol=0)

    def test_neighbours_and_their_labels_are_mixed(self) -> None:
        step = self.step(slice(0, 7))
        assert step.partners.tolist() == [[1, 0, 3, 2, 5, 4, 6]]
        assert 0 < step.shares < 1

    def test_without_mixup_no_clips_are_mixed(self) -> None:
        step = self.step(slice(0, 7), mixup=0.0)
        assert step.shares == 1

    def test_pixels_are_read_instead_of_features(self) -> None:
        assert set(self.step(slice(0, 7)).inputs(slice(0, 2))[0]) == {"motion", "rgb"}
