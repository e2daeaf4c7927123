from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.media.descriptors import colour


def plain(*rgb: int, side: int = 8) -> NDArray[np.uint8]:
    return np.full((1, side, side, 3), rgb, np.uint8)


def test_shape_range_and_sum() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 30, 200, 3), dtype=np.uint8)
    vector = colour.describe(frames)
    assert vector.shape == (colour.WIDTH,)
    assert vector.dtype == np.float32
    assert (vector >= 0).all()
    assert np.square(vector).sum() == pytest.approx(1)


def test_black_is_in_the_darkest_bins_and_white_in_the_lightest() -> None:
    # Grey is midway between the two middle bins of four in a* and b*: a quarter in each, square root 1/2.
    black = colour.describe(plain(0, 0, 0)).reshape(4, 4, 4)
    white = colour.describe(plain(255, 255, 255)).reshape(4, 4, 4)
    np.testing.assert_allclose(black[0, 1:3, 1:3], 0.5, atol=1e-3)
    np.testing.assert_allclose(white[3, 1:3, 1:3], 0.5, atol=1e-3)


@pytest.mark.parametrize(
    ("rgb", "a_side", "b_side"),
    [((255, 0, 0), 1, 1), ((0, 255, 0), -1, 1), ((0, 0, 255), 1, -1), ((255, 255, 0), 0, 1)],
)
def test_hues_are_in_their_lab_bins(rgb: tuple[int, int, int], a_side: int, b_side: int) -> None:
    share = np.square(colour.describe(plain(*rgb)).reshape(4, 4, 4)).sum(axis=0)
    a = (share.sum(axis=1) * (-3, -1, 1, 3)).sum()
    b = (share.sum(axis=0) * (-3, -1, 1, 3)).sum()
    assert b * b_side > 0
    assert a_side == 0 or a * a_side > 0


def test_a_slightly_lighter_picture_has_a_slightly_different_histogram() -> None:
    step = [
        np.abs(colour.describe(plain(g, g, g)) - colour.describe(plain(g + 2, g + 2, g + 2))).max()
        for g in range(40, 250, 5)
    ]
    assert max(step) < 0.08


def test_positions_of_colours_do_not_matter() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 20, 20, 3), dtype=np.uint8)
    np.testing.assert_allclose(colour.describe(frames), colour.describe(frames[:, :, ::-1]), atol=1e-6)


def test_a_clip_is_the_mean_of_its_frames() -> None:
    red, blue = plain(200, 20, 20), plain(20, 20, 200)
    both = colour.describe(np.concatenate([red, blue]))
    np.testing.assert_allclose(both, (colour.describe(red) + colour.describe(blue)) / 2, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (3, 2)])
def test_tiny_and_thin_pictures_work(shape: tuple[int, int]) -> None:
    frames = np.zeros((1, *shape, 3), np.uint8)
    assert np.square(colour.describe(frames)).sum() == pytest.approx(1)
