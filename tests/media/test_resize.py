"""Frames are resized by averaging areas, with the same result in uint8 and in float32."""

from __future__ import annotations

import numpy as np
import pytest

from vidlstm.media.opencv import cv2
from vidlstm.media.resize import WholePictures, resize, square


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (320, 240, 224), (428, 312, 224), (960, 540, 224), (961, 541, 224), (1280, 720, 224), (225, 224, 224),
        (448, 448, 224), (448, 300, 224), (300, 448, 224), (224, 224, 224), (97, 89, 32), (64, 64, 32),
    ],
)  # fmt: skip
def test_shrinking_averages_areas_and_rounds_as_opencv_does(width: int, height: int, size: int) -> None:
    image = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    assert np.array_equal(resize(image, size, size), expected)


def test_a_half_is_rounded_to_the_even_number() -> None:
    row = [[value] * 3 for value in (0, 1, 1, 2)]
    image = np.array([row] * 3, np.uint8)
    assert resize(image, 2, 2)[:, :, 0].tolist() == [[0, 2], [0, 2]]  # the means are 0.5 and 1.5


def test_enlarging_one_side_interpolates() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 50, 3), dtype=np.uint8)
    expected = cv2.resize(image, (32, 32), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(resize(image, 32, 32), expected)


def test_a_flat_frame_keeps_its_colour_and_becomes_rgb() -> None:
    blue = np.full((50, 70, 3), (255, 10, 0), np.uint8)
    assert (square(blue, 32) == (0, 10, 255)).all()
    to_picture = WholePictures(35)
    for frame in (blue, blue[:20]):  # all pictures have the size of the first one
        small = to_picture(frame)
        assert small.shape == (25, 35, 3)
        assert (small == (0, 10, 255)).all()
