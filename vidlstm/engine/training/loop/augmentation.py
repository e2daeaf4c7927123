"""Augmentation of pixels in training: shift, rotation, scale, mirroring, colour, cutout.

All frames of a clip are changed in the same way: an augmentation that flickers would look like motion.
The random numbers are drawn for all clips of a step at once, whichever process computes a clip.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_SHIFT = 2 / 32  # share of the side
_ROTATION = 0.05  # radians
_SCALE = 0.05
_COLOUR = 0.2
_CUTOUT = 8 / 32  # side of the square, as a share of the picture's side (DeVries & Taylor 2017)
_NUM_DRAWS = 11


def draw_changes(num_clips: int) -> Tensor:
    """Return random numbers for `augment` from torch's global generator: `(B, 11)`, 0 to below 1."""
    return torch.rand(num_clips, _NUM_DRAWS)


def augment(pixels: Tensor, draws: Tensor, *, mirror: bool) -> Tensor:
    """Augment clips.

    Args:
        pixels: float `(B, T, S, S, C)`, values 0..255.
        draws: `(B, 11)`, from `draw_changes`.
        mirror: Flip half of the clips left to right.

    Returns:
        The same shape and range.
    """
    clips, frames, side, _, channels = pixels.shape
    draws = draws.to(pixels.device)
    signed = draws * 2 - 1
    x = pixels.permute(0, 1, 4, 2, 3).reshape(clips, frames * channels, side, side)
    x = F.grid_sample(x, _grid(signed[:, :5], side, mirror), padding_mode="reflection", align_corners=False)
    x = x.reshape(clips, frames, channels, side, side)
    contrast = 1 + _COLOUR * signed[:, 5].view(-1, 1, 1, 1, 1)
    tint = 1 + _COLOUR / 2 * signed[:, 6 : 6 + channels].view(-1, 1, channels, 1, 1)
    middle = x.mean(dim=(1, 3, 4), keepdim=True)
    x = ((x - middle) * contrast + middle * tint).clamp(0, 255)
    return _cut_out(x, draws[:, 9:]).permute(0, 1, 3, 4, 2)


def _grid(signed: Tensor, side: int, mirror: bool) -> Tensor:
    """Return the sampling grid of each clip's rotation, scale, flip and shift."""
    angle = _ROTATION * signed[:, 0]
    scale = 1 + _SCALE * signed[:, 1]
    flip = torch.where(signed[:, 2] < 0, -1.0, 1.0) if mirror else torch.ones_like(angle)
    across, down = 2 * _SHIFT * signed[:, 3], 2 * _SHIFT * signed[:, 4]
    top = torch.stack([angle.cos() * scale * flip, -angle.sin() * scale, across], dim=1)
    bottom = torch.stack([angle.sin() * scale * flip, angle.cos() * scale, down], dim=1)
    theta = torch.stack([top, bottom], dim=1)
    return F.affine_grid(theta, [len(theta), 1, side, side], align_corners=False)


def _cut_out(x: Tensor, draws: Tensor) -> Tensor:
    """Cover a random square of each clip `(B, T, C, S, S)` with grey."""
    side = x.shape[-1]
    half = math.ceil(_CUTOUT * side / 2)
    places = torch.arange(side, device=x.device)
    row, column = ((draws[:, i : i + 1] * side).long() for i in range(2))
    hidden = ((places - row).abs() < half).unsqueeze(2) & ((places - column).abs() < half).unsqueeze(1)
    return x.masked_fill(hidden[:, None, None], 127.5)
