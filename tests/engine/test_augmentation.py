"""Augmentation: the same change for all frames of a clip, and a different one for each clip."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vidlstm.engine.training.loop.augmentation import augment, draw_changes


def clips(number: int, frames: int = 3, channels: int = 3) -> Tensor:
    """Return clips in which all frames are the same smooth picture."""
    torch.manual_seed(0)
    small = torch.rand(number, channels, 4, 4) * 200 + 20
    picture = torch.nn.functional.interpolate(small, 24, mode="bilinear").permute(0, 2, 3, 1)
    return picture.unsqueeze(1).repeat(1, frames, 1, 1, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_range_stay(channels: int) -> None:
    pixels = clips(4, channels=channels)
    changed = augment(pixels, draw_changes(4), mirror=True)
    assert changed.shape == pixels.shape
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_all_frames_of_a_clip_are_changed_alike_and_clips_differently() -> None:
    pixels = clips(1).repeat(6, 1, 1, 1, 1)
    changed = augment(pixels, draw_changes(6), mirror=True)
    for clip in changed:
        assert torch.equal(clip[0], clip[1])
        assert torch.equal(clip[0], clip[2])
    assert len({round(float(clip.sum()), 1) for clip in changed}) == 6


def test_the_result_depends_only_on_the_draws() -> None:
    pixels, draws = clips(4), draw_changes(4)
    whole = augment(pixels, draws, mirror=True)
    torch.rand(100)
    alone = augment(pixels[2:3], draws[2:3], mirror=True)
    torch.testing.assert_close(alone[0], whole[2], atol=1e-3, rtol=0)


def test_a_middle_draw_changes_nothing() -> None:
    pixels, draws = clips(2), torch.full((2, 11), 0.5)
    changed = augment(pixels, draws, mirror=False)
    same = (changed - pixels).abs().amax(dim=(1, 4)) < 0.5
    hidden = (changed[:, 0] == 127.5).all(-1)
    assert (same | hidden).all()
    assert 0 < hidden.float().mean() < 0.15  # one square covers a part


@pytest.mark.parametrize(("draw", "flipped"), [(0.4, True), (0.6, False)])
def test_half_of_the_draws_flip(draw: float, flipped: bool) -> None:
    pixels, draws = clips(1), torch.full((1, 11), 0.5)
    draws[:, 2] = draw
    draws[:, 9:] = 0.0  # the square is in a corner
    changed = augment(pixels, draws, mirror=True)
    expected = pixels.flip(3) if flipped else pixels
    torch.testing.assert_close(changed[:, :, 6:, 6:-6], expected[:, :, 6:, 6:-6], atol=0.5, rtol=0)
