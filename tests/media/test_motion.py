from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.media.descriptors import motion

Pixels = NDArray[np.uint8]

SECONDS = 1 / 15
RIGHT, DOWN, LEFT, UP = 0, 2, 4, 6


def scenery(height: int = 120, width: int = 160, seed: int = 0) -> Pixels:
    """Return a soft random texture, `(height, width)`."""
    coarse = np.random.default_rng(seed).integers(
        30, 226, (max(height // 10, 2), max(width // 10, 2)), dtype=np.uint8
    )
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def square(x: int, y: int, side: int = 30, behind: Pixels | None = None) -> Pixels:
    """Return a picture with a textured square whose top left corner is at (x, y)."""
    picture: Pixels = (scenery() if behind is None else behind).copy()
    picture[y : y + side, x : x + side] = scenery(60, 60, seed=1)[:side, :side]
    return picture


def describe(*pairs: tuple[Pixels, Pixels], seconds: float = SECONDS) -> NDArray[np.float32]:
    return motion.describe(np.stack([np.stack(p) for p in pairs]), np.full(len(pairs), seconds))


def speeds(descriptor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Undo the logarithm: picture sizes per second, `(CELLS, CELLS, DIRECTIONS)`."""
    cells = descriptor.reshape(motion.CELLS, motion.CELLS, motion.DIRECTIONS)
    return np.asarray(np.expm1(cells) * 0.01, dtype=np.float32)


def by_direction(descriptor: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(descriptor.reshape(-1, motion.DIRECTIONS).sum(0), dtype=np.float32)


def test_shape() -> None:
    found = describe((square(60, 40), square(64, 40)), (square(60, 40), square(60, 44)))
    assert found.shape == (2, motion.WIDTH)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (found >= 0).all()


def test_no_pairs_give_no_descriptors() -> None:
    found = motion.describe(np.zeros((0, 2, 120, 160), np.uint8), np.zeros(0))
    assert found.shape == (0, motion.WIDTH)


@pytest.mark.parametrize(
    ("step", "direction"),
    [((4, 0), RIGHT), ((0, 4), DOWN), ((-4, 0), LEFT), ((0, -4), UP), ((3, 3), 1), ((-3, -3), 5)],
)
def test_a_moving_square_has_its_direction(step: tuple[int, int], direction: int) -> None:
    found = describe((square(65, 45), square(65 + step[0], 45 + step[1])))[0]
    assert by_direction(found).argmax() == direction


def test_a_moving_square_shows_in_its_cell() -> None:
    found = describe((square(85, 2, 26), square(89, 2, 26)))[0]
    cells = speeds(found)[..., RIGHT]
    assert int(cells.argmax()) == 0 * motion.CELLS + 2


def test_the_speed_is_in_picture_sizes_a_second() -> None:
    found = speeds(describe((square(60, 30, 60), square(63, 30, 60)))[0])
    # The square covers this cell, and 7/8 of the cell's triangular window along each side.
    expected = (7 / 8) ** 2 * 3 / np.sqrt(120 * 160) / SECONDS
    assert found[1, 2, RIGHT] == pytest.approx(expected, rel=0.2)


def test_forwards_and_backwards_differ() -> None:
    first, second = square(60, 40), square(64, 40)
    there, back = describe((first, second), (second, first))
    assert by_direction(there)[RIGHT] > 3 * by_direction(there)[LEFT]
    assert by_direction(back)[LEFT] > 3 * by_direction(back)[RIGHT]


@pytest.mark.parametrize("size", [(120, 160), (109, 160), (160, 91), (37, 53), (1, 1), (160, 4)])
def test_a_mirrored_clip_gives_nearly_the_mirrored_descriptor(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    height, width = size
    whole = scenery(200, 200, seed=3)
    pairs = []
    for _ in range(4):
        x, y = rng.integers(5, 12, 2)
        first = whole[8 : 8 + height, 8 : 8 + width].copy()
        second = first.copy()
        second[height // 3 :, width // 4 :] = whole[y : y + height, x : x + width][
            height // 3 :, width // 4 :
        ]
        pairs.append((first, second))
    plain = describe(*pairs)
    flipped = describe(*[(a[:, ::-1], b[:, ::-1]) for a, b in pairs])
    if plain.any():
        assert np.corrcoef(flipped.ravel(), motion.mirror(plain).ravel())[0, 1] > 0.9
    assert min(size) < 8 or plain.max() > 0.1


@pytest.mark.parametrize("size", [(312, 428), (480, 854), (90, 161), (100, 100), (17, 3000)])
def test_a_small_grey_frame_is_the_average_of_what_it_covers(size: tuple[int, int]) -> None:
    grey = cv2.resize(scenery(40, 40), size[::-1], interpolation=cv2.INTER_CUBIC)
    frame = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR).astype(np.uint8)
    width, height = motion.small_size(size)
    assert max(width, height) == min(motion.FLOW_SIZE, max(size))
    expected = cv2.resize(frame[..., 0], (width, height), interpolation=cv2.INTER_AREA)
    found = motion.small_grey(frame, width, height)
    assert found.shape == (height, width)
    assert np.abs(found.astype(float) - expected).mean() < 2.5


def test_mirroring_twice_changes_nothing() -> None:
    values = np.random.default_rng(0).random((2, 3, motion.WIDTH), dtype=np.float32)
    assert (motion.mirror(motion.mirror(values)) == values).all()


def test_mirroring_exchanges_left_and_right_and_the_columns_only() -> None:
    one = np.zeros((motion.CELLS, motion.CELLS, motion.DIRECTIONS), np.float32)
    one[1, 0, RIGHT] = one[2, 1, UP] = 1
    other = motion.mirror(one.ravel()).reshape(one.shape)
    assert other[1, 3, LEFT] == other[2, 2, UP] == 1
    assert other.sum() == 2


@pytest.mark.parametrize(("dx", "dy"), [(4, 0), (0, -3), (-3, 2)])
def test_a_moving_camera_gives_nearly_nothing(dx: int, dy: int) -> None:
    whole = scenery(160, 200)
    found = describe((whole[20:140, 20:180], whole[20 - dy : 140 - dy, 20 - dx : 180 - dx]))[0]
    assert speeds(found).sum(2).mean() < 0.03 * np.hypot(dx, dy) / np.sqrt(120 * 160) / SECONDS


def test_a_zooming_and_turning_camera_gives_little() -> None:
    whole = scenery()
    turn = cv2.getRotationMatrix2D((80, 60), 2.0, 1.03)
    second = np.asarray(cv2.warpAffine(whole, turn, (160, 120), borderMode=cv2.BORDER_REFLECT), np.uint8)
    mean_step = 2.5  # pixels: 2 degrees and 3 % at a mean distance of 53 pixels from the centre
    assert (
        speeds(describe((whole, second))[0]).sum(2).mean() < 0.15 * mean_step / np.sqrt(120 * 160) / SECONDS
    )


def test_an_object_shows_in_front_of_a_moving_camera() -> None:
    whole = scenery(160, 200)
    first = square(65, 45, behind=whole[20:140, 20:180])
    second = square(65, 45, behind=whole[20:140, 16:176])  # the camera follows the square to the left
    assert by_direction(describe((first, second))[0]).argmax() == LEFT


@pytest.mark.parametrize("level", [0, 128, 255])
def test_uniform_pictures_give_zeros(level: int) -> None:
    first = np.full((120, 160), level, np.uint8)
    second = np.full((120, 160), max(level - 1, 0), np.uint8)
    assert not describe((first, second)).any()


def test_still_pictures_give_zeros() -> None:
    assert not describe((scenery(), scenery())).any()


def test_still_pictures_with_sensor_noise_give_nearly_nothing() -> None:
    rng = np.random.default_rng(0)
    first, second = (
        np.clip(scenery() + rng.normal(0, 2, (120, 160)), 0, 255).astype(np.uint8) for _ in range(2)
    )
    noise = describe((first, second))[0]
    thing = describe((square(65, 45), square(69, 45)))[0]
    assert speeds(noise).sum() < 0.15 * speeds(thing).sum()


def test_a_cut_gives_zeros() -> None:
    assert not describe((scenery(seed=4), scenery(seed=5))).any()
    assert not describe((scenery(), np.zeros((120, 160), np.uint8))).any()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pair_without_a_time_difference_gives_zeros(seconds: float) -> None:
    assert not describe((square(60, 40), square(64, 40)), seconds=seconds).any()


@pytest.mark.parametrize("gain", [0.5, 0.15])
def test_dark_pictures_give_nearly_the_same(gain: float) -> None:
    first, second = square(65, 45), square(69, 45)
    light = describe((first, second))[0]
    dark = describe(((first * gain).astype(np.uint8), (second * gain).astype(np.uint8)))[0]
    assert np.corrcoef(light, dark)[0, 1] > 0.95
    assert dark.sum() == pytest.approx(light.sum(), rel=0.15)


def test_the_size_of_the_picture_does_not_matter() -> None:
    big = [cv2.resize(x, (640, 480), interpolation=cv2.INTER_CUBIC) for x in (square(60, 40), square(66, 40))]

    def at(width: int, height: int) -> NDArray[np.float32]:
        first, second = (
            np.asarray(cv2.resize(x, (width, height), interpolation=cv2.INTER_AREA), np.uint8) for x in big
        )
        return np.asarray(describe((first, second))[0], np.float32)

    for width, height in ((80, 60), (120, 90), (240, 180)):
        assert np.corrcoef(at(160, 120), at(width, height))[0, 1] > 0.95
        assert at(width, height).sum() == pytest.approx(at(160, 120).sum(), rel=0.2)


def test_the_frame_rate_does_not_matter() -> None:
    near = describe((square(60, 40), square(63, 40)), seconds=1 / 30)[0]
    far = describe((square(60, 40), square(66, 40)), seconds=1 / 15)[0]
    assert np.corrcoef(near, far)[0, 1] > 0.95
    assert by_direction(near)[RIGHT] == pytest.approx(by_direction(far)[RIGHT], rel=0.15)


def test_pairs_do_not_influence_one_another() -> None:
    one, two = (square(60, 40), square(64, 40)), (square(30, 70), square(30, 66))
    together = describe(one, two)
    assert (together[0] == describe(one)[0]).all()
    assert (together[1] == describe(two)[0]).all()
