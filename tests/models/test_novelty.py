"""Novelty: Mahalanobis distances to the training clips, as shares of known clips."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from vidlstm.models.novelty import LEVELS, SHRINKAGE, Distance, Novelty

WIDTHS = [5, 3]
CLASSES = 3
MEMBERS = 2


def draw(number: int, seed: int, *, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Make vectors of both branches side by side, `(N, 8)`, around a centre for each class."""
    generator = torch.Generator().manual_seed(seed)
    centres = 4 * torch.randn(CLASSES, sum(WIDTHS), generator=torch.Generator().manual_seed(99))
    labels = torch.arange(number) % CLASSES
    return centres[labels] + spread * torch.randn(number, sum(WIDTHS), generator=generator), labels


def fitted(num_train: int = 200, num_held_out: int = 100) -> Novelty:
    novelty = Novelty(MEMBERS, WIDTHS, CLASSES)
    train = [draw(num_train, seed) for seed in range(MEMBERS)]
    held_out = [draw(num_held_out, 10 + seed)[0] for seed in range(MEMBERS)]
    novelty.fit([vectors for vectors, _ in train], [labels for _, labels in train], held_out)
    return novelty


def of(novelty: Novelty, vectors: Tensor) -> Tensor:
    found: Tensor = novelty([own.expand(MEMBERS, -1, -1) for own in torch.split(vectors, WIDTHS, 1)])
    return found


def test_distances_use_the_shrunk_covariance() -> None:
    """Compared with numpy: (x - m)' S^-1 (x - m), S within the classes, shrunk towards its mean variance."""
    vectors, labels = draw(60, 0)
    own, x = vectors[:, :5], draw(7, 1)[0][:, :5]
    distance = Distance(1, 5, CLASSES)
    distance.fit(0, own, labels)
    means = np.stack([own[labels == k].numpy().mean(0) for k in range(CLASSES)])
    inside = own.numpy() - means[labels]
    covariance = inside.T @ inside / len(inside)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / 5 * np.eye(5)
    off = x.numpy()[:, None] - means
    expected = np.einsum("nki,ij,nkj->nk", off, np.linalg.inv(covariance), off)
    np.testing.assert_allclose(distance(x[None])[0].numpy(), expected, rtol=1e-3)


def test_the_median_distance_of_each_member_s_known_clips_is_1() -> None:
    novelty = fitted()
    for member in range(MEMBERS):
        others = torch.split(draw(100, 10 + member)[0], WIDTHS, 1)
        distance = novelty.distance([own.expand(MEMBERS, -1, -1) for own in others])[member]
        assert float(distance.median()) == pytest.approx(1, abs=0.01)


def test_novelty_is_the_share_of_known_clips_that_are_nearer() -> None:
    """So about 5 % of similar clips exceed a threshold of 0.95; averaging over members makes it fewer."""
    found = of(fitted(2000, 2000), draw(3000, 50)[0])
    for share in (0.5, 0.8, 0.95, 0.99):
        assert float((found > share).double().mean()) == pytest.approx(1 - share, abs=0.03)


@pytest.mark.parametrize("number", [3, 10, 40])
def test_few_known_clips_limit_the_novelty(number: int) -> None:
    """The farthest of H known clips has novelty H / (H + 1), not 1."""
    novelty = fitted(200, number)
    known = [
        novelty.distance(
            [own.expand(MEMBERS, -1, -1) for own in torch.split(draw(number, 10 + m)[0], WIDTHS, 1)]
        )[m]
        for m in range(MEMBERS)
    ]
    farthest = torch.cat(known).max()
    share = MEMBERS * number / (MEMBERS * number + 1)
    passed = (novelty.levels <= farthest).double().mean()
    assert float(passed) == pytest.approx(share, abs=1.5 / LEVELS)


def test_novelty_grows_with_distance_and_never_exceeds_1() -> None:
    vectors = draw(6, 3)[0]
    found = [of(fitted(200, 30), vectors + shift) for shift in (0.0, 3.0, 6.0, 12.0, 1e4)]
    for nearer, farther in itertools.pairwise(found):
        assert (farther >= nearer).all()
    assert (found[-1] > 0.999).all()
    assert (found[-1] <= 1).all()


def test_an_unseen_class_is_novel() -> None:
    vectors, labels = draw(300, 0)
    third = draw(90, 1)[0][labels[:90] == 2]
    two = vectors[labels < 2], labels[labels < 2]
    novelty = Novelty(MEMBERS, WIDTHS, 2)
    novelty.fit([two[0][:100]] * MEMBERS, [two[1][:100]] * MEMBERS, [two[0][100:]] * MEMBERS)
    assert (of(novelty, third) > 0.95).all()


def test_novelty_is_0_before_it_is_fitted() -> None:
    assert torch.equal(of(Novelty(MEMBERS, WIDTHS, CLASSES), 1e3 * draw(4, 0)[0]), torch.zeros(4))


def test_equal_vectors_do_no_harm() -> None:
    """Identical clips have no spread, and no held-out clip is away from the centre."""
    novelty = Novelty(MEMBERS, WIDTHS, CLASSES)
    same, labels = torch.ones(12, sum(WIDTHS)), torch.arange(12) % CLASSES
    novelty.fit([same] * MEMBERS, [labels] * MEMBERS, [same[:2]] * MEMBERS)
    assert of(novelty, same).isfinite().all()
    assert (of(novelty, same + 1) > 0.95).all()


def test_novelty_does_not_depend_on_other_clips() -> None:
    novelty, vectors = fitted(), draw(9, 4)[0]
    alone = torch.cat([of(novelty, row[None]) for row in vectors])
    torch.testing.assert_close(of(novelty, vectors), alone, atol=1e-5, rtol=0)
