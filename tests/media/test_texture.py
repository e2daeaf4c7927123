from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.media.descriptors import texture


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def test_codes_at_radius_one_follow_the_definition() -> None:
    grey = np.array([[9, 9, 1], [1, 5, 9], [1, 1, 1]], np.float32)
    # Anticlockwise from the right: 9, then the diagonals between 1, 9 and 5 by interpolation.
    # Right 9 >= 5, up right 0.5*1 + 0.207*(9 + 9) + 0.086*5 = 4.65 < 5, up 9 >= 5,
    # up left 0.5*9 + 0.207*(9 + 1) + 0.086*5 = 7.0 >= 5, the rest below.
    assert texture.pattern_codes(grey, 1)[1, 1] == 0b00001101


@pytest.mark.parametrize(
    ("radius", "expected"),
    [  # scikit-image 0.26, local_binary_pattern(grey, 8, radius, "default"), away from the borders
        (1, [1, 4, 24, 159, 65, 0]),
        (2, [16, 0, 17, 159, 1, 0]),
        (3, [0, 20, 1, 253, 80, 0]),
    ],
)
def test_codes_equal_the_reference_implementation(radius: int, expected: list[int]) -> None:
    grey = (np.arange(144).reshape(12, 12) ** 2 * 97 % 251).astype(np.float32)
    assert texture.pattern_codes(grey, radius)[5, 3:9].tolist() == expected


def test_number_of_patterns() -> None:
    every_code = np.arange(256)
    assert sorted(set(texture._PATTERN_OF_CODE[every_code])) == list(range(texture.NUM_PATTERNS))


def test_shape_range_and_sum() -> None:
    vector = texture.describe(noise(40, 30))
    assert vector.shape == (texture.WIDTH,)
    assert vector.dtype == np.float32
    assert np.square(vector).reshape(len(texture.RADII), -1).sum(axis=1) == pytest.approx(1)


def test_a_mirrored_picture_has_the_same_texture() -> None:
    picture = noise(33, 47)
    np.testing.assert_allclose(texture.describe(picture), texture.describe(picture[:, :, ::-1].copy()))


def test_brightness_does_not_matter() -> None:
    dark = noise(32, 32) // 2
    np.testing.assert_allclose(texture.describe(dark), texture.describe(dark + 100), atol=0.05)


def test_stripes_across_differ_from_stripes_down() -> None:
    ramps = np.arange(32, dtype=np.uint8) % 8 * 30
    stripes = np.broadcast_to(ramps[None, :, None, None], (1, 32, 32, 3)).copy()
    assert np.abs(texture.describe(stripes) - texture.describe(stripes.swapaxes(1, 2).copy())).max() > 0.3


def test_a_uniform_surface_has_one_pattern_for_any_grey() -> None:
    for grey in (0, 1, 77, 255):
        vector = texture.describe(np.full((1, 16, 16, 3), grey, np.uint8))
        assert np.count_nonzero(vector) == len(texture.RADII)


def test_a_clip_is_the_mean_of_its_frames() -> None:
    first, second = noise(20, 20, 1), noise(20, 20, 2)
    both = texture.describe(np.concatenate([first, second]))
    np.testing.assert_allclose(
        both, (texture.describe(first) + texture.describe(second)) / 2, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 3), (5, 2000)])
def test_tiny_and_thin_pictures_work(shape: tuple[int, int]) -> None:
    assert np.isfinite(texture.describe(noise(*shape))).all()
